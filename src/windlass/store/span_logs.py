"""Log records by their time, in DuckDB: those of traces, those that coding agents tell steps by, and those of no trace.

They are rows of `spans`. Their times and severities are read of each day, the newest first, until a page is full; what they say of those
that are on it, and of others where a filter asks for texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import duckdb

from windlass.core import span as names
from windlass.core.errors import Invalid
from windlass.core.filter import LONGEST, Node, Term, fields_in
from windlass.core.filter_reading import read
from windlass.core.operations.logs import LEAST, LogPage, LogQuery, LogRecord
from windlass.core.span import LOG
from windlass.store.span_columns import ROW, TYPES
from windlass.store.span_conditions import Condition, Dialect, whole_of
from windlass.store.span_filters import DUCKDB, EARLIEST, LATEST
from windlass.store.span_long import complete
from windlass.store.span_places import File, at
from windlass.store.spans import SHOWN, span_of

# a record of before severities were kept is known by its kind alone
RECORDS = f"project = ? AND (severity IS NOT NULL OR kind = '{LOG}') AND NOT joined"
ASKED = frozenset((
    "", "name", "input", "output", "error", "service", "env", "session", "user", "model", "provider", "tool", "kind", "tag", "has", "attr",
    "resource", "latency", "cost", "tokens",
))  # fmt: skip
# a term asks of one record what it asks of a trace's steps, or of the whole
OF_ONE = DUCKDB._replace(
    any="coalesce({0}, false)", took="end_ns - start_ns", cost="cost", tokens="coalesce(tokens_in + tokens_out, tokens_in, tokens_out)"
)  # fmt: skip


def logs_of(db: duckdb.DuckDBPyConnection, files: Sequence[File], query: LogQuery) -> LogPage:
    where, given = records_asked(query, OF_ONE)
    found: list[tuple[int, int, int, int]] = []  # time, span, file and place
    for number, file in enumerate(files):
        rows = db.execute(
            f"SELECT start_ns, span_id, rowid FROM {file.name}.spans WHERE {where} ORDER BY start_ns DESC, span_id DESC LIMIT ?",
            [*given, query.limit + 1],
        ).fetchall()
        found += [(start, span, number, place) for start, span, place in rows]
    found.sort(key=lambda f: (-f[0], -f[1]))
    shown: dict[tuple[int, int], LogRecord] = {}
    for number in {f[2] for f in found[: query.limit]}:
        file = files[number]
        there = at(db, file, [f[3] for f in found[: query.limit] if f[2] == number], ROW)
        came = {place: dict(zip(TYPES, row, strict=True)) for place, row in there.items()}
        cut = complete(db, file.name, came, SHOWN)
        shown |= {(number, place): record_of(row, cut.get(place)) for place, row in came.items()}
    return page_of([shown[f[2], f[3]] for f in found[: query.limit]], found[query.limit - 1] if len(found) > query.limit else None)


def page_of(items: Sequence[LogRecord], last: Sequence[Any] | None) -> LogPage:
    """`last`: time and span of the last on this page, where there are more."""
    if last is None:
        return LogPage(items=tuple(items))
    span = last[1] if isinstance(last[1], str) else f"{last[1]:016x}"
    return LogPage(items=tuple(items), next=f"{last[0]}-{span}")


def records_asked(query: LogQuery, d: Dialect, span: Callable[[str], Any] = lambda id: int(id, 16)) -> Condition:
    """Which rows are asked for. `span` makes of a span's id what the table has. Raises `Invalid`."""
    parts: list[Condition] = [(RECORDS, [query.project])]
    parts.append(("start_ns BETWEEN ? AND ?", [query.since_ns or EARLIEST, LATEST if query.until_ns is None else query.until_ns - 1]))
    if query.severity:
        parts.append(("severity >= ?", [LEAST[query.severity]]))
    if query.cursor:
        when, id = _reached(query.cursor)
        parts.append(("(start_ns < ? OR (start_ns = ? AND span_id < ?))", [when, when, span(id)]))
    parts += [whole_of(node, query.project, d) for node in _nodes(query)]
    return " AND ".join(f"({sql})" for sql, _ in parts), [v for _, given in parts for v in given]


def _nodes(query: LogQuery) -> list[Node]:
    if len(query.search or "") > LONGEST:
        raise Invalid(f"what is looked for has at most {LONGEST:,} characters", where="search", remedy="look for less")
    found: list[Node] = []
    for field, value in (("service", query.service), ("name", query.name)):
        if value:
            found.append(Term(field, value.removesuffix("*"), prefix=value.endswith("*")))
    if query.search:
        found.append(Term("", query.search))
    if (tree := read(query.filter)) is not None:
        for field in fields_in(tree):
            if field not in ASKED:
                raise Invalid(
                    f"{field} asks for whole traces, and a log record is none", where="filter",
                    remedy="ask the traces: windlass traces -w; of records there are name, service, user, session, model, tool, attr.NAME",
                )  # fmt: skip
        found.append(tree)
    return found


def _reached(cursor: str) -> tuple[int, str]:
    when, _, span = cursor.partition("-")
    if not when.isdecimal() or int(when) > LATEST or len(span) != 16 or any(c not in "0123456789abcdef" for c in span):
        raise Invalid("this cursor is not one of ours", remedy="start from the first page")
    return int(when), span


def record_of(row: dict[str, Any], cut: dict[str, int] | None) -> LogRecord:
    """A record, of its row."""
    span = span_of(row, cut)
    attributes = dict(span.attributes)
    body, severity = attributes.pop(names.LOG_BODY, None), attributes.pop(names.LOG_SEVERITY, "")
    attributes.pop(names.KIND, None)
    alone = row["kind"] == LOG and row["parent"] == row["span_id"]
    trace, step = (None, None) if alone else (span.trace_id, span.span_id)
    return LogRecord(
        span.start_ns, span.name, span.service, str(severity), row["severity"] or 0, body, attributes, span.resource, trace, step, span.cut
    )  # fmt: skip
