"""Log records and the spans they stand under, in DuckDB: looked for when one of the two has come after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import msgspec

from windlass.core.span import LOG, StoredSpan
from windlass.store.span_columns import ROW, TYPES
from windlass.store.span_long import complete
from windlass.store.span_places import File, at
from windlass.store.spans import SHOWN, RecentQuery, SpanKey, SpanRow, span_of

SPANS = f"kind <> '{LOG}' AND (project, trace_id, span_id) IN (FROM wanted)"
DAYS = 2  # of receipt, today's with it, in which the other is looked for


def hears(db: duckdb.DuckDBPyConnection, files: Sequence[File]) -> bool:
    """Whether there are log records at all."""
    return any(db.execute(f"SELECT 1 FROM {file.name}.logs LIMIT 1").fetchone() for file in files[-DAYS:])


def records(db: duckdb.DuckDBPyConnection, files: Sequence[File], keys: Sequence[SpanKey]) -> list[SpanRow]:
    """Log records under these spans, in the order they came."""
    return _rows(db, files, keys, "logs", f"kind = '{LOG}' AND (project, trace_id, parent) IN (FROM wanted)")


def spans_at(db: duckdb.DuckDBPyConnection, files: Sequence[File], keys: Sequence[SpanKey]) -> list[SpanRow]:
    """These spans, of each the newest revision; of those that are not there nothing."""
    found = _rows(db, files, keys, "traces", SPANS)
    newest: dict[SpanKey, SpanRow] = {}
    for row in found:
        key = (row.project, row.trace_id, row.span_id)
        if key not in newest or row.receipt_ns >= newest[key].receipt_ns:
            newest[key] = row
    return list(newest.values())


def recent(db: duckdb.DuckDBPyConnection, files: Sequence[File], query: RecentQuery) -> list[StoredSpan]:
    """As `SpanStore` has it."""
    keys = [(query.project, trace, span) for trace, span in query.spans]
    newest: dict[tuple[str, str], tuple[dict[str, Any], dict[str, int]]] = {}
    for row, cut in _found(db, files, keys, "traces", SPANS, SHOWN) if keys else ():
        of = row["trace_id"], row["span_id"]
        if of not in newest or row["receipt_ns"] >= newest[of][0]["receipt_ns"]:
            newest[of] = row, cut
    return [span_of(row, cut) for row, cut in newest.values()]


def _rows(db: duckdb.DuckDBPyConnection, files: Sequence[File], keys: Sequence[SpanKey], table: str, where: str) -> list[SpanRow]:
    return [msgspec.convert(row, SpanRow) for row, _ in _found(db, files, keys, table, where)]


def _found(
    db: duckdb.DuckDBPyConnection, files: Sequence[File], keys: Sequence[SpanKey], table: str, where: str, most: int | None = None
) -> Iterator[tuple[dict[str, Any], dict[str, int]]]:
    """Rows, and what of each stays short where long texts are told up to `most` characters."""
    projects, traces, spans = zip(*keys, strict=True)
    db.execute(
        "CREATE OR REPLACE TEMP TABLE wanted AS SELECT unnest(?::VARCHAR[]) AS project, unnest(?::UUID[]) AS trace_id,"
        " unnest(?::UBIGINT[]) AS span_id",
        [list(projects), list(traces), [int(s, 16) for s in spans]],
    )
    for file in files[-DAYS:]:
        places = db.execute(
            "WITH lies AS (SELECT unnest(range(first_row, last_row + 1)) AS place FROM"
            f" {file.name}.{table} SEMI JOIN wanted USING (project, trace_id))"
            f" SELECT rowid FROM {file.name}.spans s JOIN lies ON place = s.rowid WHERE {where}"
        ).fetchall()
        there = at(db, file, [place for (place,) in places], ROW) if places else {}
        rows = {place: dict(zip(TYPES, there[place], strict=True)) for place in sorted(there)}
        short = complete(db, file.name, rows, most)
        yield from ((row, short.get(place, {})) for place, row in rows.items())
