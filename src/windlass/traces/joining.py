"""What log records tell of a span, put into its row: contents of messages, as newer conventions send them.

Spans and log records come by different requests, in either order. Whichever comes second finds the other in the same batch or in the
store; a span that is there already gets a newer revision. Said twice, it is said once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from windlass.core.span import LOG, Span, SpanEvent
from windlass.govern.prices import Prices
from windlass.store.spans import SpanRow, SpanStore
from windlass.traces.conventions.agents import agents
from windlass.traces.conventions.tables import tables
from windlass.traces.log_records import event_of
from windlass.traces.mapping import again, span_in


class Key(NamedTuple):
    project: str
    trace_id: str
    span_id: str


def joined(rows: Sequence[SpanRow], store: SpanStore, prices: Prices | None) -> list[SpanRow]:
    """These rows with what log records among them, and in the store, tell of spans; and newer revisions of spans of the store that
    records among them tell of."""
    said = _said(rows)
    if not said and not store.hears():
        return list(rows)
    there = {_key(r): r for r in rows if r.kind != LOG}
    keys = sorted(there.keys() | said.keys())
    told = _said((*(store.records(keys) if keys else ()), *rows))
    made = [r if r.kind == LOG else _with(r, told.get(_key(r), []), prices) for r in rows]
    for old in store.spans_at(sorted(said)) if said else ():
        key = _key(old)
        base = there.get(key, old)  # the one among these may be dropped, since it is there already
        new = _with(base, told[key], prices)
        if new is not base:
            made.append(_revision(new, max(old.receipt_ns + 1, *(r.receipt_ns for r in said[key]))))
    return made


def _revision(row: SpanRow, receipt_ns: int) -> SpanRow:
    """A row as one that nobody sent."""
    digest = hashlib.sha256("\0".join((row.digest, row.events)).encode()).hexdigest()[:16]
    return msgspec.structs.replace(row, joined=True, digest=digest, receipt_ns=receipt_ns)


def _said(rows: Iterable[SpanRow]) -> dict[Key, list[SpanRow]]:
    """Records that tell what a step was about, by its span; each once."""
    found: dict[Key, dict[str, SpanRow]] = {}
    for r in rows:
        if r.kind == LOG and r.parent not in (None, r.span_id) and (tables().hears(r.name) or agents().hears(r.name)):
            found.setdefault(Key(r.project, r.trace_id, r.parent), {})[r.span_id] = r
    return {key: list(records.values()) for key, records in found.items()}


def _with(row: SpanRow, records: Sequence[SpanRow], prices: Prices | None) -> SpanRow:
    """A span's row with these records as events; the same row where it says all that."""
    if not records:
        return row
    span = span_in(row)
    new = [e for e in (event_of(span_in(r)) for r in sorted(records, key=lambda r: r.start_ns)) if not _is_there(e, span)]
    if not new:
        return row
    span.events = sorted([*span.events, *new], key=lambda e: e.time_ns)
    made = again(row, prices, span)
    made.joined = False
    return made


def _is_there(event: SpanEvent, span: Span) -> bool:
    return any(e.name == event.name and e.time_ns == event.time_ns and e.attributes == event.attributes for e in span.events)


def _key(row: SpanRow) -> Key:
    return Key(row.project, row.trace_id, row.span_id)
