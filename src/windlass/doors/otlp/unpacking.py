"""Bodies that come packed: gzip, deflate and zstd, piece by piece and never beyond a size, so that a bomb is refused before it is whole.

Several members of gzip, or frames of zstd, one after another are one body.
"""

from __future__ import annotations

import sys
import zlib
from typing import Any, Protocol

from windlass.core.errors import Invalid, TooLarge

ENCODINGS = ("gzip", "deflate", "zstd")
WINDOW_LOG = 23  # RFC 9659: whoever unpacks `zstd` needs no more than 8 MB for it


class _Stream(Protocol):
    """One member or frame. What `decompress` gives back is shorter than `max_length` only where all of the data was used."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Unpacker:
    """What `encoding` means, one of `ENCODINGS`; at most `limit` bytes of it, packed or not."""

    def __init__(self, encoding: str, limit: int) -> None:
        self._encoding = encoding
        self._limit = limit
        self._came = 0
        self._gave = 0
        self._stream: _Stream | None = None

    def feed(self, piece: bytes) -> bytes:
        """Raises `Invalid` for what is not packed so, `TooLarge` beyond the limit."""
        self._came += len(piece)
        found = []
        while piece:
            if self._stream is None or self._stream.eof:
                if self._stream is not None and self._encoding != "zstd" and not (piece := piece.lstrip(b"\0")):
                    break  # padding behind the last member
                self._stream = self._begin(piece)
            try:
                data = self._stream.decompress(piece, self._limit - self._gave + 1)
            except (zlib.error, _zstd_error()) as e:
                raise Invalid(f"the body is not {self._encoding}: {e}") from e
            found.append(data)
            self._gave += len(data)
            if max(self._came, self._gave) > self._limit:
                raise too_large(self._limit)
            piece = self._stream.unused_data if self._stream.eof else b""
        return b"".join(found)

    def finish(self) -> None:
        """Raises `Invalid` where the end is missing."""
        if self._stream is None or not self._stream.eof:
            raise Invalid(f"the {self._encoding} body is cut off")

    def _begin(self, piece: bytes) -> _Stream:
        if self._encoding == "zstd":
            zstd = _zstd()
            return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})  # type: ignore[no-any-return]
        # some leave away what zlib puts around a deflated body: without it the first four bits are not 8
        bare = self._encoding == "deflate" and piece[0] & 0x0F != 8 and piece[0] != 0x1F
        return zlib.decompressobj(-15 if bare else 47)


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"the request is larger than {limit:,} bytes", remedy="send smaller batches, or raise WINDLASS_OTLP_LIMIT")


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def _zstd_error() -> type[Exception]:
    """Evaluated when something was raised, so that who sends no zstd never loads it."""
    return _zstd().ZstdError  # type: ignore[no-any-return]
