"""Where a version came from, and what a change of it touches: walks on the graph, joined with what is out and what it answers."""

from __future__ import annotations

import asyncio

from sqlalchemy import Engine, select

from windlass.core.actor import Actor
from windlass.core.operations.graph import Impact, Moved, Source, Touched, VersionQuestion, WhyVersion
from windlass.core.operations.registry import Graph, LineageQuery, Node
from windlass.core.operations.traces import LiveQuery
from windlass.core.ref import ENVIRONMENTS, ROWS, Ref, parse_ref
from windlass.govern.permissions import guard
from windlass.registry import origins
from windlass.registry.ancestry import ancestors
from windlass.registry.datasets import Datasets
from windlass.registry.lineage import DEEPEST, Lineage
from windlass.registry.versions import Versions, fetch, newest
from windlass.store.meta import read
from windlass.store.tables import label_moves, versions
from windlass.traces.query import Traces

WEEK_HOURS = 7 * 24
MOVES = 50
NEAR = 50  # versions before the newest that are looked at


class Impacts:
    """Service of `versions.why` and `versions.impact`."""

    def __init__(self, engine: Engine, found: Versions, datasets: Datasets, lineage: Lineage, traces: Traces) -> None:
        self._engine = engine
        self._versions = found
        self._datasets = datasets
        self._lineage = lineage
        self._traces = traces

    def why(self, actor: Actor, query: VersionQuestion) -> WhyVersion:
        """Operation `versions.why`."""
        ref = parse_ref(query.ref, project=query.project)
        guard(actor, "read", ref.project)
        ref = self._versions.resolve(ref)
        v, m = versions.c, label_moves.c
        with read(self._engine) as c:
            version = fetch(c, ref)
            same = (v.project == ref.project, v.kind == ref.kind, v.name == ref.name, v.digest == ref.digest)
            made = c.execute(select(v.created_ns, v.actor).where(*same)).one()
            moves = c.execute(
                select(label_moves)
                .where(m.project == ref.project, m.kind == ref.kind, m.name == ref.name, m.after == ref.digest)
                .order_by(m.id.desc())
                .limit(MOVES)
            ).all()
        sources = tuple(Source(str(Ref(k.kind, k.name, k.digest, None, ref.project)), k.relation, k.role) for k in version.links)
        rows = self._datasets.rows(version) if ref.kind in ROWS else ()
        return WhyVersion(
            str(ref), made.created_ns, made.actor, version.neutral.get("workspace"), str(version.neutral.get("message") or ""), sources,
            tuple(Moved(x.label, x.how, x.at_ns, x.actor, x.verdict, x.reason) for x in moves),
            sum(origins.trace_of(row) is not None for row in rows),
        )  # fmt: skip

    async def impact(self, actor: Actor, query: VersionQuestion) -> Impact:
        """Operation `versions.impact`."""
        ref = parse_ref(query.ref, project=query.project)
        guard(actor, "read", ref.project)
        graph = await asyncio.to_thread(self._below, actor, ref)
        nodes = [n for n in graph.nodes if n.depth > 0]
        out = sorted({n.name for n in nodes if n.kind == "release" and set(n.labels) & set(ENVIRONMENTS)})
        answers = {name: (await self._traces.live(actor, LiveQuery(ref.project, name, WEEK_HOURS))).requests for name in out}
        suites = await asyncio.to_thread(self._suites, ref.project, nodes)
        touched = tuple(
            Touched(n.ref, n.kind, n.depth, n.labels, answers.get(n.name) if n.kind == "release" and "production" in n.labels else None)
            for n in nodes
            if n.labels and (n.kind, n.name) != (ref.kind, ref.name)  # its own later versions are no surprise
        )
        return Impact(graph.start, touched, suites, sum(answers.values()), len(nodes) - len(touched), graph.truncated)

    def _below(self, actor: Actor, ref: Ref) -> Graph:
        """What depends on a version. For a name alone, whose newest version nothing may use yet, what uses the nearest one before."""
        start = self._versions.resolve(ref)
        first = self._lineage.walk(actor, LineageQuery(str(start), "down", DEEPEST, ref.project))
        if ref.digest or ref.label or _used(first, ref):
            return first
        with read(self._engine) as c:
            before = ancestors(c, start)[1:NEAR]
        for earlier in before:
            found = self._lineage.walk(actor, LineageQuery(str(earlier), "down", DEEPEST, ref.project))
            if _used(found, ref):
                return found
        return first

    def _suites(self, project: str, nodes: list[Node]) -> tuple[str, ...]:
        """Suites that measure something touched, or measure on it: the newest of each name."""
        reached, found = {f"{n.kind}/{n.name}" for n in nodes}, []
        v = versions.c
        with read(self._engine) as c:
            names = c.execute(select(v.name).where(v.project == project, v.kind == "suite").distinct().order_by(v.name)).scalars().all()
            for name in names:
                ref = Ref("suite", name, newest(c, Ref("suite", name, None, None, project)), None, project)
                if f"suite/{name}" in reached or fetch(c, ref).body["target"] in reached:
                    found.append(str(ref))
        return tuple(found)


def _used(graph: Graph, ref: Ref) -> bool:
    """Whether something else than later versions of the same name depends on it."""
    return any((n.kind, n.name) != (ref.kind, ref.name) for n in graph.nodes)
