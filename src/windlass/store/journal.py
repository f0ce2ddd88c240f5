"""The journal: where observations are durable before they are acknowledged. Format 1, read for ever.

One process writes a folder; anybody may read. An append returns when a sync covers it; appends that wait together share one
sync. A torn tail is cut when the writer opens, and it goes on in a new segment; a damaged record in a finished segment is left as
it is and reported, and what lies behind it is read as far as the lengths of records lead there. `segments.py` says how it lies on
disk, and what is done with segments that are finished; `tests/store/fixtures/journal-1` is a folder of this format that must stay
readable.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from windlass.core.errors import Conflict, Unavailable
from windlass.core.ids import now_ns
from windlass.store.packed import Packed, Unpackable
from windlass.store.segments import (
    FULL,
    HEADER,
    LARGEST,
    MAGIC,
    Plain,
    Position,
    Record,
    begin,
    held,
    length_of,
    numbers_of,
    open_segment,
    packed_of,
    path_of,
    records_in,
    size_of,
)

LAZY_SECONDS = 0.05
STEP = 4_000_000  # bytes read at once
DAY_NS = 86_400_000_000_000

Payload = bytes | Callable[[], bytes]

_log = logging.getLogger("windlass.journal")


class Journal:
    """The writer of one folder. Raises `Conflict` when another process writes it.

    Args:
        folder: made where it is not there.
        segment_bytes: a segment that has grown beyond this is finished, as is one of another day (UTC).
    """

    def __init__(self, folder: Path, segment_bytes: int = 64_000_000) -> None:
        self._folder = folder
        self._limit = segment_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock_file)
            raise Conflict("another process writes this journal", where=str(folder)) from None
        self._gate = os.open(folder / "gate", os.O_RDWR | os.O_CREAT, 0o600)
        with held(self._gate):
            self.cut = _mend(folder)
        last = numbers_of(folder)
        self._number = last[-1] if last else 0
        self._file = -1
        self._inode = 0
        self._offset = 0
        self._day = 0
        self._waiting: list[tuple[int, Payload, Future[Position]]] = []
        self._last: Future[Position] | None = None  # the newest of all
        self._urgent = False  # somebody waits for one of them
        self._condition = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._flush, name="windlass-journal", daemon=True)
        self._thread.start()

    def submit(self, payload: Payload, *, urgent: bool = True) -> Future[Position]:
        """Append; the future is done when it is durable. Raises through it `Unavailable` when it could not be kept.

        What is not urgent, because nobody waits for it, may wait `LAZY_SECONDS` for company. A payload that is a function is made
        when it is written, on the journal's thread; what it raises goes to the future, and nothing is written.
        """
        future: Future[Position] = Future()
        with self._condition:
            if self._closed:
                raise Unavailable("the journal is closed")
            self._waiting.append((now_ns(), payload, future))
            self._last = future
            if urgent and not self._urgent:
                self._urgent = True
                self._condition.notify()
            elif len(self._waiting) == 1:
                self._condition.notify()
        return future

    async def settle(self) -> None:
        """Wait until everything submitted so far is durable, or has failed."""
        with self._condition:
            last = self._last
            self._urgent = self._urgent or bool(self._waiting)
            self._condition.notify()
        if last is not None and not last.done():
            await asyncio.wait([asyncio.wrap_future(last)])

    def append(self, payload: bytes) -> Position:
        """Append and wait until it is durable."""
        return self.submit(payload).result()

    async def aappend(self, payload: bytes) -> Position:
        """Append and wait until it is durable, without blocking the loop."""
        return await asyncio.wrap_future(self.submit(payload))

    def close(self) -> None:
        """Everything submitted becomes durable first."""
        with self._condition:
            if self._closed:
                return
            self._closed = True
            self._condition.notify()
        self._thread.join()
        if self._file >= 0:
            os.close(self._file)
        os.close(self._gate)
        os.close(self._lock_file)

    def _flush(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._closed:
                    self._condition.wait()
                if not self._urgent and not self._closed:
                    self._condition.wait_for(lambda: self._urgent or self._closed, LAZY_SECONDS)
                batch, self._waiting, self._urgent = self._waiting, [], False
                if not batch:
                    return
            if framed := list(_framed(batch)):
                with held(self._gate):
                    self._write(framed)

    def _write(self, batch: list[tuple[bytes, Future[Position]]]) -> None:
        """Write and sync a batch; on failure take it all back, so that the segment ends at a whole record."""
        try:
            if self._file < 0 or self._offset >= self._limit or self._day != now_ns() // DAY_NS:
                self._begin()
            self._follow()
            start = self._offset
            data = memoryview(b"".join(record for record, _ in batch))
            while data:
                written = os.write(self._file, data)
                data = data[written:]
            os.fdatasync(self._file)
        except OSError as e:
            self._take_back()
            message = "the disk is full; nothing was acknowledged" if e.errno in FULL else f"the journal cannot be written: {e.strerror}"
            for _, future in batch:
                future.set_exception(Unavailable(message, where=str(self._folder), remedy="make room and send it again"))
            return
        for record, future in batch:
            start += len(record)
            future.set_result(Position(self._number, start))
        self._offset = start

    def _begin(self) -> None:
        """Open the next segment."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._file = begin(self._folder, self._number + 1)
        self._number, self._offset, self._day = self._number + 1, len(MAGIC), now_ns() // DAY_NS
        self._inode = os.fstat(self._file).st_ino

    def _follow(self) -> None:
        """Go on in the file that stands for the segment now: an erasure may have put another of the same length in its place."""
        path = path_of(self._folder, self._number)
        if not path.exists():  # it was dropped: its time is old, and yet it is today's, so the clock went back
            self._begin()
        if path_of(self._folder, self._number).stat().st_ino == self._inode:
            return
        handle = os.open(path, os.O_WRONLY)
        os.lseek(handle, self._offset, os.SEEK_SET)
        os.close(self._file)
        self._file, self._inode = handle, os.fstat(handle).st_ino

    def _take_back(self) -> None:
        if self._file < 0:
            return
        try:
            os.ftruncate(self._file, self._offset)
            os.lseek(self._file, self._offset, os.SEEK_SET)
        except OSError:  # then this segment ends here: its torn tail is cut when it is read
            os.close(self._file)
            self._file = -1


def _framed(batch: list[tuple[int, Payload, Future[Position]]]) -> Iterator[tuple[bytes, Future[Position]]]:
    """Records as they stand in a segment."""
    for receipt, payload, future in batch:
        try:
            data = payload() if callable(payload) else payload
        except Exception as e:
            future.set_exception(e)
            continue
        body = receipt.to_bytes(8, "little") + data
        yield struct.pack("<II", len(data), zlib.crc32(body)) + body, future


def _mend(folder: Path) -> int:
    """Cut the torn tail of the last segment: a last record that is not whole. Returns the bytes cut, which were never
    acknowledged. Damage with more behind it is no torn tail, and nothing is cut there."""
    numbers = numbers_of(folder)
    if not numbers:
        return 0
    path = path_of(folder, numbers[-1])
    data = path.read_bytes()
    end = min(len(MAGIC), len(data))
    for record in records_in(data, numbers[-1], len(MAGIC)):
        end = record.position.offset
    torn = len(data) - end
    if torn <= 0 or not _is_torn(data, end):
        return 0
    _log.warning("cut a torn tail of %d bytes from %s", torn, path)
    os.truncate(path, end)
    return torn


def _is_torn(data: bytes, offset: int) -> bool:
    """Whether the record at an offset is one that was being written last: nothing lies behind it."""
    if offset + HEADER.size > len(data):
        return True
    return bool(offset + HEADER.size + HEADER.unpack_from(data, offset)[0] >= len(data))


class Damage(NamedTuple):
    """Bytes of a segment that cannot be read."""

    path: Path
    offset: int
    skipped: int  # bytes


class JournalReader:
    """Follows all writers' folders. Knows positions only as it is told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.damages: dict[tuple[str, int, int], Damage] = {}
        self._lengths: dict[tuple[str, int], int] = {}

    def writers(self) -> list[str]:
        return sorted(p.name for p in self._folder.iterdir() if p.is_dir()) if self._folder.exists() else []

    def end(self, writer: str) -> Position:
        """Where what is there now ends; a torn tail counts."""
        numbers = numbers_of(self._folder / writer)
        return Position(numbers[-1], length_of(self._folder / writer, numbers[-1])) if numbers else Position(0, 0)

    def read(self, writer: str, after: Position, limit: int = 32_000_000, until: Position = Position(0, 0)) -> list[Record]:
        """Whole records after a position, up to about `limit` bytes, in order. Damage in a finished segment is reported in `damages`,
        and read over; so it is in the one that is written, before `until`, up to where it could be read once."""
        folder = self._folder / writer
        found: list[Record] = []
        numbers = [n for n in numbers_of(folder) if n >= after.segment]
        size = 0
        for number in numbers:
            offset = max(len(MAGIC), after.offset) if number == after.segment else len(MAGIC)
            try:
                segment = open_segment(folder, number)
            except FileNotFoundError:  # dropped meanwhile
                continue
            except Unpackable:
                self._report(writer, packed_of(folder, number), number, 0, length_of(folder, number))
                continue
            with contextlib.closing(segment):
                once = segment.length if number != numbers[-1] else until.offset if until.segment == number else 0
                size += self._read(writer, segment, number, offset, limit - size, once, found)
            if size >= limit:
                break
        return found

    def _read(
        self, writer: str, segment: Plain | Packed, number: int, offset: int, limit: int, once: int, found: list[Record]
    ) -> int:  # fmt: skip
        """Add records of one segment, and say how many bytes they are. `once` it was whole up to there."""
        length, size = segment.length, 0
        path = path_of(self._folder / writer, number)
        if length <= offset:
            return 0
        if segment.read(0, len(MAGIC)) != MAGIC:
            self._report(writer, path, number, 0, length)
            return 0
        for record in _follow(segment, number, offset, limit, once):
            found.append(record)
            if (began := record.position.offset - len(record.payload) - HEADER.size) > offset:
                self._report(writer, path, number, offset, began - offset)
            offset = record.position.offset
            size += len(record.payload)
        if size < limit and offset < once:
            self._report(writer, path, number, offset, once - offset)
        return size

    def size(self) -> int:
        """Bytes that all segments take."""
        return sum(size_of(self._folder / writer) for writer in self.writers())

    def after(self, writer: str, position: Position) -> int:
        """Bytes that a writer has after a position, unpacked, damaged ones too."""
        folder = self._folder / writer
        sizes = {number: self._length(writer, number) for number in numbers_of(folder) if number >= position.segment}
        return sum(max(0, size - (position.offset if number == position.segment else 0)) for number, size in sizes.items())

    def _length(self, writer: str, number: int) -> int:
        """Of a segment; of one that is packed it never changes, and is asked for once."""
        if (length := self._lengths.get((writer, number))) is None:
            length = length_of(self._folder / writer, number)
            if packed_of(self._folder / writer, number).exists():
                self._lengths[writer, number] = length
        return length

    def _report(self, writer: str, path: Path, number: int, offset: int, skipped: int) -> None:
        if (writer, number, offset) not in self.damages:
            self.damages[(writer, number, offset)] = Damage(path, offset, skipped)
            _log.error("%s is damaged at byte %d: %d bytes cannot be read", path, offset, skipped)


def _follow(segment: Plain | Packed, number: int, offset: int, limit: int, once: int) -> Iterator[Record]:
    """Whole records from an offset on, about `limit` bytes of them, without reading what was read before."""
    size, before = 0, -1
    while size < limit:
        # at what is no whole record, all at once, since the next that is may be far
        data = segment.read(offset, STEP) if offset != before else segment.read(offset, max(0, once - offset))
        if len(data) >= HEADER.size and (whole := HEADER.size + HEADER.unpack_from(data)[0]) > len(data) and whole <= LARGEST:
            data += segment.read(offset + len(data), whole - len(data))
        before, stuck = offset, offset == before
        for record in records_in(data, number, offset, offset, once):
            yield record
            offset = record.position.offset
            size += len(record.payload)
            if size >= limit:
                return
        if offset == before and (stuck or offset >= once):
            return
