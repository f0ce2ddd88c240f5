"""Rows of one project as a file of Parquet, piece by piece: so many of a day's rows at a time, that others wait for no more than those."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from windlass.core.errors import Invalid
from windlass.store import points_duckdb
from windlass.store.span_columns import HEX_SPAN, HEX_TRACE, TYPES
from windlass.store.spans import Portion, PortionQuery

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

PIECE, WIDE = 400_000, 25_000  # rows that are read at a time, of short columns and of texts
TEXTS = frozenset({"input", "output", "attributes", "events", "links", "resource", "status_message", "shape"})
CURSOR = re.compile(r"(\d{4}-\d\d-\d\d):(\d+)")
IDS = {
    "spans": {"trace_id": HEX_TRACE, "span_id": HEX_SPAN, "parent": "hex_span(parent)"},
    "points": {c: f"hex_span({c})" for c in points_duckdb.NUMBERS},
}
WHEN = {"spans": "start_ns", "points": "time_ns"}


def portion_of(db: duckdb.DuckDBPyConnection, days: Sequence[tuple[str, str, int]], query: PortionQuery) -> Portion:
    """`days` are what there is: a day, what its file is attached as, how many spans it has. Raises `Invalid`."""
    after, first = reached(query.cursor)
    rest = [d for d in days if d[0] >= after]
    file = query.file.replace("'", "''")
    columns = ", ".join(f'{IDS[query.of].get(c, chr(34) + c + chr(34))} AS "{c}"' for c in checked(query))
    if not rest:
        source, given, next = f"(SELECT {_empty(query)} WHERE false)", [], None
    else:
        day, name, rows = rest[0]
        if query.of == "points":
            (rows,) = db.execute(f"SELECT coalesce(max(rowid) + 1, 0) FROM {name}.points").fetchone() or (0,)
        first = first if day == after else 0
        end = first + (WIDE if TEXTS & set(query.columns) else PIECE)
        when = WHEN[query.of]
        source = f"(SELECT {columns} FROM {name}.{query.of} WHERE rowid >= ? AND rowid < ? AND project = ? AND {when} BETWEEN ? AND ?)"
        given = [first, end, query.project, *within(query)]
        next = f"{day}:{end}" if end < rows else f"{rest[1][0]}:0" if rest[1:] else None
    (count,) = db.execute(f"COPY {source} TO '{file}' (FORMAT parquet, ROW_GROUP_SIZE 20000)", given).fetchone() or (0,)
    return Portion(count, Path(query.file).stat().st_size, next)


def checked(query: PortionQuery) -> Sequence[str]:
    there = TYPES if query.of == "spans" else points_duckdb.TYPES
    if unknown := set(query.columns) - there.keys():
        raise Invalid(f"there is no column {sorted(unknown)[0]!r}", where="columns")
    return query.columns


def reached(cursor: str) -> tuple[str, int]:
    if not cursor:
        return "", 0
    if (found := CURSOR.fullmatch(cursor)) is None:
        raise Invalid("this cursor is not one of ours", remedy="start from the beginning")
    return found[1], int(found[2])


def within(query: PortionQuery) -> tuple[int, int]:
    """The first and last time at which a span may have begun, or a point been measured."""
    return query.since_ns or -(1 << 63), (1 << 63) - 1 if query.until_ns is None else query.until_ns - 1


def _empty(query: PortionQuery) -> str:
    types = {**(TYPES if query.of == "spans" else points_duckdb.TYPES), **dict.fromkeys(IDS[query.of], "VARCHAR")}
    return ", ".join(f'NULL::{types[c]} AS "{c}"' for c in query.columns)
