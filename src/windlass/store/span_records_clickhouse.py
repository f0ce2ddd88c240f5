"""Log records and the spans they stand under, in ClickHouse: as `span_records.py` finds them in DuckDB's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from windlass.core.shortening import within
from windlass.core.span import LOG, StoredSpan
from windlass.store.spans import SHOWN, RecentQuery, SpanKey, SpanRow, span_of

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
RECENT = "day >= toDate(now('UTC')) - 1"
LOOKED_UP = 1_000  # spans in one question


def hears(ask: Ask) -> bool:
    return bool(ask(f"SELECT 1 FROM spans WHERE {RECENT} AND kind = '{LOG}' AND ifNull(parent, '') != span_id LIMIT 1", []))


def records(ask: Ask, keys: Sequence[SpanKey], columns: Sequence[str]) -> list[SpanRow]:
    return _rows(ask, keys, columns, "kind = '" + LOG + "' AND (project, trace_id, ifNull(parent, '')) IN ({0}) ORDER BY place")


def spans_at(ask: Ask, keys: Sequence[SpanKey], columns: Sequence[str]) -> list[SpanRow]:
    newest = "ORDER BY receipt_ns DESC, place DESC LIMIT 1 BY project, trace_id, span_id"
    return _rows(ask, keys, columns, "kind != '" + LOG + "' AND (project, trace_id, span_id) IN ({0}) " + newest)


def recent(ask: Ask, query: RecentQuery, columns: Sequence[str]) -> list[StoredSpan]:
    """As `SpanStore` has it."""
    if not query.spans:
        return []
    found = spans_at(ask, [(query.project, trace, span) for trace, span in query.spans], columns)
    rows = [msgspec.structs.asdict(row) for row in found]
    return [span_of(row, cut) for row, cut in zip(rows, within(rows, SHOWN), strict=True)]


def _rows(ask: Ask, keys: Sequence[SpanKey], columns: Sequence[str], where: str) -> list[SpanRow]:
    found: list[SpanRow] = []
    wanted = "SELECT k.1, k.2, k.3 FROM (SELECT arrayJoin(arrayZip(?, ?, ?)) AS k)"
    names = ", ".join(f'"{c}"' for c in columns)
    for some in (keys[n : n + LOOKED_UP] for n in range(0, len(keys), LOOKED_UP)):
        projects, traces, spans = ([key[n] for key in some] for n in range(3))
        rows = ask(
            f"SELECT {names} FROM spans WHERE {RECENT} AND trace_id IN ? AND {where.format(wanted)}", [traces, projects, traces, spans]
        )
        found += [msgspec.convert(dict(zip(columns, row, strict=True)), SpanRow) for row in rows]
    return found
