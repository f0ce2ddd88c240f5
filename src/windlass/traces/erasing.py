"""Erasure from traces: the journal's records, and the tables that are made of them. A span goes with its trace; of logs and metrics
`erasing_statements` says what goes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from windlass.core.errors import Invalid
from windlass.core.operations.erasures import Affected, Left, Place
from windlass.core.operations.ledger import LedgerQuery
from windlass.govern.erasure import Subject
from windlass.store.journal import Journal, JournalReader
from windlass.store.segments import Position, Record, rewrite
from windlass.store.span_erasing import pattern_of
from windlass.store.span_ledger import HOUR_NS, OTHERS
from windlass.store.spans import CommonQuery, Forget, MentionQuery, Spans, Standing, SubjectQuery
from windlass.traces.envelope import ERASED, LOGS, METRICS, OTLP, REFUSED, SIGNALS, erased_from, seal_rest, unseal
from windlass.traces.erasing_statements import STATEMENTS, alone, sessions_of, their_trace, theirs, without

PART = 10_000  # traces in one question


class _Id(msgspec.Struct):
    """Of a span, what says whose it is."""

    trace_id: str


_raw = msgspec.msgpack.Decoder(list[msgspec.Raw])
_id = msgspec.msgpack.Decoder(_Id)
_pack = msgspec.msgpack.Encoder()


class TraceRoom:
    """`Room` of traces. `journal` is this process's own: what it was given comes to the disk first."""

    def __init__(self, spans: Spans, journal: Journal, folder: Path) -> None:
        self._spans = spans
        self._journal = journal
        self._folder = folder

    async def find(self, subject: Subject) -> Sequence[Place]:
        await self._journal.settle()
        pattern = pattern_of(subject.spelled) if subject.mentions and subject.spelled else ""
        theirs_too, others = await asyncio.to_thread(self._sessions, subject)
        known = tuple(sorted((subject.sessions | theirs_too) - others))
        found = await self._spans.theirs(SubjectQuery(subject.project, tuple(subject.names), tuple(sorted(subject.traces)), pattern, known))
        subject.traces.update(found.traces)
        subject.sessions = set(found.sessions) - others
        for text in found.said:
            subject.heard(text)
        if texts := subject.texts:
            mine = tuple(sorted(subject.traces))
            subject.are_common(await self._spans.common(CommonQuery(subject.project, mine, tuple(texts))))
        said = await asyncio.to_thread(self._said, subject)
        return [Place(name, n) for name, n in (("traces", len(found.traces)), *said.items()) if n]

    def _sessions(self, subject: Subject) -> tuple[set[str], set[str]]:
        """Sessions of which log records or points say that they are theirs, and those of which some say that they are another's."""
        mine, others = set[str](), set[str]()
        for kind, data in self._stated(subject.project):
            for session, is_theirs in sessions_of(kind, data, subject):
                (mine if is_theirs else others).add(session)
        return mine, others

    def _stated(self, project: str) -> Iterator[tuple[int, bytes]]:
        """Records of logs and metrics, each with its kind."""
        for payload in self._records():
            if payload[:1] in _STATED and (read := _read(payload, project)) and read[0] in STATEMENTS:
                yield read

    def _said(self, subject: Subject) -> dict[str, int]:
        """How many log records and points of metrics are theirs. A trace of which a log says that it was theirs is."""
        found = dict.fromkeys(STATEMENTS.values(), 0)
        for kind, data in self._stated(subject.project):
            for item in theirs(kind, data, subject):
                found[STATEMENTS[kind]] += 1
                if trace := their_trace(item, subject):
                    subject.traces.add(trace)
        return found

    def _alone(self, subject: Subject) -> set[str]:
        """What stands for the traces of their log records that are of none."""
        return {trace for kind, data in self._stated(subject.project) if kind == LOGS for trace in alone(data, subject)}

    def _records(self) -> Iterator[bytes]:
        yield from (record.payload for record in self._read_all())

    def _read_all(self) -> Iterator[Record]:
        reader = JournalReader(self._folder)
        for writer in reader.writers():
            at, end = Position(0, 0), reader.end(writer)
            while at < end and (records := reader.read(writer, at)):
                at = records[-1].position
                yield from records

    async def erase(self, subject: Subject) -> Sequence[Place]:
        """The journal before tables: what is projected is made of it, and could be again. But of log records of no trace the journal alone
        says which they are, so their rows go before and after."""
        statements, spans = sorted(await asyncio.to_thread(self._alone, subject)), 0
        for start in range(0, len(statements), PART):
            spans += await self._spans.forget(Forget(subject.project, tuple(statements[start : start + PART])))
        records = await asyncio.to_thread(self._rewrite, subject)
        erased, points = await asyncio.to_thread(self._erased, subject.project)
        traces = sorted(subject.traces | set(statements))
        for start in range(0, max(len(traces), bool(erased or points)), PART):
            last = start + PART >= len(traces)  # once all rows are gone that were made of it
            some = tuple(traces[start : start + PART])
            spans += await self._spans.forget(Forget(subject.project, some, *((erased, points) if last else ())))
        return [Place(name, n) for name, n in (("spans", spans), ("records of the journal", records)) if n]

    def _rewrite(self, subject: Subject) -> int:
        change = _without(subject)
        return sum(rewrite(self._folder / writer, change) for writer in JournalReader(self._folder).writers())

    def _erased(self, project: str) -> tuple[tuple[tuple[int, str, str, int], ...], tuple[Standing, ...]]:
        """By hour, source and signal how many log records and points are erased from the journal; and of each time at which points came
        that are, which stand. Read from the journal, so it is the same when an erasure that was cut off is done again."""
        found: Counter[tuple[int, str, str]] = Counter()
        standing: dict[int, set[str]] = {}
        for record in self._read_all():
            if record.payload[:1] == _ERASED and (read := _read(record.payload, project)) and read[0] in STATEMENTS:
                for source, items in erased_from(record.payload).items():
                    found[record.receipt_ns // HOUR_NS, source, SIGNALS[read[0]]] += items
                if read[0] == METRICS:
                    standing.setdefault(record.receipt_ns, set())
        for record in self._read_all() if standing else ():
            if record.receipt_ns in standing and (read := _read(record.payload, project)) and read[0] == METRICS:
                standing[record.receipt_ns].update(_digests(read[1]))
        counts = tuple((*key, items) for key, items in found.items())
        return counts, tuple(Standing(receipt, tuple(sorted(digests))) for receipt, digests in standing.items())

    async def left(self, subject: Subject) -> Sequence[Left]:
        if not subject.spelled:
            return []
        spans = await self._spans.mentions(MentionQuery(subject.project, pattern_of(subject.spelled)))
        records = await asyncio.to_thread(self._standing, subject)
        why = "traces of others, or newer ones, in which a name stands: erase with mentions"
        found = [Left(name, n, why) for name, n in (("spans", spans), ("records of the journal", records)) if n]
        ledger = await self._spans.ledger(LedgerQuery(subject.project, 0))
        if sources := {line.source for line in ledger.items if subject.names_them(line.source)}:
            found.append(
                Left("sources of the ledger", len(sources), "names of services, in which a name stands: they count items, and stay")
            )
        return found

    def _standing(self, subject: Subject) -> int:
        """How many records of the project hold a name."""
        return sum(
            _read(payload, subject.project) is not None and subject.names_them(payload.decode("utf-8", "replace"))
            for payload in self._records()
        )

    async def affected(self, subject: Subject) -> Sequence[Affected]:
        return ()


_ERASED = bytes([ERASED])
_STATED = frozenset(bytes([kind]) for kind in (*STATEMENTS, ERASED))


def _read(payload: bytes, project: str) -> tuple[int, bytes] | None:
    """Format and data of a record, where it is of this project and can be read."""
    try:
        kind, name, data = unseal(payload)
    except Invalid:
        return None
    return (kind, data) if name == project else None


def _without(subject: Subject) -> Callable[[bytes], bytes | None]:
    """What makes of a record one without what is theirs; None where nothing is."""

    def change(payload: bytes) -> bytes | None:
        if (read := _read(payload, subject.project)) is None:
            return None
        kind, data = read
        if kind == REFUSED:  # counts, and names of services
            return None
        if kind in STATEMENTS:
            rest = without(kind, data, subject)
        elif not subject.traces:
            return None
        else:
            rest = _otlp_rest(data, subject.traces) if kind == OTLP else _rest(data, subject.traces)
        return None if rest is None else seal_rest(subject.project, kind, rest, len(payload), _gone(payload, kind, data, rest, subject))

    return change


def _gone(payload: bytes, kind: int, data: bytes, rest: bytes, subject: Subject) -> Mapping[str, int]:
    """How many items of a record are erased, now and before, by source; of one whose name is theirs, by none."""
    from windlass.traces.ledger import items_of  # with OpenTelemetry's formats, which nobody else needs

    found = Counter(erased_from(payload))
    found.update(items_of(kind, data) - items_of(kind, rest))
    named = [source for source in found if subject.names_them(source)]
    for source in named:
        found[OTHERS] += found.pop(source)
    return found


def _digests(data: bytes) -> Iterator[str]:
    """Of the points of a record's data."""
    from windlass.traces.points import points  # with OpenTelemetry's formats

    return (point.digest for point in points("", 0, data))


def _rest(data: bytes, traces: set[str]) -> bytes | None:
    spans = _raw.decode(data)
    kept = [s for s in spans if _id.decode(s).trace_id not in traces]
    return None if len(kept) == len(spans) else _pack.encode(kept)


def _otlp_rest(data: bytes, traces: set[str]) -> bytes | None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(data)
    found = False
    for resource in list(request.resource_spans):
        for scope in list(resource.scope_spans):
            kept = [s for s in scope.spans if s.trace_id.hex() not in traces]
            if len(kept) == len(scope.spans):
                continue
            found = True
            whole = [type(s).FromString(s.SerializeToString()) for s in kept]
            del scope.spans[:]
            scope.spans.extend(whole)
            if not whole:
                resource.scope_spans.remove(scope)
        if not resource.scope_spans:
            request.resource_spans.remove(resource)
    return request.SerializeToString() if found else None
