"""Counters that all processes of one data folder share: what was used in a window, what calls under way have set aside, how far one may go.

They lie in a file that each process maps into its memory, so that a call is counted exactly, in some microseconds, and without the
database. Who changes one holds the file's lock for as long as that takes. Each process sets aside in a column of its own: what a process
that was killed had set aside is found by its column, whose lock it held, and given back. A number is written by one store of eight bytes,
so that who is killed in the midst leaves each number as it was or as it was to be; what is used is written before what was set aside is
given back. The file outlives every process, and not the machine: what it has beyond the table `limit_uses` is then a second's use.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from windlass.core.errors import Unavailable

SLOTS = 8192  # counters that are open at once
COLUMNS = 32  # processes
HEAD = 8  # numbers before a counter's columns
PROBE = 64  # slots after its own in which a counter may lie
SIZE = (HEAD + COLUMNS) * 8
USED, CAP, ENDS, LEASED, SAVED, AMOUNT = 2, 3, 4, 5, 6, 7  # after the two that are its key
FORMAT = "counters-1"


class Need(NamedTuple):
    """What a call wants of one counter, in its unit; `amount` is the limit's."""

    key: bytes
    ends_ns: int
    amount: int
    need: int


class Count(NamedTuple):
    """A counter as it stands: `cap` is how far this node may go; `leased_ns` when it was told, 0 for not yet; `saved` what of `used` the
    database has."""

    used: int
    reserved: int
    cap: int
    leased_ns: int
    saved: int
    amount: int


def key_of(*parts: object) -> bytes:
    """The sixteen bytes by which a counter is found."""
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).digest()


class Counters:
    """The shared counters of a data folder, as one process has them. Safe to use from several threads.

    Args:
        folder: where the file is; made where it is not there.

    Raises `Unavailable` where it cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        try:
            self._file = os.open(folder / FORMAT, os.O_RDWR | os.O_CREAT, 0o600)
            if os.fstat(self._file).st_size < SLOTS * SIZE:
                os.ftruncate(self._file, SLOTS * SIZE)
            self._map = mmap.mmap(self._file, SLOTS * SIZE)
        except OSError as e:
            raise Unavailable(f"the counters of limits cannot be used: {e.strerror}", where=str(folder)) from e
        self._cells = memoryview(self._map).cast("q")
        self._guard = threading.Lock()
        self._slots: dict[bytes, int] = {}
        self._column, self._column_lock = self._take_column()
        self.reclaim()

    def _take_column(self) -> tuple[int, int]:
        for column in range(COLUMNS):
            if (handle := self._lock_column(column)) is not None:
                with self._locked():
                    self._give_back(column)
                os.pwrite(handle, b"x", 0)  # somebody was here, until they left in order
                return column, handle
        raise Unavailable(f"more than {COLUMNS} processes count calls of one data folder", where=str(self._folder))

    def _lock_column(self, column: int) -> int | None:
        handle = os.open(self._folder / f"{column:02}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return handle

    def _give_back(self, column: int) -> None:
        """What a process had set aside that is no more. The lock is held."""
        for cell in range(HEAD + column, SLOTS * SIZE // 8, SIZE // 8):
            if self._cells[cell]:
                self._cells[cell] = 0

    def reclaim(self) -> None:
        """Give back what processes had set aside that were killed."""
        for column in range(COLUMNS):
            path = self._folder / f"{column:02}.lock"
            if column == self._column or not path.exists() or not path.stat().st_size:
                continue
            if (handle := self._lock_column(column)) is not None:
                try:
                    with self._locked():
                        self._give_back(column)
                    os.ftruncate(handle, 0)
                finally:
                    os.close(handle)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._guard:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _slot(self, need: Need) -> int:
        """The first cell of a counter; one that is not there is begun, at 0 and without leave. The lock is held."""
        cells, low, high = self._cells, int.from_bytes(need.key[:8], signed=True), int.from_bytes(need.key[8:], signed=True)
        if (known := self._slots.get(need.key)) is not None and cells[known] == low and cells[known + 1] == high:
            return known
        home, free, now = (low ^ high) % SLOTS, None, time.time_ns()
        for n in range(home, home + PROBE):
            at = n % SLOTS * (SIZE // 8)
            if cells[at] == low and cells[at + 1] == high:
                break
            if free is None and (not (cells[at] or cells[at + 1]) or (cells[at + ENDS] < now and not self._reserved(at))):
                free = at
        else:
            if free is None:
                raise Unavailable("more windows of limits are open than can be counted", remedy="set fewer limits by user or key")
            at = free
            cells[at] = cells[at + 1] = 0  # nobody's, until it is whole
            for cell in range(at + USED, at + HEAD + COLUMNS):
                cells[cell] = 0
            cells[at + ENDS], cells[at + AMOUNT] = need.ends_ns, -1
            cells[at + 1], cells[at] = high, low
        if len(self._slots) >= SLOTS:
            self._slots.clear()
        self._slots[need.key] = at
        return at

    def _reserved(self, at: int) -> int:
        return sum(self._cells[at + HEAD : at + HEAD + COLUMNS])

    def admit(self, needs: Sequence[Need]) -> tuple[int | None, list[Count]]:
        """Set all of it aside, or nothing: which of them stood in the way, by its place, and how each counter stood before. One that has
        no leave for the limit's present amount stands in the way, with `leased_ns` 0."""
        with self._locked():
            slots = [self._slot(n) for n in needs]
            counts = [self._count(at, n.amount) for at, n in zip(slots, needs, strict=True)]
            for place, (count, need) in enumerate(zip(counts, needs, strict=True)):
                if not count.leased_ns or count.used + count.reserved + need.need > count.cap:
                    return place, counts
            for at, need in zip(slots, needs, strict=True):
                self._cells[at + HEAD + self._column] += need.need
            return None, counts

    def _count(self, at: int, amount: int) -> Count:
        cells = self._cells
        leased = cells[at + LEASED] if cells[at + AMOUNT] == amount else 0
        return Count(cells[at + USED], self._reserved(at), cells[at + CAP], leased, cells[at + SAVED], cells[at + AMOUNT])

    def settle(self, needs: Sequence[Need], used: Sequence[int]) -> None:
        """Enter what was used, and give back what was set aside for it."""
        with self._locked():
            for need, spent in zip(needs, used, strict=True):
                at = self._slot(need)
                self._cells[at + USED] += spent
                self._cells[at + HEAD + self._column] -= need.need

    def look(self, need: Need) -> Count:
        """How a counter stands."""
        with self._locked():
            return self._count(self._slot(need), need.amount)

    def lease(self, need: Need, cap: int, leased_ns: int, used: int = 0) -> Count:
        """Say how far one may go now, for the limit's present amount, and that at least so much `used` is known; how it stood before. What
        is used and set aside already is not taken back."""
        with self._locked():
            at = self._slot(need)
            before = self._count(at, need.amount)
            self._cells[at + USED] = max(used, self._cells[at + USED])
            self._cells[at + CAP], self._cells[at + LEASED], self._cells[at + AMOUNT] = cap, leased_ns, need.amount
            return before

    def saved(self, need: Need, used: int) -> None:
        """The database has so much of what is used."""
        with self._locked():
            at = self._slot(need)
            self._cells[at + SAVED] = max(used, self._cells[at + SAVED])

    def close(self) -> None:
        """Give back what is still set aside."""
        with self._locked():
            self._give_back(self._column)
        os.ftruncate(self._column_lock, 0)
        self._cells.release()
        self._map.close()
        os.close(self._file)
        os.close(self._column_lock)
