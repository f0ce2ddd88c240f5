"""Lineage: walk the links up (what it depends on) and down (what depends on it)."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, select, tuple_

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.registry import Edge, Graph, LineageQuery, Node
from windlass.core.ref import Ref, parse_ref
from windlass.govern.permissions import guard
from windlass.registry.versions import labels_by_digest, resolve
from windlass.store.meta import read
from windlass.store.tables import links

MOST = 500  # versions in one answer
MOST_LINKS = 5000  # links looked at on one level: a model may be used by very many
DEEPEST = 50


class Lineage:
    """Service of the graph."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def walk(self, actor: Actor, query: LineageQuery) -> Graph:
        """Operation `lineage.walk`: breadth first, at most 500 versions, nearest first."""
        ref = parse_ref(query.ref, project=query.project)
        guard(actor, "read", ref.project)
        with read(self._engine) as c:
            start = resolve(c, ref)
            depths: dict[Ref, int] = {start: 0}
            edges: set[Edge] = set()
            truncated = False
            for direction in ("up", "down"):
                if query.direction in (direction, "both"):
                    truncated |= _spread(c, start, direction, query.depth, depths, edges)
            nodes = tuple(_node(c, r, d) for r, d in sorted(depths.items(), key=lambda i: (abs(i[1]), i[0])))
        known = {n.ref for n in nodes}
        kept = tuple(sorted((e for e in edges if e.source in known and e.target in known), key=lambda e: (e.source, e.target, e.role)))
        return Graph(str(start), nodes, kept, truncated)


def release_of(c: Connection, project: str, target: str) -> str:
    """The name of the release that runs a target, given as `kind/name`. Raises `NotFound`, `Invalid` when there are several."""
    kind, _, name = target.partition("/")
    k = links.c
    found = select(k.name).where(k.project == project, k.kind == "release", k.role == "entry", k.to_kind == kind, k.to_name == name)
    names: list[str] = sorted(c.execute(found.distinct()).scalars())
    if not names:
        raise NotFound(f"no release runs {target}", remedy="push the workspace: it mints the release")
    if len(names) > 1:
        raise Invalid(f"several releases run {target}: {', '.join(names)}", remedy=f"name the one you mean: release/{names[0]}")
    return names[0]


def _spread(c: Connection, start: Ref, direction: str, depth: int, depths: dict[Ref, int], edges: set[Edge]) -> bool:
    """One direction, level by level. Returns whether something was left out."""
    frontier, step = [start], -1 if direction == "up" else 1
    for level in range(1, max(1, min(depth, DEEPEST)) + 1):
        following: list[Ref] = []
        near, cut = _links(c, frontier, direction)
        for source, target, relation, role in near:
            edges.add(Edge(str(source), str(target), relation, role))
            reached = target if direction == "up" else source
            if reached not in depths:
                if len(depths) >= MOST:
                    return True
                depths[reached] = step * level
                following.append(reached)
        if cut or not following:
            return cut
        frontier = following
    return bool(_links(c, frontier, direction)[0])


def _links(c: Connection, frontier: list[Ref], direction: str) -> tuple[list[tuple[Ref, Ref, str, str]], bool]:
    """`(dependent, dependency, relation, role)` of each link that touches the frontier, and whether there are more."""
    t = links.c
    near = (t.kind, t.name, t.digest) if direction == "up" else (t.to_kind, t.to_name, t.to_digest)
    project = frontier[0].project
    found: list[tuple[Ref, Ref, str, str]] = []
    for i in range(0, len(frontier), 100):
        some = [(r.kind, r.name, r.digest) for r in frontier[i : i + 100]]
        limit = MOST_LINKS + 1 - len(found)
        for k in c.execute(select(links).where(t.project == project, tuple_(*near).in_(some)).limit(limit)):
            source, target = Ref(k.kind, k.name, k.digest, None, project), Ref(k.to_kind, k.to_name, k.to_digest, None, project)
            found.append((source, target, k.relation, k.role))
        if len(found) > MOST_LINKS:
            return sorted(found[:MOST_LINKS]), True
    return sorted(found), False


def _node(c: Connection, ref: Ref, depth: int) -> Node:
    return Node(str(ref), ref.kind, ref.name, ref.digest or "", depth, tuple(labels_by_digest(c, ref).get(ref.digest or "", ())))
