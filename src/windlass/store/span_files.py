"""Files of spans in DuckDB: made, brought up to the present format, and written anew without what was erased.

A file is written anew, since what is deleted from one stays in its bytes. A row that is erased stays as an empty one: monitors go on
from a row's place, so places must stay true.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from windlass.store import points_duckdb, span_ledger
from windlass.store.blobs_folder import sync_folder
from windlass.store.span_columns import COLUMNS, TABLES, TYPES
from windlass.store.spans import Forget

if TYPE_CHECKING:
    import duckdb

# Every checkpoint writes the last group of rows anew: with DuckDB's 122,880 each row was written two to three times.
ROWS = 32_768
_STAY = ("receipt_ns", "start_ns")
_NEW = {
    "tokens_written": "NULL", "tokens_reasoning": "NULL", "tool": "NULL", "prompt": "NULL", "tags": "[]", "links": "'[]'",
    "resource": "NULL", "input_from": "NULL", "output_from": "NULL", "response": "NULL", "joined": "false", "severity": "NULL",
}  # fmt: skip
_LATER = {"response": "NULL", "joined": "false", "severity": "NULL"}  # a file of before lacks them


def attach(db: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    """Open a file, or make one. Raises `duckdb.IOException`."""
    db.execute(f"ATTACH '{path}' AS {name} (ROW_GROUP_SIZE {ROWS})")


def prepare(db: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    """Make the tables of a new file; write one of format 1, which had ids and digests as text, anew."""
    old = db.execute(
        "SELECT data_type FROM duckdb_columns() WHERE database_name = ? AND table_name = 'spans' AND column_name = 'trace_id'", [name]
    ).fetchone()
    if (
        old is not None
        and not db.execute("SELECT 1 FROM duckdb_tables() WHERE database_name = ? AND table_name = 'ledger'", [name]).fetchone()
    ):
        span_ledger.begin(db, name)
    if old is not None and old[0] == "VARCHAR":
        _anew(db, name, path, lambda: _fill(db, name))
    for table in TABLES:
        db.execute(f"CREATE TABLE IF NOT EXISTS {name}.{table}")
    for column, told in _LATER.items():
        db.execute(f"ALTER TABLE {name}.spans ADD COLUMN IF NOT EXISTS {column} {TYPES[column]} DEFAULT {told}")


def _fill(db: duckdb.DuckDBPyConnection, name: str) -> None:
    """Rows of a file of format 1, in their places; and where each trace lies."""
    db.execute(f"INSERT INTO written.spans SELECT {', '.join(_upgraded(c) for c in TYPES)} FROM {name}.spans ORDER BY rowid")
    alike = 'project, trace_id, session, "user", evaluation'
    db.execute(
        f"INSERT INTO written.traces SELECT {alike}, min(place), max(place), min(start_ns), max(start_ns) FROM (SELECT *, rowid AS place,"
        f" rowid - row_number() OVER (PARTITION BY {alike} ORDER BY rowid) AS run FROM written.spans WHERE trace_id IS NOT NULL)"
        f" GROUP BY {alike}, run ORDER BY min(place)"
    )


def _upgraded(column: str) -> str:
    if column in _NEW:  # in format 2
        return f"{_NEW[column]}::{TYPES[column]}"
    if column == "trace_id":
        return "trace_id::UUID"
    return f"('0x' || left(\"{column}\", 16))::UBIGINT" if TYPES[column] == "UBIGINT" else f'"{column}"'


def forget(db: duckdb.DuckDBPyConnection, name: str, path: Path, asked: Forget) -> int:
    """Write a day's file anew without what these traces said, and without points. Returns how many spans it was."""
    project = asked.project
    db.execute("CREATE OR REPLACE TEMP TABLE gone AS SELECT unnest(?::UUID[]) AS trace_id", [list(asked.traces)])
    where = "project = ? AND trace_id IN (FROM gone)"
    (count,) = db.execute(f"SELECT count(*) FROM {name}.spans WHERE {where}", [project]).fetchone() or (0,)
    if not points_duckdb.mark(db, name, project, asked.points) + count:
        return 0

    def fill() -> None:
        # text in a condition is compared for every row and column, so what is theirs is found once
        kept = ", ".join(f'"{c}"' if c in _STAY else f'CASE WHEN gone THEN NULL ELSE "{c}" END' for c in TYPES)
        db.execute(
            f"INSERT INTO written.spans SELECT {kept} FROM (SELECT {COLUMNS}, coalesce({where}, false) AS gone FROM {name}.spans"
            " ORDER BY rowid)",
            [project],
        )
        for table in ("traces", "logs", "long"):
            db.execute(f"INSERT INTO written.{table} FROM {name}.{table} WHERE NOT ({where}) ORDER BY rowid", [project])
        db.execute(
            f"INSERT INTO written.points FROM {name}.points WHERE NOT (project = ? AND (receipt_ns, digest) IN (FROM gone_points))"
            " ORDER BY rowid",
            [project],
        )
        span_ledger.erasing(db, name, where, project)

    _anew(db, name, path, fill)
    return int(count)


def _anew(db: duckdb.DuckDBPyConnection, name: str, path: Path, fill: Callable[[], None]) -> None:
    """Write a file anew; `fill` puts spans and traces into what is attached as `written`. The new file is attached when this returns."""
    begin(db, path)
    try:
        fill()
    except BaseException:
        db.execute("DETACH written")
        raise
    finish(db, name, path)


def begin(db: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the file that is to stand for another, empty, and attach it as `written`."""
    partial = _partial(path)
    for old in (partial, _wal(partial)):
        old.unlink(missing_ok=True)
    attach(db, "written", partial)
    for table in TABLES:
        db.execute(f"CREATE TABLE written.{table}")


def finish(db: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    """Put what is attached as `written` in the place of a file, and attach it as that was."""
    try:
        db.execute(f"INSERT INTO written.positions FROM {name}.positions")
        span_ledger.move(db, f"{name}.ledger")
        db.execute("CHECKPOINT written")
    finally:
        db.execute("DETACH written")
    _put(db, name, _partial(path), path)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.stem}.new")


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
    attach(db, name, path)


def _wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
