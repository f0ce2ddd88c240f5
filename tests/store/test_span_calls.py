"""Who called whom: every step is counted once, and the sums are those of the trace. On both engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.test_span_tree import DAY, TRACE, hexed
from tests.store.test_spans_stores import NOW, SECOND, id_of, span

from windlass.core.errors import NotFound
from windlass.core.operations.calls import CallsShow
from windlass.core.operations.traces import TraceQuery
from windlass.core.operations.trees import TreeShow
from windlass.store.segments import Position
from windlass.store.span_calls import MOST, calls_of
from windlass.store.spans import SpanStore

KINDS = ["agent", "tool", "model", "chain", "span"]


def row(n: int, parent: int | None, kind: str, name: str = "", cost: float | None = None, **more: Any) -> tuple[Any, ...]:
    model, tool = (name if kind == "model" else None), (name if kind == "tool" else None)
    over = None if parent is None else hexed(parent)
    start, end = more.get("start", n), more.get("end", n + 10)
    return (hexed(n), over, name or kind, kind, start, end, more.get("status", "ok"), model, cost, None, None, tool, more.get("response"))


@st.composite
def traces(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    count = draw(st.integers(1, 30))
    return [
        row(n, draw(st.one_of(st.none(), st.integers(1, count))), draw(st.sampled_from(KINDS)), draw(st.sampled_from("abc")), 0.5)
        for n in range(1, count + 1)
    ]


@given(traces())
@settings(deadline=None)
def test_every_step_is_of_one_node_and_called_once(rows: list[tuple[Any, ...]]) -> None:
    graph = calls_of(TRACE, rows)
    counted = Counter((r[3], r[2]) for r in rows if r[3] != "span") or Counter((r[3], r[2]) for r in rows)
    assert {(n.kind, n.name): n.steps for n in graph.nodes} == counted
    assert len(graph.nodes) == len(counted)
    for n, node in enumerate(graph.nodes):
        assert sum(c.calls for c in graph.calls if c.target == n) == node.steps
        assert sum(c.took_ns for c in graph.calls if c.target == n) == node.took_ns


def test_who_is_under_a_plain_span_is_called_by_what_is_above_it() -> None:
    rows = [
        row(1, None, "agent", "plan", end=100), row(2, 1, "span", "turn"), row(3, 2, "model", "gpt-5", 0.5),
        row(4, 2, "tool", "stock", status="error"),
        row(5, 4, "agent", "plan", end=30), row(6, 5, "model", "gpt-5", 0.25), row(7, 1, "agent", "plan"), row(8, 7, "model", "gpt-5"),
    ]  # fmt: skip
    graph = calls_of(TRACE, rows)
    names = [n.name for n in graph.nodes]
    told = {(names[c.source] if c.source is not None else "", names[c.target]): (c.calls, c.failed, c.cost) for c in graph.calls}
    assert told == {
        ("", "plan"): (1, 0, None), ("plan", "gpt-5"): (3, 0, None), ("plan", "stock"): (1, 1, 0.25), ("stock", "plan"): (1, 0, 0.25),
        ("plan", "plan"): (1, 0, None),
    }  # fmt: skip
    assert {n.name: n.cost for n in graph.nodes}["gpt-5"] is None, "a call without a price is not free"


def test_of_very_many_names_the_rare_ones_are_together() -> None:
    rows = [row(1, None, "agent", "plan"), *(row(n, 1, "tool", f"t{n}") for n in range(2, 102)), row(200, 1, "tool", "t2")]
    graph = calls_of(TRACE, rows)
    (rest,) = [n for n in graph.nodes if not n.name]
    assert len(graph.nodes) == MOST + 1 and rest.steps == rest.others == 101 - MOST and sum(n.steps for n in graph.nodes) == 102
    alone = calls_of(TRACE, [row(n, None, "span", "x") for n in range(1, 4)])
    assert [(n.kind, n.name, n.steps) for n in alone.nodes] == [("span", "x", 3)]


def test_it_costs_what_the_trace_does(spans: Callable[[], SpanStore]) -> None:
    """Also where a call is told of by two, one in the other or beside it."""
    store = spans()
    asked = {"kind": "model", "model": "gpt-5"}
    rows = [
        span("a", 1, None, NOW, kind="agent", name="plan", digest="1", end_ns=NOW + 9 * SECOND),
        span("a", 2, hexed(1), NOW + 1, digest="2", cost=0.5, **asked), span("a", 3, hexed(2), NOW + 2, digest="3", cost=0.25, **asked),
        span("a", 4, hexed(1), NOW + 3, digest="4", cost=1.0, response="r", end_ns=NOW + 90, **asked),
        span("a", 5, hexed(1), NOW + 4, digest="5", cost=2.0, response="r", end_ns=NOW + 80, **asked),
        span("a", 6, hexed(1), NOW + 5, kind="tool", tool="stock", name="execute", digest="6"),
        span("a", 7, hexed(6), NOW + 6, kind="log", name="said", digest="7"),
    ]  # fmt: skip
    store.write(DAY, rows, "w", Position(0, 1))
    (summary,) = store.traces(TraceQuery()).items
    graph = store.calls(CallsShow(id_of("a")[:8]))
    assert [(n.kind, n.name, n.steps, n.cost) for n in graph.nodes] == [
        ("agent", "plan", 1, 0.0),
        ("model", "gpt-5", 4, 2.25),
        ("tool", "stock", 1, 0.0),
    ]
    assert summary.cost == 2.25 == next(c.cost for c in graph.calls if c.source is None)
    narrowed = store.tree(TreeShow(id_of("a"), kind="tool", named="stock")).items
    assert [s.name for s in narrowed] == ["execute"]
    assert len(store.tree(TreeShow(id_of("a"), kind="model", order="dear", limit=2)).items) == 2
    with pytest.raises(NotFound):
        store.calls(CallsShow("ffff"))
    store.close()
