"""The projector: reads the journals, fills the span store, answers its queries. One owner for each data folder.

Every query first projects what was synced before it came, so whoever wrote reads it. `python -m windlass.traces.projector HOME`
is the process; it answers on a Unix socket and ends with its parent.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from windlass.core.errors import WindlassError
from windlass.govern.prices import Prices
from windlass.settings import Settings, load_settings
from windlass.store.home import Home
from windlass.store.journal import JournalReader, Position, Record
from windlass.store.spans import SpanRow, SpanStore
from windlass.traces.envelope import unseal
from windlass.traces.joining import joined
from windlass.traces.local import LocalSpans
from windlass.traces.mapping import again, rows
from windlass.traces.socket import listen

NICENESS = 5
SLICE_SECONDS = 0.5  # of reading anew, before somebody else is answered
PAUSE = 0.5  # seconds between looks when nobody asks
_log = logging.getLogger("windlass.projector")


class Projection:
    """The work itself, on one thread: journal to store, questions to answers."""

    def __init__(self, journals: Path, store: SpanStore, prices: Prices | None = None) -> None:
        self._prices = prices
        self._reader = JournalReader(journals)
        self._store = store
        self._at = store.positions()
        self._used: float | None = None  # when it was last used, since it last rested
        self._behind = 0
        self.projected = 0
        self.unreadable = 0

    def catch_up(self) -> int:
        """Project everything that was synced when it was asked for: whoever goes on writing keeps nobody waiting. Returns how many spans
        were new."""
        total = 0
        for writer in self._reader.writers():
            end = self._reader.end(writer)
            while (at := self._at.get(writer, Position(0, 0))) < end and (records := self._reader.read(writer, at)):
                for day, some in _by_day(records):
                    found = joined([r for record in some for r in self._rows(record)], self._store, self._prices)
                    total += self._write(day, found, writer, some[-1].position)
                    self._at[writer] = some[-1].position
        self.projected += total
        return total

    def _write(self, day: str, found: list[SpanRow], writer: str, position: Position) -> int:
        """A row that the store cannot take must not stop the rest: it is looked for by halves, and stays in the journal."""
        try:
            return self._store.write(day, found, writer, position)
        except (ValueError, OverflowError):
            if len(found) == 1:
                self.unreadable += 1
                _log.exception("a span cannot be stored; it is kept in the journal")
                return self._store.write(day, [], writer, position)
            before, middle = self._at.get(writer, Position(0, 0)), len(found) // 2
            return self._write(day, found[:middle], writer, before) + self._write(day, found[middle:], writer, position)

    def _rows(self, record: Record) -> list[SpanRow]:
        try:
            kind, project, data = unseal(record.payload)
            return list(rows(kind, project, record.receipt_ns, data, self._prices))
        except Exception:  # a record that no table can read must not stop the rest; it stays in the journal
            self.unreadable += 1
            _log.exception("a journal record cannot be read; it is kept")
            return []

    def counts(self) -> dict[str, int]:
        damaged = sum(d.skipped for d in self._reader.damages.values())
        return {
            **self._store.counts(), "projected": self.projected, "unreadable": self.unreadable, "damaged_bytes": damaged,
            "journal_bytes": self._reader.size(), "behind_bytes": self._behind, "store_bytes": self._store.size(),
        }  # fmt: skip

    def ask(self, name: str, params: Any) -> Any:
        if name == "counts":  # as whoever asks finds it: every question is answered after everything that is synced
            self._behind = sum(self._reader.after(w, self._at.get(w, Position(0, 0))) for w in self._reader.writers())
        new = self.catch_up()
        if new or name != "catch_up":
            self._used = time.monotonic()
        if name == "catch_up":
            return new
        if name == "remap":
            return self._store.remap(lambda row: again(row, self._prices), SLICE_SECONDS)
        return self.counts() if name == "counts" else getattr(self._store, name)(params)

    def rest(self, seconds: float) -> None:
        """Give memory back when for so long nothing came and nobody asked; to be called again and again."""
        if self._used is not None and time.monotonic() - self._used > seconds:
            self._used = None
            self._store.rest()

    def close(self) -> None:
        self._store.close()


def _by_day(records: list[Record]) -> list[tuple[str, list[Record]]]:
    """Runs of records received on the same UTC day, in order: a transaction writes one day's file."""
    found: list[tuple[str, list[Record]]] = []
    for record in records:
        day = datetime.fromtimestamp(record.receipt_ns / 1e9, UTC).strftime("%Y-%m-%d")
        if not found or found[-1][0] != day:
            found.append((day, []))
        found[-1][1].append(record)
    return found


def open_projection(home: Home, settings: Settings) -> Projection:
    """Raises what opening the store raises."""
    store: SpanStore
    if settings.spans:
        from windlass.store.spans_clickhouse import open_clickhouse

        store = open_clickhouse(settings.spans)
    else:
        from windlass.store.spans_duckdb import DuckSpans  # brings DuckDB, which a command that asks for no spans never needs

        store = DuckSpans(home.path / "spans", settings.span_memory)
    return Projection(home.path / "journal", store, Prices(home.path / "prices.toml"))


async def _serve(home: Home) -> None:
    settings = load_settings(home.path)
    spans = LocalSpans(lambda: open_projection(home, settings))
    await spans.open()
    server = await listen(home.socket, spans.ask)
    stop = asyncio.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(which, stop.set)
    while not stop.is_set():
        try:
            await spans.ask("catch_up", None)
            await spans.rest(settings.rest_seconds)
        except WindlassError:
            _log.exception("the journal could not be projected; trying again")
        try:
            await asyncio.wait_for(stop.wait(), PAUSE)
        except TimeoutError:
            continue
    server.close()
    await spans.close()


def main(home: Path) -> None:
    """The process. Ends when its parent ends (Linux)."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
        if os.getppid() == 1:
            return
    os.nice(NICENESS)  # who is being served comes first
    asyncio.run(_serve(Home(home)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
