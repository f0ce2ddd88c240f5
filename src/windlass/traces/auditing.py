"""The proof of the ledger: the journal read again, a slice at a time, and what the ledger and the tables say held against it.

Every span of the journal must be in the tables of its day, saying what it said when it came; every figure of the ledger must be what is
counted again. Nothing is held in memory but figures by hour and source, and the rows of one slice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import msgspec

from windlass.core.operations.ledger import AuditedLine, LedgerAudited, LedgerLine
from windlass.core.span import LOG, Span
from windlass.govern.prices import Prices
from windlass.store.journal import JournalReader
from windlass.store.points import SAID, PointRow, Row
from windlass.store.segments import Position, Record
from windlass.store.span_ledger import HOUR_NS, LONGEST, OTHERS, day_of
from windlass.store.span_long import as_kept
from windlass.store.span_remapping import CHANGING
from windlass.store.spans import SpanRow, SpanStore
from windlass.traces.envelope import REFUSED, SIGNALS, unseal
from windlass.traces.ledger import MOST, Key, enter, lines_of, said_by
from windlass.traces.log_records import event_of
from windlass.traces.mapping import again, rows, span_in

SLICE = 2_000_000  # bytes of the journal
AT_ONCE = 1_000  # traces in one question
POINTS_AT_ONCE = 10_000
PLAIN = ("name", "parent", "start_ns", "end_ns", "status", "status_message", "service", "attributes", "input", "output", "events", "links")
_json = msgspec.json.Encoder(order="sorted").encode


class Auditing:
    """One audit of a project, of everything up to `ends`, where the projector is."""

    def __init__(
        self, project: str, reader: JournalReader, store: SpanStore, ends: Mapping[str, Position], prices: Prices | None
    ) -> None:  # fmt: skip
        self._project = project
        self._reader = reader
        self._store = store
        self._ends = dict(ends)
        self._prices = prices
        # as they are now: what comes in meanwhile is after the ends
        self._ledger, self._began, self._gone = lines_of(store.ledger(project, 0), project)
        self._sources = {(key.hour, key.source) for key in self._ledger}
        self._rows: Counter[tuple[int, str]] = Counter()
        for hour, service, count in store.rows_by_hour(project):
            self._rows[hour, self._source(hour, service)] += count
        self._left = [w for w in reader.writers() if w in ends]
        self._at = Position(0, 0)
        self._total = sum(reader.after(w, Position(0, 0)) - reader.after(w, ends[w]) for w in self._left)
        self._done, self._finished = 0, False
        self._journal: dict[Key, LedgerLine] = {}
        self._missing: Counter[Key] = Counter()
        self._changed: Counter[Key] = Counter()
        self._otherwise: Counter[Key] = Counter()

    def _source(self, hour: int, service: str) -> str:
        return service if (hour, service) in self._sources else OTHERS

    def step(self) -> bool:
        """Read one slice. Returns whether there is nothing left."""
        if not self._left:
            self._finished = True
            return True
        writer = self._left[0]
        records = [r for r in self._reader.read(writer, self._at, SLICE, self._ends[writer]) if r.position <= self._ends[writer]]
        if not records:
            self._left.pop(0)
            self._at = Position(0, 0)
            self._done = sum(
                self._reader.after(w, Position(0, 0)) - self._reader.after(w, end) for w, end in self._ends.items() if w not in self._left
            )
            return False
        wanted: dict[str, list[tuple[Key, Row]]] = {}
        for record in records:
            self._count(record, wanted)
        for day, made in wanted.items():
            self._hold(day, [(key, row) for key, row in made if isinstance(row, SpanRow)])
            self._hold_points(day, [(key, row) for key, row in made if isinstance(row, PointRow)])
        self._done += self._reader.after(writer, self._at) - self._reader.after(writer, records[-1].position)
        self._at = records[-1].position
        return False

    def _count(self, record: Record, wanted: dict[str, list[tuple[Key, Row]]]) -> None:
        """Count what a record says; its rows are wanted of the tables."""
        said = said_by(record)
        if said is None or said.project != self._project:
            return
        if said.hour in self._gone:  # no longer in the tables, and not for long in the journal
            return
        for key, what, items in said.refused:
            if key.hour in self._gone:
                continue
            enter(self._line(key.hour, key.source, key.signal), what, items)
        for of, figures in (("indexed", said.items), ("erased", said.erased)):
            for source, items in figures.items():
                enter(self._line(said.hour, source, said.signal), of, items)
        kind, project, data = unseal(record.payload)
        if kind == REFUSED:
            return
        day = day_of(said.hour)
        try:
            made = list(rows(kind, project, record.receipt_ns, data, self._prices))
        except Exception:  # as for the projector: it is kept, and no row is made of it
            for source, items in said.items.items():
                self._missing[self._key(said.hour, source, said.signal)] += items
            return
        wanted.setdefault(day, []).extend((self._key(said.hour, row.service, said.signal), row) for row in made)

    def _key(self, hour: int, source: str, signal: str) -> Key:
        return Key(self._project, hour, self._source(hour, source[:LONGEST]), signal)

    def _line(self, hour: int, source: str, signal: str) -> LedgerLine:
        key = self._key(hour, source, signal)
        if (line := self._journal.get(key)) is None:
            line = self._journal[key] = LedgerLine(hour * HOUR_NS, key.source, signal, refused={}, turned_away={})
        return line

    def _hold(self, day: str, made: Sequence[tuple[Key, SpanRow]]) -> None:
        """Hold rows that the journal makes against those that a day has."""
        traces = list(dict.fromkeys(row.trace_id for _, row in made))
        for start in range(0, len(traces), AT_ONCE):
            some = set(traces[start : start + AT_ONCE])
            there: dict[tuple[str, str], list[SpanRow]] = {}
            for row in self._store.held(day, self._project, sorted(some)):
                there.setdefault((row.trace_id, row.span_id), []).append(row)
            for key, row in made:
                if row.trace_id in some:
                    self._compare(key, row, there.get((row.trace_id, row.span_id), []), day)

    def _hold_points(self, day: str, made: Sequence[tuple[Key, PointRow]]) -> None:
        """Hold points that the journal makes against those that a day has. One that came again has the row of the first time."""
        there: dict[str, list[PointRow]] = {}
        digests = list(dict.fromkeys(row.digest for _, row in made))
        for start in range(0, len(digests), POINTS_AT_ONCE):
            for row in self._store.held_points(day, self._project, digests[start : start + POINTS_AT_ONCE]):
                there.setdefault(row.digest, []).append(row)
        for key, row in made:
            if not (found := there.get(row.digest)):
                self._missing[key] += 1
            elif not any(_says(f) == _says(row) for f in found):
                self._changed[key] += 1

    def _compare(self, key: Key, row: SpanRow, there: Sequence[SpanRow], day: str) -> None:
        same = [found for found in there if _says_the_same(found, row)]
        if there and not same:
            same = [told for found in there if found.events != row.events and _says_the_same(told := self._untold(found, day), row)]
        if not there:
            self._missing[key] += 1
        elif not same:
            self._changed[key] += 1
        elif all(any(as_kept(c, getattr(found, c)) != as_kept(c, getattr(row, c)) for c in CHANGING) for found in same):
            self._otherwise[key] += 1

    def _untold(self, row: SpanRow, day: str) -> SpanRow:
        """A row without what log records told of its span, of the days before and after too."""
        span, around = span_in(row), (date.fromisoformat(day) + timedelta(days=n) for n in (-1, 0, 1))
        rows = (r for near in around for r in self._store.held(near.isoformat(), row.project, [row.trace_id]))
        told = [event_of(span_in(r)) for r in rows if r.kind == LOG and r.parent == row.span_id]
        span.events = [e for e in span.events if e not in told]
        return again(row, self._prices, span)

    def told(self) -> LedgerAudited:
        told = LedgerAudited(min(self._done, self._total), self._total, self._finished)
        if self._finished:
            lines = [self._judged(key) for key in sorted({*self._ledger, *self._journal, *self._only_rows()}, key=_newest)]
            lines.sort(key=lambda line: not line.problems)
            told.items, told.lines = tuple(lines[:MOST]), len(lines)
            told.balanced = sum(not line.problems for line in lines)
            told.damaged = sum(d.skipped for d in self._reader.damages.values())
        return told

    def _only_rows(self) -> list[Key]:
        """Where there are rows of which neither the ledger nor the journal says anything."""
        known = {(key.hour, key.source) for key in (*self._ledger, *self._journal)}
        return [Key(self._project, hour, source, "traces") for hour, source in self._rows if (hour, source) not in known]

    def _judged(self, key: Key) -> AuditedLine:
        nothing = LedgerLine(key.hour * HOUR_NS, key.source, key.signal)
        ledger, journal = self._ledger.get(key, nothing), self._journal.get(key, nothing)
        before = self._began is not None and key.hour <= self._began
        items, refused, count = journal.indexed, sum(journal.refused.values()), self._rows[key.hour, key.source]
        indexed = sum(line.indexed for k, line in self._ledger.items() if k[:3] == key[:3])
        problems: list[str] = []
        if key.hour in self._gone:
            before = True
            if ledger.missing:
                problems.append(f"of {ledger.received:,} received the ledger does not say what came of {ledger.missing:,}")
        elif not before:
            if (received := ledger.received - sum(ledger.refused.values())) != items + journal.erased:
                problems.append(f"the journal holds {items + journal.erased:,}, the ledger says that {received:,} were received")
            if ledger.missing:
                problems.append(f"of {ledger.received:,} received the ledger does not say what came of {ledger.missing:,}")
            if ledger.refused != journal.refused or ledger.turned_away != journal.turned_away:
                problems.append("the journal says otherwise what was refused")
        signals = [signal for signal in SIGNALS.values() if any((*key[:3], signal) in told for told in (self._ledger, self._journal))]
        if count != indexed and key.signal == (signals or ["traces"])[0]:  # said once of an hour and source
            problems.append(f"the tables hold {count:,} rows, the ledger says {indexed:,}")
        # records of no trace, and points, of which nothing was known but that they are kept, before they had rows
        rowless = ledger.unreadable + (ledger.kept if key.signal != "traces" else 0)
        if (lost := self._missing[key] - (0 if before else rowless)) and not (before and lost < 0):
            problems.append(
                f"not in the tables, though the journal holds them: {lost:,}" if lost > 0 else f"no longer unreadable: {-lost:,}"
            )
        if self._changed[key]:
            problems.append(f"saying something else in the tables than when they came: {self._changed[key]:,}")
        return AuditedLine(
            nothing.hour_ns, key.source, key.signal, items, journal.erased, refused, count, self._otherwise[key], tuple(problems), before
        )


def _newest(key: Key) -> tuple[int, str, str]:
    return -key.hour, key.source, key.signal


def _says_the_same(found: SpanRow, row: SpanRow) -> bool:
    """Whether a row of the tables says what came, whichever tables of meaning read it. Rows of the first format have no resource."""
    if found.resource is not None and found.resource != row.resource:
        return False
    return all(getattr(found, c) == getattr(row, c) for c in PLAIN) or _raw(found) == _raw(row)


def _says(row: PointRow) -> tuple[Any, ...]:
    return tuple(getattr(row, column) for column in SAID)


def _raw(row: SpanRow) -> Any:
    """What a row says, as it came."""
    span = span_in(row)
    return _json({name: getattr(span, name) for name in Span.__struct_fields__ if name != "resource"})
