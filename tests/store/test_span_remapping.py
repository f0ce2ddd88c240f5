"""Spans read anew: every row at its place, as it is read now; others are answered meanwhile, and nothing that comes in is lost."""

from __future__ import annotations

import random

import msgspec
import pytest
from tests.store.test_span_erasing import arrived
from tests.store.test_spans_stores import NOW, all_pages, some_traces, span

from windlass.core.operations.traces import Remapped, TraceQuery
from windlass.store.segments import Position
from windlass.store.spans import Forget, SpanRow, SpanStore


def dearer(row: SpanRow) -> SpanRow:
    return msgspec.structs.replace(row, cost=None if row.cost is None else row.cost * 2, session=f"of {row.session}", tags=["new"])


def all_of(store: SpanStore, seconds: float = 60.0) -> Remapped:
    while not (told := store.remap(dearer, seconds)).finished:
        pass
    return told


def test_every_row_is_read_anew_in_its_place(spans) -> None:
    rows, store = some_traces(random.Random(1)), spans()
    for row in rows:
        row.release = "release/answer@sha256:aa"
    for n in range(0, len(rows), 150):
        store.write(f"2027-01-{1 + n // 300:02}", rows[n : n + 150], "w", Position(1, n))
    before, order = all_pages(store, TraceQuery()), arrived(store)
    told = all_of(store)
    assert (told.done, told.total) == (len(rows), len(rows))
    assert told.changed["session"] == told.changed["tags"] == len(rows)
    assert told.changed["cost"] == sum(row.cost is not None for row in rows) and "model" not in told.changed
    again = [(id, start, n, None if cost is None else cost * 2, tokens, status) for id, start, n, cost, tokens, status in before]
    assert all_pages(store, TraceQuery()) == again
    assert arrived(store) == order, "a monitor goes on from where it was"
    session = f"of {rows[0].session}"
    fits = {r.trace_id for r in rows if r.session == rows[0].session and r.evaluation is None}
    assert {t[0] for t in all_pages(store, TraceQuery(session=session))} == fits
    assert store.write("2027-01-01", rows[:5], "w", Position(1, 10**6)) == 0, "what comes again is known"
    assert all_of(store).changed["cost"] == told.changed["cost"], "asked again it begins anew"
    store.close()


def test_others_write_and_erase_meanwhile(spans, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, store = some_traces(random.Random(2)), spans()
    monkeypatch.setattr("windlass.store.span_remapping.SLICE", 50)
    monkeypatch.setattr("windlass.store.span_remapping_clickhouse.SLICE", 50)
    store.write("2027-01-01", rows[:200], "w", Position(1, 1))
    store.write("2027-01-02", rows[200:], "w", Position(1, 2))
    told = store.remap(dearer, 0.0)
    assert not told.finished and 0 < told.done < len(rows)
    gone = {rows[0].trace_id, rows[-1].trace_id}
    store.forget(Forget("default", tuple(gone)))
    store.remap(dearer, 0.0)
    late = [span("ab" * 16, 10**6, None, NOW, cost=1.0, session="s"), span("cd" * 16, 10**6 + 1, None, NOW + 1, session="s")]
    store.write("2027-01-01", late, "w", Position(1, 3))
    assert len(all_pages(store, TraceQuery())) > 0
    told = all_of(store, 0.0)
    assert told.finished
    kept = [r for r in [*rows, *late] if r.trace_id not in gone and r.evaluation is None]
    found = {t[0]: t[2] for t in all_pages(store, TraceQuery())}
    assert found == {trace: sum(r.trace_id == trace for r in kept) for trace in {r.trace_id for r in kept}}
    assert {t[0] for t in all_pages(store, TraceQuery(session="of s"))} >= {"cd" * 16}
    assert store.positions() == {"w": Position(1, 3)}
    store.close()
    again = spans()
    assert {t[0]: t[2] for t in all_pages(again, TraceQuery())} == found
    again.close()
