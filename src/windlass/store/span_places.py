"""Where spans lie in DuckDB's files: the newest that fit are found first, then what belongs to them is read from its places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import duckdb

from windlass.store.span_columns import COLUMNS
from windlass.store.span_conditions import Condition
from windlass.store.span_filters import EARLIEST
from windlass.store.span_keys import HALF, has_any, has_between

NEAR = 4096  # rows; text is unpacked by 2,048
PIECE = 32_768  # rows of a file that are searched at a time


class File(NamedTuple):
    """A day's file: what it is attached as, when the last of its spans began, and the first halves of the ids of its traces, where they
    are known. A piece of one holds the rows from `first` to before `end`; the first of their spans began at `began`."""

    name: str
    last_ns: int
    halves: Any | None = None
    began: int = EARLIEST
    first: int | None = None
    end: int = 0

    @property
    def within(self) -> str:
        return "" if self.first is None else f" AND rowid >= {self.first} AND rowid < {self.end}"


Parts = Callable[[File], Sequence[File]]


def whole_file(file: File) -> Sequence[File]:
    return (file,)


class Newest(NamedTuple):
    """Rows of `spans` or `traces` that fit, by a time, the newest first: `key` is what is wanted of them."""

    table: str
    key: str
    time: str
    where: str
    given: list[Any]

    def take(self, db: duckdb.DuckDBPyConnection, files: Sequence[File], most: int, parts: Parts = whole_file) -> int | None:
        """Fills `newest` with the keys of so many rows; `parts` says which of a file are read. Returns the time of the last; None where
        there were fewer."""
        wanted = f"SELECT {self.key}, {self.time} AS came FROM"
        db.execute(f"CREATE OR REPLACE TEMP TABLE newest AS {wanted} {files[0].name}.{self.table} LIMIT 0")
        reached: int | None = None
        for file in sorted(files, key=lambda f: -f.last_ns):
            if reached is not None and reached > file.last_ns:
                break
            for part in parts(file):
                rows = f"{wanted} {part.name}.{self.table} WHERE {self.where}{part.within} ORDER BY came DESC LIMIT {most}"
                db.execute(f"INSERT INTO newest {rows}", self.given)
            found = db.execute(f"SELECT came FROM newest ORDER BY came DESC LIMIT 1 OFFSET {most - 1}").fetchone()
            reached = found[0] if found else None
        if reached is not None:
            db.execute("DELETE FROM newest WHERE came < ?", [reached])
        return reached


def pieces(db: duckdb.DuckDBPyConnection, files: Sequence[File], since: int, until: int) -> list[File]:
    """Files in pieces, without those in which nothing began in this time: of long texts no more are read than is needed."""
    found: list[File] = []
    first, last = f"first_row // {PIECE}", f"last_row // {PIECE}"
    for file in files:
        rows = db.execute(
            f"SELECT piece, min(start_ns), max(last_ns) FROM (SELECT {first} AS piece, start_ns, last_ns FROM {file.name}.traces UNION ALL"
            f" SELECT unnest(range({first} + 1, {last} + 1)), start_ns, last_ns FROM {file.name}.traces WHERE {last} > {first})"
            " GROUP BY piece HAVING max(last_ns) >= ? AND min(start_ns) <= ?",
            [since, until],
        ).fetchall()
        found += [File(file.name, last_ns, None, began, piece * PIECE, (piece + 1) * PIECE) for piece, began, last_ns in rows]
    return found


def place(db: duckdb.DuckDBPyConnection, files: Sequence[File], key: str, project: str, since: int) -> None:
    """Fills `lying` with the places of all spans whose key, a column of `traces`, is among `candidates`; but of keys of which nothing
    began from a time on. `places` has where all of them lie, and when, and of which evaluation they are."""
    wanted = f"{key} AS key, project, evaluation, first_row, last_row, start_ns, last_ns"
    asked = _with_candidates(db, files) or [0]
    parts = [f"SELECT {n} AS file, {wanted} FROM {files[n].name}.traces WHERE project = ?" for n in asked]
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE places AS FROM ({' UNION ALL '.join(parts)}) SEMI JOIN (SELECT {key} AS key FROM candidates)"
        " USING (key)",
        [project] * len(asked),
    )
    db.execute(
        "CREATE OR REPLACE TEMP TABLE lying AS WITH kept AS (SELECT key FROM places GROUP BY key HAVING max(last_ns) >= ?)"
        " SELECT file, key, unnest(range(first_row, last_row + 1)) AS place FROM places SEMI JOIN kept USING (key)",
        [since],
    )


def _with_candidates(db: duckdb.DuckDBPyConnection, files: Sequence[File]) -> list[int]:
    """Which files may have something of `candidates`."""
    if all(file.halves is None for file in files):
        return list(range(len(files)))
    wanted = db.execute(f"SELECT DISTINCT {HALF} AS half FROM candidates").fetchnumpy()["half"]
    return [n for n, file in enumerate(files) if file.halves is None or has_any(file.halves, wanted)]


def with_one(files: Sequence[File], low: int, high: int) -> list[tuple[int, File]]:
    """Files, by number, that may have something of a trace whose id has its first half from `low` to `high`."""
    return [(n, file) for n, file in enumerate(files) if file.halves is None or has_between(file.halves, low, high)]


def among(db: duckdb.DuckDBPyConnection, traces: Sequence[str]) -> None:
    """Fills `candidates` with these traces."""
    db.execute("CREATE OR REPLACE TEMP TABLE candidates AS SELECT unnest(?::UUID[]) AS trace_id", [list(traces)])


def keep(db: duckdb.DuckDBPyConnection, traces: Sequence[str]) -> None:
    """Takes out of `lying` what is of other traces."""
    db.execute("CREATE OR REPLACE TEMP TABLE lying AS FROM lying SEMI JOIN (SELECT unnest(?::UUID[]) AS key) USING (key)", [list(traces)])


def leave_revised(db: duckdb.DuckDBPyConnection, files: Sequence[File], spans: Condition) -> None:
    """Takes out of `lying` spans that do not count, and revised ones but for the newest."""
    rows, values = lying(db, files, spans, "lying.key, span_id, receipt_ns")
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE lying AS SELECT file, key, place FROM ({rows})"
        " QUALIFY row_number() OVER (PARTITION BY key, span_id ORDER BY receipt_ns DESC) = 1",
        values,
    )


def lying(
    db: duckdb.DuckDBPyConnection, files: Sequence[File], spans: Condition, columns: str = COLUMNS
) -> tuple[str, list[Any]]:  # fmt: skip
    """The spans that lie at these places and fit, as a question with its values; each with its `file`, by number, and its `place` there."""
    where, given = spans
    columns = f"{columns}, lying.file, lying.place"
    there = [n for (n,) in db.execute("SELECT DISTINCT file FROM lying ORDER BY file").fetchall()] or [0]
    parts = [
        f"SELECT {columns} FROM {files[n].name}.spans s JOIN lying ON lying.file = {n} AND lying.place = s.rowid WHERE {where}"
        for n in there
    ]
    return " UNION ALL ".join(parts), [*given * len(parts)]


def at(db: duckdb.DuckDBPyConnection, file: File, places: Sequence[int], columns: str) -> dict[int, tuple[Any, ...]]:
    """These columns of rows of a file, by place. What lies far apart is asked for apart: in between would be read too."""
    parts: list[list[int]] = []
    for number in sorted(places):
        if parts and number - parts[-1][-1] < NEAR:
            parts[-1].append(number)
        else:
            parts.append([number])
    asked = (
        f"SELECT rowid, {columns} FROM {file.name}.spans WHERE rowid BETWEEN {part[0]} AND {part[-1]}"
        f" AND rowid IN ({', '.join(map(str, part))})"
        for part in parts
    )
    return {place: tuple(row) for place, *row in db.execute(" UNION ALL ".join(asked)).fetchall()}
