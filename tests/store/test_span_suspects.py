"""What may be revised or told of twice is never overlooked: in one reading or in parts, whatever comes later, and of whichever time."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from tests.store.plain_figures import innermost
from tests.store.test_spans_stores import NOW, SECOND, some_traces, span

from windlass.core.operations.figures import FiguresQuery
from windlass.store import span_suspects
from windlass.store.segments import Position
from windlass.store.spans import SpanRow
from windlass.store.spans_duckdb import DuckSpans

DAY = 86_400 * SECOND


def found(store: DuckSpans, table: str) -> set[str]:
    column = "hex_span(span_id)" if table == "revised" else "hex_trace(trace_id)"
    return {value for (value,) in store._db.execute(f"SELECT {column} FROM {table}").fetchall()}


def revised(rows: list[SpanRow]) -> set[str]:
    return {id for id, times in Counter(r.span_id for r in rows).items() if times > 1}


def retold(rows: list[SpanRow]) -> set[str]:
    calls = [r for r in rows if r.kind == "model"]
    return {r.trace_id for r in calls} - {r.trace_id for r in calls if len(innermost(of(r, calls))) == len(of(r, calls))}


def of(row: SpanRow, rows: list[SpanRow]) -> list[SpanRow]:
    return [r for r in rows if r.trace_id == row.trace_id]


@pytest.mark.parametrize("at_once", [10**6, 50], ids=["whole", "in parts"])
def test_none_is_overlooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(span_suspects, "AT_ONCE", at_once)
    rnd, store = random.Random(5), DuckSpans(tmp_path)
    rows = some_traces(rnd)
    again = [span(r.trace_id, int(r.span_id, 16), r.parent, r.start_ns, digest=f"f{n:x}", kind=r.kind) for n, r in enumerate(rows[::9])]
    told = [span(r.trace_id, 9000 + n, None, r.start_ns, kind="model", response=f"r{n // 2}") for n, r in enumerate(rows[:40])]
    rows = [*rows, *again, *told]
    rnd.shuffle(rows)
    for n in range(0, len(rows), 100):
        store.write(f"2027-01-{15 + n // 100 % 3}", rows[n : n + 100], "w", Position(1, n + 1))
        store.figures(FiguresQuery(since_ns=NOW - DAY, until_ns=NOW + DAY))
        there = rows[: n + 100]
        assert revised(there) <= found(store, "revised") and retold(there) <= found(store, "doubtful")
    assert found(store, "revised") == revised(rows), "only what may be"
    store.close()


def test_an_older_time_is_looked_through_when_it_is_asked_for(tmp_path: Path) -> None:
    store = DuckSpans(tmp_path)
    for n, (trace, at) in enumerate((("a", NOW - 9 * DAY), ("a", NOW - 9 * DAY), ("b", NOW))):
        row = span(trace * 32, 1 + n // 2, None, at, digest=f"{n}", kind="model", cost=1.0)
        store.write("2027-01-15", [row], "w", Position(1, n + 1))
    store.figures(FiguresQuery(since_ns=NOW - DAY, until_ns=NOW + DAY))
    assert found(store, "revised") == set()
    whole = store.figures(FiguresQuery(since_ns=NOW - 10 * DAY, until_ns=NOW + DAY)).whole
    assert (whole.spans, whole.cost) == (2, 2.0)
    later = store.figures(FiguresQuery(since_ns=NOW - SECOND, until_ns=NOW + DAY)).whole
    assert (later.traces, later.cost) == (1, 1.0)
    store.close()
