"""Segments of a journal: how they lie on disk, and whatever is done with one that is finished. Format 1, read for ever.

    journal/<writer>/00000001.wj        segments of one writer, in order
    journal/<writer>/00000001.wj.zst    the same packed, by zstd's seekable format: any zstd unpacks it to the segment
    segment = b"WLJ1" record*
    record  = length u32 · crc32 u32 (of what follows) · receipt time u64 (UTC ns) · payload       little-endian

What stands in a segment is never altered but by `rewrite`, for an erasure: payloads give way to others of their length, so that every
position stays true, packed or not. Whoever changes a folder's files and the writer take turns by a lock on the file `gate`. The time of
a file's last change is when something was last appended to it: `drop` goes by it, so packing and rewriting leave it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from windlass.core.errors import Unavailable
from windlass.store.blobs_folder import sync_folder
from windlass.store.packed import Packed, Unpackable, pack_into

MAGIC = b"WLJ1"
HEADER = struct.Struct("<IIQ")
LARGEST = 1 << 30  # bytes of one record; a length beyond it is damage
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Position(NamedTuple):
    """After a record: segment number and byte offset in it. Ordered as the records are."""

    segment: int
    offset: int


class Record(NamedTuple):
    position: Position  # after it
    receipt_ns: int
    payload: bytes


class Plain:
    """A segment as it was written. Raises `FileNotFoundError`."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    @property
    def length(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()


def path_of(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.wj"


def packed_of(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.wj.zst"


def numbers_of(folder: Path) -> list[int]:
    """Of a writer's segments, in order."""
    return sorted({int(p.name[:8]) for p in folder.glob("*.wj*") if p.name[:8].isdigit()})


def open_segment(folder: Path, number: int) -> Plain | Packed:
    """Raises `FileNotFoundError` for one that was dropped, `Unpackable` for one whose table of frames is damaged."""
    try:
        return Plain(path_of(folder, number))
    except FileNotFoundError:
        return Packed(packed_of(folder, number))


def length_of(folder: Path, number: int) -> int:
    """Bytes of a segment, unpacked. 0 of one that was dropped; as many as lie there of one that cannot be unpacked."""
    try:
        return path_of(folder, number).stat().st_size
    except FileNotFoundError:
        pass
    try:
        with contextlib.closing(Packed(packed_of(folder, number))) as packed:
            return packed.length
    except FileNotFoundError:
        return 0
    except Unpackable:
        return packed_of(folder, number).stat().st_size


def size_of(folder: Path) -> int:
    """Bytes that all segments of a writer take."""
    found = 0
    for path in folder.glob("*.wj*"):
        with contextlib.suppress(FileNotFoundError):
            found += path.stat().st_size
    return found


def records_in(data: bytes, number: int, offset: int, base: int = 0, once: int = 0) -> Iterator[Record]:
    """Whole records from an offset in the segment on; `data` begins at `base`. Stops at the first that is not whole; before `once`, up to
    where all could be read once, it goes on behind the damage, as long as the lengths of records lead to one that is whole."""
    at = offset - base
    while (end := _end(data, at)) or (at := _behind(data, at, min(once - base, len(data)))):
        if end:
            yield Record(Position(number, base + end), HEADER.unpack_from(data, at)[2], data[at + HEADER.size : end])
            at = end


def _end(data: bytes, at: int) -> int:
    """Where a whole record ends; 0 where there is none."""
    if at + HEADER.size > len(data):
        return 0
    length, crc, _ = HEADER.unpack_from(data, at)
    end = int(at + HEADER.size + length)
    return end if length <= LARGEST and end <= len(data) and zlib.crc32(data[at + 8 : end]) == crc else 0


def _behind(data: bytes, at: int, until: int) -> int:
    """Where the next whole record begins behind one that is damaged; 0 where lengths lead to none."""
    while at + HEADER.size <= until and (length := HEADER.unpack_from(data, at)[0]) <= LARGEST:
        at += HEADER.size + length
        if at < until and _end(data, at):
            return at
    return 0


@contextlib.contextmanager
def held(gate: int) -> Iterator[None]:
    """Alone to change the folder's files. The system lets go when the process dies."""
    fcntl.flock(gate, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(gate, fcntl.LOCK_UN)


def begin(folder: Path, number: int) -> int:
    """Make an empty segment, durable; returns its open file. Raises `OSError`."""
    handle = os.open(path_of(folder, number), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, MAGIC)
        os.fsync(handle)
        sync_folder(folder)
    except OSError:
        os.close(handle)
        raise
    return handle


def rewrite(folder: Path, change: Callable[[bytes], bytes | None]) -> int:
    """Give payloads of one writer's journal way to others of the same length, which `change` says; None leaves one as it is. Done again
    after it was cut off, it goes on. Returns how many were changed. Raises `Unavailable` when the disk is full."""
    return sum(_rewrite(folder, number, change) for number in numbers_of(folder))


def _rewrite(folder: Path, number: int, change: Callable[[bytes], bytes | None]) -> int:
    while True:
        try:
            with contextlib.closing(open_segment(folder, number)) as segment:
                data = bytearray(segment.read(0, segment.length))
        except (FileNotFoundError, Unpackable):  # dropped, and nobody can read it any more; or nobody can read it at all
            return 0
        changed = 0
        for record in records_in(bytes(data), number, len(MAGIC), once=len(data)):
            new = change(record.payload)
            if new is None:
                continue
            assert len(new) == len(record.payload), "positions must stay true"
            end = record.position.offset
            body = record.receipt_ns.to_bytes(8, "little") + new
            data[end - len(new) - HEADER.size : end] = struct.pack("<II", len(new), zlib.crc32(body)) + body
            changed += 1
        if not changed or _replace(folder, number, data, isinstance(segment, Plain)):
            return changed


def _replace(folder: Path, number: int, data: bytearray, is_plain: bool) -> bool:
    """Put these bytes in the place of a segment, with what was appended to it since; one that was packed stays so. Returns False where it
    was packed or dropped meanwhile."""
    plain, packed = path_of(folder, number), packed_of(folder, number)
    if not is_plain:
        return _put(folder, packed, lambda file: pack_into(file, bytes(data)), lambda _: packed.exists() and not plain.exists())

    def finish(file: BinaryIO) -> bool:
        if not plain.exists():
            return False
        packed.unlink(missing_ok=True)  # of a packing that was cut off: it says what is to be gone
        with plain.open("rb") as old:
            old.seek(len(data))
            file.write(old.read())
        return True

    return _put(folder, plain, lambda file: file.write(data), finish)


def _put(
    folder: Path, path: Path, fill: Callable[[BinaryIO], object], finish: Callable[[BinaryIO], bool], instead_of: Path | None = None
) -> bool:  # fmt: skip
    """Make a file in the place of another: `fill` writes it, `finish` does, alone with the folder, what is left to do, and says whether it
    may still take that place. Raises `Unavailable`; then everything is as it was."""
    partial = folder / f".{path.name}"
    try:
        with os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            fill(file)
            with (folder / "gate").open("ab") as gate, held(gate.fileno()):
                if not finish(file):
                    partial.unlink()
                    return False
                file.flush()
                when = (instead_of or path).stat().st_mtime_ns
                os.utime(file.fileno(), ns=(when, when))
                os.fsync(file.fileno())
                partial.replace(path)
                sync_folder(folder)
                if instead_of:
                    instead_of.unlink()
                    sync_folder(folder)
    except OSError as e:
        partial.unlink(missing_ok=True)
        message = "the disk is full; the journal is as it was" if e.errno in FULL else f"the journal cannot be written: {e.strerror}"
        raise Unavailable(message, where=str(folder), remedy="make room and try again") from e
    return True


def pack(folder: Path, number: int) -> bool:
    """Pack a finished segment. Returns whether it is: one that an erasure changed meanwhile is left for the next time. Cut off anywhere,
    it is read as it was. Raises `Unavailable`."""
    path = path_of(folder, number)
    try:
        old = path.open("rb")
    except FileNotFoundError:
        return False
    with old:
        same = os.fstat(old.fileno())

        def finish(_: BinaryIO) -> bool:
            return path.exists() and path.stat().st_ino == same.st_ino  # `old` is open, so no other file has its number

        return _put(folder, packed_of(folder, number), lambda file: pack_into(file, old.read()), finish, instead_of=path)


def drop(folder: Path, number: int, before_ns: int) -> int:
    """Remove a segment to which nothing was appended since a time. Returns how many bytes it took; 0 where it stays. Where it is the last,
    an empty one takes its place, so that numbers go on. Raises `Unavailable`."""
    try:
        with (folder / "gate").open("ab") as gate, held(gate.fileno()):
            there = [p for p in (path_of(folder, number), packed_of(folder, number)) if p.exists()]
            if not there or max(p.stat().st_mtime_ns for p in there) >= before_ns:
                return 0
            size = sum(p.stat().st_size for p in there)
            if number == numbers_of(folder)[-1]:
                if size <= len(MAGIC):
                    return 0
                os.close(begin(folder, number + 1))
            for path in there:
                path.unlink()
            sync_folder(folder)
    except OSError as e:
        raise Unavailable(f"the journal cannot be changed: {e.strerror}", where=str(folder)) from e
    return size
