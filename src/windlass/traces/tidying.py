"""What a server does with journal and tables while nobody waits: days that are kept no longer go, and finished segments are packed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from windlass.core.errors import Unavailable
from windlass.core.ids import now_ns
from windlass.store.journal import DAY_NS, JournalReader
from windlass.store.segments import Position, drop, length_of, numbers_of, pack, path_of
from windlass.store.spans import SpanStore

EVERY = 60.0  # seconds between looks for something to do
BUSY_SECONDS = 600.0  # after which a segment is packed also while things come in

_log = logging.getLogger("windlass.tidying")


class Tidying:
    """`days` is for how many days of receipt (UTC) everything is kept, besides today; 0 for ever. `waits` is how long, in hours, somebody
    who sends the journal on may be behind: for so long its segments stay."""

    def __init__(self, journals: Path, store: SpanStore, days: int, waits: float = 0.0) -> None:
        self._folder = journals
        self._store = store
        self._days = days
        self._waits_ns = int(waits * 3_600e9)
        self._next = 0.0

    def step(self, at: Mapping[str, Position], idle: bool) -> bool:
        """Do one thing, where there is one; look again a minute later where not. What no table has yet, since it lies after `at`, stays.
        Returns whether a day was removed."""
        if time.monotonic() < self._next:
            return False
        try:
            if self._days and self._expire(at):
                return True
            if self._pack(at, idle):
                return False
        except Unavailable as e:
            _log.warning("%s", e)
        self._next = time.monotonic() + EVERY
        return False

    def _expire(self, at: Mapping[str, Position]) -> bool:
        midnight = now_ns() // DAY_NS * DAY_NS - self._days * DAY_NS  # what came before it goes
        first = datetime.fromtimestamp(midnight / 1e9, UTC).strftime("%Y-%m-%d")
        if old := [day for day in self._store.days() if day < first]:
            if not (rows := self._store.expire(old[0])) and old[0] in self._store.days():
                return False  # not now
            _log.info("%s is kept no longer: %d spans went", old[0], rows)
            return True
        for folder, number in self._projected(at):
            if freed := drop(folder, number, min(midnight, now_ns() - self._waits_ns)):
                _log.info("segment %d of %s is kept no longer: %d bytes went", number, folder.name, freed)
        return False

    def _pack(self, at: Mapping[str, Position], idle: bool) -> bool:
        for folder, number in self._projected(at):
            path = path_of(folder, number)
            if not path.exists() or number == numbers_of(folder)[-1]:  # in this order: of years of segments most are packed
                continue
            if (idle or time.time() - path.stat().st_mtime > BUSY_SECONDS) and pack(folder, number):
                return True
        return False

    def _projected(self, at: Mapping[str, Position]) -> Iterator[tuple[Path, int]]:
        """Segments of which everything is in the tables."""
        for writer in JournalReader(self._folder).writers():
            folder, reached = self._folder / writer, at.get(writer, Position(0, 0))
            for number in numbers_of(folder):
                if number < reached.segment or Position(number, length_of(folder, number)) <= reached:
                    yield folder, number
