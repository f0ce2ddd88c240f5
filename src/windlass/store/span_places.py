"""Where spans lie in DuckDB's files: the newest that fit are found first, then what belongs to them is read from its places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import duckdb

from windlass.store.span_columns import COLUMNS
from windlass.store.span_filters import Condition

NEAR = 4096  # rows; text is unpacked by 2,048


class File(NamedTuple):
    """A day's file: what it is attached as, and when the last of its spans began."""

    name: str
    last_ns: int


class Newest(NamedTuple):
    """Rows of `spans` or `traces` that fit, by a time, the newest first: `key` is what is wanted of them."""

    table: str
    key: str
    time: str
    where: str
    given: list[Any]

    def take(self, db: duckdb.DuckDBPyConnection, files: Sequence[File], most: int) -> int | None:
        """Fills `newest` with the keys of so many rows. Returns the time of the last; None where there were fewer."""
        db.execute("DROP TABLE IF EXISTS newest")
        reached: int | None = None
        for file in sorted(files, key=lambda f: -f.last_ns):
            if reached is not None and reached > file.last_ns:
                break
            rows = (
                f"SELECT {self.key}, {self.time} AS came FROM {file.name}.{self.table} WHERE {self.where} ORDER BY came DESC LIMIT {most}"
            )
            there = db.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'newest'").fetchone()
            db.execute(f"INSERT INTO newest {rows}" if there else f"CREATE TEMP TABLE newest AS {rows}", self.given)
            found = db.execute(f"SELECT came FROM newest ORDER BY came DESC LIMIT 1 OFFSET {most - 1}").fetchone()
            reached = found[0] if found else None
        if reached is not None:
            db.execute("DELETE FROM newest WHERE came < ?", [reached])
        return reached


def place(db: duckdb.DuckDBPyConnection, files: Sequence[File], key: str, project: str, since: int) -> None:
    """Fills `lying` with the places of all spans whose key, a column of `traces`, is among `candidates`; but of keys of which nothing
    began from a time on."""
    wanted = f"{key}, first_row, last_row, last_ns"
    parts = [f"SELECT {n} AS file, {wanted} FROM {f.name}.traces WHERE project = ?" for n, f in enumerate(files)]
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE lying AS WITH p AS (FROM ({' UNION ALL '.join(parts)}) SEMI JOIN candidates USING ({key})),"
        f" kept AS (SELECT {key} FROM p GROUP BY {key} HAVING max(last_ns) >= ?)"
        f" SELECT file, {key} AS key, unnest(range(first_row, last_row + 1)) AS place FROM p SEMI JOIN kept USING ({key})",
        [*[project] * len(files), since],
    )


def lying(files: Sequence[File], spans: Condition, columns: str = COLUMNS) -> tuple[str, list[Any]]:
    """The spans that lie at these places and fit, as a question with its values; each with its `file`, by number, and its `place` there."""
    where, given = spans
    columns = f"{columns}, lying.file, lying.place"
    parts = [
        f"SELECT {columns} FROM {f.name}.spans s JOIN lying ON lying.file = {n} AND lying.place = s.rowid WHERE {where}"
        for n, f in enumerate(files)
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
