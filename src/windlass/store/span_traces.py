"""Lists of traces and one trace, in DuckDB.

A list is made in three steps. The newest spans that meet one of its conditions name the traces that can be in it: every trace that began
after the oldest of those spans is among them. `traces` says where their spans lie. What lies there says which of them fit, and what is
shown of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.calls import CallGraph, CallsShow
from windlass.core.operations.costs import CostsShow, TraceCosts
from windlass.core.operations.traces import SpanText, TextShow, Trace, TracePage, TraceQuery, TraceShow, TraceSummary
from windlass.core.operations.trees import TraceTree, TreeShow
from windlass.core.span import GIVEN, LOG, StoredSpan
from windlass.store.span_calls import calls_of
from windlass.store.span_columns import COLUMNS, HEX_SPAN, HEX_TRACE, said
from windlass.store.span_costs import COLUMNS as PAID
from windlass.store.span_costs import costs_of
from windlass.store.span_filters import EARLIEST, IN_PLACES, LATEST, STEPS, TOOK, Asked, asked
from windlass.store.span_long import complete, whole
from windlass.store.span_places import File, Newest, Parts, among, at, keep, leave_revised, lying, pieces, place, whole_file, with_one
from windlass.store.span_scores import MOST, about_steps, scores_of
from windlass.store.span_sessions import outer
from windlass.store.span_tree import LIGHT as TREE_LIGHT
from windlass.store.span_tree import tree_of
from windlass.store.span_words import Search, sought
from windlass.store.spans import READ, SHOWN, TALKING, cursor_of, no_span, span_of, summary_of, told

FIRST, MORE = 4, 8  # spans looked at for each trace of a page, and how many times as many when that was too few
PLACED = 2  # where rows of `traces` are looked at, of which most traces have one
ROUND = 250_000  # spans that are looked at together, so that they fit into memory
RANGES = 200  # places of one trace in a file that are read apart
LIGHT = (
    'trace_id, span_id, parent, start_ns, end_ns, receipt_ns, status, kind, tokens_in, tokens_out, cost, response, release, session, "user"'
)
HEAD = "name, kind, input, output, release"
WHOLE = (
    "trace_id", "span_id", "parent", "name", "start_ns", "end_ns", "status", "status_message", "attributes", "events", "project",
    "service", "links", "resource", "input", "output", *READ,
)  # fmt: skip
# in whatever order they are added up, it comes to the same
SPENT = "round(fsum(cost) FILTER (kind IN ('model', 'embedding') AND innermost), 12)"
NEWEST = "QUALIFY row_number() OVER (PARTITION BY trace_id, span_id ORDER BY receipt_ns DESC) = 1"
JUDGED = f"WHERE kind = 'evaluator' {NEWEST} ORDER BY start_ns DESC, span_id LIMIT {MOST}"


def traces_of(db: duckdb.DuckDBPyConnection, files: Sequence[File], query: TraceQuery) -> TracePage:
    """The newest first. Only as much of history is read as fills a page."""
    q, limit = asked(query), query.limit
    found = newest_of(db, files, q, limit + 1, FIRST)
    items: tuple[TraceSummary, ...] = ()
    if found:
        keep(db, found[:limit])
        items = _summaries(db, files, *lying(db, files, q.spans, f"{LIGHT}, input, output"))
    return TracePage(items=items, next=cursor_of(items[-1]) if len(found) > limit else None)


def newest_of(db: duckdb.DuckDBPyConnection, files: Sequence[File], q: Asked, most: int, first: int) -> list[str]:
    """The newest traces that fit, at most so many; `lying` has the places of their spans, and of others. History is read backwards, more
    at a time where little of it fits; `first` is how many spans are looked at to begin with, for each trace."""
    placed = not q.steps or q.steps[0][0] in IN_PLACES
    found, size, again = list[str](), min(most * (min(first, PLACED) if placed else first), ROUND // 10), False
    searched = pieces(db, files, q.since, q.until) if q.long else files
    wanted = sought(q.first) if q.first is not None else None
    parts = Search(db, wanted).parts if wanted else whole_file
    while searched:  # where there is nothing left that began in this time, no trace did
        reached = _candidates(db, files, searched, q, size, again, parts)
        found += _fitting(db, files, q, reached, most - len(found))
        if len(found) >= most or reached is None:
            break
        if reached < q.until:
            (together,) = db.execute("SELECT count(*) FROM lying").fetchone() or (0,)
            size = min(size * MORE, max(most, size * ROUND // max(1, together)))
        else:  # very many began at one instant
            size *= MORE
        q, again = q._replace(until=reached), True
        searched = [f for f in searched if f.began <= reached]
    if again and found:
        among(db, found)
        place(db, files, "trace_id", q.spans[1][0], EARLIEST)
        if q.newest:
            leave_revised(db, files, q.spans)
    return found


def _candidates(
    db: duckdb.DuckDBPyConnection, files: Sequence[File], searched: Sequence[File], q: Asked, most: int, again: bool, parts: Parts
) -> int | None:
    """Fills `candidates` with traces; all that fit and began after what is returned are among them. None: all that fit."""
    where, given = q.spans
    step, said = q.steps[0] if q.steps else ("true", [])
    table, steps = ("traces", "") if step in IN_PLACES else ("spans", f" AND kind <> '{LOG}'")
    fits = f"{where}{steps} AND start_ns BETWEEN ? AND ? AND ({step})"
    reached = Newest(table, "trace_id", "start_ns", fits, [*given, q.since, q.until, *said]).take(db, searched, most, parts)
    before = f" UNION SELECT key FROM places GROUP BY key HAVING min(start_ns) <= {q.until}" if again else ""
    db.execute(f"CREATE OR REPLACE TEMP TABLE candidates AS SELECT DISTINCT trace_id FROM (SELECT trace_id FROM newest{before})")
    if q.until < LATEST and not again:
        _add_those_across(db, files, given[0], q.until)
    return reached


def _add_those_across(db: duckdb.DuckDBPyConnection, files: Sequence[File], project: str, at: int) -> None:
    """Adds to `candidates` the traces that began by a time and went on after it: what fits in them may be later."""
    by, after = (
        " UNION ALL ".join(f"SELECT trace_id FROM {f.name}.traces WHERE project = ? AND {condition}" for f in files)
        for condition in ("start_ns <= ?", "last_ns > ?")
    )
    db.execute(
        f"INSERT INTO candidates SELECT DISTINCT trace_id FROM ({by}) SEMI JOIN ({after}) USING (trace_id)",
        [project, at] * len(files) * 2,
    )


def _fitting(db: duckdb.DuckDBPyConnection, files: Sequence[File], q: Asked, began_after: int | None, most: int) -> list[str]:
    """Those of `candidates` that fit, the newest first."""
    project = q.spans[1][0]
    place(db, files, "trace_id", project, max(q.since, EARLIEST if began_after is None else began_after))
    if q.newest:
        leave_revised(db, files, q.spans)
        spans, values = lying(db, files, q.spans)
    else:  # when its spans began is all that is asked of a trace
        spans, values = f"SELECT key AS trace_id, start_ns FROM places WHERE {q.spans[0]}", [*q.spans[1]]
    if q.totals:
        spans = f"WITH s AS ({spans}) SELECT *, (trace_id, span_id) NOT IN ({outer('s')}) AS innermost FROM s"
    conditions = [*((f"bool_or({c})", given) for c, given in q.steps), *q.whole, ("min(start_ns) BETWEEN ? AND ?", [q.since, q.until])]
    if began_after is not None:
        conditions.append(("min(start_ns) > ?", [began_after]))
    if q.after is not None:
        began, trace = q.after
        conditions.append(("(min(start_ns) < ? OR trace_id > ?::UUID)", [began, trace]))
    fits = " AND ".join(c for c, _ in conditions)
    rows = db.execute(
        f"SELECT {HEX_TRACE} FROM ({spans}) GROUP BY trace_id HAVING {fits} ORDER BY min(start_ns) DESC, trace_id LIMIT ?",
        [*values, *(v for _, given in conditions for v in given), most],
    ).fetchall()
    return [trace for (trace,) in rows]


def _summaries(db: duckdb.DuckDBPyConnection, files: Sequence[File], spans: str, values: Sequence[Any]) -> tuple[TraceSummary, ...]:
    """Of a revised span the newest counts. A trace is named by its root, or by its earliest span where the root is not here. A call
    that both an application and the gateway under it tell of is one: only the innermost counts."""
    rows = db.execute(
        f"WITH s AS (SELECT {LIGHT}, file, place FROM ({spans})"
        " QUALIFY row_number() OVER (PARTITION BY trace_id, span_id ORDER BY receipt_ns DESC) = 1),"
        f" t AS (SELECT *, (trace_id, span_id) NOT IN ({outer('s')}) AS innermost FROM s)"
        f" SELECT trace_id, min(start_ns) AS start_ns, {TOOK} AS took, count(*) FILTER ({STEPS}) AS spans,"
        " bool_or(status = 'error' AND parent IS NULL) AS failed, bool_or(status = 'error') AS inner_error,"
        " count(*) FILTER (parent IS NULL) AS roots, sum(tokens_in) FILTER (kind = 'model' AND innermost) AS tin,"
        " sum(tokens_out) FILTER (kind = 'model' AND innermost) AS tout,"
        f" {SPENT} AS cost,"
        ' any_value(release) AS release, any_value(session) AS session, any_value("user") AS usr,'
        " arg_min({'file': file, 'place': place}, {'inner': parent IS NOT NULL, 'start': start_ns, 'id': span_id}) AS head"
        " FROM t GROUP BY trace_id ORDER BY start_ns DESC, trace_id",
        values,
    ).fetchall()
    heads: dict[tuple[int, int], tuple[Any, ...]] = {}
    for file in {row[-1]["file"] for row in rows}:
        there = [row[-1]["place"] for row in rows if row[-1]["file"] == file]
        heads.update({(file, place): head for place, head in at(db, files[file], there, HEAD).items()})
    found = [(row[0].hex, *row[1:-1], *heads[row[-1]["file"], row[-1]["place"]]) for row in rows]
    silent = [row[0] for row in found if row[-3] is None and row[-2] is None]
    talk = _talk(db, spans, values, silent) if silent else {}
    return tuple(summary_of((*row[:-3], *talk.get(row[0], row[-3:-1]), row[-1])) for row in found)


def _talk(
    db: duckdb.DuckDBPyConnection, spans: str, values: Sequence[Any], traces: list[str]
) -> dict[str, tuple[str | None, str | None]]:  # fmt: skip
    """What was first asked and last answered in these traces."""
    rows = db.execute(
        f"SELECT {HEX_TRACE}, arg_min(input, {{'at': start_ns, 'id': span_id, 'old': -receipt_ns}}) FILTER (input IS NOT NULL),"
        " arg_max(output, {'at': end_ns, 'id': span_id, 'new': receipt_ns}) FILTER (output IS NOT NULL)"
        f" FROM ({spans}) WHERE {TALKING} AND trace_id IN (SELECT unnest(?::UUID[])) GROUP BY trace_id",
        [*values, traces],
    ).fetchall()
    return {trace: (asked, answered) for trace, asked, answered in rows}


def trace_of(db: duckdb.DuckDBPyConnection, files: Sequence[File], query: TraceShow) -> Trace:
    """One trace, at most `limit` of its spans."""
    spans, values = _whereabouts(db, files, query)
    limit, after = query.limit, (-1, 0)
    only, which = ("WHERE span_id = ?", [int(query.span, 16)]) if query.span else ("", [])
    if query.cursor:
        at, _, span = query.cursor.partition("-")
        if not at.isdecimal() or int(at) > LATEST or not _is_hex(span) or len(span) > 16:
            raise Invalid("this cursor is not one of ours", remedy="start from the first page")
        after = (int(at), int(span, 16))
    page = db.execute(
        f"SELECT arg_max(start_ns, receipt_ns) AS start, span_id FROM ({spans}) {only} GROUP BY span_id"
        " HAVING (start, span_id) > (?, ?) ORDER BY start, span_id LIMIT ?",
        [*values, *which, *after, limit + 1],
    ).fetchall()
    if query.span and not page:
        raise no_span(query.span, query.id)
    shown = _spans(db, files, spans, values, page[:limit])
    all_ = "list_distinct(flatten(list(versions))), bool_or(kind = 'evaluator'), list_sort(list_distinct(flatten(list(tags))))"
    ((used, judged, tags),) = db.execute(f"SELECT {all_} FROM ({spans})", values).fetchall()
    (summary,) = _summaries(db, files, f"FROM ({spans}) WHERE kind <> '{LOG}'", values)
    versions = tuple(sorted(used, key=lambda v: (not v.startswith("release/"), v)))

    def named(ids: list[str]) -> list[tuple[str, str | None, str]]:
        which = "WHERE span_id IN (SELECT unnest(?::UBIGINT[])) ORDER BY receipt_ns"
        these = f"SELECT {HEX_SPAN}, hex_span(parent), name FROM ({spans}) {which}"
        return db.execute(these, [*values, [int(id, 16) for id in ids]]).fetchall()

    scores = about_steps(scores_of(_whole(db, files, spans, values, JUDGED)), named) if judged else ()
    more = cursor_of(shown[-1]) if len(page) > limit else None
    return Trace(summary=summary, spans=shown, versions=versions, scores=scores, next=more, tags=tuple(tags or ()))


def tree_shown(db: duckdb.DuckDBPyConnection, files: Sequence[File], query: TreeShow) -> TraceTree:
    """A trace as a tree. Raises `Invalid` and `NotFound`."""
    spans, values = _whereabouts(db, files, TraceShow(query.id, query.project))
    trace_id, rows = _light(db, spans, values)

    def events(ids: Sequence[str]) -> list[tuple[str, str]]:
        these = f"FROM ({spans}) WHERE span_id IN (SELECT unnest(?::UBIGINT[])) AND kind <> '{LOG}' ORDER BY receipt_ns"
        told = db.execute(f"SELECT {HEX_SPAN}, events {these}", [*values, [int(id, 16) for id in ids]]).fetchall()
        return list(dict(told).items())

    return tree_of(trace_id, rows, query, events)


def calls_shown(db: duckdb.DuckDBPyConnection, files: Sequence[File], query: CallsShow) -> CallGraph:
    """Raises `Invalid` and `NotFound`."""
    return calls_of(*_light(db, *_whereabouts(db, files, TraceShow(query.id, query.project))))


def costs_shown(db: duckdb.DuckDBPyConnection, files: Sequence[File], query: CostsShow) -> TraceCosts:
    """Raises `Invalid` and `NotFound`."""
    return costs_of(*_light(db, *_whereabouts(db, files, TraceShow(query.id, query.project)), PAID))


def _light(
    db: duckdb.DuckDBPyConnection, spans: str, values: Sequence[Any], columns: Sequence[str] = TREE_LIGHT
) -> tuple[str, list[tuple[Any, ...]]]:
    """A trace's id, and light columns of its steps by start and id; without scores that somebody gave. Of the first columns are id, parent,
    name, kind and start, as in both tables of them."""
    ids = {"span_id": HEX_SPAN, "parent": "hex_span(parent)"}
    listed = ", ".join(ids.get(c, c) for c in columns)
    # of a span the last is its newest revision: QUALIFY over this many columns is an error inside DuckDB 2.0 where a trace lies in parts
    found = db.execute(f"SELECT {listed}, {HEX_TRACE} FROM ({spans}) ORDER BY receipt_ns", values).fetchall()
    rows = {row[0]: row[:-1] for row in found}
    if any(row[3] == "evaluator" for row in rows.values()):
        given = f"SELECT {HEX_SPAN} FROM ({spans}) WHERE kind = 'evaluator' AND {said(GIVEN)} IS NOT NULL"
        for (score,) in db.execute(given, values).fetchall():
            rows.pop(score, None)
    return found[0][-1], sorted(rows.values(), key=lambda row: (row[4], row[0]))


def text_of(db: duckdb.DuckDBPyConnection, files: Sequence[File], query: TextShow) -> SpanText:
    """A text of a span's newest revision, however long. Raises `Invalid` and `NotFound`."""
    spans, values = _whereabouts(db, files, TraceShow(query.id, query.project))
    wanted = f'SELECT "{query.of}", file, place FROM ({spans}) WHERE span_id = ? ORDER BY receipt_ns DESC LIMIT 1'
    found = db.execute(wanted, [*values, int(query.span, 16)]).fetchall()
    return told(query, [whole(db, files[file].name, place, query.of) or text for text, file, place in found])


def _spans(
    db: duckdb.DuckDBPyConnection, files: Sequence[File], spans: str, values: Sequence[Any], page: list[tuple[int, int]]
) -> tuple[StoredSpan, ...]:  # fmt: skip
    """These spans, by start and id, whole."""
    if not page:
        return ()
    these = f"WHERE start_ns BETWEEN ? AND ? AND span_id IN ({_marks(page)}) {NEWEST} ORDER BY start_ns, span_id"
    return _whole(db, files, spans, [*values, page[0][0], page[-1][0], *(p[1] for p in page)], these)


def _whole(
    db: duckdb.DuckDBPyConnection, files: Sequence[File], spans: str, values: Sequence[Any], which: str
) -> tuple[StoredSpan, ...]:  # fmt: skip
    ids = {"trace_id": HEX_TRACE, "span_id": HEX_SPAN, "parent": "hex_span(parent)"}
    rows = db.execute(f"SELECT {', '.join(ids.get(c, c) for c in WHOLE)}, file, place FROM ({spans}) {which}", values).fetchall()
    found = [(dict(zip(WHOLE, row[:-2], strict=True)), row[-2], row[-1]) for row in rows]
    short: dict[tuple[int, int], dict[str, int]] = {}
    for file in {file for _, file, _ in found}:
        of_file = {place: row for row, of, place in found if of == file}
        short |= {(file, place): cut for place, cut in complete(db, files[file].name, of_file, SHOWN).items()}
    return tuple(span_of(row, short.get((file, place))) for row, file, place in found)


def _whereabouts(db: duckdb.DuckDBPyConnection, files: Sequence[File], query: TraceShow) -> tuple[str, list[Any]]:
    """All spans of a trace, as a question with its values. Raises `Invalid` and `NotFound`."""
    text = query.id.lower()
    if not 4 <= len(text) <= 32 or not _is_hex(text):
        raise Invalid(f"{query.id!r} is not a trace id", remedy="give 4 to 32 hex digits")
    low, high = text.ljust(32, "0"), text.ljust(32, "f")
    asked = with_one(files, int(low[:16], 16), int(high[:16], 16))
    found: dict[str, list[tuple[int, int, int]]] = {}
    for number, file in asked:
        for trace, first, last in db.execute(
            f"SELECT {HEX_TRACE}, first_row, last_row FROM {file.name}.traces WHERE project = ? AND trace_id BETWEEN ?::UUID AND ?::UUID"
            " ORDER BY first_row",
            [query.project, low, high],
        ).fetchall():
            found.setdefault(trace, []).append((number, first, last))
    if not found:
        raise NotFound(f"there is no trace {query.id}", remedy="windlass traces lists them")
    if len(found) > 1:
        raise Invalid(f"{query.id} fits several traces", remedy="give more digits")
    ((trace_id, where),) = found.items()
    for number, file in asked:
        logs = db.execute(
            f"SELECT {number}, first_row, last_row FROM {file.name}.logs WHERE project = ? AND trace_id = ?::UUID",
            [query.project, trace_id],
        ).fetchall()
        where = sorted([*where, *logs])
    parts, values = list[str](), list[Any]()
    for number, first, last in _joined(where):
        parts.append(
            f"SELECT {COLUMNS}, {number} AS file, rowid AS place FROM {files[number].name}.spans WHERE rowid BETWEEN ? AND ?"
            " AND project = ? AND trace_id = ?::UUID"
        )
        values += [first, last, query.project, trace_id]
    return " UNION ALL ".join(parts), values


def _joined(where: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Places in files; of a trace that lies in very many, one from the first to the last in each file."""
    if len(where) <= RANGES:
        return where
    whole: dict[int, tuple[int, int, int]] = {}
    for file, first, last in where:
        _, low, high = whole.get(file, (file, first, last))
        whole[file] = (file, min(low, first), max(high, last))
    return list(whole.values())


def _is_hex(text: str) -> bool:
    return bool(text) and all(c in "0123456789abcdef" for c in text)


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
