"""AWS's event stream (application/vnd.amazon.eventstream) turned back into server-sent events, as Anthropic's own API sends them.

A frame is its length, the length of its headers, a checksum of these; headers; a payload; a checksum of all. The payload of a `chunk` is
JSON whose `bytes` are, in base64, the event. A frame that is an exception becomes an event `error`.
"""

from __future__ import annotations

import base64
import binascii
import struct
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import aiohttp  # loaded when somebody is called: a seventh of a small command's time

CONTENT_TYPE = "application/vnd.amazon.eventstream"
LONGEST = 32 * 2**20  # bytes of one frame
_PRELUDE, _CHECK = 12, 4
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # of header values by type; 6 and 7 say theirs
_STRING = 7


class Damaged(ValueError):
    """These bytes are no event stream, or were changed on the way."""


class Frames:
    """Cuts a byte stream into frames, wherever it is split."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def whole(self) -> bool:
        """Whether nothing of a frame is left over."""
        return not self._rest

    def feed(self, chunk: bytes) -> list[tuple[dict[str, str], bytes]]:
        """The frames that are whole now: headers that are text, and payload. Raises `Damaged`."""
        data, found = self._rest + chunk, []
        while len(data) >= _PRELUDE:
            total, headers, check = struct.unpack_from("!III", data)
            if binascii.crc32(data[:8]) != check or not _PRELUDE + headers + _CHECK <= total <= LONGEST:
                raise Damaged("the head of a frame does not agree with its checksum")
            if len(data) < total:
                break
            frame, data = data[:total], data[total:]
            if binascii.crc32(frame[:-_CHECK]) != struct.unpack("!I", frame[-_CHECK:])[0]:
                raise Damaged("a frame does not agree with its checksum")
            found.append((_headers(frame[_PRELUDE : _PRELUDE + headers]), frame[_PRELUDE + headers : -_CHECK]))
        self._rest = data
        return found


def _headers(data: bytes) -> dict[str, str]:
    found, at = dict[str, str](), 0
    try:
        while at < len(data):
            name = data[at + 1 : at + 1 + data[at]].decode()
            at += 1 + data[at]
            kind = data[at]
            at += 1
            if kind in _SIZES:
                at += _SIZES[kind]
                continue
            size = struct.unpack_from("!H", data, at)[0]
            value = data[at + 2 : at + 2 + size]
            at += 2 + size
            if kind == _STRING:
                found[name] = value.decode()
            elif kind != 6:
                raise Damaged(f"a header of a frame is of the unknown type {kind}")
    except (IndexError, struct.error, UnicodeDecodeError) as e:
        raise Damaged("the headers of a frame cannot be read") from e
    return found


class _Chunk(msgspec.Struct):
    bytes: str = ""


class _Kind(msgspec.Struct):
    type: str = ""


_chunk, _kind = msgspec.json.Decoder(_Chunk), msgspec.json.Decoder(_Kind)


def as_event(headers: dict[str, str], payload: bytes) -> bytes:
    """One frame as a server-sent event; nothing for one that says nothing. Raises `Damaged`."""
    try:
        if headers.get(":message-type", "event") != "event":
            return _error(headers, payload)
        if headers.get(":event-type") != "chunk":
            return b""
        said = base64.b64decode(_chunk.decode(payload).bytes, validate=True)
        return b"event: %s\ndata: %s\n\n" % (_kind.decode(said).type.encode(), said.replace(b"\n", b"")) if said else b""
    except (msgspec.DecodeError, binascii.Error, ValueError) as e:
        raise Damaged("a frame holds no event") from e


def _error(headers: dict[str, str], payload: bytes) -> bytes:
    kind = headers.get(":exception-type") or headers.get(":error-code") or "error"
    told = headers.get(":error-message", "")
    try:
        said = msgspec.json.decode(payload)
        told = str(said.get("message") or said.get("originalMessage") or told) if isinstance(said, dict) else told
    except msgspec.DecodeError:
        pass
    return b"event: error\ndata: %s\n\n" % msgspec.json.encode({"type": "error", "error": {"type": kind, "message": told or kind}})


class Unframed:
    """An answer in frames, read as one of server-sent events: what callers use of an aiohttp response."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._frames = Frames()
        self.status = response.status
        self.headers = {**response.headers, "Content-Type": "text/event-stream"}
        self.content = self

    async def __aenter__(self) -> Unframed:
        await self._response.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self._response.__aexit__(kind, error, at)

    async def readany(self) -> bytes:
        """Events, as soon as one is whole; nothing at the end. Raises `aiohttp.ClientPayloadError` for a damaged stream or one cut off."""
        import aiohttp

        while chunk := await self._response.content.readany():
            try:
                if events := b"".join(as_event(*frame) for frame in self._frames.feed(chunk)):
                    return events
            except Damaged as e:
                raise aiohttp.ClientPayloadError(str(e)) from e
        if not self._frames.whole:
            raise aiohttp.ClientPayloadError("the stream ended within a frame")
        return b""

    async def read(self, most: int = -1) -> bytes:
        """All events, or the first `most` bytes of them."""
        found = b""
        while (most < 0 or len(found) < most) and (events := await self.readany()):
            found += events
        return found if most < 0 else found[:most]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)
