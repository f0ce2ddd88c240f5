"""Log records and the spans they stand under, in DuckDB: looked for when one of the two has come after the other."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import msgspec

from windlass.core.span import LOG
from windlass.store.span_columns import ROW, TYPES
from windlass.store.span_long import complete
from windlass.store.span_places import File, at
from windlass.store.spans import SpanKey, SpanRow

DAYS = 2  # of receipt, today's with it, in which the other is looked for


def hears(db: duckdb.DuckDBPyConnection, files: Sequence[File]) -> bool:
    """Whether there are log records at all."""
    return any(db.execute(f"SELECT 1 FROM {file.name}.logs LIMIT 1").fetchone() for file in files[-DAYS:])


def records(db: duckdb.DuckDBPyConnection, files: Sequence[File], keys: Sequence[SpanKey]) -> list[SpanRow]:
    """Log records under these spans, in the order they came."""
    return _rows(db, files, keys, "logs", f"kind = '{LOG}' AND (project, trace_id, parent) IN (FROM wanted)")


def spans_at(db: duckdb.DuckDBPyConnection, files: Sequence[File], keys: Sequence[SpanKey]) -> list[SpanRow]:
    """These spans, of each the newest revision; of those that are not there nothing."""
    found = _rows(db, files, keys, "traces", f"kind <> '{LOG}' AND (project, trace_id, span_id) IN (FROM wanted)")
    newest: dict[SpanKey, SpanRow] = {}
    for row in found:
        key = (row.project, row.trace_id, row.span_id)
        if key not in newest or row.receipt_ns >= newest[key].receipt_ns:
            newest[key] = row
    return list(newest.values())


def _rows(db: duckdb.DuckDBPyConnection, files: Sequence[File], keys: Sequence[SpanKey], table: str, where: str) -> list[SpanRow]:
    projects, traces, spans = zip(*keys, strict=True)
    db.execute(
        "CREATE OR REPLACE TEMP TABLE wanted AS SELECT unnest(?::VARCHAR[]) AS project, unnest(?::UUID[]) AS trace_id,"
        " unnest(?::UBIGINT[]) AS span_id",
        [list(projects), list(traces), [int(s, 16) for s in spans]],
    )
    found: list[SpanRow] = []
    for file in files[-DAYS:]:
        places = db.execute(
            "WITH lies AS (SELECT unnest(range(first_row, last_row + 1)) AS place FROM"
            f" {file.name}.{table} SEMI JOIN wanted USING (project, trace_id))"
            f" SELECT rowid FROM {file.name}.spans s JOIN lies ON place = s.rowid WHERE {where}"
        ).fetchall()
        there = at(db, file, [place for (place,) in places], ROW) if places else {}
        rows = {place: dict(zip(TYPES, there[place], strict=True)) for place in sorted(there)}
        complete(db, file.name, rows)
        found += [msgspec.convert(row, SpanRow) for row in rows.values()]
    return found
