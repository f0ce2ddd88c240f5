"""Whose spans are a person's, in DuckDB. `span_files.forget` takes them out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from windlass.core.quoting import beginnings
from windlass.store.span_columns import HEX_TRACE
from windlass.store.spans import CommonQuery, MentionQuery, SubjectQuery, Theirs

if TYPE_CHECKING:
    import duckdb

SAID = 20_000  # inputs that are told, of the outermost steps
FETCHED = 2_000
OF_A_TRACE = "NOT coalesce(kind = 'log' AND parent = span_id, false)"  # log records of none are statements, found in the journal
OUTERMOST = "(parent IS NULL OR kind IN ('request', 'chain', 'agent', 'component'))"
TEXT = (
    "name", "status_message", "service", "input", "output", "session", "user", "row", "tool", "prompt", "attributes", "events", "links",
    "resource",
)  # fmt: skip


_ALL_TEXT = ", ".join(f'"{c}"' for c in TEXT)
_HOLDS = f"project = ? AND regexp_matches(concat_ws(' ', {_ALL_TEXT}), ?, 'i')"


def theirs(db: duckdb.DuckDBPyConnection, query: SubjectQuery) -> Theirs:
    """Traces of a person: those that carry one of the names as `user` or `session`, and whole sessions that are nobody else's; with a
    pattern also those in which it is found."""
    where = '"user" IN (SELECT unnest(?::VARCHAR[])) OR ("user" IS NULL AND session IN (SELECT unnest(?::VARCHAR[])))'
    values = list[Any]([list(query.names)] * 2)
    if query.pattern:
        where += f" OR regexp_matches(concat_ws(' ', {_ALL_TEXT}), ?, 'i')"
        where += " OR trace_id IN (SELECT trace_id FROM long WHERE project = ? AND regexp_matches(text, ?, 'i'))"
        values += [query.pattern, query.project, query.pattern]
    if query.traces:
        where += " OR trace_id IN (SELECT unnest(?::UUID[]))"
        values.append(list(query.traces))
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE named AS SELECT DISTINCT trace_id FROM spans WHERE project = ? AND {OF_A_TRACE} AND ({where})",
        [query.project, *values],
    )
    db.execute(
        "CREATE OR REPLACE TEMP TABLE their_sessions AS SELECT DISTINCT session FROM (SELECT session FROM spans WHERE project = ?"
        " AND session IS NOT NULL AND trace_id IN (FROM named) UNION ALL SELECT unnest(?::VARCHAR[])) EXCEPT "
        f'SELECT session FROM spans WHERE project = ? AND {OF_A_TRACE} AND session IS NOT NULL AND "user" IS NOT NULL '
        'AND "user" NOT IN (SELECT unnest(?::VARCHAR[]))',
        [query.project, list(query.sessions), query.project, list(query.names)],
    )
    db.execute(
        "CREATE OR REPLACE TEMP TABLE theirs AS SELECT trace_id FROM named UNION"
        f" SELECT DISTINCT trace_id FROM spans WHERE project = ? AND {OF_A_TRACE} AND session IN (FROM their_sessions)",
        [query.project],
    )
    traces = tuple(t for (t,) in db.execute(f"SELECT {HEX_TRACE} FROM theirs ORDER BY trace_id").fetchall())
    sessions = tuple(s for (s,) in db.execute("SELECT session FROM their_sessions ORDER BY session").fetchall())
    said = db.execute(
        "SELECT DISTINCT input FROM spans WHERE project = ? AND trace_id IN (FROM theirs) AND input IS NOT NULL"
        f" AND {OUTERMOST} LIMIT {SAID}",
        [query.project],
    ).fetchall()
    for table in ("named", "their_sessions", "theirs"):
        db.execute(f"DROP TABLE {table}")
    return Theirs(traces, tuple(text for (text,) in said), sessions)


def common(db: duckdb.DuckDBPyConnection, query: CommonQuery) -> list[str]:
    """Which of these texts others asked too. Reads what everybody asked, once."""
    asked = db.execute(
        f"SELECT DISTINCT input FROM spans WHERE project = ? AND input IS NOT NULL AND {OUTERMOST}"
        " AND trace_id NOT IN (SELECT unnest(?::UUID[]))",
        [query.project, list(query.traces)],
    )
    return sorted(said_among(iter(lambda: asked.fetchmany(FETCHED), []), query.texts))


def said_among(inputs: Iterator[list[tuple[str]]], texts: Iterable[str]) -> set[str]:
    """Those of the texts that are said in one of the inputs."""
    wanted, found = set(texts), set[str]()
    for some in inputs:
        for (text,) in some:
            found.update(said for said in beginnings(text) if said in wanted)
    return found


def mentions(db: duckdb.DuckDBPyConnection, query: MentionQuery) -> int:
    """How many spans of a project hold one of these texts anywhere."""
    (short,) = db.execute(f"SELECT count(*) FROM spans WHERE {_HOLDS}", [query.project, query.pattern]).fetchone() or (0,)
    (long,) = db.execute(
        "SELECT count(DISTINCT (trace_id, span_id)) FROM long WHERE project = ? AND regexp_matches(text, ?, 'i')"
        f" AND (trace_id, span_id) NOT IN (SELECT (trace_id, span_id) FROM spans WHERE {_HOLDS})",
        [query.project, query.pattern, query.project, query.pattern],
    ).fetchone() or (0,)
    return int(short + long)


def pattern_of(spelled: tuple[str, ...]) -> str:
    """These texts, each as a word of its own, for engines whose expressions are RE2's."""
    return f"(?:^|[^0-9A-Za-z])(?:{'|'.join(re.escape(s) for s in spelled)})(?:$|[^0-9A-Za-z])"
