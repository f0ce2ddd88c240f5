"""Taking a person's spans out of DuckDB's files.

A file is written anew, since what is deleted from one stays in its bytes. A row that is erased stays as an empty one: monitors go on
from a row's place, so places must stay true.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windlass.core.quoting import beginnings
from windlass.store.blobs_folder import sync_folder
from windlass.store.spans import CommonQuery, MentionQuery, SubjectQuery, Theirs

if TYPE_CHECKING:
    import duckdb

SAID = 20_000  # inputs that are told, of the outermost steps
FETCHED = 2_000
OUTERMOST = "(parent IS NULL OR kind IN ('request', 'chain', 'agent', 'component'))"
TEXT = ("name", "status_message", "service", "input", "output", "session", "user", "row", "attributes", "events")
_STAY = ("receipt_ns", "start_ns")


def theirs(db: duckdb.DuckDBPyConnection, query: SubjectQuery) -> Theirs:
    """Traces of a person: those that carry one of the names as `user`, and whole sessions that are nobody else's; with a pattern also
    those in which it is found."""
    where, values = '"user" IN (SELECT unnest(?::VARCHAR[]))', list[Any]([list(query.names)])
    if query.pattern:
        where += f" OR regexp_matches(concat_ws(' ', {_all_text()}), ?, 'i')"
        values.append(query.pattern)
    if query.traces:
        where += " OR trace_id IN (SELECT unnest(?::VARCHAR[]))"
        values.append(list(query.traces))
    db.execute(
        "CREATE OR REPLACE TEMP TABLE theirs AS WITH named AS "
        f"(SELECT DISTINCT trace_id FROM spans WHERE project = ? AND ({where})), "
        "sessions AS (SELECT DISTINCT session FROM spans WHERE project = ? AND session IS NOT NULL AND trace_id IN (FROM named) EXCEPT "
        'SELECT session FROM spans WHERE project = ? AND session IS NOT NULL AND "user" IS NOT NULL '
        'AND "user" NOT IN (SELECT unnest(?::VARCHAR[]))) '
        "SELECT trace_id FROM named UNION SELECT DISTINCT trace_id FROM spans WHERE project = ? AND session IN (FROM sessions)",
        [query.project, *values, query.project, query.project, list(query.names), query.project],
    )
    traces = tuple(t for (t,) in db.execute("FROM theirs ORDER BY trace_id").fetchall())
    said = db.execute(
        "SELECT DISTINCT input FROM spans WHERE project = ? AND trace_id IN (FROM theirs) AND input IS NOT NULL"
        f" AND {OUTERMOST} LIMIT {SAID}",
        [query.project],
    ).fetchall()
    db.execute("DROP TABLE theirs")
    return Theirs(traces, tuple(text for (text,) in said))


def common(db: duckdb.DuckDBPyConnection, query: CommonQuery) -> list[str]:
    """Which of these texts others asked too. Reads what everybody asked, once."""
    asked = db.execute(
        f"SELECT DISTINCT input FROM spans WHERE project = ? AND input IS NOT NULL AND {OUTERMOST}"
        " AND trace_id NOT IN (SELECT unnest(?::VARCHAR[]))",
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


def forget(db: duckdb.DuckDBPyConnection, name: str, path: Path, columns: dict[str, str], project: str, traces: list[str]) -> int:
    """Write a day's file anew without what these traces said. `name` is what it is attached as; it is attached again when this returns."""
    db.execute("CREATE OR REPLACE TEMP TABLE gone AS SELECT unnest(?::VARCHAR[]) AS trace_id", [traces])
    where = "project = ? AND trace_id IN (FROM gone)"
    (count,) = db.execute(f"SELECT count(*) FROM {name}.spans WHERE {where}", [project]).fetchone() or (0,)
    if not count:
        return 0
    partial = path.with_name(f".{path.stem}.new")
    for old in (partial, _wal(partial)):
        old.unlink(missing_ok=True)
    db.execute(f"ATTACH '{partial}' AS erasing")
    try:
        # text in a condition is compared for every row and column, so what is theirs is found once
        kept = ", ".join(f'"{c}"' if c in _STAY else f'CASE WHEN gone THEN NULL ELSE "{c}" END AS "{c}"' for c in columns)
        db.execute("CREATE TABLE erasing.spans (" + ", ".join(f'"{c}" {t}' for c, t in columns.items()) + ")")
        db.execute(
            f"INSERT INTO erasing.spans SELECT {kept} FROM (SELECT *, coalesce({where}, false) AS gone FROM {name}.spans ORDER BY rowid)",
            [project],
        )
        db.execute("CREATE TABLE erasing.positions (writer VARCHAR PRIMARY KEY, segment BIGINT, read BIGINT)")
        db.execute(f"INSERT INTO erasing.positions FROM {name}.positions")
        db.execute("CHECKPOINT erasing")
    finally:
        db.execute("DETACH erasing")
    _put(db, name, partial, path)
    return int(count)


def _put(db: duckdb.DuckDBPyConnection, name: str, partial: Path, path: Path) -> None:
    """Put the new file in the old one's place; cut off anywhere, one of the two is whole."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    db.execute(f"CHECKPOINT {name}")  # after it the old file needs no log, and the new one must not meet it
    db.execute(f"DETACH {name}")
    for log in (_wal(path), _wal(partial)):
        log.unlink(missing_ok=True)
    partial.replace(path)
    sync_folder(path.parent)
    db.execute(f"ATTACH '{path}' AS {name}")


def mentions(db: duckdb.DuckDBPyConnection, query: MentionQuery) -> int:
    """How many spans of a project hold one of these texts anywhere."""
    (found,) = db.execute(
        f"SELECT count(*) FROM spans WHERE project = ? AND regexp_matches(concat_ws(' ', {_all_text()}), ?, 'i')",
        [query.project, query.pattern],
    ).fetchone() or (0,)
    return int(found)


def pattern_of(spelled: tuple[str, ...]) -> str:
    """These texts, each as a word of its own, for engines whose expressions are RE2's."""
    return f"(?:^|[^0-9A-Za-z])(?:{'|'.join(re.escape(s) for s in spelled)})(?:$|[^0-9A-Za-z])"


def _all_text() -> str:
    return ", ".join(f'"{c}"' for c in TEXT)


def _wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
