"""The projector: reads the journals, fills the span store, answers its queries. One owner for each data folder.

Every query first projects what was synced before it came, so whoever wrote reads it. `python -m windlass.traces.projector HOME`
is the process; it answers on a Unix socket and ends with its parent.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from windlass.core.errors import Invalid, Unavailable, WindlassError
from windlass.core.operations.ledger import LedgerAudit, LedgerAudited, LedgerPage, LedgerQuery
from windlass.govern.prices import Prices
from windlass.settings import Settings, load_settings
from windlass.store.home import Home
from windlass.store.journal import JournalReader
from windlass.store.points import Row, apart
from windlass.store.segments import Position, Record
from windlass.store.span_ledger import Entry
from windlass.store.spans import Forget, SpanStore
from windlass.traces.auditing import Auditing
from windlass.traces.envelope import REFUSED, unseal
from windlass.traces.joining import joined
from windlass.traces.ledger import Book, Page, erased_entries, page_of, waiting_in
from windlass.traces.local import LocalSpans
from windlass.traces.mapping import again, rows
from windlass.traces.socket import listen
from windlass.traces.tidying import Tidying

MADV_DONTNEED = 4
NICENESS = 5
SLICE_SECONDS = 0.5  # of reading anew, before somebody else is answered
PATIENCE = 5.0  # seconds until what the store could not take is tried again
PAUSE = 0.5  # seconds between looks when nobody asks
INDEXING = (0.05, 0.2)  # seconds of each look for the index of texts: while things come in, and while nothing does
RARELY = (100_000, 20, 100)  # collections: rows on their way are many, live until they are written, and are in no circles
_log = logging.getLogger("windlass.projector")


class Projection:
    """The work itself, on one thread: journal to store, questions to answers."""

    def __init__(
        self, journals: Path, store: SpanStore, prices: Prices | None = None, tidying: Tidying | None = None
    ) -> None:  # fmt: skip
        self._prices = prices
        self._tidying = tidying or Tidying(journals, store, 0)
        self._reader = JournalReader(journals)
        self._store = store
        self._at = store.positions()
        self._unsure = store.unsure()  # by writer, where a write ended that the store may have done and did not acknowledge
        self._book = Book(lambda project, hour: {e.source for e in store.ledger(project, hour) if e.hour == hour})
        self._audits: dict[str, Auditing] = {}  # of a project
        self._used: float | None = None  # when it was last used, since it last rested
        self._behind = 0
        self._stalled: Unavailable | None = None  # why nothing can be written now
        self._retry = 0.0  # when that is tried again
        self.projected = 0
        self.unreadable = 0

    def catch_up(self) -> int:
        """Project everything that was synced when it was asked for: whoever goes on writing keeps nobody waiting. Returns how many spans
        were new."""
        total = 0
        if self._unsure:
            self._at = self._store.positions()
            self._unsure = {w: end for w, end in self._unsure.items() if self._at.get(w, Position(0, 0)) < end}
        for writer in self._reader.writers():
            end = self._reader.end(writer)
            while (at := self._at.get(writer, Position(0, 0))) < end and (records := self._reader.read(writer, at)):
                for day, some in _by_day(self._as_before(writer, records)):
                    page = self._book.page()
                    for record in some:
                        page.read(record, self._rows(record))
                    page.rows = self._joined(page.rows)
                    self._unsure[writer] = some[-1].position
                    total += self._write(day, page, writer, some[-1].position)
                    self._at[writer] = self._unsure.pop(writer)
        self.projected += total
        return total

    def _as_before(self, writer: str, records: list[Record]) -> list[Record]:
        """Records up to where a write ended that may be done: done again it must be the same, or the ledger would have it twice."""
        if (end := self._unsure.get(writer)) is None:
            return records
        return [r for r in records if r.position <= end] or records

    def _write(self, day: str, page: Page, writer: str, position: Position) -> int:
        """A row that the store cannot take must not stop the rest: it is looked for, and stays in the journal."""
        try:
            return self._store.write(day, page.rows, writer, position, page.account(page.rows, page.counts))
        except (ValueError, OverflowError):
            _log.exception("a span cannot be stored; it is kept in the journal")
        bad = self._not_storable(day, page.rows, writer)
        self.unreadable += len(bad)
        counts = page.counts + Counter((page.of(row), "unreadable") for row in bad)
        ids = set(map(id, bad))
        good = [row for row in page.rows if id(row) not in ids]
        return self._store.write(day, good, writer, position, page.account(good, counts))

    def _not_storable(self, day: str, found: list[Row], writer: str) -> list[Row]:
        """Which of these rows the store cannot take, by halves. Those it takes are not kept: they are written together, and entered."""
        try:
            self._store.write(day, found, writer, self._at.get(writer, Position(0, 0)), _stop)
        except _Stop:
            return []
        except (ValueError, OverflowError):
            middle = len(found) // 2
            halves = (found[:middle], found[middle:])
            return found if len(found) == 1 else [row for half in halves for row in self._not_storable(day, half, writer)]
        raise AssertionError("an account that fails stops its write")

    def _rows(self, record: Record) -> list[Row] | None:
        """The rows of a record; None where it cannot be read."""
        try:
            kind, project, data = unseal(record.payload)
            return [] if kind == REFUSED else list(rows(kind, project, record.receipt_ns, data, self._prices))
        except Exception:  # a record that no table can read must not stop the rest; it stays in the journal
            self.unreadable += 1
            _log.exception("a journal record cannot be read; it is kept")
            return None

    def _joined(self, found: list[Row]) -> list[Row]:
        """As `joined`, of spans and log records; what cannot be put together stays as it came, since it must not stop the rest."""
        try:
            spans, measured = apart(found)
            return [*joined(spans, self._store, self._prices), *measured]
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            _log.exception("log records cannot be put into their spans; both are kept")
            return found

    def _ledger(self, query: LedgerQuery) -> LedgerPage:
        waiting = [e for w in self._reader.writers() for e in waiting_in(self._reader, w, self._at.get(w, Position(0, 0)), self._book)]
        return page_of(query, lambda project, since: [*self._store.ledger(project, since), *waiting])

    def _forget(self, asked: Forget) -> int:
        self._audits.clear()  # what they have counted may be gone
        gone = self._store.forget(asked)  # of what is erased, that which had rows is entered with them
        if entries := erased_entries(asked, self._store, self._book):
            self._store.enter(entries)
        return gone

    def _audit(self, asked: LedgerAudit) -> LedgerAudited:
        if (audit := self._audits.get(asked.project)) is None:
            audit = self._audits[asked.project] = Auditing(asked.project, self._reader, self._store, dict(self._at), self._prices)
        end = time.monotonic() + SLICE_SECONDS
        while not (finished := audit.step()) and time.monotonic() < end:
            pass
        if finished:
            del self._audits[asked.project]
        return audit.told()

    def counts(self) -> dict[str, int]:
        damaged = sum(d.skipped for d in self._reader.damages.values())
        return {
            **self._store.counts(), "projected": self.projected, "unreadable": self.unreadable, "damaged_bytes": damaged,
            "journal_bytes": self._reader.size(), "behind_bytes": self._behind, "store_bytes": self._store.size(),
            "stalled": int(self._stalled is not None),
        }  # fmt: skip

    def _caught_up(self) -> int:
        """As `catch_up`; where the store can take nothing, as on a full disk, it is asked for what it has all the same, and what came in
        waits in the journal."""
        if time.monotonic() < self._retry:
            return 0
        try:
            new = self.catch_up()
        except WindlassError:
            raise
        except Exception as e:
            self._stall(e)
            return 0
        self._stalled = None
        return new

    def _stall(self, error: Exception) -> None:
        """Wait with what the store cannot do now. Raises what is no trouble of its engine."""
        if (away := self._store.mended(error)) is None:
            raise error
        if self._stalled is None or self._stalled.message != away.message:
            _log.error("%s", away)
        self._stalled, self._retry = away, time.monotonic() + PATIENCE

    def ask(self, name: str, params: Any) -> Any:
        """Raises `WindlassError`; where the engine failed, `Unavailable`, and it is open anew."""
        try:
            return self._answer(name, params)
        except WindlassError:
            raise
        except Exception as e:
            if (away := self._store.mended(e)) is None:
                raise
            raise away from e

    def _answer(self, name: str, params: Any) -> Any:
        if name == "counts":  # as whoever asks finds it: every question is answered after everything that is synced
            self._behind = sum(self._reader.after(w, self._at.get(w, Position(0, 0))) for w in self._reader.writers())
        before = dict(self._at)
        new = self._caught_up()
        if self._at != before or name != "catch_up":
            self._used = time.monotonic()
        if name == "catch_up":
            return new
        if name == "ledger":
            return self._ledger(params)
        if name == "audit":
            return self._audit(params)
        if name == "forget":
            return self._forget(params)
        if name == "remap":
            return self._store.remap(lambda row: again(row, self._prices), SLICE_SECONDS)
        return self.counts() if name == "counts" else getattr(self._store, name)(params)

    def tidy(self, idle: bool) -> None:
        """Do one thing that nobody waits for, of everything that is in the tables; to be called again and again."""
        if time.monotonic() < self._retry:
            return
        try:
            gone = self._tidying.step(self._at, idle)
            if self._store.index(INDEXING[idle]):
                self._used = time.monotonic()  # its memory is to be given back too
        except WindlassError:
            raise
        except Exception as e:
            return self._stall(e)
        if gone:
            self._audits.clear()  # what they have counted is gone

    def rest(self, seconds: float) -> None:
        """Give memory back when for so long nothing came and nobody asked; to be called again and again."""
        if self._used is not None and time.monotonic() - self._used > seconds:
            self._used = None
            self._store.rest()

    def close(self) -> None:
        self._store.close()


class _Stop(Exception):
    """Every row was taken; the write is given up all the same."""


def _stop(new: Sequence[Row]) -> Sequence[Entry]:
    raise _Stop


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
        from windlass.store.clickhouse_tables import cluster_of
        from windlass.store.spans_clickhouse import open_clickhouse

        cluster = cluster_of(settings.spans_cluster, settings.spans_replica_path, settings.spans_replica_name)
        store = open_clickhouse(settings.spans, cluster=cluster)
    else:
        if settings.spans_cluster:
            raise Invalid("no ClickHouse is named", where="spans_cluster", remedy="set spans to clickhouse://user@host:8123/database too")
        from windlass.store.spans_duckdb import DuckSpans  # brings DuckDB, which a command that asks for no spans never needs

        store = DuckSpans(home.path / "spans", settings.span_memory)
    journals = home.path / "journal"
    tidying = Tidying(journals, store, settings.retention_days, settings.forward_hours if settings.forward_to else 0.0)
    return Projection(journals, store, Prices(home.path / "prices.toml"), tidying)


async def _serve(home: Home) -> None:
    settings = load_settings(home.path)
    spans = LocalSpans(lambda: open_projection(home, settings))
    await spans.open()
    server = await listen(home.socket, spans.ask)
    stop = asyncio.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(which, stop.set)
    give_back_code("_duckdb")
    while not stop.is_set():
        try:
            new = await spans.ask("catch_up", None)
            await spans.tidy(not new)
            await spans.rest(settings.rest_seconds)
        except WindlassError:
            _log.exception("the journal could not be projected; trying again")
        try:
            await asyncio.wait_for(stop.wait(), PAUSE)
        except TimeoutError:
            continue
    server.close()
    await spans.close()


def give_back_code(library: str) -> int:
    """Give back the pages of a library's code that only its start needed: half of DuckDB's 52 MB. What is called again is read from the
    file, which the system holds. Returns how many bytes could go; 0 where the system is another."""
    if sys.platform != "linux":
        return 0
    given, madvise = 0, ctypes.CDLL(None).madvise
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, _, *file = line.split(maxsplit=5)
        if rights == "r-xp" and file and library in file[0]:  # code alone: it was never written to, so the file has it all
            start, end = (int(x, 16) for x in span.split("-"))
            if madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTNEED) == 0:
                given += end - start
    return given


def main(home: Path) -> None:
    """The process. Ends when its parent ends (Linux)."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
        if os.getppid() == 1:
            return
    os.nice(NICENESS)  # who is being served comes first
    gc.freeze()
    gc.set_threshold(*RARELY)
    asyncio.run(_serve(Home(home)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
