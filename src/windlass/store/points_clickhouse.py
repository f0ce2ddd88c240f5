"""Points of metrics in ClickHouse: the table `points`, as `points_duckdb.py`. Places are counted together with those of spans."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

import msgspec

from windlass.core.digest import digest_json
from windlass.core.operations.metrics import MetricPage, MetricQuery, MetricShow, MetricTold
from windlass.store.clickhouse_tables import Table
from windlass.store.point_measuring import chosen, held_to, measured, page_of, planned, seen
from windlass.store.point_sql import Words, deltas, listed, named, reduced, row_of, series
from windlass.store.points import COLUMNS, PointRow
from windlass.store.span_filters_clickhouse import CLICKHOUSE
from windlass.store.span_ledger import HOUR_NS
from windlass.store.span_ledger_clickhouse import NOBODY, Ask, Enter, moved
from windlass.store.spans import Forget

_TYPES = {
    "start_ns": "Int64", "time_ns": "Int64", "receipt_ns": "Int64", "monotonic": "Bool", "value": "Nullable(Float64)",
    "count": "Nullable(Int64)", "total": "Nullable(Float64)", "low": "Nullable(Float64)", "high": "Nullable(Float64)",
    "shape": "Nullable(String)",
}  # fmt: skip
TYPES = {column: _TYPES.get(column, "String") for column in COLUMNS}
POINTS = Table(
    "points",
    f"""day Date, place Int64, {", ".join(f'"{c}" {t}' for c, t in TYPES.items())},
    INDEX by_place place TYPE minmax GRANULARITY 1, INDEX by_receipt receipt_ns TYPE minmax GRANULARITY 1""",
    "MergeTree", "PARTITION BY day ORDER BY (project, metric, time_ns, digest)", key="series", once=True,
)  # fmt: skip
_ALL = ", ".join(f'"{c}"' for c in COLUMNS)
AT_ONCE = 1_000  # points in one mutation
_DIGEST = re.compile(r"[0-9a-f]{16}")
_WORDS = Words(
    CLICKHOUSE,
    first="argMin(tuple({0}), {1}).1",
    last="argMax(tuple({0}), {1}).1",
    total="sumKahan({0})",
    all="groupArrayIf(assumeNotNull({0}), shape IS NOT NULL AND {1})",
    when="countIf({0})",
    some="groupUniqArray({0})",
    different="uniqExact({0})",
    bucket="intDiv({0}, {1})",
    before="lagInFrame({0}) OVER series_time",
    newest="SELECT * FROM {0} ORDER BY receipt_ns DESC, digest LIMIT 1 BY series, start_ns, time_ns",
    holds="position(lowerUTF8({0}), ?) > 0",
)


def new(ask: Ask, day: str, rows: Sequence[PointRow]) -> tuple[list[PointRow], dict[int, PointRow]]:
    """Those that are not there, each once; and by place those that are."""
    unique = {(r.project, r.time_ns, r.digest): r for r in rows}
    again = dict[int, PointRow]()
    if unique:
        there = ask(
            "SELECT project, time_ns, digest, place FROM points WHERE day = toDate(?) AND metric IN ? AND time_ns BETWEEN ? AND ?",
            [day, sorted({r.metric for r in rows}), min(r.time_ns for r in rows), max(r.time_ns for r in rows)],
        )
        for *key, place in there:
            if (row := unique.pop(tuple(key), None)) is not None:
                again[place] = row
    return list(unique.values()), again


def metrics_of(ask: Ask, query: MetricQuery) -> MetricPage:
    since = time.time_ns() - query.hours * HOUR_NS if query.hours else 0
    items, cursor = page_of(ask(*listed(query, since, _WORDS)), query.limit)
    return MetricPage(items=items, next=cursor)


def metric_of(ask: Ask, query: MetricShow) -> MetricTold:
    plan = planned(query)
    metric = chosen(query, [seen(row) for row in ask(*named(query.project, query.name, _WORDS))])
    held_to(ask(*deltas(plan, metric, _WORDS))[0][0])
    rows = [row_of(row) for row in ask(*reduced(plan, metric, _WORDS))]
    found = [(attributes, resource, service) for attributes, resource, service in ask(*series(plan, metric, _WORDS))]
    return measured(plan, metric, rows, found)


def held(ask: Ask, day: str, project: str, digests: Sequence[str]) -> list[PointRow]:
    rows = ask(f"SELECT {_ALL} FROM points WHERE day = toDate(?) AND project = ? AND digest IN ?", [day, project, list(digests)])
    return [msgspec.convert(dict(zip(COLUMNS, row, strict=True)), PointRow) for row in rows]


def forget(ask: Ask, enter: Enter, alter: Callable[[str, str], None], asked: Forget) -> None:
    """Take points out, some at a time, each time entered before it is done: cut off anywhere it can be done again, and is entered once. A
    mutation takes no parameters, so digests are held to be digests."""
    gone: list[tuple[int, str]] = []
    for s in asked.points:
        there = ask("SELECT DISTINCT digest FROM points WHERE project = ? AND receipt_ns = ?", [asked.project, s.receipt_ns])
        gone += [(s.receipt_ns, digest) for (digest,) in there if digest not in set(s.digests) and _DIGEST.fullmatch(digest)]
    gone.sort()
    quoted = asked.project.replace("\\", "\\\\").replace("'", "\\'")
    for some in (gone[n : n + AT_ONCE] for n in range(0, len(gone), AT_ONCE)):
        where = f"(receipt_ns, digest) IN ({', '.join(f'({receipt:d}, {digest!r})' for receipt, digest in some)})"
        name = digest_json(["points", asked.project, where]).partition(":")[2]
        enter(NOBODY, 5, int(name[:15], 16), (0, 0), moved(ask, f"project = ? AND {where}", [asked.project], "erased", points=True))
        alter("points", f"DELETE WHERE project = '{quoted}' AND {where} SETTINGS mutations_sync = 2")
