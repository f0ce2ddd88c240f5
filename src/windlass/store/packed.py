"""Bytes packed by zstd so that a part can be read without the rest: frames of a megabyte, and a table of them in a frame that others
skip. Source: zstd's seekable format, version 0.1.0 (facebook/zstd, contrib/seekable_format/zstd_seekable_compression_format.md).
"""

from __future__ import annotations

import itertools
import struct
import sys
from bisect import bisect_right
from pathlib import Path
from typing import Any, BinaryIO

FRAME = 1_000_000  # bytes
LEVEL = 3
_SKIPPED = 0x184D2A5E
_SEEKABLE = 0x8F92EAB1
_HEAD = struct.Struct("<II")
_ENTRY = struct.Struct("<II")  # packed and unpacked
_FOOT = struct.Struct("<IBI")
_CHECKED = 0x80  # of the descriptor: entries have a checksum


class Unpackable(Exception):
    """The table of frames is damaged, or there is none."""


def pack_into(file: BinaryIO, data: bytes) -> None:
    """Write data packed. Each frame has a checksum of its own."""
    zstd = _zstd()
    entries = bytearray()
    for start in range(0, len(data), FRAME):
        part = data[start : start + FRAME]
        options = {zstd.CompressionParameter.compression_level: LEVEL, zstd.CompressionParameter.checksum_flag: 1}
        packed = zstd.compress(part, options=options)
        file.write(packed)
        entries += _ENTRY.pack(len(packed), len(part))
    table = bytes(entries) + _FOOT.pack(len(entries) // _ENTRY.size, 0, _SEEKABLE)
    file.write(_HEAD.pack(_SKIPPED, len(table)) + table)


class Packed:
    """What `pack_into` wrote. Raises `FileNotFoundError` and `Unpackable`."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            entries = self._table()
        except BaseException:
            self._file.close()
            raise
        self._places = [0, *itertools.accumulate(packed for packed, _ in entries)]
        self._starts = [0, *itertools.accumulate(unpacked for _, unpacked in entries)]

    def _table(self) -> list[tuple[int, int]]:
        size = self._file.seek(0, 2)
        try:
            self._file.seek(size - _FOOT.size)
            count, descriptor, magic = _FOOT.unpack(self._file.read(_FOOT.size))
            width = _ENTRY.size + (4 if descriptor & _CHECKED else 0)
            length = count * width + _FOOT.size
            self._file.seek(size - length - _HEAD.size)
            head = _HEAD.unpack(self._file.read(_HEAD.size))
            table = self._file.read(count * width)
        except (OSError, ValueError, struct.error) as e:
            raise Unpackable("there is no table of frames") from e
        if magic != _SEEKABLE or head != (_SKIPPED, length) or len(table) != count * width:
            raise Unpackable("the table of frames is damaged")
        entries = [_ENTRY.unpack_from(table, n * width) for n in range(count)]
        if sum(packed for packed, _ in entries) != size - length - _HEAD.size:
            raise Unpackable("the table of frames does not fit the frames")
        return [(int(packed), int(unpacked)) for packed, unpacked in entries]

    @property
    def length(self) -> int:
        """Bytes, unpacked."""
        return self._starts[-1]

    def read(self, offset: int, size: int) -> bytes:
        """As of a file that is not packed; ends before a frame that is damaged."""
        zstd = _zstd()
        found = bytearray()
        first = number = max(0, bisect_right(self._starts, offset) - 1)
        skipped = offset - self._starts[first]
        while number < len(self._starts) - 1 and len(found) - skipped < size:
            self._file.seek(self._places[number])
            packed = self._file.read(self._places[number + 1] - self._places[number])
            wanted = self._starts[number + 1] - self._starts[number]
            try:
                unpacked = zstd.ZstdDecompressor().decompress(packed, wanted + 1)
            except zstd.ZstdError:
                break
            if len(unpacked) != wanted:
                break
            found += unpacked
            number += 1
        return bytes(found[skipped : skipped + size])

    def close(self) -> None:
        self._file.close()


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
