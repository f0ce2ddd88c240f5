"""Spans summed up by session, in DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from windlass.core.errors import Invalid
from windlass.core.operations.sessions import SessionPage, SessionQuery, SessionSummary
from windlass.core.span import APPROVED, CALLER, DECISION
from windlass.store.span_columns import said
from windlass.store.span_conditions import Condition
from windlass.store.span_filters import EARLIEST, LATEST
from windlass.store.span_places import File, Newest, lying, place

LIGHT = 'trace_id, span_id, parent, kind, status, service, start_ns, end_ns, receipt_ns, cost, response, "user"'
# whoever judges a run hours later goes on with no conversation
LAST, ENDED = (f"coalesce(max({at}) FILTER (kind <> 'evaluator'), max({at}))" for at in ("start_ns", "end_ns"))
MORE = 8  # times as many rows, when what was read filled no page


def sessions_of(db: duckdb.DuckDBPyConnection, files: Sequence[File], query: SessionQuery) -> SessionPage:
    """The newest first, by when their last step began; of a revised span the newest counts. A span that names no session is of its
    trace's, where that names one alone: some libraries say it on the root only. Only as many are read as fill a page. Raises `Invalid`
    for a cursor that is none."""
    kept, bounds, until = ["true"], list[Any](), LATEST
    if query.search:
        kept.append("contains(session, ?)")
        bounds.append(query.search)
    if query.agent:
        kept.append("list_contains(callers, ?)")
        bounds.append(query.agent)
    if query.cursor:
        until, id = reached(query.cursor)
        kept.append("(last, session) < (?, ?)")
        bounds += [until, id]
    counts = "project = ? AND evaluation IS NULL"
    newest, most = Newest("traces", "trace_id", "last_ns", f"{counts} AND start_ns <= ?", [query.project, until]), (query.limit + 1) * 4
    rows: list[tuple[Any, ...]] = []
    while files:
        last = newest.take(db, files, most)
        _name(db, files, (counts, [query.project]))
        place(db, files, "trace_id", query.project, EARLIEST)
        spans = lying(db, files, (counts, [query.project]))
        rows = _summed(db, spans, (kept, bounds), EARLIEST if last is None else last + 1, query.limit + 1)
        if last is None or len(rows) > query.limit:
            break
        most *= MORE
    return page_of(rows, query.limit)


def _name(db: duckdb.DuckDBPyConnection, files: Sequence[File], spans: Condition) -> None:
    """Fills `named` with the sessions of the newest traces, and `candidates` with all traces of these sessions."""
    where, given = spans
    parts = " UNION ALL ".join(f"SELECT trace_id, session FROM {f.name}.traces WHERE {where} AND session IS NOT NULL" for f in files)
    values = given * len(files)
    db.execute(f"CREATE OR REPLACE TEMP TABLE named AS SELECT DISTINCT session FROM ({parts}) SEMI JOIN newest USING (trace_id)", values)
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE candidates AS SELECT DISTINCT trace_id FROM ({parts}) SEMI JOIN named USING (session)", values
    )


def _summed(
    db: duckdb.DuckDBPyConnection, spans: tuple[str, list[Any]], kept: tuple[list[str], list[Any]], since: int, most: int
) -> list[tuple[Any, ...]]:
    """Those of the named sessions, from all spans of their traces, whose last one began from a time on."""
    asked = "kind IN ('model', 'embedding') AND innermost"
    return db.execute(
        f"WITH n AS MATERIALIZED (SELECT {LIGHT}, session, {said(CALLER)} AS caller, {said(DECISION)} AS decision,"
        f" {said(APPROVED)} IS NOT NULL AS waited FROM ({spans[0]})),"
        " a AS (SELECT trace_id, CASE WHEN min(session) = max(session) THEN min(session) END AS alone FROM n GROUP BY trace_id),"
        " m AS (SELECT n.* REPLACE (coalesce(session, alone) AS session) FROM n JOIN a USING (trace_id)),"
        " s AS (FROM m WHERE session IN (FROM named)"
        " QUALIFY row_number() OVER (PARTITION BY trace_id, span_id ORDER BY receipt_ns DESC) = 1),"
        f" t AS (SELECT *, (trace_id, span_id) NOT IN ({outer('s')}) AS innermost FROM s),"
        f" g AS (SELECT session, min(start_ns) AS first, {LAST} AS last, {ENDED} AS ended, count(DISTINCT trace_id) AS runs,"
        " count(*) FILTER (decision = 'allow' OR (kind = 'tool' AND service <> 'windlass')) AS ran,"
        " count(*) FILTER (decision = 'deny') AS refused, count(*) FILTER (waited) AS asked,"
        " count(DISTINCT trace_id) FILTER (parent IS NULL AND status = 'error') AS failed,"
        f" CASE WHEN bool_or(cost IS NULL) FILTER ({asked}) THEN NULL ELSE coalesce(sum(cost) FILTER ({asked}), 0) END AS cost,"
        " coalesce(list_sort(list(DISTINCT caller) FILTER (caller IS NOT NULL)), []) AS callers,"
        " arg_min(\"user\", {'at': start_ns, 'id': span_id}) FILTER (\"user\" IS NOT NULL) AS usr"
        f" FROM t GROUP BY session) SELECT * FROM g WHERE {' AND '.join(kept[0])} AND last >= ? ORDER BY last DESC, session DESC LIMIT ?",
        [*spans[1], *kept[1], since, most],
    ).fetchall()


def reached(cursor: str) -> tuple[int, str]:
    """When the last session of the page before had its last span, and its id. Raises `Invalid`."""
    at, _, id = cursor.partition("-")
    if not at.isdecimal():
        raise Invalid("this cursor is not one of ours", remedy="start from the first page")
    return int(at), id


def page_of(rows: Sequence[tuple[Any, ...]], limit: int) -> SessionPage:
    """A page of as many sessions as asked for, from one more."""
    items = tuple(_summary(row) for row in rows[:limit])
    return SessionPage(items=items, next=f"{rows[limit - 1][2]}-{items[-1].id}" if len(rows) > limit else None)


def outer(spans: str) -> str:
    """Which of these spans tell of a call that another tells of too: those with a call of a model beneath them, as an application's with
    the gateway's under it; and of those with one answer's id, as a framework's and a client's beside it, all but the innermost in time."""
    calls = f"FROM {spans} WHERE kind IN ('model', 'embedding')"
    seen = f"SELECT trace_id, span_id, response, start_ns, end_ns {calls} AND response IS NOT NULL"
    return (
        f"SELECT (trace_id, parent) {calls} AND parent IS NOT NULL UNION ALL"
        f" SELECT (a.trace_id, a.span_id) FROM ({seen}) a JOIN ({seen}) b ON a.trace_id = b.trace_id AND a.response = b.response"
        " AND a.span_id <> b.span_id AND b.start_ns >= a.start_ns AND b.end_ns <= a.end_ns"
        " AND (b.start_ns > a.start_ns OR b.end_ns < a.end_ns OR b.span_id > a.span_id)"
    )


def _summary(row: tuple[Any, ...]) -> SessionSummary:
    id, first, _, ended, runs, ran, refused, asked, failed, cost, callers, user = row
    return SessionSummary(id, first, ended, runs, ran, refused, asked, failed, cost, tuple(callers), user)
