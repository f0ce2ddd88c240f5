"""Lists of traces and one trace, in ClickHouse: as `span_traces.py` makes them of DuckDB's files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.calls import CallGraph, CallsShow
from windlass.core.operations.costs import CostsShow, TraceCosts
from windlass.core.operations.traces import SpanText, TextShow, Trace, TracePage, TraceQuery, TraceShow
from windlass.core.operations.trees import TraceTree, TreeShow
from windlass.core.shortening import within
from windlass.core.span import GIVEN, LOG
from windlass.store.span_calls import calls_of
from windlass.store.span_costs import COLUMNS as PAID
from windlass.store.span_costs import costs_of
from windlass.store.span_filters import STEPS
from windlass.store.span_filters_clickhouse import TOOK, Filters, filters_of, latest
from windlass.store.span_scores_clickhouse import judged_of
from windlass.store.span_sessions_clickhouse import outer
from windlass.store.span_tree import LIGHT, tree_of
from windlass.store.spans import SHOWN, TALKING, cursor_of, no_span, span_of, summary_of, told

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


def traces_of(ask: Ask, query: TraceQuery) -> TracePage:
    """As DuckDB's: only as much of history is read as fills a page."""
    q = filters_of(query)
    found = newest_of(ask, query, q, query.limit + 1)
    items = _summaries(ask, *q.spans, found[: query.limit])
    return TracePage(items=items, next=cursor_of(items[-1]) if len(found) > query.limit else None)


def newest_of(ask: Ask, query: TraceQuery, q: Filters, most: int) -> list[tuple[str, int, int]]:
    """Id, first and last start of the newest traces that fit, at most so many."""
    found: list[tuple[str, int, int]] = []
    for since in _windows(ask, query, q, most):
        found = _found(ask, q, most, since)
        if len(found) >= most:
            break
    return found


def _windows(ask: Ask, query: TraceQuery, q: Filters, most: int) -> Iterator[int | None]:
    """Times further and further back to read from; None, everything, is the last."""
    where, given = q.spans
    for spans in (most * 40, most * 1000):
        found = ask(
            f"SELECT start_ns FROM spans WHERE {where} AND start_ns <= ? ORDER BY start_ns DESC LIMIT 1 OFFSET {spans}",
            [*given, latest(query)],
        )
        if not found:
            break
        yield int(found[0][0])
    yield None


def _found(ask: Ask, q: Filters, most: int, since: int | None) -> list[tuple[str, int, int]]:
    """Id, first and last start of the traces that fit and began at or after `since`."""
    where, given = q.spans
    which, bounds = where, [*given]
    if since is not None:
        began = f"SELECT trace_id FROM spans WHERE {where} AND start_ns >= ?"
        older = f"SELECT trace_id FROM spans WHERE {where} AND start_ns < ? AND trace_id IN ({began})"
        which += f" AND start_ns >= ? AND trace_id NOT IN ({older})"
        bounds += [since, *given, since, *given, since]
    if q.first is not None:
        recent = "" if since is None else " AND start_ns >= ?"
        which += f" AND trace_id IN (SELECT trace_id FROM spans WHERE {where}{recent} AND ({q.first[0]}))"
        bounds += [*given, *([] if since is None else [since]), *q.first[1]]
    spans, values = f"SELECT * FROM spans WHERE {which}", bounds
    if q.newest:
        newest = f"SELECT trace_id, span_id, max(receipt_ns) FROM spans WHERE {which} GROUP BY trace_id, span_id"
        spans, values = f"{spans} AND (trace_id, span_id, receipt_ns) IN ({newest})", [*bounds, *bounds]
    if q.totals:
        spans = f"WITH s AS ({spans}) SELECT *, (trace_id, span_id) NOT IN ({outer('s')}) AS innermost FROM s"
    rows = ask(
        f"SELECT trace_id, min(start_ns) AS began, max(start_ns) AS last FROM ({spans}) GROUP BY trace_id"
        f" HAVING {q.whole[0]} ORDER BY began DESC, trace_id LIMIT {most}",
        [*values, *q.whole[1]],
    )
    return [(trace, began, last) for trace, began, last in rows]


def _summaries(ask: Ask, where: str, given: list[Any], found: list[tuple[str, int, int]]) -> tuple[Any, ...]:
    """As DuckDB's: of a revised span the newest counts, of calls that are told of twice the innermost."""
    if not found:
        return ()
    first, last = min(f[1] for f in found), max(f[2] for f in found)
    light = 'trace_id, span_id, parent, start_ns, end_ns, status, kind, tokens_in, tokens_out, cost, response, release, session, "user"'
    rows = ask(
        f"WITH s AS (SELECT {light} FROM spans WHERE {where} AND start_ns BETWEEN ? AND ? AND trace_id IN ?"
        " ORDER BY receipt_ns DESC LIMIT 1 BY trace_id, span_id),"
        f" t AS (SELECT *, (trace_id, span_id) NOT IN ({outer('s')}) AS innermost FROM s)"
        f" SELECT trace_id, min(start_ns) AS began, {TOOK}, countIf({STEPS}),"
        " countIf(status = 'error' AND parent IS NULL) > 0, countIf(status = 'error') > 0, countIf(parent IS NULL),"
        " sumIf(tokens_in, kind = 'model' AND innermost), sumIf(tokens_out, kind = 'model' AND innermost),"
        " round(sumKahanIf(cost, kind IN ('model', 'embedding') AND innermost), 12),"
        ' any(release), any(session), any("user"), argMin(span_id, tuple(parent IS NOT NULL, start_ns, span_id))'
        " FROM t GROUP BY trace_id ORDER BY began DESC, trace_id",
        [*given, first, last, [f[0] for f in found]],
    )
    heads = ask(
        "SELECT trace_id, span_id, name, kind, input, output, release FROM spans"
        " WHERE project = ? AND start_ns BETWEEN ? AND ? AND span_id IN ? ORDER BY receipt_ns",
        [given[0], first, last, [r[-1] for r in rows]],
    )
    newest = {(h[0], h[1]): h[2:] for h in heads}
    whole = [row[:-1] + newest[row[0], row[-1]] for row in rows]
    silent = [row[0] for row in whole if row[-3] is None and row[-2] is None]
    talk = _talk(ask, where, given, first, last, silent) if silent else {}
    return tuple(summary_of((*row[:-3], *talk.get(row[0], row[-3:-1]), row[-1])) for row in whole)


def _talk(ask: Ask, where: str, given: list[Any], first: int, last: int, traces: list[str]) -> dict[str, tuple[str | None, str | None]]:
    """As DuckDB's: what was first asked and last answered in these traces."""
    rows = ask(
        "SELECT trace_id, argMinIf(tuple(input), tuple(start_ns, span_id, -receipt_ns), input IS NOT NULL).1,"
        " argMaxIf(tuple(output), tuple(end_ns, span_id, receipt_ns), output IS NOT NULL).1"
        f" FROM spans WHERE {where} AND start_ns BETWEEN ? AND ? AND {TALKING} AND trace_id IN ? GROUP BY trace_id",
        [*given, first, last, traces],
    )
    return {trace: (asked or None, answered or None) for trace, asked, answered in rows}


def trace_of(ask: Ask, query: TraceShow, columns: Sequence[str]) -> Trace:
    trace_id, after = _resolve(ask, query), (-1, "")
    if query.cursor:
        at, _, span = query.cursor.partition("-")
        if not at.isdigit():
            raise Invalid("this cursor is not one of ours", remedy="start from the first page")
        after = (int(at), span)
    mine, names = [query.project, trace_id], ", ".join(f'"{c}"' for c in columns)
    only, which = (" AND span_id = ?", [query.span]) if query.span else ("", [])
    page = ask(
        f"SELECT argMax(start_ns, receipt_ns) AS began, span_id FROM spans WHERE project = ? AND trace_id = ?{only} GROUP BY span_id"
        " HAVING began > ? OR (began = ? AND span_id > ?) ORDER BY began, span_id LIMIT ?",
        [*mine, *which, after[0], after[0], after[1], query.limit + 1],
    )
    if query.span and not page:
        raise no_span(query.span, query.id)
    whole = ask(
        f"SELECT {names} FROM spans WHERE project = ? AND trace_id = ? AND span_id IN ? ORDER BY receipt_ns DESC LIMIT 1 BY span_id",
        [*mine, [p[1] for p in page[: query.limit]]],
    )
    found = sorted((dict(zip(columns, row, strict=True)) for row in whole), key=lambda r: (r["start_ns"], r["span_id"]))
    spans = tuple(span_of(row, cut) for row, cut in zip(found, within(found, SHOWN), strict=True))
    used = ask("SELECT DISTINCT arrayJoin(versions) FROM spans WHERE project = ? AND trace_id = ?", mine)
    tags = ask("SELECT DISTINCT arrayJoin(tags) AS tag FROM spans WHERE project = ? AND trace_id = ? ORDER BY tag", mine)
    one = f"project = ? AND trace_id = ? AND kind != '{LOG}'"
    (summary,) = _summaries(ask, one, mine, _found(ask, Filters((one, mine), None, ("1", []), newest=False, totals=False), 1, None))
    versions = tuple(sorted((v for (v,) in used), key=lambda v: (not v.startswith("release/"), v)))
    more = cursor_of(spans[-1]) if len(page) > query.limit else None
    return Trace(summary=summary, spans=spans, versions=versions, scores=judged_of(ask, *mine), next=more, tags=tuple(t for (t,) in tags))


def tree_shown(ask: Ask, query: TreeShow) -> TraceTree:
    """As DuckDB's."""
    trace_id = _resolve(ask, TraceShow(query.id, query.project))
    mine = [query.project, trace_id]

    def events(ids: Sequence[str]) -> list[tuple[str, str]]:
        told = ask(
            f"SELECT span_id, events FROM spans WHERE project = ? AND trace_id = ? AND kind != '{LOG}' AND span_id IN ?"
            " ORDER BY receipt_ns DESC LIMIT 1 BY span_id",
            [*mine, list(ids)],
        )
        return [(span, text) for span, text in told]

    return tree_of(trace_id, _light(ask, mine), query, events)


def calls_shown(ask: Ask, query: CallsShow) -> CallGraph:
    """As DuckDB's."""
    trace_id = _resolve(ask, TraceShow(query.id, query.project))
    return calls_of(trace_id, _light(ask, [query.project, trace_id]))


def costs_shown(ask: Ask, query: CostsShow) -> TraceCosts:
    """As DuckDB's."""
    trace_id = _resolve(ask, TraceShow(query.id, query.project))
    return costs_of(trace_id, _light(ask, [query.project, trace_id], PAID))


def _light(ask: Ask, mine: Sequence[Any], columns: Sequence[str] = LIGHT) -> list[tuple[Any, ...]]:
    """As DuckDB's."""
    listed = ", ".join(columns)
    return ask(
        f"SELECT {listed} FROM (SELECT {listed} FROM spans WHERE project = ? AND trace_id = ?"
        f" AND NOT (kind = 'evaluator' AND JSONHas(attributes, '{GIVEN}')) ORDER BY receipt_ns DESC LIMIT 1 BY span_id)"
        " ORDER BY start_ns, span_id",
        mine,
    )


def text_of(ask: Ask, query: TextShow) -> SpanText:
    """As DuckDB's."""
    trace_id = _resolve(ask, TraceShow(query.id, query.project))
    found = ask(
        f'SELECT "{query.of}" FROM spans WHERE project = ? AND trace_id = ? AND span_id = ? ORDER BY receipt_ns DESC LIMIT 1',
        [query.project, trace_id, query.span],
    )
    return told(query, [text for (text,) in found])


def _resolve(ask: Ask, query: TraceShow) -> str:
    text = query.id.lower()
    if len(text) < 4 or any(c not in "0123456789abcdef" for c in text):
        raise Invalid(f"{query.id!r} is not a trace id", remedy="give 4 to 32 hex digits")
    fits = "trace_id = ?" if len(text) == 32 else "startsWith(trace_id, ?)"
    fits += f" AND kind != '{LOG}'"
    found = ask(f"SELECT DISTINCT trace_id FROM spans WHERE project = ? AND {fits} LIMIT 2", [query.project, text])
    if not found:
        raise NotFound(f"there is no trace {query.id}", remedy="windlass traces lists them")
    if len(found) > 1:
        raise Invalid(f"{query.id} fits several traces", remedy="give more digits")
    return str(found[0][0])
