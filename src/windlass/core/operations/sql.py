"""Questions in SQL about the spans and points of one project."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from windlass.core.operations import Operation

MOST = 100_000  # rows of an answer


class SqlQuery(msgspec.Struct, omit_defaults=True):
    """One SELECT over the views that `SqlViews` lists; without `sql` they are told, and nothing is asked. Of spans that began, and points
    that were measured, from `since_ns` to before `until_ns` (UTC nanoseconds), where those are given. At most `limit` rows come back."""

    sql: Annotated[str, msgspec.Meta(max_length=20_000)] = ""
    project: str = "default"
    since_ns: int | None = None
    until_ns: int | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 1_000


class SqlColumn(msgspec.Struct):
    """`type` is DuckDB's: VARCHAR, BIGINT, DOUBLE, TIMESTAMP …"""

    name: str
    type: str


class SqlView(msgspec.Struct):
    name: str
    about: str
    columns: tuple[SqlColumn, ...]


class SqlAnswer(msgspec.Struct, omit_defaults=True):
    """Times are ISO 8601 in UTC, whole numbers beyond 64 bits and bytes are text, NaN and infinity None. `more`: there are more rows than
    were asked for. `read` and `measured` are how many spans and points were looked at, `took_ms` how long it all took. `views`: what can be
    asked."""

    columns: tuple[SqlColumn, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    more: bool = False
    read: int = 0
    measured: int = 0
    took_ms: int = 0
    views: tuple[SqlView, ...] = ()


SQL = Operation("traces.sql", "POST", SqlQuery, SqlAnswer, "read")
