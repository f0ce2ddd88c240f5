"""Figures summed up in SQL say what a plain reading of all spans says, in both engines; and what lists of traces say of each trace."""

from __future__ import annotations

import itertools
import random
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import clickhouse_spans
from tests.store.plain_figures import Plainly, percentiles
from tests.store.test_spans_stores import NOW, some_traces

from windlass.core import span as names
from windlass.core.errors import Invalid
from windlass.core.operations.figures import Figure, FiguresQuery, ScoreFigure
from windlass.core.operations.traces import TraceQuery, TraceSummary
from windlass.store.segments import Position
from windlass.store.span_figuring import planned
from windlass.store.spans import Forget, SpanRow, SpanStore
from windlass.store.spans_duckdb import DuckSpans

SECOND, HOUR, DAY = 10**9, 3600 * 10**9, 86_400 * 10**9
MIDNIGHT = 1_800_057_600 * 10**9  # 2027-01-16 00:00 UTC
ALL = ("traces", "calls", "scores", "steps", "first_token")
NUMBERS = itertools.count(1)
GIVEN_YES = {names.GIVEN: "boolean", names.GIVEN_TO: "trace", names.LABEL: "true"}


def span(number: int, trace: int, start: int, parent: int | None = None, **fields: Any) -> SpanRow:
    """The span of this number, in the trace of that one. Received as it ended, unless told."""
    given = {"project": "default", "name": "run", "kind": "request", "status": "ok", "status_message": "", "service": "s"}
    given |= {"end_ns": start + SECOND, "digest": f"{next(NUMBERS):016x}"}
    given = given | fields
    above = None if parent is None else f"{parent:016x}"
    given.setdefault("receipt_ns", given["end_ns"])
    return SpanRow(trace_id=f"{trace:032x}", span_id=f"{number:016x}", parent=above, start_ns=start, **given)


def score(number: int, trace: int, start: int, name: str, value: float | None, parent: int = 1, **said: Any) -> SpanRow:
    told = {names.SCORED: name} | ({names.SCORE: value} if value is not None else {}) | said
    fields = {k: told.pop(k) for k in ("receipt_ns", "release") if k in told}
    attributes = msgspec.json.encode({k: v for k, v in told.items() if v is not None}).decode()
    return span(number, trace, start, parent, kind="evaluator", end_ns=start, attributes=attributes, **fields)


def write(store: SpanStore, rows: Sequence[SpanRow], day: str = "2027-01-16") -> None:
    store.write(day, rows, "w", Position(1, next(NUMBERS)))


def same(found: Any, expected: Any) -> None:
    """Alike, numbers as near as their engine adds up."""
    for field in expected.__struct_fields__:
        a, b = getattr(found, field), getattr(expected, field)
        if isinstance(b, tuple):
            assert len(a) == len(b), (field, a, b)
            for one, other in zip(a, b, strict=True):
                same(one, other)
        elif isinstance(b, msgspec.Struct):
            assert a is not None, (field, b)
            same(a, b)
        else:
            assert a == (pytest.approx(b, rel=1e-9, abs=1e-9) if isinstance(b, float) else b), (field, found, expected)


# Anything that may come.

maybe = st.one_of(st.none(), st.integers(0, 40))
texts = st.sampled_from([None, "a", "b", "ü'x", 'q"'])


@st.composite
def some_rows(draw: st.DrawFn) -> list[SpanRow]:
    """Few traces and spans, so that many are revised, lie beneath each other, or tell of one answer; around two midnights."""
    rows = []
    for n in range(draw(st.integers(1, 25))):
        kind = draw(st.sampled_from(["request", "model", "model", "model", "embedding", "tool", "evaluator", "log"]))
        start = MIDNIGHT + draw(st.sampled_from([-DAY, 0, 0, HOUR])) + draw(st.integers(-3, 3)) * SECOND
        told: dict[str, Any] = {"x": draw(texts)}
        if kind == "evaluator":
            told |= {
                names.SCORED: draw(st.sampled_from(["good", "tone", None])),
                names.SCORE: draw(st.sampled_from([None, 0.0, 0.25, 1.0])),
            }
            told |= {names.GIVEN: draw(st.sampled_from([None, "number", "boolean", "category", "withdrawn"]))}
            told |= {names.GIVEN_TO: draw(st.sampled_from(["trace", "span", "session"]))} if told[names.GIVEN] else {}
        if kind == "model":
            told |= {names.FIRST_TOKEN: draw(st.sampled_from([None, 0.25, 1.5]))}
        rows.append(span(
            draw(st.integers(1, 9)), draw(st.integers(1, 3)), start, draw(st.sampled_from([None, None, 1, 2, 3])), kind=kind,
            name=draw(st.sampled_from(["run", "step"])), end_ns=start + draw(st.integers(-1, 5)) * SECOND, receipt_ns=MIDNIGHT + n,
            status=draw(st.sampled_from(["ok", "error", "unset"])), service=draw(st.sampled_from(["s", "t", ""])),
            evaluation=draw(st.sampled_from([None] * 9 + ["e"])), model=draw(texts), provider=draw(texts), release=draw(texts),
            environment=draw(texts), session=draw(texts), user=draw(texts), tool=draw(texts), prompt=draw(texts),
            tags=draw(st.lists(st.sampled_from(["a", "b", "c"]), max_size=2)),
            versions=draw(st.lists(st.sampled_from(["prompt/p@sha256:1", "prompt/p@sha256:2", "model/m@sha256:1"]), max_size=2)),
            tokens_in=draw(maybe), tokens_out=draw(maybe), tokens_cached=draw(maybe), tokens_reasoning=draw(maybe),
            cost=draw(st.sampled_from([None, 0.0, 0.25, 0.1])), response=draw(st.sampled_from([None, None, "r"])),
            attributes=msgspec.json.encode({k: v for k, v in told.items() if v is not None}).decode(),
        ))  # fmt: skip
    return rows


BY = (None, "model", "provider", "release", "version", "prompt", "service", "environment", "user", "session", "kind", "name", "tool", "tag",
      "status", "attribute:x")  # fmt: skip


@pytest.fixture
def duckdb(tmp_path: Path) -> Iterable[SpanStore]:
    made = DuckSpans(tmp_path / "spans")
    yield made
    made.close()


@pytest.fixture
def clickhouse(chdb_folder: Path) -> Iterable[SpanStore]:
    made = clickhouse_spans(chdb_folder, f"t{secrets.token_hex(6)}")
    yield made
    made.close()


@pytest.fixture
def store(spans: Callable[[], SpanStore]) -> Iterable[SpanStore]:
    made = spans()
    yield made
    made.close()


def asked_as_they_come(store: SpanStore, rows: list[SpanRow], by: str | None, limit: int, bucket: int) -> None:
    """The rows are written bit by bit, into whichever file, in a project and with ids of their own; each time it is asked."""
    base = next(NUMBERS) * 100

    def own(id: str | None) -> str | None:
        return id and f"{int(id, 16) + base:0{len(id)}x}"

    rows = [
        msgspec.structs.replace(r, project=f"p{base}", trace_id=own(r.trace_id), span_id=own(r.span_id), parent=own(r.parent)) for r in rows
    ]
    since = MIDNIGHT - 2 * SECOND
    query = FiguresQuery(
        f"p{base}", since_ns=since, until_ns=since + 390 * bucket * SECOND, by=by, limit=limit, measures=ALL, bucket_s=bucket
    )
    for n, day in enumerate(("2027-01-16", "2027-01-15", "2027-01-17", "2027-01-16")):
        write(store, rows[n::4], day)
        there = [r for m in range(n + 1) for r in rows[m::4]]
        same(store.figures(query), Plainly(there, query, bucket * SECOND).answer())


questions = given(some_rows(), st.sampled_from(BY), st.integers(1, 3), st.sampled_from([1, 60, 3600]))
unhurried: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=60, **unhurried)
@questions
def test_it_is_what_a_plain_reading_says(duckdb: SpanStore, rows: list[SpanRow], by: str | None, limit: int, bucket: int) -> None:
    asked_as_they_come(duckdb, rows, by, limit, bucket)


@settings(max_examples=4, **unhurried)
@questions
def test_clickhouse_says_it_too(clickhouse: SpanStore, rows: list[SpanRow], by: str | None, limit: int, bucket: int) -> None:
    asked_as_they_come(clickhouse, rows, by, limit, bucket)


# Agreement with lists, and what may happen to rows.


def all_of(store: SpanStore, query: TraceQuery) -> list[TraceSummary]:
    found = list[TraceSummary]()
    while True:
        page = store.traces(query)
        found += page.items
        if page.next is None:
            return found
        query = msgspec.structs.replace(query, cursor=page.next)


@pytest.mark.parametrize(
    "filters",
    [{}, {"status": "error"}, {"status": "ok"}, {"model": "a"}, {"session": "s7"}, {"kind": "request"}, {"slower_than_ms": 2000.0},
     {"evaluation": "e1"}, {"evaluation": "*"}, {"search": "run", "model": "b"}, {"since_ns": NOW + 300 * SECOND},
     {"until_ns": NOW + 500 * SECOND, "status": "ok"}, {"filter": "cost>=0.5"}, {"filter": "-model:a tokens>5"},
     {"filter": "(model:a or latency>1h) spans<4 -status:error"}, {"filter": "has:cost session:s7", "status": "ok"}],
    ids=str,
)  # fmt: skip
def test_figures_are_of_the_traces_that_a_list_has(store: SpanStore, filters: dict[str, Any]) -> None:
    rows = some_traces(random.Random(3))
    random.Random(4).shuffle(rows)
    for n in range(0, len(rows), 200):
        write(store, rows[n : n + 200], f"2027-01-{10 + n // 200}")
    times = {"since_ns": NOW - 3000 * SECOND, "until_ns": NOW + 5000 * SECOND} | filters
    listed = all_of(store, TraceQuery(limit=200, **times))
    found = store.figures(FiguresQuery(**times))
    whole = found.whole
    assert whole.traces == len(listed) > 0
    assert whole.errors == sum(t.status == "error" for t in listed)
    assert whole.spans == sum(t.spans for t in listed)
    assert (whole.tokens_in or 0) + (whole.tokens_out or 0) == sum(t.tokens or 0 for t in listed)
    assert (whole.cost or 0) == pytest.approx(sum(t.cost or 0 for t in listed))
    assert whole.latency.p50 == pytest.approx(percentiles(t.duration_ns for t in listed).p50)
    for bucket in found.buckets:
        there = all_of(store, TraceQuery(**times | {"since_ns": max(bucket.start_ns, found.since_ns),
                                                    "until_ns": min(bucket.start_ns + found.bucket_ns, found.until_ns)}))  # fmt: skip
        assert bucket.traces == len(there) > 0, "a point leads to the list of its traces"


def test_a_score_narrows_by_what_it_is_now(store: SpanStore) -> None:
    rows = [span(n, n, MIDNIGHT) for n in (1, 2)]
    rows += [score(10 + n, n, MIDNIGHT + SECOND, "good", 1.0, n, **GIVEN_YES) for n in (1, 2)]
    no = GIVEN_YES | {names.LABEL: "false", "receipt_ns": MIDNIGHT + DAY}
    rows.append(score(11, 1, MIDNIGHT + 2 * SECOND, "good", 0.0, 1, **no))
    write(store, rows)
    query = FiguresQuery(since_ns=MIDNIGHT, until_ns=MIDNIGHT + HOUR, score="good=yes")
    assert store.figures(query).whole.scores == (ScoreFigure("good", 1.0, 1),)
    assert store.figures(msgspec.structs.replace(query, score=None)).whole.scores == (ScoreFigure("good", 0.5, 2),)


def test_what_is_erased_is_in_no_figure(store: SpanStore) -> None:
    write(store, [span(n, n, MIDNIGHT + n, kind="model", cost=0.25) for n in (1, 2, 3)])
    query = FiguresQuery(since_ns=MIDNIGHT, until_ns=MIDNIGHT + HOUR)
    assert store.figures(query).whole.cost == 0.75
    store.forget(Forget("default", (f"{2:032x}",)))
    found = store.figures(query).whole
    assert (found.traces, found.calls, found.cost) == (2, 2, 0.5)


def test_what_is_read_anew_as_calls_is_told_once(store: SpanStore) -> None:
    """An outer and an inner span that a later table of meaning says are one call of a model."""
    write(store, [span(1, 1, MIDNIGHT, kind="span"), span(2, 1, MIDNIGHT, 1, kind="span")])
    query = FiguresQuery(since_ns=MIDNIGHT, until_ns=MIDNIGHT + HOUR)
    assert store.figures(query).whole.calls == 0
    while not store.remap(lambda row: msgspec.structs.replace(row, kind="model", cost=0.5), 5.0).finished:
        pass
    found = store.figures(query).whole
    assert (found.calls, found.cost) == (1, 0.5)


def test_what_nobody_told_is_not_nothing(store: SpanStore) -> None:
    query = FiguresQuery(since_ns=MIDNIGHT, until_ns=MIDNIGHT + HOUR, measures=ALL)
    assert store.figures(query).whole == Figure(), "nothing at all"
    write(store, [span(1, 1, MIDNIGHT, kind="model"), score(2, 1, MIDNIGHT, "good", None)])
    whole = store.figures(query).whole
    assert (whole.cost, whole.unpriced, whole.tokens_in, whole.first_token) == (None, 1, None, None)
    assert whole.scores == (ScoreFigure("good", None, 0, 1),)


def test_a_trace_that_began_before_is_of_before(store: SpanStore) -> None:
    """Its later spans lie in the time that is asked for, in another day's file, and not in a figure of it."""
    write(store, [span(1, 1, MIDNIGHT - SECOND), span(3, 3, MIDNIGHT + SECOND)], "2027-01-15")
    write(store, [span(2, 1, MIDNIGHT + SECOND, 1, kind="model", cost=1.0)])
    found = store.figures(FiguresQuery(since_ns=MIDNIGHT, until_ns=MIDNIGHT + DAY))
    assert (found.whole.traces, found.whole.cost) == (1, None)
    before = store.figures(FiguresQuery(since_ns=MIDNIGHT - DAY, until_ns=MIDNIGHT, bucket_s=86_400))
    assert (before.whole.traces, before.whole.cost) == (1, 1.0)
    assert [b.start_ns for b in before.buckets] == [MIDNIGHT - DAY], "days begin at midnight in UTC"


@pytest.mark.parametrize(
    "wrong",
    [{"by": "weather"}, {"by": "attribute:"}, {"by": "attribute:a'b"}, {"cursor": "1-a"}, {"since_ns": 5, "until_ns": 5}, {"since_ns": -1},
     {"until_ns": 1 << 63}, {"since_ns": 0, "until_ns": 500 * DAY}, {"bucket_s": 1, "since_ns": 0, "until_ns": HOUR}],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_asked_is_said(store: SpanStore, wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as error:
        store.figures(FiguresQuery(**wrong))
    assert error.value.where in wrong or error.value.where in ("bucket_s", "since_ns")
    assert error.value.remedy


@pytest.mark.parametrize(("hours", "seconds"), [(1, 60), (24, 1800), (168, 10_800), (720, 43_200), (24 * 300, 86_400)])
def test_buckets_are_as_long_as_fits(hours: int, seconds: int) -> None:
    plan = planned(FiguresQuery(since_ns=MIDNIGHT, until_ns=MIDNIGHT + hours * HOUR), ())
    assert plan.step == seconds * SECOND
