"""Rows of one project as a file of Parquet, in ClickHouse: by place, as DuckDB's by day and row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from windlass.core.errors import Invalid
from windlass.store.span_portions import PIECE, TEXTS, WHEN, WIDE, checked, within
from windlass.store.spans import Portion, PortionQuery

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
Packed = Callable[[str, Sequence[Any]], bytes]  # the rows of a question as Parquet


def portion_of(ask: Ask, packed: Packed, query: PortionQuery) -> Portion:
    """Raises `Invalid`."""
    if query.cursor and not query.cursor.isdecimal():
        raise Invalid("this cursor is not one of ours", remedy="start from the beginning")
    mine = [query.project, *within(query)]
    where = f"project = ? AND {WHEN[query.of]} >= ? AND {WHEN[query.of]} <= ?"
    after, most = int(query.cursor or 0), WIDE if TEXTS & set(query.columns) else PIECE
    places = ask(f"SELECT place FROM {query.of} WHERE {where} AND place > ? ORDER BY place LIMIT {most}", [*mine, after])
    last = places[-1][0] if places else after
    columns = ", ".join(f'"{c}"' for c in checked(query))
    data = packed(f"SELECT {columns} FROM {query.of} WHERE {where} AND place > ? AND place <= ?", [*mine, after, last])
    Path(query.file).write_bytes(data)
    return Portion(len(places), len(data), str(last) if len(places) == most else None)
