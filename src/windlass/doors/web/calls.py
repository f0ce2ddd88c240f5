"""Who called whom in a trace, drawn in columns: callers to the left, what they called to the right."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.operations.calls import CALLS, Call, Callee, CallGraph, CallsShow
from windlass.doors.web.render import Asker, Handler, query, respond

WIDTH, HEIGHT, GAP_X, GAP_Y, AROUND = 210, 68, 90, 18, 56
THICKEST = 6


class CalleeDrawn(msgspec.Struct, frozen=True):
    """A node with its place in pixels. `url` has its steps; `again` is how often it called itself."""

    node: Callee
    x: int
    y: int
    url: str
    again: int = 0


class CallDrawn(msgspec.Struct, frozen=True):
    """A call as a curve, with its thickness and where its count stands. `source` and `target` are names for the table."""

    call: Call
    source: str
    target: str
    url: str
    path: str = ""
    thick: int = 1
    x: int = 0
    y: int = 0


class CallsContext(msgspec.Struct):
    graph: CallGraph
    nodes: tuple[CalleeDrawn, ...]
    calls: tuple[CallDrawn, ...]
    width: int
    height: int


def draw(graph: CallGraph) -> CallsContext:
    """Columns by how many calls lead there from outside at the least; rows near those who call them (one barycentre pass)."""
    inner = [c for c in graph.calls if c.source is not None and c.source != c.target]
    ranks = _ranks(graph)
    columns: dict[int, list[int]] = {}
    for n in range(len(graph.nodes)):
        columns.setdefault(ranks[n], []).append(n)
    row: dict[int, float] = {}
    for rank in sorted(columns):
        callers = {n: [row[c.source] for c in inner if c.target == n and c.source is not None and c.source in row] for n in columns[rank]}
        columns[rank].sort(key=lambda n: (sum(callers[n]) / len(callers[n]) if callers[n] else n, n))
        row |= {n: place - len(columns[rank]) / 2 for place, n in enumerate(columns[rank])}
    height = max((len(c) for c in columns.values()), default=0) * (HEIGHT + GAP_Y) + GAP_Y
    again = {c.target: c.calls for c in graph.calls if c.source == c.target}
    placed: dict[int, CalleeDrawn] = {}
    for rank, some in columns.items():
        top = (height - len(some) * (HEIGHT + GAP_Y)) // 2 + GAP_Y // 2
        for place, n in enumerate(some):
            at = 4 + rank * (WIDTH + GAP_X), top + place * (HEIGHT + GAP_Y)
            placed[n] = CalleeDrawn(graph.nodes[n], *at, _steps(graph, n), again.get(n, 0))
    most = max((c.took_ns for c in inner), default=0) or 1
    told = sorted(graph.calls, key=lambda c: (c.source if c.source is not None else -1, -c.took_ns))
    calls = tuple(_drawn(graph, c, placed, most) for c in told)
    return CallsContext(graph, tuple(placed[n] for n in sorted(placed)), calls, len(columns) * (WIDTH + GAP_X) - GAP_X + 8, height)


def _ranks(graph: CallGraph) -> list[int]:
    ranks = {c.target: 0 for c in graph.calls if c.source is None}
    todo = list(ranks)
    for n in todo:
        for call in graph.calls:
            if call.source == n and call.target not in ranks:
                ranks[call.target] = ranks[n] + 1
                todo.append(call.target)
    return [ranks.get(n, 0) for n in range(len(graph.nodes))]


def _drawn(graph: CallGraph, call: Call, placed: dict[int, CalleeDrawn], most: int) -> CallDrawn:
    source = _name(graph.nodes[call.source]) if call.source is not None else "from outside"
    target, url = _name(graph.nodes[call.target]), _steps(graph, call.target)
    if call.source is None or call.source == call.target:
        return CallDrawn(call, source, target, url)
    a, b = placed[call.source], placed[call.target]
    y1, y2 = a.y + HEIGHT // 2, b.y + HEIGHT // 2
    if b.x > a.x:
        x1, x2 = a.x + WIDTH, b.x
        path, x, y = f"M{x1} {y1} C{x1 + GAP_X // 2} {y1} {x2 - GAP_X // 2} {y2} {x2} {y2}", x2 - 8, y2 - 6
    else:  # back to a column that was there before, or within one: around the right
        x1, x2, out = a.x + WIDTH, b.x + WIDTH, AROUND + (30 if y1 > y2 else 0)  # up outside of down
        path, x, y = f"M{x1} {y1} C{x1 + out} {y1} {x2 + out} {y2} {x2} {y2}", x2 + 36, y2 - 8
    return CallDrawn(call, source, target, url, path, round(1 + (THICKEST - 1) * call.took_ns / most), x, y)


def _name(node: Callee) -> str:
    return f"{node.kind} {node.name}" if node.name else f"{node.others} other {node.kind}s"


def _steps(graph: CallGraph, n: int) -> str:
    node = graph.nodes[n]
    return query(f"/traces/{graph.trace_id}/tree", kind=node.kind, named=node.name)


async def calls(request: Request, ask: Asker) -> Response:
    found = await ask(CALLS, CallsShow(request.path_params["id"], ask.actor.project))
    return respond(request, "calls.html", draw(found), nav="traces", title="Who called whom")


PAGES: tuple[tuple[str, Handler], ...] = (("/traces/{id}/calls", calls),)
