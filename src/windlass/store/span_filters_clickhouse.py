"""What is asked of spans, as conditions in ClickHouse's SQL. `span_filters.py` says the same in DuckDB's; a test holds them together."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.operations.traces import TraceQuery
from windlass.core.span import GIVEN, GIVEN_TO, LABEL, LOG, SCORE, SCORED
from windlass.store.span_filters import LATEST, Judgement, began_before, judgement, version_prefix, versions_of
from windlass.store.spans import ArrivalQuery, ScoreQuery

# as DuckDB's
TOOK = "ifNull(maxOrNullIf(end_ns, kind != 'evaluator'), max(end_ns)) - min(start_ns)"
Filters = tuple[str, str, list[Any], list[Any]]  # conditions on spans, conditions on traces, the values of each


def filters_of(q: TraceQuery) -> Filters:
    """Traces that fit. Raises `Invalid` for a cursor of another's making."""
    where, having = ["project = ?", f"kind != '{LOG}'"], ["1"]
    w: list[Any] = [q.project]
    h: list[Any] = []

    def any_span(condition: str, *values: Any) -> None:
        having.append(f"countIf({condition}) > 0")
        h.extend(values)

    if q.kind:
        any_span("parent IS NULL AND kind = ?", q.kind)
    if q.evaluation is None:
        where.append("evaluation IS NULL")
    elif q.evaluation != "*":
        where.append("evaluation = ?")
        w.append(q.evaluation)
    if q.search:
        found = " OR ".join(f"position(lowerUTF8(ifNull({column}, '')), ?) > 0" for column in ("name", "input", "output"))
        any_span(f"parent IS NULL AND ({found})", *[q.search.lower()] * 3)
    if q.status:
        having.append(f"countIf(status = 'error' AND parent IS NULL) {'>' if q.status == 'error' else '='} 0")
    if q.uses:
        any_span("arrayExists(v -> startsWith(v, ?), versions)", version_prefix(q.uses))
    if q.passage:
        any_span("kind = 'retrieval' AND position(ifNull(output, ''), ?) > 0", f'"key":{msgspec.json.encode(q.passage).decode()}')
    for column, value in (("model", q.model), ("session", q.session), ('"user"', q.user), ("environment", q.environment)):
        if value:
            any_span(f"{column} = ?", value)
    for condition, at in (("min(start_ns) >= ?", q.since_ns), ("min(start_ns) < ?", q.until_ns)):
        if at is not None:
            having.append(condition)
            h.append(at)
    if q.score:
        fits, values = _judged(judgement(q.score))
        having.append(f"trace_id IN ({fits})")
        h += [q.project, *values]
    if q.slower_than_ms is not None:
        having.append(f"{TOOK} > ?")
        h.append(int(q.slower_than_ms * 1e6))
    if q.cursor:
        began, trace = began_before(q.cursor)
        having.append("(min(start_ns) < ? OR (min(start_ns) = ? AND trace_id > ?))")
        h += [began, began, trace]
    return " AND ".join(where), " AND ".join(having), w, h


def said(attribute: str) -> str:
    """An attribute of a span as text, in SQL."""
    return f"JSONExtract(attributes, '{attribute}', 'Nullable(String)')"


def _judged(j: Judgement) -> tuple[str, list[Any]]:
    """The traces with such a score, of a revised one as it is now; after the project."""
    judges = "SELECT trace_id, attributes FROM spans WHERE project = ? AND kind = 'evaluator'"
    newest = f"{judges} ORDER BY receipt_ns DESC LIMIT 1 BY trace_id, span_id"
    fits = f"{said(SCORED)} = ? AND ifNull({said(GIVEN)}, '') != 'withdrawn' AND ifNull({said(GIVEN_TO)}, '') != 'session'"
    if j.value is not None:
        number = f"JSONExtract(attributes, '{SCORE}', 'Nullable(Float64)')"
        fits += f" AND {said(LABEL)} = ?" if isinstance(j.value, str) else f" AND {number} {j.op} ?"
    return f"SELECT trace_id FROM ({newest}) WHERE {fits}", [j.name, *([] if j.value is None else [j.value])]


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
