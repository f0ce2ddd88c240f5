"""The journal: where observations are durable before they are acknowledged. Format 1, read for ever.

    journal/<writer>/00000001.wj    segments of one writer, in order
    segment = b"WLJ1" record*
    record  = length u32 · crc32 u32 (of what follows) · receipt time u64 (UTC ns) · payload       little-endian

One process writes a folder; anybody may read. An append returns when a sync covers it; appends that wait together share one
sync. A torn tail is cut when the writer opens, and it goes on in a new segment; a damaged record in a finished segment is left as
it is, reported, and the rest of that segment skipped. `tests/store/fixtures/journal-1` is a folder of this format that must stay
readable. Nothing in it is ever altered but by `rewrite`, for an erasure: payloads give way to others of their length, so that every
position stays true. It and the writer take turns by a lock on the file `gate`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO, NamedTuple

from windlass.core.errors import Conflict, Unavailable
from windlass.core.ids import now_ns
from windlass.store.blobs_folder import sync_folder

MAGIC = b"WLJ1"
HEADER = struct.Struct("<IIQ")
LAZY_SECONDS = 0.05
STEP = 4_000_000  # bytes read at once
LARGEST = 1 << 30  # bytes of one record; a length beyond it is damage

Payload = bytes | Callable[[], bytes]

_log = logging.getLogger("windlass.journal")


class Position(NamedTuple):
    """After a record: segment number and byte offset in it. Ordered as the records are."""

    segment: int
    offset: int


class Record(NamedTuple):
    position: Position  # after it
    receipt_ns: int
    payload: bytes


class Journal:
    """The writer of one folder. Raises `Conflict` when another process writes it.

    Args:
        folder: made where it is not there.
        segment_bytes: a segment that has grown beyond this is finished.
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
        with _held(self._gate):
            self.cut = _mend(folder)
        last = _segments(folder)
        self._number = last[-1] if last else 0
        self._file = -1
        self._inode = 0
        self._offset = 0
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
                with _held(self._gate):
                    self._write(framed)

    def _write(self, batch: list[tuple[bytes, Future[Position]]]) -> None:
        """Write and sync a batch; on failure take it all back, so that the segment ends at a whole record."""
        try:
            if self._file < 0 or self._offset >= self._limit:
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
            full = e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            message = "the disk is full; nothing was acknowledged" if full else f"the journal cannot be written: {e.strerror}"
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
        number = self._number + 1
        path = _path(self._folder, number)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(handle, MAGIC)
            os.fsync(handle)
            sync_folder(self._folder)
        except OSError:
            os.close(handle)
            raise
        self._file, self._number, self._offset = handle, number, len(MAGIC)
        self._inode = os.fstat(handle).st_ino

    def _follow(self) -> None:
        """Go on in the file that stands for the segment now: an erasure may have put another of the same length in its place."""
        path = _path(self._folder, self._number)
        if path.stat().st_ino == self._inode:
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


@contextlib.contextmanager
def _held(gate: int) -> Iterator[None]:
    """Alone to change the folder's files. The system lets go when the process dies."""
    fcntl.flock(gate, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(gate, fcntl.LOCK_UN)


def rewrite(folder: Path, change: Callable[[bytes], bytes | None]) -> int:
    """Give payloads of one writer's journal way to others of the same length, which `change` says; None leaves one as it is. Done again
    after it was cut off, it goes on. Returns how many were changed. Raises `Unavailable` when the disk is full."""
    changed = 0
    for number in _segments(folder):
        path = _path(folder, number)
        data = bytearray(path.read_bytes())
        of_this = 0
        for record in _records(bytes(data), number, len(MAGIC)):
            new = change(record.payload)
            if new is None:
                continue
            assert len(new) == len(record.payload), "positions must stay true"
            end = record.position.offset
            body = record.receipt_ns.to_bytes(8, "little") + new
            data[end - len(new) - HEADER.size : end] = struct.pack("<II", len(new), zlib.crc32(body)) + body
            of_this += 1
        if of_this:
            _replace(folder, path, data)
        changed += of_this
    return changed


def _replace(folder: Path, path: Path, data: bytearray) -> None:
    """Put these bytes in the place of a segment, with what was appended to it since."""
    partial = folder / f".{path.name}"
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            with (folder / "gate").open("ab") as gate, _held(gate.fileno()):
                with path.open("rb") as old:
                    old.seek(len(data))
                    file.write(old.read())
                file.flush()
                os.fsync(file.fileno())
                partial.replace(path)
                sync_folder(folder)
    except OSError as e:
        partial.unlink(missing_ok=True)
        full = e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        message = "the disk is full; the journal is as it was" if full else f"the journal cannot be written: {e.strerror}"
        raise Unavailable(message, where=str(folder), remedy="make room and try again") from e


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.wj"


def _segments(folder: Path) -> list[int]:
    return sorted(int(p.stem) for p in folder.glob("*.wj") if p.stem.isdigit())


def _mend(folder: Path) -> int:
    """Cut the torn tail of the last segment: a last record that is not whole. Returns the bytes cut, which were never
    acknowledged. Damage with more behind it is no torn tail, and nothing is cut there."""
    numbers = _segments(folder)
    if not numbers:
        return 0
    path = _path(folder, numbers[-1])
    data = path.read_bytes()
    end = min(len(MAGIC), len(data))
    for record in _records(data, numbers[-1], len(MAGIC)):
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


def _records(data: bytes, number: int, offset: int, base: int = 0) -> Iterator[Record]:
    """Whole records from an offset in the segment on; `data` begins at `base`. Stops at the first that is not whole."""
    at = offset - base
    while at + HEADER.size <= len(data):
        length, crc, receipt = HEADER.unpack_from(data, at)
        end = at + HEADER.size + length
        if length > LARGEST or end > len(data) or zlib.crc32(data[at + 8 : end]) != crc:
            return
        yield Record(Position(number, base + end), receipt, data[at + HEADER.size : end])
        at = end


class Damage(NamedTuple):
    """A finished segment that cannot be read to its end."""

    path: Path
    offset: int
    skipped: int  # bytes


class JournalReader:
    """Follows all writers' folders. Knows positions only as it is told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.damages: dict[tuple[str, int], Damage] = {}

    def writers(self) -> list[str]:
        return sorted(p.name for p in self._folder.iterdir() if p.is_dir()) if self._folder.exists() else []

    def end(self, writer: str) -> Position:
        """Where what is there now ends; a torn tail counts."""
        numbers = _segments(self._folder / writer)
        return Position(numbers[-1], _path(self._folder / writer, numbers[-1]).stat().st_size) if numbers else Position(0, 0)

    def read(self, writer: str, after: Position, limit: int = 32_000_000) -> list[Record]:
        """Whole records after a position, up to about `limit` bytes, in order. A finished segment that is damaged is reported in
        `damages` and left at the damage."""
        folder = self._folder / writer
        found: list[Record] = []
        size = 0
        numbers = [n for n in _segments(folder) if n >= after.segment]
        for i, number in enumerate(numbers):
            path = _path(folder, number)
            offset = max(len(MAGIC), after.offset) if number == after.segment else len(MAGIC)
            with path.open("rb") as file:
                length = os.fstat(file.fileno()).st_size
                if length <= offset:
                    continue
                if file.read(len(MAGIC)) != MAGIC:
                    self._report(writer, path, number, 0, length)
                    continue
                for record in _follow(file, number, offset, limit - size):
                    found.append(record)
                    offset = record.position.offset
                    size += len(record.payload)
            if size >= limit:
                return found
            if i < len(numbers) - 1 and offset < length:  # finished, and not to its end
                self._report(writer, path, number, offset, length - offset)
        return found

    def size(self) -> int:
        """Bytes of all segments."""
        return sum(self.after(writer, Position(0, 0)) for writer in self.writers())

    def after(self, writer: str, position: Position) -> int:
        """Bytes that a writer has after a position, damaged ones too."""
        folder = self._folder / writer
        sizes = {number: _path(folder, number).stat().st_size for number in _segments(folder) if number >= position.segment}
        return sum(max(0, size - (position.offset if number == position.segment else 0)) for number, size in sizes.items())

    def _report(self, writer: str, path: Path, number: int, offset: int, skipped: int) -> None:
        if (writer, number) not in self.damages:
            self.damages[(writer, number)] = Damage(path, offset, skipped)
            _log.error("%s is damaged at byte %d: %d bytes cannot be read", path, offset, skipped)


def _follow(file: BinaryIO, number: int, offset: int, limit: int) -> Iterator[Record]:
    """Whole records from an offset on, about `limit` bytes of them, without reading what was read before."""
    size = 0
    while size < limit:
        file.seek(offset)
        data = file.read(STEP)
        if len(data) >= HEADER.size and (whole := HEADER.size + HEADER.unpack_from(data)[0]) > len(data) and whole <= LARGEST:
            data += file.read(whole - len(data))
        before = offset
        for record in _records(data, number, offset, offset):
            yield record
            offset = record.position.offset
            size += len(record.payload)
            if size >= limit:
                return
        if offset == before:
            return
