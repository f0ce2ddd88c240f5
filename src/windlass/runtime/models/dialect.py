"""The port of a wire format: how a request is written for a provider and its answer read.

`dialect_openai` and `dialect_anthropic` fill it. Both read answers forgivingly (unknown fields are passed over) and raise
`ModelFailed` for what is no answer at all.
"""

from __future__ import annotations

import base64
import difflib
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from windlass.core.errors import Invalid
from windlass.core.message import Delta, FilePart, ImagePart, ModelReply, ModelRequest
from windlass.discover.providers import Provider

Blobs = Callable[[str], bytes]


class StreamReader(Protocol):
    """Puts a streamed answer together. `feed` gives what an event adds; `done` says that the answer is whole, `over` that nothing
    comes after it. Raises `ModelFailed` for an error that is told inside the stream, and for what is no event."""

    done: bool
    over: bool

    def feed(self, event: str, data: bytes) -> list[Delta]: ...

    def reply(self) -> ModelReply: ...


class DialectCodec(Protocol):
    path: str

    def encode(self, request: ModelRequest, model: str, provider: Provider, blobs: Blobs | None, *, stream: bool) -> bytes: ...

    def decode(self, body: bytes, provider: Provider) -> ModelReply: ...

    def reader(self, provider: Provider) -> StreamReader: ...


def encoded(part: ImagePart | FilePart, blobs: Blobs | None) -> str:
    """The bytes of an image or file as base64. Raises `Invalid` where there is no store to read them from."""
    if part.digest is None or blobs is None:
        raise Invalid("this image or file is named by digest, and there is no store here to read it from")
    return base64.b64encode(blobs(part.digest)).decode()


def refuse_unknown(parameters: Iterable[str], known: Iterable[str], provider: str) -> None:
    """Raises `Invalid` for the first parameter the dialect has no word for: dropping it would change the answer in silence."""
    allowed = list(known)
    for name in parameters:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            raise Invalid(
                f"{provider} has no parameter {name!r}",
                where=f"parameters.{name}",
                remedy=f"did you mean {near[0]!r}?" if near else "parameters: " + ", ".join(sorted(allowed)),
            )


def parse_arguments(text: str) -> dict[str, object] | None:
    """A tool call's arguments; None when they are not a JSON object."""
    try:
        value = msgspec.json.decode(text) if text.strip() else {}
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None
