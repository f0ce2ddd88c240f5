"""The ledger of what was received: what a record of the journal says of it, what a projector enters, and how it is told.

Every item is entered once as received, as it is counted in the record, and once as what came of it; so an item that is lost between the
two is seen. What was refused is in records of its own, so the journal alone says what everything else is held against.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.ledger import LedgerLine, LedgerPage, LedgerQuery
from windlass.store.journal import JournalReader
from windlass.store.points import PointRow, Row, apart
from windlass.store.segments import Position, Record
from windlass.store.span_ledger import BEGAN, DAY_HOURS, GONE, HOUR_NS, LONGEST, OTHERS, SOURCES, Account, Entry
from windlass.store.spans import Forget, SpanStore
from windlass.traces.envelope import LOGS, OTLP, REFUSED, SIGNALS, SPANS, erased_from, refusals_of, unseal
from windlass.traces.otlp_values import attributes_of

HOURS_KNOWN = 100  # of which the sources are remembered
MOST = 20_000  # lines of a page
LOOKED_AT = 8_000_000  # bytes of what waits


class _Service(msgspec.Struct):
    """Of a span of ours, who it is of; the same where it does not say as in `core.span.Span`."""

    service: str = "windlass"


class Key(NamedTuple):
    project: str
    hour: int
    source: str
    signal: str


_service = attrgetter("service")
_of_point = attrgetter("project", "receipt_ns", "service")
_of_span = attrgetter("project", "receipt_ns", "service", "severity", "joined")
_services = msgspec.msgpack.Decoder(list[_Service])
Counts = Counter[tuple[Key, str]]


class Said(NamedTuple):
    """What a record says by itself: how many items it holds and how many were erased from it, by source; or what was refused."""

    project: str
    hour: int
    signal: str
    items: Mapping[str, int]
    erased: Mapping[str, int]
    refused: Sequence[tuple[Key, str, int]] = ()


def said_by(record: Record) -> Said | None:
    """None for a record whose format nobody here knows. One that cannot be read counts as one item of no source."""
    try:
        kind, project, data = unseal(record.payload)
    except Invalid:
        return None
    hour = record.receipt_ns // HOUR_NS
    if kind == REFUSED:
        refused = [(Key(project, r.hour, r.source[:LONGEST], r.signal), r.what, r.items) for r in refusals_of(data)]
        return Said(project, hour, "", {}, {}, refused)
    try:
        items = items_of(kind, data)
    except Exception:  # no parser's errors are all of one kind, and an item that nobody can read is counted too
        items = Counter({"": 1})
    return Said(project, hour, SIGNALS[kind], items, erased_from(record.payload))


def items_of(kind: int, data: bytes) -> Counter[str]:
    """How many spans, log records or points a record's data holds, by source. Raises what reading it raises."""
    found: Counter[str] = Counter()
    if kind == SPANS:
        found.update(s.service[:LONGEST] for s in _services.decode(data))
    elif kind == OTLP:
        for of in ExportTraceServiceRequest.FromString(data).resource_spans:
            found[source_of(of.resource)] += sum(len(scope.spans) for scope in of.scope_spans)
    elif kind == LOGS:
        for told in ExportLogsServiceRequest.FromString(data).resource_logs:
            found[source_of(told.resource)] += sum(len(scope.log_records) for scope in told.scope_logs)
    else:
        for measured in ExportMetricsServiceRequest.FromString(data).resource_metrics:
            found[source_of(measured.resource)] += sum(points_of(m) for scope in measured.scope_metrics for m in scope.metrics)
    return found


def points_of(metric: Any) -> int:
    """How many points a metric of OTLP has."""
    kind = metric.WhichOneof("data")
    return len(getattr(metric, kind).data_points) if kind else 0


def source_of(resource: Any) -> str:
    """What a resource of OTLP calls its service, as a row of its spans does."""
    named = [a for a in resource.attributes if a.key == "service.name"]
    return str(attributes_of(named)["service.name"])[:LONGEST] if named else ""


class Book:
    """What a projector enters. `known` says which sources an hour of a project has already."""

    def __init__(self, known: Callable[[str, int], Iterable[str]]) -> None:
        self._known = known
        self._sources: OrderedDict[tuple[str, int], set[str]] = OrderedDict()

    def key(self, project: str, hour: int, source: str, signal: str) -> Key:
        """Where something is entered. Whoever sends from ever new sources fills no table."""
        if (sources := self._sources.get((project, hour))) is None:
            sources = self._sources[project, hour] = set(self._known(project, hour))
            if len(self._sources) > HOURS_KNOWN:
                self._sources.popitem(last=False)
        if source not in sources:
            if len(sources) >= SOURCES:
                return Key(project, hour, OTHERS, signal)
            sources.add(source)
        return Key(project, hour, source, signal)

    def page(self) -> Page:
        return Page(self)


class Page:
    """What is entered with one write: of records, and of the rows that were made of them."""

    def __init__(self, book: Book) -> None:
        self.rows: list[Row] = []
        self.counts: Counts = Counter()
        self._book = book

    def read(self, record: Record, made: Sequence[Row] | None) -> None:
        """Enter a record and the rows that were made of it; None where it could not be read."""
        if (said := said_by(record)) is None:
            return
        for key, what, items in said.refused:
            self.counts[self._book.key(*key), what] += items
        left = Counter(said.items)
        for source, items in said.items.items():
            self.counts[self._book.key(said.project, said.hour, source, said.signal), "received"] += items
        for source, items in said.erased.items():
            key = self._book.key(said.project, said.hour, source, said.signal)
            self.counts[key, "received"] += items
            self.counts[key, "erased"] += items
        for service, rows in Counter(map(_service, made or ())).items():
            left[service[:LONGEST]] -= rows
        self.rows += made or ()
        fate = "unreadable" if made is None else ""  # what else has no row is lost, and is seen
        for source, items in left.items():
            if fate and items > 0:
                self.counts[self._book.key(said.project, said.hour, source, said.signal), fate] += items

    def of(self, row: Row) -> Key:
        signal = "metrics" if isinstance(row, PointRow) else "traces" if row.severity is None else "logs"
        return self._book.key(row.project, row.receipt_ns // HOUR_NS, row.service[:LONGEST], signal)

    def account(self, rows: Sequence[Row], counts: Counts) -> Account:
        """What is entered with a write of these rows: which were new, which were there, and these counts."""

        def entries(new: Sequence[Row]) -> list[Entry]:
            came, indexed = self._sent(rows), self._sent(new)
            found = Counter(counts)
            found.update({(key, "again"): items - indexed[key] for key, items in came.items()})
            found.update({(key, "indexed"): items for key, items in indexed.items()})
            return [Entry(*key, what, items) for (key, what), items in found.items() if items]

        return entries

    def _sent(self, rows: Sequence[Row]) -> Counter[Key]:
        """How many of these rows somebody sent: of revisions nobody did."""
        spans, points = apart(rows)
        found = Counter[Key]()
        for (project, came, service, severity, joined), items in Counter(map(_of_span, spans)).items():
            if not joined:
                signal = "traces" if severity is None else "logs"
                found[self._book.key(project, came // HOUR_NS, service[:LONGEST], signal)] += items
        for (project, came, service), items in Counter(map(_of_point, points)).items():
            found[self._book.key(project, came // HOUR_NS, service[:LONGEST], "metrics")] += items
        return found


class Lines(NamedTuple):
    """Lines of a project; the last hour that was there before the ledger began; and the hours that are kept no longer."""

    lines: dict[Key, LedgerLine]
    began: int | None
    gone: frozenset[int]


def lines_of(entries: Iterable[Entry], project: str) -> Lines:
    found: dict[Key, LedgerLine] = {}
    began: int | None = None
    gone = set[int]()
    for entry in entries:
        if entry.what == BEGAN:
            began = max(entry.hour, began or entry.hour)
            continue
        if entry.what == GONE:
            gone.update(range(entry.hour, entry.hour + DAY_HOURS))
            continue
        if entry.project != project:
            continue
        key = Key(*entry[:4])
        if (line := found.get(key)) is None:
            line = found[key] = LedgerLine(entry.hour * HOUR_NS, entry.source, entry.signal, refused={}, turned_away={})
        enter(line, entry.what, entry.items)
    return Lines(found, began, frozenset(gone))


def enter(line: LedgerLine, what: str, items: int) -> None:
    """Add to a figure of a line. What is refused was received."""
    of, _, reason = what.partition(":")
    if reason:
        reasons = line.turned_away if of == "turned_away" else line.refused
        reasons[reason] = reasons.get(reason, 0) + items
        line.received += items if of == "refused" else 0
    else:
        setattr(line, of, getattr(line, of) + items)


def page_of(query: LedgerQuery, read: Callable[[str, int], Iterable[Entry]]) -> LedgerPage:
    """The newest lines, of what a ledger says of a project from an hour on."""
    now = now_ns() // HOUR_NS
    since = now - query.hours + 1 if query.hours else 0
    found, began, _ = lines_of(read(query.project, since), query.project)
    lines = sorted(found.values(), key=lambda line: (-line.hour_ns, line.source, line.signal))
    begins, begun = since * HOUR_NS if query.hours else None, (began + 1) * HOUR_NS if began is not None else None
    return LedgerPage(tuple(lines[:MOST]), begins, begun, len(lines) > MOST)


def erased_entries(asked: Forget, store: SpanStore, book: Book) -> list[Entry]:
    """What moves log records and points of before they had rows from kept to erased, so that as many are erased as the journal says,
    however often it is asked. What had a row is entered with it, and what came again stays so."""
    said: Counter[Key] = Counter()
    for hour, source, signal, items in asked.erased:
        said[book.key(asked.project, hour, source, signal)] += items
    if not said:
        return []
    lines, _, gone = lines_of(store.ledger(asked.project, min(key.hour for key in said)), asked.project)
    more = {key: min(items - lines[key].erased, lines[key].kept) for key, items in said.items() if key in lines and key.hour not in gone}
    return [Entry(*key, what, n if what == "erased" else -n) for key, n in more.items() if n > 0 for what in ("kept", "erased")]


def waiting_in(reader: JournalReader, writer: str, at: Position, book: Book) -> Iterator[Entry]:
    """What a journal has after a position, as far as it is looked at."""
    if not reader.after(writer, at):
        return
    for record in reader.read(writer, at, LOOKED_AT):
        if (said := said_by(record)) is None:
            continue
        for source, items in said.items.items():
            key = book.key(said.project, said.hour, source, said.signal)
            yield from (Entry(*key, what, items) for what in ("received", "waiting"))
