"""Spans summed up by session, in ClickHouse: what `span_sessions` asks of DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from windlass.core.operations.sessions import SessionPage, SessionQuery
from windlass.core.span import APPROVED, CALLER, DECISION, LOG
from windlass.store.span_sessions import page_of, reached

# whoever judges a run hours later goes on with no conversation
LAST, ENDED = (f"ifNull(maxOrNullIf({at}, kind != 'evaluator'), max({at}))" for at in ("start_ns", "end_ns"))
Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


def sessions_of(ask: Ask, query: SessionQuery) -> SessionPage:
    """The newest first, by when their last step began; of a revised span the newest counts. A span that names no session is of its
    trace's, where that names one alone. Raises `Invalid` for a cursor that is none."""
    counts = f"project = ? AND evaluation IS NULL AND kind != '{LOG}'"
    fits, given = [counts, "coalesce(spans.session, alone) IS NOT NULL"], [query.project, query.project]
    if query.search:
        fits.append("position(coalesce(spans.session, alone), ?) > 0")
        given.append(query.search)
    kept, bounds = ["1"], list[Any]()
    if query.agent:
        kept.append("has(callers, ?)")
        bounds.append(query.agent)
    if query.cursor:
        at, id = reached(query.cursor)
        kept.append("(last < ? OR (last = ? AND id < ?))")
        bounds += [at, at, id]
    asked = "kind IN ('model', 'embedding') AND innermost"
    rows = ask(
        "WITH a AS (SELECT trace_id, if(min(session) = max(session), min(session), NULL) AS alone"
        f" FROM spans WHERE {counts} AND session IS NOT NULL GROUP BY trace_id),"
        " s AS (SELECT spans.* REPLACE (coalesce(spans.session, alone) AS session),"
        f" {_said(CALLER)} AS caller, {_said(DECISION)} AS decision, {_said(APPROVED)} IS NOT NULL AS waited"
        f" FROM spans JOIN a USING (trace_id) WHERE {' AND '.join(fits)} ORDER BY receipt_ns DESC LIMIT 1 BY trace_id, span_id),"
        f" t AS (SELECT *, (trace_id, span_id) NOT IN ({outer('s')}) AS innermost FROM s),"
        f" g AS (SELECT assumeNotNull(session) AS id, min(start_ns) AS first, {LAST} AS last, {ENDED} AS ended,"
        " uniqExact(trace_id) AS runs, countIf(decision = 'allow' OR (kind = 'tool' AND service != 'windlass')) AS ran,"
        " countIf(decision = 'deny') AS refused, countIf(waited) AS asked,"
        " uniqExactIf(trace_id, parent IS NULL AND status = 'error') AS failed,"
        f" if(countIf(cost IS NULL AND {asked}) > 0, NULL, ifNull(sumIf(cost, {asked}), 0)) AS spent,"
        ' arraySort(groupUniqArray(caller)) AS callers, argMinIf("user", tuple(start_ns, span_id), "user" IS NOT NULL) AS usr'
        f" FROM t GROUP BY session) SELECT * FROM g WHERE {' AND '.join(kept)} ORDER BY last DESC, id DESC LIMIT ?",
        [*given, *bounds, query.limit + 1],
    )
    return page_of(rows, query.limit)


def outer(
    spans: str, parent: str = "parent", response: str = "response", start: str = "start_ns", end: str = "end_ns", kind: str = "kind"
) -> str:  # fmt: skip
    """As DuckDB's; the names are those of these spans' columns."""
    calls = f"{kind} IN ('model', 'embedding')"
    seen = f"SELECT trace_id, span_id, {response} AS told, {start} AS since, {end} AS until FROM {spans} WHERE {calls} AND told IS NOT NULL"
    return (
        f"SELECT trace_id, assumeNotNull({parent}) FROM {spans} WHERE {calls} AND {parent} IS NOT NULL UNION ALL"
        f" SELECT a.trace_id, a.span_id FROM ({seen}) a JOIN ({seen}) b ON a.trace_id = b.trace_id AND a.told = b.told"
        " WHERE a.span_id != b.span_id AND b.since >= a.since AND b.until <= a.until"
        " AND (b.since > a.since OR b.until < a.until OR b.span_id > a.span_id)"
    )


def _said(attribute: str) -> str:
    return f"JSONExtract(attributes, '{attribute}', 'Nullable(String)')"
