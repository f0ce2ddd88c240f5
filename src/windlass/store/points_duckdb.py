"""Points of metrics in a day's file of DuckDB: the table `points`, beside the spans, in the same transactions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from windlass.core.operations.metrics import MetricPage, MetricQuery, MetricShow, MetricTold
from windlass.store.point_measuring import chosen, held_to, measured, page_of, planned, seen
from windlass.store.point_sql import Words, deltas, listed, named, reduced, row_of, series
from windlass.store.points import COLUMNS, PointRow
from windlass.store.span_filters import DUCKDB
from windlass.store.span_ledger import HOUR_NS
from windlass.store.spans import Standing

if TYPE_CHECKING:
    import duckdb

_TYPES = {
    "start_ns": "BIGINT", "time_ns": "BIGINT", "receipt_ns": "BIGINT", "series": "UBIGINT", "digest": "UBIGINT", "monotonic": "BOOLEAN",
    "value": "DOUBLE", "count": "BIGINT", "total": "DOUBLE", "low": "DOUBLE", "high": "DOUBLE",
}  # fmt: skip
TYPES = {column: _TYPES.get(column, "VARCHAR") for column in COLUMNS}
TABLE = "points (" + ", ".join(f'"{c}" {t}' for c, t in TYPES.items()) + ")"
EMPTY = "SELECT " + ", ".join(f'NULL::{t} AS "{c}"' for c, t in TYPES.items()) + " WHERE false"
NUMBERS = ("series", "digest")  # told as 16 hex digits
_ALL = ", ".join(f'"{c}"' for c in COLUMNS)
ROW = ", ".join(f"hex_span({c})" if c in NUMBERS else f'"{c}"' for c in COLUMNS)
_WORDS = Words(
    DUCKDB,
    first="arg_min_null({0}, {1})",
    last="arg_max_null({0}, {1})",
    total="fsum({0})",
    all="list({0} ORDER BY time_ns) FILTER ({1})",
    when="count(*) FILTER ({0})",
    some="list(DISTINCT {0})",
    different="count(DISTINCT {0})",
    bucket="{0} // {1}",
    before="lag({0}) OVER series_time",
    newest="SELECT * FROM {0} QUALIFY row_number() OVER (PARTITION BY series, start_ns, time_ns ORDER BY receipt_ns DESC, digest) = 1",
    holds="contains(lower({0}), ?)",
)


def insert(db: duckdb.DuckDBPyConnection, name: str, rows: Sequence[PointRow]) -> list[PointRow]:
    """Put those in that are not in the file yet. Returns them. Raises `OverflowError` for a number that has no place."""
    import numpy as np  # which is not needed until there is something to write

    from windlass.store.arrays import objects

    new = list({(r.project, r.time_ns, r.digest): r for r in rows}.values())
    times = [r.time_ns for r in new]
    keys = {"n": np.arange(len(new)), "project": objects([r.project for r in new]), "time_ns": np.array(times, dtype=np.int64),
            "digest": np.array([int(r.digest, 16) for r in new], dtype=np.uint64)}  # fmt: skip
    db.register("batch", keys)
    try:
        there = db.execute(
            f"SELECT n FROM batch SEMI JOIN (SELECT project, time_ns, digest FROM {name}.points WHERE time_ns BETWEEN ? AND ?)"
            " USING (project, time_ns, digest)",
            [min(times), max(times)],
        ).fetchall()
    finally:
        db.unregister("batch")
    again = {n for (n,) in there}
    new = [row for n, row in enumerate(new) if n not in again]
    if new:
        db.register("batch", _arrays(new))
        try:
            db.execute(f"INSERT INTO {name}.points SELECT {_ALL} FROM batch")
        finally:
            db.unregister("batch")
    return new


def _arrays(rows: Sequence[PointRow]) -> dict[str, Any]:
    import numpy as np

    from windlass.store.arrays import array_of

    made = {}
    for column, kind in TYPES.items():
        values = [getattr(row, column) for row in rows]
        if column in NUMBERS:
            made[column] = np.array([int(v, 16) for v in values], dtype=np.uint64)
        else:
            made[column] = array_of(kind, values)
    return made


def metrics_of(db: duckdb.DuckDBPyConnection, query: MetricQuery) -> MetricPage:
    since = time.time_ns() - query.hours * HOUR_NS if query.hours else 0
    items, cursor = page_of(db.execute(*listed(query, since, _WORDS)).fetchall(), query.limit)
    return MetricPage(items=items, next=cursor)


def metric_of(db: duckdb.DuckDBPyConnection, query: MetricShow) -> MetricTold:
    plan = planned(query)
    metric = chosen(query, [seen(row) for row in db.execute(*named(query.project, query.name, _WORDS)).fetchall()])
    held_to(db.execute(*deltas(plan, metric, _WORDS)).fetchall()[0][0])
    rows = [row_of(row) for row in db.execute(*reduced(plan, metric, _WORDS)).fetchall()]
    return measured(plan, metric, rows, db.execute(*series(plan, metric, _WORDS)).fetchall())


def held(db: duckdb.DuckDBPyConnection, name: str, project: str, digests: Sequence[str]) -> list[PointRow]:
    """Every point of a file with one of these digests."""
    found = db.execute(
        f"SELECT {ROW} FROM {name}.points WHERE project = ? AND digest IN (SELECT unnest(?::UBIGINT[]))",
        [project, [int(d, 16) for d in digests]],
    ).fetchall()
    return [msgspec.convert(dict(zip(COLUMNS, row, strict=True)), PointRow) for row in found]


def mark(db: duckdb.DuckDBPyConnection, name: str, project: str, standing: Iterable[Standing]) -> int:
    """Say in the table `gone_points` which points of a file are to go: of these times all but those that stand. Returns how many."""
    db.execute("CREATE OR REPLACE TEMP TABLE stand (receipt_ns BIGINT, digest UBIGINT)")
    for s in standing:
        db.execute("INSERT INTO stand SELECT ?, unnest(?::UBIGINT[])", [s.receipt_ns, [None, *(int(d, 16) for d in s.digests)]])
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE gone_points AS SELECT receipt_ns, digest FROM {name}.points WHERE project = ?"
        " AND receipt_ns IN (SELECT receipt_ns FROM stand)"
        " AND (receipt_ns, digest) NOT IN (SELECT (receipt_ns, digest) FROM stand WHERE digest IS NOT NULL)",
        [project],
    )
    (count,) = db.execute("SELECT count(*) FROM gone_points").fetchone() or (0,)
    return int(count)
