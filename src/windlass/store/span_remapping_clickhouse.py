"""Spans of ClickHouse read anew by newer tables, a slice at a time: what `span_remapping` does in DuckDB's files. Rows that were read go
into a table beside, and when a day is whole that partition stands for the old one, at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from windlass.core.operations.traces import Remapped
from windlass.store.clickhouse_tables import Lies
from windlass.store.span_columns_clickhouse import SPANS
from windlass.store.span_remapping import CHANGING, SLICE
from windlass.store.spans import SpanRow

BESIDE = "spans_again"
Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


class ClickHouseRemapping:
    """Days on their way, one after the other. `insert` puts rows, by day and place, into a table; `command` does what answers nothing;
    `lies` says where tables are."""

    def __init__(
        self,
        ask: Ask,
        command: Callable[[str], Any],
        insert: Callable[[str, list[dict[str, Any]]], None],
        columns: Sequence[str],
        lies: Lies,
    ) -> None:
        self._ask, self._command, self._insert, self._columns, self._lies = ask, command, insert, columns, lies
        for sql in (*lies.dropped(BESIDE), *lies.beside(BESIDE, SPANS)):
            command(sql)
        self._left = [str(day) for (day,) in ask("SELECT DISTINCT day FROM spans ORDER BY day", [])]
        self._done, self._reached, self._of_day = 0, 0, 0
        self._changed: Counter[str] = Counter()
        self._of_this: Counter[str] = Counter()

    def step(self, read: Callable[[SpanRow], SpanRow]) -> bool:
        """Read one slice anew, or put a day that is whole in its place. Returns whether there is nothing left."""
        if not self._left:
            return True
        day, columns = self._left[0], ", ".join(f'"{c}"' for c in self._columns)
        found = self._ask(
            f"SELECT place, {columns} FROM spans WHERE day = toDate(?) AND place > ? ORDER BY place LIMIT {SLICE}", [day, self._reached]
        )
        if found:
            self._write(day, found, read)
            return False
        if self._of_day:
            self._command(self._lies.altered("spans", f"REPLACE PARTITION '{day}' FROM {self._lies.holds(BESIDE)}"))
        self._changed += self._of_this
        self._done += self._of_day
        self._left.pop(0)
        self._begin()
        if not self._left:
            for sql in self._lies.dropped(BESIDE):
                self._command(sql)
        return not self._left

    def again(self) -> None:
        """Begin the day that is on its way anew: its rows are about to change."""
        if self._left:
            self._begin()

    def told(self, total: int) -> Remapped:
        return Remapped(self._done + self._of_day, total, dict(self._changed + self._of_this), not self._left)

    def _begin(self) -> None:
        self._command(self._lies.emptied(BESIDE))
        self._reached, self._of_day, self._of_this = 0, 0, Counter()

    def _write(self, day: str, found: list[tuple[Any, ...]], read: Callable[[SpanRow], SpanRow]) -> None:
        rows = []
        for place, *values in found:
            old = msgspec.convert(dict(zip(self._columns, values, strict=True)), SpanRow)
            new = read(old)
            self._of_this.update(c for c in CHANGING if getattr(old, c) != getattr(new, c))
            rows.append({"day": day, "place": place, **msgspec.structs.asdict(new)})
        self._insert(BESIDE, rows)
        self._reached, self._of_day = found[-1][0], self._of_day + len(found)
