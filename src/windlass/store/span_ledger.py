"""The ledger's entries, and their table in a day's file of DuckDB: written in the transaction of the rows they are about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from windlass.core.span import LOG
from windlass.store.points import Row

if TYPE_CHECKING:
    import duckdb

HOUR_NS = 3_600_000_000_000
LONGEST = 64  # characters of a source
SOURCES = 200  # of a project and hour; further ones are entered as others
OTHERS = "others"
BEGAN = "began"  # what is entered for the last hour of a file that was there before the ledger
GONE = "gone"  # what is entered for the first hour of a day that is kept no longer
DAY_HOURS = 24
TABLE = (
    "ledger (project VARCHAR, hour BIGINT, source VARCHAR, signal VARCHAR, what VARCHAR, items BIGINT,"
    " PRIMARY KEY (project, hour, source, signal, what))"
)


class Entry(NamedTuple):
    """So many items more. `hour` counts from 1970; `what` is one of the fields of `LedgerLine`, with `:REASON` where it has reasons."""

    project: str
    hour: int
    source: str
    signal: str
    what: str
    items: int


# told which of the rows to be written were new, says what is to be entered with them
Account = Callable[[Sequence[Row]], Sequence[Entry]]


def day_of(hour: int) -> str:
    """The day of an hour, as YYYY-MM-DD."""
    return datetime.fromtimestamp(hour * 3600, UTC).strftime("%Y-%m-%d")


def hour_of(day: str) -> int:
    """The first hour of a day."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) // 3600


def nothing(new: Sequence[Row]) -> Sequence[Entry]:
    """An account of rows that nobody sent."""
    return ()


def add(db: duckdb.DuckDBPyConnection, name: str, entries: Sequence[Entry]) -> None:
    """Enter these, each key at most once among them."""
    if not entries:
        return
    places = ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(entries))
    db.execute(
        f"INSERT INTO {name}.ledger VALUES {places} ON CONFLICT DO UPDATE SET items = items + excluded.items",
        [value for entry in entries for value in entry],
    )


def move(db: duckdb.DuckDBPyConnection, source: str) -> None:
    """Add what a table has to the one that is attached as `written`."""
    db.execute(f"INSERT INTO written.ledger FROM {source} ON CONFLICT DO UPDATE SET items = items + excluded.items")


def begin(db: duckdb.DuckDBPyConnection, name: str) -> None:
    """Give a file of before its ledger: what its rows tell, and until when no more is known."""
    db.execute(f"CREATE TABLE {name}.{TABLE}")
    for what in ("received", "indexed"):
        db.execute(
            f"INSERT INTO {name}.ledger SELECT project, receipt_ns // {HOUR_NS} AS hour, left(coalesce(service, ''), {LONGEST}), 'traces',"
            f" '{what}', count(*) FROM {name}.spans WHERE project IS NOT NULL GROUP BY ALL"
        )
    db.execute(
        f"INSERT INTO {name}.ledger SELECT '', max(receipt_ns) // {HOUR_NS}, '', '', '{BEGAN}', 1 FROM {name}.spans HAVING count(*) > 0"
    )


def erasing(db: duckdb.DuckDBPyConnection, name: str, where: str, project: str) -> None:
    """Enter into the file attached as `written` that these rows of a project are erased from a file, and the points in `gone_points`."""
    what = f"project, receipt_ns // {HOUR_NS} AS hour, left(coalesce(service, ''), {LONGEST}) AS service"
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE erased AS SELECT {what},"
        f" CASE WHEN severity IS NOT NULL OR kind = '{LOG}' THEN 'logs' ELSE 'traces' END AS signal,"
        f" count(*) AS items FROM {name}.spans WHERE {where} AND NOT joined GROUP BY ALL UNION ALL SELECT {what}, 'metrics', count(*)"
        f" FROM {name}.points WHERE project = ? AND (receipt_ns, digest) IN (FROM gone_points) GROUP BY ALL",
        [project, project],
    )
    # a service beyond the first of its hour was entered as others
    known = f"EXISTS (FROM {name}.ledger l WHERE l.project = e.project AND l.hour = e.hour AND l.source = e.service)"
    source = f"CASE WHEN {known} THEN e.service ELSE '{OTHERS}' END"
    for what, sign in (("indexed", "-"), ("erased", "")):
        db.execute(
            f"INSERT INTO written.ledger SELECT project, hour, {source} AS source, signal, '{what}', {sign}sum(items)::BIGINT"
            " FROM erased e GROUP BY ALL ON CONFLICT DO UPDATE SET items = items + excluded.items"
        )


def read(db: duckdb.DuckDBPyConnection, files: Iterable[str], project: str, since: int) -> list[Entry]:
    """What files say of a project from an hour on, of when the ledger began, and of days that are gone."""
    found: list[Entry] = []
    for name in files:
        rows = db.execute(
            f"FROM {name}.ledger WHERE (project = ? AND hour >= ?) OR what IN ('{BEGAN}', '{GONE}')", [project, since]
        ).fetchall()
        found += [Entry(*row) for row in rows]
    return found


def rows_by_hour(db: duckdb.DuckDBPyConnection, files: Iterable[str], project: str) -> list[tuple[int, str, int]]:
    """Hour, service and how many rows and points of a project are there."""
    what = f"SELECT receipt_ns // {HOUR_NS}, left(coalesce(service, ''), {LONGEST}), count(*) FROM"
    return [
        row
        for name in files
        for table in (f"{name}.spans WHERE NOT joined AND", f"{name}.points WHERE")
        for row in db.execute(f"{what} {table} project = ? GROUP BY ALL", [project]).fetchall()
    ]
