"""The drawing of who called whom: every node has a place of its own, every call a line or a mark, and circles end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from windlass.core.operations.calls import Call, Callee, CallGraph
from windlass.doors.web.calls import HEIGHT, WIDTH, draw


@st.composite
def graphs(draw: st.DrawFn) -> CallGraph:
    count = draw(st.integers(1, 12))
    ends = st.tuples(st.one_of(st.none(), st.integers(0, count - 1)), st.integers(0, count - 1))
    pairs = draw(st.sets(ends, max_size=30))
    return CallGraph("a" * 32, tuple(Callee("tool", f"t{n}", 1) for n in range(count)), tuple(Call(a, b, 2, took_ns=5) for a, b in pairs))


@given(graphs())
def test_everything_has_its_place(graph: CallGraph) -> None:
    shown = draw(graph)
    boxes = [(n.x, n.y) for n in shown.nodes]
    assert len(boxes) == len(graph.nodes)
    for n, (x, y) in enumerate(boxes):
        assert 0 <= x <= shown.width - WIDTH and 0 <= y <= shown.height - HEIGHT
        assert all(abs(x - a) >= WIDTH or abs(y - b) >= HEIGHT for a, b in boxes[:n]), "none lies on another"
    assert len(shown.calls) == len(graph.calls)
    for call in shown.calls:
        within = call.call.source is None or call.call.source == call.call.target
        assert bool(call.path) != within and 1 <= call.thick <= 6
    assert {n.node.name for n in shown.nodes if n.again} == {f"t{c.target}" for c in graph.calls if c.source == c.target}
