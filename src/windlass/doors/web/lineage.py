"""Lineage: the graph around a version, drawn in columns: what it depends on to the left, what depends on it to the right."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.operations.registry import ARTIFACTS, LINEAGE, ArtifactQuery, ArtifactSummary, Edge, Graph, LineageQuery, Node
from windlass.doors.web.render import Asker, Handler, respond

WIDTH, HEIGHT, GAP_X, GAP_Y = 190, 46, 60, 14


class Placed(msgspec.Struct, frozen=True):
    """A node with its place in the drawing, in pixels."""

    node: Node
    x: int
    y: int


class Wire(msgspec.Struct, frozen=True):
    """An edge as a cubic curve from the dependency's right side to the dependent's left side."""

    edge: Edge
    path: str


class LineageContext(msgspec.Struct):
    graph: Graph | None
    nodes: tuple[Placed, ...] = ()
    wires: tuple[Wire, ...] = ()
    width: int = 0
    height: int = 0
    starts: tuple[ArtifactSummary, ...] = ()


def draw(graph: Graph) -> LineageContext:
    """Columns by the longest way from what depends on nothing (dependencies left), rows in an order that follows each node's
    neighbours (one barycentre pass each way, Sugiyama's second step), so that wires cross little. A release's wires to what its
    entry reaches anyway are left out."""
    edges = tuple(e for e in graph.edges if e.role != "part" or not _reached(graph, e))
    ranks = _ranks(graph, edges)
    columns: dict[int, list[Node]] = {}
    for node in graph.nodes:
        columns.setdefault(ranks[node.ref], []).append(node)
    depths = sorted(columns)
    row = {n.ref: float(i) for d in depths for i, n in enumerate(sorted(columns[d], key=lambda n: (n.kind, n.name)))}
    near: dict[str, list[str]] = {}
    for e in edges:
        near.setdefault(e.source, []).append(e.target)
        near.setdefault(e.target, []).append(e.source)
    for order in (depths, depths[::-1]):
        for d in order:
            weight = {
                n.ref: sum(row[m] for m in near.get(n.ref, []) if m in row) / max(1, len([m for m in near.get(n.ref, []) if m in row]))
                for n in columns[d]
            }
            columns[d].sort(key=lambda n: (weight[n.ref], n.kind, n.name))
            row.update({n.ref: float(i) for i, n in enumerate(columns[d])})
    tallest = max((len(c) for c in columns.values()), default=0)
    height = tallest * (HEIGHT + GAP_Y) + GAP_Y
    placed: dict[str, Placed] = {}
    for i, d in enumerate(depths):
        top = (height - len(columns[d]) * (HEIGHT + GAP_Y)) // 2 + GAP_Y // 2
        for j, n in enumerate(columns[d]):
            placed[n.ref] = Placed(n, 4 + i * (WIDTH + GAP_X), top + j * (HEIGHT + GAP_Y))
    wires = tuple(Wire(e, _curve(placed[e.target], placed[e.source])) for e in edges if e.source in placed and e.target in placed)
    return LineageContext(graph, tuple(placed.values()), wires, len(depths) * (WIDTH + GAP_X) - GAP_X + 8, height)


def _reached(graph: Graph, edge: Edge) -> bool:
    """Whether something else of the same dependent leads to this edge's target too."""
    below: dict[str, list[str]] = {}
    for e in graph.edges:
        if e.role != "part":
            below.setdefault(e.source, []).append(e.target)
    seen, waiting = set[str](), [edge.source]
    while waiting:
        for target in below.get(waiting.pop(), []):
            if target == edge.target:
                return True
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    return False


def _ranks(graph: Graph, edges: tuple[Edge, ...]) -> dict[str, int]:
    """How many steps lie between a version and the farthest thing it depends on. Digests allow no circle; should the answer have
    one, it ends after as many rounds as there are nodes."""
    ranks = {n.ref: 0 for n in graph.nodes}
    for _ in graph.nodes:
        moved = False
        for e in edges:
            if e.source in ranks and e.target in ranks and ranks[e.source] <= ranks[e.target] < len(ranks):
                ranks[e.source] = ranks[e.target] + 1
                moved = True
        if not moved:
            break
    return ranks


def _curve(a: Placed, b: Placed) -> str:
    x1, y1, x2, y2 = a.x + WIDTH, a.y + HEIGHT // 2, b.x, b.y + HEIGHT // 2
    bend = max(30, (x2 - x1) // 2)
    return f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"


async def show(request: Request, ask: Asker) -> Response:
    q = request.query_params
    if not q.get("ref"):
        starts = await ask(ARTIFACTS, ArtifactQuery(ask.actor.project, limit=200))
        context = LineageContext(
            None, starts=tuple(a for a in starts.items if a.kind in ("release", "dataset", "index", "model", "prompt"))
        )
        return respond(request, "lineage.html", context, nav="lineage", title="Lineage")
    direction = q.get("direction", "both")
    depth = int(q["depth"]) if q.get("depth", "").isdigit() else 6
    asked = msgspec.convert({"ref": q["ref"], "direction": direction, "depth": depth, "project": ask.actor.project}, LineageQuery)
    graph = await ask(LINEAGE, asked)
    return respond(request, "lineage.html", draw(graph), nav="lineage", title=f"Lineage of {q['ref']}")


PAGES: tuple[tuple[str, Handler], ...] = (("/lineage", show),)
