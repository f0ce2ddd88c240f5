"""Spans of DuckDB's files read anew by newer tables, a slice at a time, so that between two slices others are answered.

A file's rows are read in their order, and what is made of each goes into a new file at the same place. What comes in meanwhile is
appended to the old file and so reached too. When all is done the new file stands for the old one; cut off before that, the old one stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from windlass.core.operations.traces import Remapped
from windlass.store import span_files, span_long
from windlass.store.span_columns import COLUMNS, ROW, TYPES
from windlass.store.spans import SpanRow

SLICE = 2_048
CHANGING = (
    "kind", "model", "provider", "tokens_in", "tokens_out", "tokens_cached", "tokens_written", "tokens_reasoning", "cost", "input",
    "output", "session", "user", "release", "environment", "evaluation", "row", "tool", "prompt", "tags", "versions", "response",
)  # fmt: skip


class Remapping:
    """Files on their way, one after the other."""

    def __init__(self, db: duckdb.DuckDBPyConnection, files: Sequence[tuple[str, Path]]) -> None:
        self._db = db
        self._left = list(files)
        self._done, self._of_file = 0, 0  # rows of files that stand, and of the one on its way
        self._changed: Counter[str] = Counter()
        self._of_this: Counter[str] = Counter()
        self._begun = False

    def step(self, read: Callable[[SpanRow], SpanRow]) -> bool:
        """Read one slice anew, or put a file that is whole in its place. Returns whether there is nothing left."""
        if not self._left:
            return True
        name, path = self._left[0]
        if not self._begun:
            span_files.begin(self._db, path)
            self._begun, self._of_file, self._of_this = True, 0, Counter()
        last = self._of_file + span_long.fewer(self._db, name, self._of_file, SLICE) - 1
        found = self._db.execute(
            f"SELECT {ROW} FROM {name}.spans WHERE rowid BETWEEN ? AND ? ORDER BY rowid", [self._of_file, last]
        ).fetchall()
        if found:
            rows = [dict(zip(TYPES, row, strict=True)) for row in found]
            span_long.complete(self._db, name, dict(enumerate(rows, self._of_file)))
            self._write(name, rows, read)
            self._of_file += len(found)
            return False
        self._begun = False
        self._db.execute(f"INSERT INTO written.points FROM {name}.points ORDER BY rowid")  # they mean what they say
        span_files.finish(self._db, name, path)
        self._left.pop(0)
        self._done += self._of_file
        self._of_file = 0
        self._changed += self._of_this
        self._of_this = Counter()
        return not self._left

    def again(self) -> None:
        """Begin the file that is on its way anew: its rows are about to change."""
        if self._begun:
            self._db.execute("DETACH written")
            self._begun, self._of_file = False, 0

    def told(self, total: int) -> Remapped:
        return Remapped(self._done + self._of_file, total, dict(self._changed + self._of_this), not self._left)

    def _write(self, name: str, found: list[dict[str, Any]], read: Callable[[SpanRow], SpanRow]) -> None:
        place, run = self._of_file, list[SpanRow]()
        for row in found:
            if row["trace_id"] is not None:
                old = msgspec.convert(row, SpanRow)
                run.append(new := read(old))
                self._of_this.update(c for c in CHANGING if getattr(old, c) != span_long.as_kept(c, getattr(new, c)))
                continue
            self._put(run, place)  # an erased row stays an empty one
            place += len(run) + 1
            self._db.execute(f"INSERT INTO written.spans SELECT {COLUMNS} FROM {name}.spans WHERE rowid = ?", [place - 1])
            run = []
        self._put(run, place)

    def _put(self, rows: list[SpanRow], first: int) -> None:
        if not rows:
            return
        from windlass.store import span_batches  # with NumPy

        span_batches.append(self._db, "written", rows, first)
