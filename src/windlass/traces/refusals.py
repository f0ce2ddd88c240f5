"""What the doors refuse, on its way to the journal: a record about a second later, so that whoever sends nonsense writes little.

It stands in the journal as what was kept does, so it outlives a restart; of a process that is killed, the last second is lost.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections import Counter
from concurrent.futures import Future

from windlass.core.errors import Unavailable
from windlass.core.ids import now_ns
from windlass.govern.masking import Masking
from windlass.store.journal import Journal
from windlass.store.segments import Position
from windlass.store.span_ledger import HOUR_NS, LONGEST, OTHERS, SOURCES
from windlass.traces.envelope import Refusal, seal_refusals

SECONDS = 1.0
_log = logging.getLogger("windlass.traces")
_Pending = Counter[tuple[int, str, str, str]]  # hour, source, signal, what


class Refusals:
    """Counts by hour, source and reason; of what was said nothing but the source's name, masked."""

    def __init__(self, journal: Journal, masking: Masking) -> None:
        self._journal = journal
        self._masking = masking
        self._lock = threading.Lock()
        self._pending: dict[str, _Pending] = {}  # by project
        self._timer: asyncio.TimerHandle | None = None

    def items(self, project: str, source: str, signal: str, reason: str, count: int = 1) -> None:
        self._note(project, source, signal, f"refused:{reason}", count)

    def request(self, project: str, key: str, signal: str, code: str) -> None:
        """A whole request, of whose items nothing is known."""
        self._note(project, key, signal, f"turned_away:{code}", 1)

    def _note(self, project: str, source: str, signal: str, what: str, count: int) -> None:
        hour, source = now_ns() // HOUR_NS, self._masking.of(project).text(source)[:LONGEST]
        with self._lock:
            mine = self._pending.setdefault(project, Counter())
            if (hour, source, signal, what) not in mine and len(mine) >= SOURCES:
                source = OTHERS
            mine[hour, source, signal, what] += count
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self.flush)

    def flush(self) -> None:
        """Hand over what has come together. What cannot be kept is tried again with what comes next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with self._lock:
            pending, self._pending = self._pending, {}
        for project, mine in pending.items():
            payload = seal_refusals(project, [Refusal(*key, n) for key, n in mine.items()])
            try:
                self._journal.submit(payload, urgent=False).add_done_callback(functools.partial(self._settle, project, mine))
            except Unavailable as e:  # it is closed
                _log.error("counts of what was refused were lost: %s", e)

    def _settle(self, project: str, mine: _Pending, done: Future[Position]) -> None:
        if done.exception() is not None:
            with self._lock:
                self._pending.setdefault(project, Counter()).update(mine)
