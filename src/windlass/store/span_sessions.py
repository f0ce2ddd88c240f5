"""Spans summed up by session, in DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from windlass.core.errors import Invalid
from windlass.core.operations.sessions import SessionPage, SessionQuery, SessionSummary
from windlass.core.span import APPROVED, CALLER, DECISION

LIGHT = 'trace_id, span_id, parent, kind, status, service, start_ns, end_ns, receipt_ns, cost, "user"'


def sessions_of(db: duckdb.DuckDBPyConnection, query: SessionQuery) -> SessionPage:
    """The newest first, by when their last span began; of a revised span the newest counts. A span that names no session is of its
    trace's, where that names one alone: some libraries say it on the root only. Raises `Invalid` for a cursor that is none."""
    counts = "project = ? AND evaluation IS NULL"
    fits, given = [counts, "coalesce(session, alone) IS NOT NULL"], [query.project, query.project]
    if query.search:
        fits.append("contains(coalesce(session, alone), ?)")
        given.append(query.search)
    kept, bounds = ["true"], list[Any]()
    if query.agent:
        kept.append("list_contains(callers, ?)")
        bounds.append(query.agent)
    if query.cursor:
        kept.append("(last, session) < (?, ?)")
        bounds += reached(query.cursor)
    asked = "kind IN ('model', 'embedding') AND innermost"
    rows = db.execute(
        "WITH a AS (SELECT trace_id, CASE WHEN min(session) = max(session) THEN min(session) END AS alone"
        f" FROM spans WHERE {counts} AND session IS NOT NULL GROUP BY trace_id),"
        f" n AS (SELECT {LIGHT}, coalesce(session, alone) AS session, {_said(CALLER)} AS caller, {_said(DECISION)} AS decision,"
        f" {_said(APPROVED)} IS NOT NULL AS waited FROM spans JOIN a USING (trace_id) WHERE {' AND '.join(fits)}),"
        " s AS (FROM n QUALIFY row_number() OVER (PARTITION BY trace_id, span_id ORDER BY receipt_ns DESC) = 1),"
        f" t AS (SELECT *, (trace_id, span_id) NOT IN ({outer('s')}) AS innermost FROM s),"
        " g AS (SELECT session, min(start_ns) AS first, max(start_ns) AS last, max(end_ns) AS ended, count(DISTINCT trace_id) AS runs,"
        " count(*) FILTER (decision = 'allow' OR (kind = 'tool' AND service <> 'windlass')) AS ran,"
        " count(*) FILTER (decision = 'deny') AS refused, count(*) FILTER (waited) AS asked,"
        " count(DISTINCT trace_id) FILTER (parent IS NULL AND status = 'error') AS failed,"
        f" CASE WHEN bool_or(cost IS NULL) FILTER ({asked}) THEN NULL ELSE coalesce(sum(cost) FILTER ({asked}), 0) END AS cost,"
        " coalesce(list_sort(list(DISTINCT caller) FILTER (caller IS NOT NULL)), []) AS callers,"
        " arg_min(\"user\", {'at': start_ns, 'id': span_id}) FILTER (\"user\" IS NOT NULL) AS usr"
        f" FROM t GROUP BY session) SELECT * FROM g WHERE {' AND '.join(kept)} ORDER BY last DESC, session DESC LIMIT ?",
        [*given, *bounds, query.limit + 1],
    ).fetchall()
    return page_of(rows, query.limit)


def reached(cursor: str) -> tuple[int, str]:
    """When the last session of the page before had its last span, and its id. Raises `Invalid`."""
    at, _, id = cursor.partition("-")
    if not at.isdigit():
        raise Invalid("this cursor is not one of ours", remedy="start from the first page")
    return int(at), id


def page_of(rows: Sequence[tuple[Any, ...]], limit: int) -> SessionPage:
    """A page of as many sessions as asked for, from one more."""
    items = tuple(_summary(row) for row in rows[:limit])
    return SessionPage(items=items, next=f"{rows[limit - 1][2]}-{items[-1].id}" if len(rows) > limit else None)


def outer(spans: str) -> str:
    """Which of these spans have a call of a model beneath them: a call that an application and the gateway under it tell of is one."""
    return f"SELECT (trace_id, parent) FROM {spans} WHERE kind IN ('model', 'embedding') AND parent IS NOT NULL"


def _said(attribute: str) -> str:
    return f"json_extract_string(attributes, '$.\"{attribute}\"')"


def _summary(row: tuple[Any, ...]) -> SessionSummary:
    id, first, _, ended, runs, ran, refused, asked, failed, cost, callers, user = row
    return SessionSummary(id, first, ended, runs, ran, refused, asked, failed, cost, tuple(callers), user)
