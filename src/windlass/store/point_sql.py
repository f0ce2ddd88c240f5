"""What is asked of points, in the SQL of either engine: one text, with what engines say differently in a `Words`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from windlass.core.operations.metrics import MetricQuery, MetricSeen
from windlass.store.point_conditions import condition_of, told_by
from windlass.store.point_measuring import BEFORE_NS, CURSOR, MOST, SERIES, Plan, Reduced, cursor_after
from windlass.store.span_conditions import Condition, Dialect


class Words(NamedTuple):
    """`{0}` is what it is of, `{1}` the order. `first` and `last` keep what is NULL."""

    dialect: Dialect
    first: str
    last: str
    total: str  # exact as far as floating point goes
    all: str  # a list of what is not NULL, where `{1}`
    when: str  # how many, where `{0}`
    some: str  # a list of different values
    different: str  # how many different values
    bucket: str  # number of a time
    before: str  # of the row before, in `series_time`
    newest: str  # of each series, start and time one point: the end of a SELECT
    holds: str  # whether a text, in small letters, has the value


def listed(query: MetricQuery, since: int, w: Words) -> Condition:
    """Metrics by name, one more than a page."""
    where, given = ["project = ?", "time_ns >= ?"], list[Any]([query.project, since])
    if query.search:
        where.append(w.holds.format("metric"))
        given.append(query.search.lower())
    if query.cursor:
        where.append(f"({', '.join(CURSOR)}) > (?, ?, ?, ?)")
        given += cursor_after(query.cursor)
    return _seen(where, w) + f" LIMIT {query.limit + 1}", given


def named(project: str, name: str, w: Words) -> Condition:
    """What there is of a name."""
    return _seen(["project = ?", "metric = ?"], w), [project, name]


def _seen(where: Sequence[str], w: Words) -> str:
    return (
        f"SELECT metric, unit, type, monotonic, {w.some.format('temporality')}, {w.different.format('series')}, count(*), min(time_ns),"
        f" max(time_ns), {w.last.format('description', 'receipt_ns')} FROM points WHERE {' AND '.join(where)}"
        f" GROUP BY {', '.join(CURSOR)} ORDER BY {', '.join(CURSOR)}"
    )


def reduced(plan: Plan, metric: MetricSeen, w: Words) -> Condition:
    """Rows of `Reduced`, flat: what each series says in each bucket."""
    query = plan.query
    fits, given = condition_of(query.filter, w.dialect)
    group, names = told_by(query.by, w.dialect)
    of_metric, which = _of_metric(plan, metric, plan.since - BEFORE_NS)
    grows = "temporality = 'cumulative' AND monotonic"
    begun = f"CASE WHEN {grows} THEN start_ns ELSE 0 END"
    of_values = ", ".join(_five(w, "value"))
    counts, totals = (", ".join(_three(w, c)) for c in ("count", "total"))
    extremes = (
        f"CASE WHEN {w.when.format(f'count > 0 AND {c} IS NULL')} = 0 THEN {best}({c}) END" for c, best in (("low", "min"), ("high", "max"))
    )
    shapes = w.all.format("shape", "temporality = 'delta' AND count > 0")
    sql = (
        f"WITH fit AS (SELECT series, temporality, start_ns, time_ns, receipt_ns, digest, value, count, total, low, high, shape, {group}"
        f" AS told_by, {begun} AS begun, {grows} AS grows FROM points WHERE {of_metric} AND ({fits})"
        " AND (value IS NOT NULL OR count IS NOT NULL)),"
        f" once AS ({w.newest.format('fit')}),"
        f" fell AS (SELECT *, CASE WHEN grows AND coalesce(value, count) < {w.before.format('coalesce(value, count)')} THEN 1 ELSE 0 END"
        " AS falls FROM once WINDOW series_time AS (PARTITION BY series, begun ORDER BY time_ns ROWS BETWEEN UNBOUNDED PRECEDING AND"
        " CURRENT ROW)),"
        " runs AS (SELECT *, sum(falls) OVER (PARTITION BY series, begun ORDER BY time_ns ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT"
        " ROW) AS run FROM fell)"
        f" SELECT series, begun, run, CASE WHEN time_ns < {plan.since} THEN {plan.first - 1} ELSE {w.bucket.format('time_ns', plan.step)}"
        f" END AS b, min(told_by), min(temporality), count(*), max(time_ns), {of_values}, {counts}, {totals}, {', '.join(extremes)},"
        f" {w.first.format('shape', 'time_ns')}, {w.last.format('shape', 'time_ns')}, {shapes}"
        f" FROM runs GROUP BY series, begun, run, b ORDER BY series, begun, run, b LIMIT {MOST}"
    )
    return sql, [*names, *which, *given]


def deltas(plan: Plan, metric: MetricSeen, w: Words) -> Condition:
    """How many histograms have to be read one by one."""
    fits, given = condition_of(plan.query.filter, w.dialect)
    of_metric, which = _of_metric(plan, metric, plan.since)
    where = f"{of_metric} AND ({fits}) AND temporality = 'delta' AND shape IS NOT NULL"
    return f"SELECT count(*) FROM points WHERE {where}", [*which, *given]


def series(plan: Plan, metric: MetricSeen, w: Words) -> Condition:
    """Attributes, resource and service of some series."""
    where, given = _of_metric(plan, metric, plan.since)
    return f"SELECT min(attributes), min(resource), min(service) FROM points WHERE {where} GROUP BY series LIMIT {SERIES}", given


def row_of(row: Sequence[Any]) -> Reduced:
    name, begun, run, bucket, group, temporality, many, last_ns = row[:8]
    low, high, first, last, shapes = row[19:]
    values, counts, totals = tuple(row[8:13]), tuple(row[13:16]), tuple(row[16:19])
    return Reduced(
        name, begun, run, bucket, group, temporality, many, last_ns, values, counts, totals, low, high, first, last, shapes or ()
    )  # fmt: skip


def _of_metric(plan: Plan, metric: MetricSeen, since: int) -> Condition:
    where = "project = ? AND metric = ? AND unit = ? AND type = ? AND monotonic = ? AND time_ns >= ? AND time_ns < ?"
    given = [plan.query.project, metric.name, metric.unit, metric.type, metric.monotonic, max(0, since), plan.until]
    return where, given


def _three(w: Words, column: str) -> list[str]:
    """First, last and sum; none of what is not told of each point."""
    total = f"CASE WHEN count({column}) = count(*) THEN {(w.total if column != 'count' else 'sum({0})').format(column)} END"
    return [w.first.format(column, "time_ns"), w.last.format(column, "time_ns"), total]


def _five(w: Words, column: str) -> list[str]:
    return [*_three(w, column), f"min({column})", f"max({column})"]
