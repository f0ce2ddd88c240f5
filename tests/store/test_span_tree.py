"""A trace asked for piece by piece: whoever goes on where something is left out reaches every step once. On both engines, 50,000 steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.test_spans_stores import NOW, id_of, span

from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.traces import TraceShow
from windlass.core.operations.trees import TraceTree, TreeShow
from windlass.core.span import GIVEN
from windlass.store.segments import Position
from windlass.store.span_tree import PATH, tree_of
from windlass.store.spans import SpanRow, SpanStore

DAY, TRACE, MANY, LEVELS = "2027-01-15", "a" * 32, 50_000, 5_000


def hexed(n: int) -> str:
    return f"{n:016x}"


def row(n: int, parent: int | None, start: int = 0, end: int = 0, status: str = "ok", kind: str = "tool", cost: float | None = None):
    return (hexed(n), None if parent is None else hexed(parent), f"s{n}", kind, start, end, status, None, cost, None, None, None, None)


def asked(rows: Sequence[tuple[Any, ...]], **query: Any) -> TraceTree:
    ordered = sorted(rows, key=lambda r: (r[4], r[0]))
    return tree_of(TRACE, ordered, TreeShow(TRACE, **query), lambda ids: [])


@st.composite
def traces(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Steps below any other, themselves, one that did not come, or none; so in circles too."""
    count = draw(st.integers(1, 60))
    wide = draw(st.booleans())
    parents = st.integers(1, 3 if wide else count + 1)
    times, states = st.integers(0, 40), st.sampled_from(["ok", "error"])
    steps = st.tuples(st.one_of(st.none(), parents), times, times, states)
    return [row(n, *draw(steps)) for n in range(1, count + 1)]


@given(traces())
@settings(deadline=None)
def test_a_trace_that_has_room_is_whole(rows: list[tuple[Any, ...]]) -> None:
    tree = asked(rows)
    assert sorted(s.span_id for s in tree.items) == sorted(r[0] for r in rows)
    levels, under = dict[str, int](), dict[str, list[str]]()
    for place, step in enumerate(tree.items):
        if step.level:  # the step it is below is the last before it that is one level up
            above = next(s for s in reversed(tree.items[:place]) if s.level == step.level - 1)
            assert above.span_id == step.parent and levels[step.parent] == step.level - 1
            under.setdefault(step.parent, []).append(step.span_id)
        levels[step.span_id] = step.level
    by_id, failed = {r[0]: r for r in rows}, {s.span_id for s in tree.items if s.status == "error"}

    def below(span: str) -> set[str]:
        return {b for child in under.get(span, ()) for b in {child} | below(child)}

    for step in tree.items:
        assert step.children == step.shown == len(under.get(step.span_id, ())) and step.before == 0
        assert (step.below, step.failed) == (len(below(step.span_id)), len(below(step.span_id) & failed))
        busy = {t for c in under.get(step.span_id, ()) for t in range(by_id[c][4], by_id[c][5])}
        assert step.self_ns == len(set(range(step.start_ns, step.end_ns)) - busy)
    assert (tree.steps, tree.failed, tree.next, tree.left) == (len(rows), len(failed), None, 0)


@given(traces(), st.integers(1, 12), st.integers(0, 2))
@settings(deadline=None)
def test_going_on_reaches_every_step_once(rows: list[tuple[Any, ...]], limit: int, levels: int) -> None:
    seen: list[str] = []
    todo: list[dict[str, Any]] = [{}]
    while todo:
        tree = asked(rows, limit=limit, levels=levels, **(at := todo.pop()))
        assert 0 < len(tree.items) <= limit
        seen += [s.span_id for s in tree.items]
        parts = {s.span_id: [c.span_id for c in tree.items if c.parent == s.span_id and c.level == s.level + 1] for s in tree.items}
        for step in tree.items:
            assert len(parts[step.span_id]) == step.shown
            if step.children > step.shown:
                todo.append({"of": step.span_id, "cursor": parts[step.span_id][-1] if step.shown else ""})
        if tree.next:
            todo.append({"of": at.get("of", ""), "cursor": tree.next})
        assert bool(tree.next) == (tree.left > 0)
    assert sorted(seen) == sorted(r[0] for r in rows)


@given(traces(), st.data(), st.integers(1, 12))
@settings(deadline=None)
def test_a_step_that_is_looked_for_is_there(rows: list[tuple[Any, ...]], data: st.DataObject, limit: int) -> None:
    wanted = data.draw(st.sampled_from(rows))[0]
    tree = asked(rows, to=wanted, limit=limit)
    assert [s.span_id for s in tree.items].count(wanted) == 1 and len({s.span_id for s in tree.items}) == len(tree.items)
    assert not tree.below or tree.path[-1].span_id == tree.below


def test_lists_have_what_failed_first_was_slow_or_dear() -> None:
    rows = [
        row(1, None, 0, 100, "error"), row(2, 1, 10, 60, "error"), row(3, 2, 20, 30, "error", cost=0.5), row(4, 2, 25, 50, cost=2.0),
        row(5, 1, 70, 75, "error", cost=0.5),
    ]  # fmt: skip
    assert [s.span_id for s in asked(rows, order="failed").items] == [hexed(3), hexed(5)], "a failure is told where it began"
    assert [(s.name, s.self_ns) for s in asked(rows, order="slow").items] == [("s1", 45), ("s4", 25), ("s2", 20), ("s3", 10), ("s5", 5)]
    assert [s.name for s in asked(rows, order="dear").items] == ["s4", "s3", "s5"]
    page = asked(rows, order="dear", limit=2)
    assert (page.next, page.left) == (hexed(3), 1)
    rest = asked(rows, order="dear", limit=2, cursor=page.next)
    assert ([s.name for s in rest.items], rest.next, rest.before) == (["s5"], None, 2)
    assert [s.name for s in asked(rows, of=hexed(2), order="failed").items] == ["s3"]


def test_what_is_not_there_is_said() -> None:
    rows = [row(1, None), row(2, 1), row(3, None)]
    with pytest.raises(NotFound, match="there is no step"):
        asked(rows, of=hexed(9))
    with pytest.raises(NotFound, match="is not below"):
        asked(rows, of=hexed(3), to=hexed(2))
    for query in ({"cursor": hexed(9)}, {"cursor": hexed(2)}, {"order": "dear", "cursor": hexed(1)}):
        with pytest.raises(Invalid, match="cursor"):
            asked(rows, **query)


def spans_of(parent: Callable[[int], int | None]) -> list[SpanRow]:
    return [
        span("a", n, None if (p := parent(n)) is None else hexed(p), NOW + n, status="error" if n == MANY else "ok", digest=hexed(n))
        for n in range(1, MANY + 1)
    ]


SHAPES: dict[str, Callable[[int], int | None]] = {
    "wide": lambda n: 1 if n > 1 else None,
    "deep": lambda n: None if n == 1 else n - 1 if n <= LEVELS else 1 + n % LEVELS,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_fifty_thousand_steps(spans: Callable[[], SpanStore], shape: str) -> None:
    store, rows = spans(), spans_of(SHAPES[shape])
    for n in range(0, MANY, 10_000):
        store.write(DAY, rows[n : n + 10_000], "w", Position(0, n + 1))
    trace = id_of("a")
    top = store.tree(TreeShow(trace))
    assert (top.steps, top.failed, top.items[0].below) == (MANY, 1, MANY - 1) and len(top.items) <= 200
    last = store.tree(TreeShow(trace, to=hexed(MANY)))
    assert hexed(MANY) in {s.span_id for s in last.items} and len(last.items) <= 200
    assert [s.span_id for s in store.tree(TreeShow(trace[:8], order="failed")).items] == [hexed(MANY)]
    if shape == "wide":
        on = store.tree(TreeShow(trace, of=hexed(1), cursor=hexed(30_000)))
        assert (on.items[0].span_id, on.before, on.left) == (hexed(30_001), 29_999, MANY - 30_000 - len(on.items))
    else:
        bottom = store.tree(TreeShow(trace, of=hexed(LEVELS - 1)))
        assert bottom.path[-1].level == LEVELS - 2 and (len(bottom.path), bottom.path_left) == (PATH, LEVELS - 1 - PATH)
    (alone,) = store.trace(TraceShow(trace, span=hexed(MANY))).spans
    assert alone.span_id == hexed(MANY)
    with pytest.raises(NotFound, match="there is no span"):
        store.trace(TraceShow(trace, span="f" * 16))
    store.close()


def test_revisions_scores_and_log_records(spans: Callable[[], SpanStore]) -> None:
    """The newest revision counts; a score that somebody gave is no step; a log record that its span tells of is not told twice."""
    store, event = spans(), [{"name": "said", "time_ns": NOW + 5, "attributes": {}}]
    given = {"kind": "evaluator", "name": "given", "attributes": f'{{"{GIVEN}": "number"}}'}
    rows = [
        span("a", 1, None, NOW, digest="1"),
        span("a", 1, None, NOW, digest="2", name="renamed", receipt_ns=NOW + 9),
        span("a", 2, hexed(1), NOW + 1, kind="model", digest="3", events=json.dumps(event)),
        span("a", 3, hexed(2), NOW + 5, kind="log", name="said", digest="4"),
        span("a", 4, hexed(2), NOW + 6, kind="log", name="more", digest="5"),
        span("a", 5, hexed(1), NOW + 7, digest="6", **given),
        span("a", 6, hexed(1), NOW + 8, kind="evaluator", name="judged", digest="7"),
    ]
    store.write(DAY, rows, "w", Position(0, 1))
    assert [(s.name, s.level) for s in store.tree(TreeShow(id_of("a"))).items] == [
        ("renamed", 0), ("run", 1), ("more", 2), ("judged", 1),
    ]  # fmt: skip
    store.close()
