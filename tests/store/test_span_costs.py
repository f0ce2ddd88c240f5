"""Why a trace cost so much: every call once, of however many. On both engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.store.test_span_tree import DAY, TRACE, hexed
from tests.store.test_spans_stores import NOW, SECOND, id_of, span

from windlass.core import span as names
from windlass.core.errors import NotFound
from windlass.core.operations.costs import CostsShow, TraceCosts
from windlass.core.operations.traces import TraceQuery, TraceShow
from windlass.doors.costs import told
from windlass.store.segments import Position
from windlass.store.span_costs import COLUMNS, costs_of
from windlass.store.spans import SpanStore


def call(n: int, parent: int | None, start: int, end: int, **given: Any) -> tuple[Any, ...]:
    over = None if parent is None else hexed(parent)
    row = dict.fromkeys(COLUMNS) | {
        "span_id": hexed(n), "parent": over, "name": f"s{n}", "kind": "model", "start_ns": start, "end_ns": end, "status": "ok",
    }  # fmt: skip
    return tuple((row | given).values())


def test_of_no_calls_nothing_is_told() -> None:
    assert costs_of(TRACE, []) == costs_of(TRACE, [call(1, None, 0, 9, kind="chain", cost=3.0)]) == TraceCosts(TRACE)
    assert list(told(TraceCosts(TRACE))) == []


def test_models_and_steps_the_dearest_first_and_every_call_once() -> None:
    costs = costs_of(TRACE, [
        call(1, None, 0, 99, kind="agent"),
        call(2, 1, 1, 20, model="big", tokens_in=1_000, tokens_out=10, tokens_cached=500, cost=2.0),  # the application's account of it
        call(3, 2, 2, 19, model="big", tokens_in=1_000, tokens_out=10, tokens_cached=500, cost=1.0),
        call(4, 1, 30, 40, model="big", tokens_in=3_000, tokens_out=20, cost=2.0, response="r"),
        call(5, 1, 31, 39, model="big", tokens_in=3_000, tokens_out=20, cost=1.5, response="r"),
        call(6, 1, 50, 60, model="big", tokens_in=9_000, tokens_out=30, cost=0.5, status="error"),
        call(7, 1, 70, 71, model="small", kind="embedding", tokens_in=5, cost=0.25),
    ])  # fmt: skip
    assert [(m.name, m.calls, m.tokens_in, m.cached, m.tokens_out, m.cost) for m in costs.models] == [
        ("big", 3, 13_000, 500, 60, 3.0), ("small", 1, 5, None, None, 0.25),
    ]  # fmt: skip
    assert [m.share for m in costs.models] == [pytest.approx(3 / 3.25), pytest.approx(0.25 / 3.25)] and costs.cost == 3.25
    assert [(s.name, s.span[-1]) for s in costs.steps] == [("s5", "5"), ("s3", "3"), ("s6", "6"), ("s7", "7")]
    assert list(told(costs)) == [
        "big was sent 1,000 tokens first and 9,000 in the end: each call sends again what came before.",
        "4% of the 13,000 tokens that were sent came from a cache.",
        "1 call failed, for $0.50.",
    ]


def test_what_has_no_price_is_unknown_and_said() -> None:
    costs = costs_of(
        TRACE, [call(1, None, 0, 9, model="own", tokens_in=10), call(2, None, 10, 19, model="own", cost=1.0), call(3, None, 20, 29)]
    )
    assert [(m.name, m.cost, m.share) for m in costs.models] == [("own", None, None), ("s3", None, None)] and costs.cost == 1.0
    assert list(told(costs)) == ["What own, s3 cost is unknown, for want of tokens or of a price, and not in the sum."]
    nothing_cached = costs_of(TRACE, [call(1, None, 0, 9, model="m", tokens_in=5_000, tokens_cached=0, cost=1.0)])
    assert list(told(nothing_cached)) == ["0% of the 5,000 tokens that were sent came from a cache."]
    assert list(told(costs_of(TRACE, [call(1, None, 0, 9, model="m", tokens_in=5_000, cost=1.0)]))) == []


def test_all_calls_of_a_large_trace_are_in_it_and_scores_name_their_step(spans: Callable[[], SpanStore]) -> None:
    """More than a page of its spans has. Of a revised span the newest counts; what was said of a step says which, however late it began."""
    store = spans()
    asked = {"kind": "model", "provider": "openai", "tokens_in": 10, "tokens_out": 1}
    rows = [span("a", 1, None, NOW, kind="agent", digest="1", end_ns=NOW + 9 * SECOND, tags=["eu", "a"])]
    for n in range(2, 502):
        model = "gpt-5" if n < 400 else "gpt-5-mini"
        rows.append(
            span("a", n, hexed(1), NOW + n, digest=str(n), model=model, cost=0.25, tokens_cached=4, tags=["eu"], name=f"call {n}", **asked)
        )
    rows.append(span("a", 501, hexed(1), NOW + 501, digest="fff1", model="gpt-5-mini", cost=9.0, receipt_ns=NOW + SECOND, **asked))
    for n, of in ((900, 500), (901, 1), (902, 777)):
        said = {names.SCORED: "helpful", names.GIVEN: "boolean", names.GIVEN_TO: "span", names.SCORE: 1.0}
        of_step = {"kind": "evaluator", "attributes": msgspec.json.encode(said).decode()}
        rows.append(span("a", n, hexed(of), NOW + 600 + n, digest=str(n), **of_step))
    store.write(DAY, rows, "w", Position(0, 1))
    costs = store.costs(CostsShow(id_of("a")[:8]))
    (summary,) = store.traces(TraceQuery()).items
    assert {m.name: (m.calls, m.cost, m.cached) for m in costs.models} == {
        "gpt-5": (398, 99.5, 1592), "gpt-5-mini": (102, 101 * 0.25 + 9, 404),
    }  # fmt: skip
    assert costs.cost == summary.cost == 499 * 0.25 + 9 and costs.steps[0].span == hexed(501)
    assert {s.span: s.step for s in store.trace(TraceShow(id_of("a"), limit=1)).scores} == {
        hexed(500): "call 500", hexed(1): None, hexed(777): None,
    }  # fmt: skip
    assert store.trace(TraceShow(id_of("a"), limit=1)).tags == ("a", "eu"), "of all steps, each once"
    with pytest.raises(NotFound):
        store.costs(CostsShow("ffff"))
    store.close()
