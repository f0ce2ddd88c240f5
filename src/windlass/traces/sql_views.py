"""What can be asked in SQL: views with names that stay, and which columns of stored spans or points each of their columns needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from windlass.core import span as names
from windlass.core.operations.sql import SqlColumn, SqlView
from windlass.store.span_columns import said
from windlass.store.span_filters import STEPS, TOOK
from windlass.store.span_scores import WITHDRAWN
from windlass.store.span_sessions import outer

ALWAYS = ("trace_id", "span_id", "kind", "start_ns", "end_ns", "receipt_ns", "evaluation")
OF_POINTS = ("series", "start_ns", "time_ns", "receipt_ns", "digest")
RUNS = f" AND NOT coalesce(starts_with(evaluation, '{names.DATASET_RUN}'), false)"  # is left out: what is of runs of datasets as a whole
LEDGER = ("waiting", "indexed", "again", "kept", "unreadable", "erased", "expired", "refused", "received", "turned_away")


class Column(NamedTuple):
    """A column as SQL over what is stored, with its type and the stored columns that it needs."""

    sql: str
    type: str
    needs: tuple[str, ...] = ()


class View(NamedTuple):
    about: str
    columns: dict[str, Column]


def _same(type: str, *columns: str) -> dict[str, Column]:
    return {c: Column(f'"{c}"', type, (c,)) for c in columns}


def _time(ns: str) -> str:
    return f"make_timestamp_ns({ns})::TIMESTAMP"


_STEP = {
    **_same("VARCHAR", "trace_id", "span_id", "parent", "name", "kind"),
    "started": Column(_time("start_ns"), "TIMESTAMP"),
    "ended": Column(_time("end_ns"), "TIMESTAMP"),
    "took_ms": Column("greatest(end_ns - start_ns, 0) / 1e6", "DOUBLE"),
    **_same("VARCHAR", "status", "status_message", "service", "model", "provider", "tool"),
    **_same("BIGINT", "tokens_in", "tokens_out", "tokens_cached", "tokens_written", "tokens_reasoning"),
    **_same("DOUBLE", "cost"),
    **_same("VARCHAR", "input", "output", "session"),
    "user_id": Column('"user"', "VARCHAR", ("user",)),
    **_same("VARCHAR", "release", "environment", "evaluation"),
    "row_key": Column('"row"', "VARCHAR", ("row",)),
    **_same("VARCHAR", "prompt"),
    "response_id": Column("response", "VARCHAR", ("response",)),
    **_same("VARCHAR[]", "tags", "versions"),
    **{c: Column(f'"{c}"::JSON', "JSON", (c,)) for c in ("attributes", "events", "links", "resource")},
}
_FIRST = "{'inner': parent IS NOT NULL, 'start': start_ns, 'id': span_id}"
_OF_FIRST = ("parent",)
_SPENT = ("parent", "response")
_TRACE = {
    "trace_id": Column("trace_id", "VARCHAR"),
    "name": Column(f"arg_min(name, {_FIRST})", "VARCHAR", ("name", *_OF_FIRST)),
    "kind": Column(f"arg_min(kind, {_FIRST})", "VARCHAR", _OF_FIRST),
    "started": Column(_time("min(start_ns)"), "TIMESTAMP"),
    "took_ms": Column(f"greatest({TOOK}, 0) / 1e6", "DOUBLE"),
    "status": Column(
        "CASE WHEN bool_or(status = 'error' AND parent IS NULL) OR (bool_or(status = 'error') AND count(*) FILTER (parent IS NULL) = 0)"
        " THEN 'error' ELSE 'ok' END", "VARCHAR", ("status", "parent"),
    ),
    "spans": Column(f"count(*) FILTER ({STEPS})", "BIGINT"),
    "failed": Column("count(*) FILTER (status = 'error')", "BIGINT", ("status",)),
    "tokens_in": Column("sum(tokens_in) FILTER (kind = 'model' AND innermost)::BIGINT", "BIGINT", ("tokens_in", *_SPENT)),
    "tokens_out": Column("sum(tokens_out) FILTER (kind = 'model' AND innermost)::BIGINT", "BIGINT", ("tokens_out", *_SPENT)),
    "cost": Column("round(fsum(cost) FILTER (kind IN ('model', 'embedding') AND innermost), 12)", "DOUBLE", ("cost", *_SPENT)),
    **{c: Column(f"any_value({c})", "VARCHAR", (c,)) for c in ("session", "release", "environment", "evaluation")},
    "user_id": Column('any_value("user")', "VARCHAR", ("user",)),
    "service": Column(f"arg_min(service, {_FIRST})", "VARCHAR", ("service", *_OF_FIRST)),
    "input": Column(f"arg_min(input, {_FIRST})", "VARCHAR", ("input", *_OF_FIRST)),
    "output": Column(f"arg_min(output, {_FIRST})", "VARCHAR", ("output", *_OF_FIRST)),
}  # fmt: skip


def _said(type: str, sql: str) -> Column:
    return Column(sql, type, ("attributes", "parent", "session"))


_SCORE = {
    "trace_id": Column("trace_id", "VARCHAR"),
    "span_id": _said("VARCHAR", f"CASE WHEN coalesce({said(names.GIVEN_TO)}, 'span') = 'span' THEN parent END"),
    "session": _said("VARCHAR", f"CASE WHEN {said(names.GIVEN_TO)} = 'session' THEN session END"),
    "name": _said("VARCHAR", said(names.SCORED)),
    "value": _said("DOUBLE", f"TRY_CAST({said(names.SCORE)} AS DOUBLE)"),
    "label": _said("VARCHAR", said(names.LABEL)),
    "comment": _said("VARCHAR", said(names.EXPLANATION)),
    "given_by": _said("VARCHAR", said(names.ACTOR)),
    "given": _said("BOOLEAN", f"{said(names.GIVEN)} IS NOT NULL"),
    "at": Column(_time("start_ns"), "TIMESTAMP"),
}
_LOG = {
    "trace_id": Column("CASE WHEN parent IS DISTINCT FROM span_id THEN trace_id END", "VARCHAR", ("parent",)),
    "parent": Column("CASE WHEN parent IS DISTINCT FROM span_id THEN parent END", "VARCHAR", ("parent",)),
    **_same("BIGINT", "severity"),
    "body": Column(said(names.LOG_BODY), "VARCHAR", ("attributes",)),
    **{c: _STEP[c] for c in ("name", "started", "service", "session", "user_id", "attributes", "resource")},
}
_LEDGER = {
    "hour": Column(_time("hour_ns"), "TIMESTAMP"),
    "source": Column("source", "VARCHAR"),
    "signal": Column("signal", "VARCHAR"),
    **{fate: Column(fate, "BIGINT") for fate in LEDGER},
}
_POINT = {
    **_same("VARCHAR", "metric", "unit", "type", "temporality"),
    **_same("BOOLEAN", "monotonic"),
    **_same("VARCHAR", "service", "series"),
    "started": Column(_time("nullif(start_ns, 0)"), "TIMESTAMP"),
    "measured": Column(_time("time_ns"), "TIMESTAMP"),
    **_same("DOUBLE", "value"),
    **_same("BIGINT", "count"),
    **{c: Column(f'"{of}"', "DOUBLE", (of,)) for c, of in (("sum", "total"), ("min", "low"), ("max", "high"))},
    **{c: Column(f'"{c}"::JSON', "JSON", (c,)) for c in ("shape", "attributes", "resource")},
    **_same("VARCHAR", "description"),
}
VIEWS = {
    "spans": View("steps of traces, of each the newest revision", _STEP),
    "traces": View("traces, summed up as the list of traces does", _TRACE),
    "scores": View("what was said of traces, steps and sessions; without what was withdrawn", _SCORE),
    "logs": View("log records, of a trace or of none; those that tell steps of coding agents are in spans", _LOG),
    "points": View("what series of metrics measured: a cumulative one counts from started on, a delta since the point before", _POINT),
    "ledger": View("what was received in each hour (UTC), and what came of it", _LEDGER),
}


def told() -> tuple[SqlView, ...]:
    return tuple(SqlView(n, v.about, tuple(SqlColumn(c, x.type) for c, x in v.columns.items())) for n, v in VIEWS.items())


def needed(views: Iterable[str], columns: set[str] | None) -> tuple[set[str], set[str]]:
    """Stored columns of spans, and of points, for these columns of these views; None for all of them. None of what no view is of."""
    found = set[str](), set[str]()
    for view in views:
        if view == "ledger":
            continue
        of, always = (found[1], OF_POINTS) if view == "points" else (found[0], ALWAYS)
        of.update(always)
        of.update(need for c, x in VIEWS[view].columns.items() if columns is None or c in columns for need in x.needs)
    return found


def create(view: str, stored: set[str]) -> str:
    """SQL that makes a view of those of its columns for which there is what they need. `newest` has the rows, `newest_points` those of
    metrics."""
    there = {n: x.sql for n, x in VIEWS[view].columns.items() if stored >= set(x.needs)}
    columns = ", ".join(f'{sql} AS "{name}"' for name, sql in there.items())
    if view == "ledger":
        source = "told"
    elif view == "points":
        source = "newest_points"
    elif view == "traces":
        inner = f"*, (trace_id, span_id) NOT IN ({outer('s')}) AS innermost" if stored >= set(_SPENT) else "*"
        source = f"(WITH s AS (FROM newest WHERE kind <> 'log'{RUNS}) SELECT {inner} FROM s) GROUP BY trace_id"
    else:
        which = {
            "spans": f"kind <> 'log' AND ({STEPS}){RUNS}",
            "logs": "kind = 'log'",
            "scores": f"kind = 'evaluator' AND {said(names.SCORED)} IS NOT NULL AND coalesce({said(names.GIVEN)}, '') <> '{WITHDRAWN}'",
        }[view]
        source = f"newest WHERE {which}"
    return f"CREATE VIEW {view} AS SELECT {columns} FROM {source}"
