"""Log records by their time, in ClickHouse: as `span_logs.py` finds them in DuckDB's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from windlass.core.operations.logs import LogPage, LogQuery
from windlass.core.shortening import within
from windlass.store.span_filters_clickhouse import CLICKHOUSE
from windlass.store.span_logs import OF_ONE as DUCKDB_ONE
from windlass.store.span_logs import page_of, record_of, records_asked
from windlass.store.spans import SHOWN

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
OF_ONE = CLICKHOUSE._replace(any="ifNull({0}, false)", took=DUCKDB_ONE.took, cost=DUCKDB_ONE.cost, tokens=DUCKDB_ONE.tokens)


def logs_of(ask: Ask, query: LogQuery, columns: Sequence[str]) -> LogPage:
    where, given = records_asked(query, OF_ONE, str)
    wanted = ", ".join(f'"{c}"' for c in columns)
    rows = ask(
        f"SELECT {wanted} FROM spans WHERE {where} ORDER BY start_ns DESC, span_id DESC LIMIT ?", [*given, query.limit + 1]
    )  # fmt: skip
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    shown = found[: query.limit]
    items = [record_of(row, cut) for row, cut in zip(shown, within(shown, SHOWN), strict=True)]
    last = (shown[-1]["start_ns"], shown[-1]["span_id"]) if len(found) > query.limit else None
    return page_of(items, last)
