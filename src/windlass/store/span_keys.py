"""Which traces a file has any span of, so that a question about some traces asks the few files that have them.

Ids of traces are random, so no file can be left out by their range; and each file that is asked in vain takes as long as one that has
something. What a file's `traces` and `logs` name is remembered, by the first halves of ids, sorted, eight bytes each. A file that has
grown since is asked as before, so an answer never depends on this.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import duckdb

HALF = "((trace_id::UHUGEINT) >> 64)::UBIGINT"  # of an id, its first 16 hex digits


class Known(NamedTuple):
    rows: int  # that the file had
    halves: Any  # of NumPy


class Keys:
    """Of the files of one store."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}

    def step(self, db: duckdb.DuckDBPyConnection, files: Iterable[tuple[str, int]]) -> bool:
        """Look through the first of these files, by name and number of rows, that is not known as it is. Returns whether there was one."""
        for name, rows in files:
            if self.of(name, rows) is None:
                ids = f"SELECT {HALF} AS half FROM {name}.traces UNION SELECT {HALF} FROM {name}.logs"
                self._known[name] = Known(rows, db.execute(f"{ids} ORDER BY half").fetchnumpy()["half"])
                return True
        return False

    def of(self, name: str, rows: int) -> Any | None:
        """What is known of a file that has so many rows."""
        known = self._known.get(name)
        return known.halves if known is not None and known.rows == rows else None


def has_between(halves: Any, low: int, high: int) -> bool:
    """Whether one of these is from `low` to `high`."""
    at = halves.searchsorted(halves.dtype.type(low))
    return bool(at < len(halves) and halves[at] <= high)


def has_any(halves: Any, wanted: Any) -> bool:
    """Whether one of these is among those that are wanted."""
    if not len(halves):
        return False
    at = halves.searchsorted(wanted).clip(max=len(halves) - 1)
    return bool((halves[at] == wanted).any())
