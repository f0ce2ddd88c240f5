"""Taking a person's spans out of ClickHouse: as `span_erasing.py` does from DuckDB's files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from windlass.store.span_erasing import OF_A_TRACE, OUTERMOST, SAID, TEXT, said_among
from windlass.store.spans import CommonQuery, Forget, MentionQuery, SubjectQuery, Theirs

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
AT_ONCE = 1_000  # traces in one mutation
_ID = re.compile(r"[0-9a-f]{32}")
_TEXT = "concat(" + ", ' ', ".join(f"ifNull(\"{c}\", '')" for c in TEXT) + ")"


def theirs(ask: Ask, query: SubjectQuery) -> Theirs:
    where, values = '"user" IN ? OR ("user" IS NULL AND session IN ?)', list[Any]([list(query.names)] * 2)
    if query.pattern:
        where, values = f"{where} OR match({_TEXT}, ?)", [*values, f"(?i){query.pattern}"]
    if query.traces:
        where, values = f"{where} OR trace_id IN ?", [*values, list(query.traces)]
    rows = ask(f"SELECT DISTINCT trace_id FROM spans WHERE project = ? AND {OF_A_TRACE} AND ({where})", [query.project, *values])
    named = [t for (t,) in rows]
    if not named and not query.sessions:
        return Theirs((), ())
    met = ask("SELECT DISTINCT session FROM spans WHERE project = ? AND session IS NOT NULL AND trace_id IN ?", [query.project, named])
    known = {*query.sessions, *(s for (s,) in met)}
    others = ask(
        f"SELECT DISTINCT session FROM spans WHERE project = ? AND {OF_A_TRACE} AND session IN ?"
        ' AND "user" IS NOT NULL AND "user" NOT IN ?',
        [query.project, sorted(known), list(query.names)],
    )
    sessions = sorted(known - {s for (s,) in others})
    whole = ask(f"SELECT DISTINCT trace_id FROM spans WHERE project = ? AND {OF_A_TRACE} AND session IN ?", [query.project, sessions])
    traces = sorted({*named, *(t for (t,) in whole)})
    said = ask(
        f"SELECT DISTINCT input FROM spans WHERE project = ? AND trace_id IN ? AND input IS NOT NULL AND {OUTERMOST} LIMIT {SAID}",
        [query.project, traces],
    )
    return Theirs(tuple(traces), tuple(text for (text,) in said), tuple(sessions))


def common(ask: Ask, query: CommonQuery) -> list[str]:
    asked = ask(
        f"SELECT DISTINCT input FROM spans WHERE project = ? AND input IS NOT NULL AND {OUTERMOST} AND trace_id NOT IN ?",
        [query.project, list(query.traces)],
    )
    return sorted(said_among(iter([[(str(text),) for (text,) in asked]]), query.texts))


def forget(ask: Ask, alter: Callable[[str, str], None], asked: Forget) -> int:
    """A mutation takes no parameters, so ids are held to be ids."""
    traces = [t for t in asked.traces if _ID.fullmatch(t)]
    ((count,),) = ask("SELECT count() FROM spans WHERE project = ? AND trace_id IN ?", [asked.project, traces])
    if not count:
        return 0
    project = asked.project.replace("\\", "\\\\").replace("'", "\\'")
    for start in range(0, len(traces), AT_ONCE):
        some = ", ".join(f"'{t}'" for t in traces[start : start + AT_ONCE])
        alter("spans", f"DELETE WHERE project = '{project}' AND trace_id IN ({some}) SETTINGS mutations_sync = 2")
    return int(count)


def mentions(ask: Ask, query: MentionQuery) -> int:
    ((found,),) = ask(f"SELECT count() FROM spans WHERE project = ? AND match({_TEXT}, ?)", [query.project, f"(?i){query.pattern}"])
    return int(found)
