"""What is asked of spans, as conditions in ClickHouse's SQL. `span_filters.py` says the same in DuckDB's; a test holds them together."""

from __future__ import annotations

from typing import Any, NamedTuple

from windlass.core.filter import fields_in
from windlass.core.filter_reading import conditions_of
from windlass.core.operations.traces import TraceQuery
from windlass.core.span import DATASET_RUN, LOG
from windlass.store.span_conditions import TOTALS, Condition, Dialect, rarity, step_of, whole_of
from windlass.store.span_filters import LATEST, STEPS, began_before, versions_of
from windlass.store.spans import ArrivalQuery, ScoreQuery

# as DuckDB's
TOOK = "ifNull(maxOrNullIf(end_ns, kind != 'evaluator'), max(end_ns)) - min(start_ns)"


def said(attribute: str) -> str:
    """An attribute of a span as text, in SQL."""
    return f"JSONExtract(attributes, '{attribute}', 'Nullable(String)')"


# JSON's own text of what is no text; ifNull, since a table of before has rows without a resource
_RAW = "nullIf(JSONExtractRaw(ifNull({0}, ''), ?), 'null')"
CLICKHOUSE = Dialect(
    holds="multiSearchAnyCaseInsensitiveUTF8(ifNull({0}, ''), ?)",
    texts=list,
    holds_exactly="position(ifNull({0}, ''), ?) > 0",
    begins="startsWith({0}, ?)",
    one_of="has({0}, ?)",
    one_begins="arrayExists(v -> startsWith(v, ?), {0})",
    listed="notEmpty({0})",
    any="countIf({0}) > 0",
    attribute=f"if(JSONType(ifNull({{0}}, ''), ?) = 'String', JSONExtractString(ifNull({{0}}, ''), ?), nullIf({_RAW}, ''))",
    pointer=False,
    number="toFloat64OrNull({0})",
    said=said("{0}"),
    took=TOOK,
    spans=f"countIf({STEPS})",
    cost="round(sumKahanOrNullIf(cost, kind IN ('model', 'embedding') AND innermost), 12)",
    tokens="sumOrNullIf(ifNull(tokens_in, 0) + ifNull(tokens_out, 0),"
    " kind = 'model' AND innermost AND (tokens_in IS NOT NULL OR tokens_out IS NOT NULL))",
)


class Filters(NamedTuple):
    """A question about traces, as DuckDB's `Asked`: `spans`, which count at all; `first`, the condition on spans that the fewest meet;
    `whole`, one on the spans of a trace together, of each revised one the newest where `newest`, with the column `innermost` where
    `totals`."""

    spans: Condition
    first: Condition | None
    whole: Condition
    newest: bool
    totals: bool


def filters_of(q: TraceQuery) -> Filters:
    """Traces that fit. Raises `Invalid` for a filter that is none, and for a cursor of another's making."""
    where, w = ["project = ?", f"kind != '{LOG}'"], list[Any]([q.project])
    if q.evaluation is None:
        where.append("evaluation IS NULL")
    elif q.evaluation == DATASET_RUN:
        where.append(f"startsWith(ifNull(evaluation, ''), '{DATASET_RUN}')")
    elif q.evaluation == "*":
        where.append(f"NOT startsWith(ifNull(evaluation, ''), '{DATASET_RUN}')")
    else:
        where.append("evaluation = ?")
        w.append(q.evaluation)
    conditions = sorted(conditions_of(q), key=rarity)
    steps = [step for node in conditions if (step := step_of(node, q.project, CLICKHOUSE)) is not None]
    whole = [whole_of(node, q.project, CLICKHOUSE) for node in conditions]
    for condition, at in (("min(start_ns) >= ?", q.since_ns), ("min(start_ns) < ?", q.until_ns)):
        if at is not None:
            whole.append((condition, [at]))
    if q.cursor:
        began, trace = began_before(q.cursor)
        whole.append(("min(start_ns) < ? OR (min(start_ns) = ? AND trace_id > ?)", [began, began, trace]))
    having = " AND ".join(f"({sql})" for sql, _ in whole) or "1"
    totals = any(fields_in(node) & TOTALS for node in conditions)
    together = having, [v for _, given in whole for v in given]
    return Filters((" AND ".join(where), w), steps[0] if steps else None, together, bool(conditions), totals)


def watched(query: ArrivalQuery | ScoreQuery) -> tuple[list[str], list[Any]]:
    """Conditions for spans of a release or a service, outside evaluations, and their values."""
    fits, given = ["project = ?", "evaluation IS NULL"], [query.project]
    if query.service:
        fits, given = [*fits, "service = ?"], [*given, query.service]
    else:
        fits, given = [*fits, "startsWith(ifNull(release, ''), ?)"], [*given, versions_of(query.release or "", query.project)]
    if query.environment:
        fits, given = [*fits, "environment = ?"], [*given, query.environment]
    return fits, given


def latest(q: TraceQuery) -> int:
    """When the traces asked for began at the latest, in nanoseconds."""
    began = [at for at in (q.until_ns, int(q.cursor.partition("-")[0]) if q.cursor else None) if at is not None]
    return min(began, default=LATEST)
