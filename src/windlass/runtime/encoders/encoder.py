"""The port: what every encoder can do, and what they all ask of a text."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from windlass.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]


class Encoder(Protocol):
    """Turns texts into vectors of length 1 and of one dimension. Safe to call from many threads.

    Vectors compare only with vectors of the same `digest`: another encoder of the same dimension finds nothing, without an error.
    Both methods raise `Invalid` for an empty text, `Unavailable` when something is not installed, and `ModelFailed` for what a
    provider did wrong.
    """

    identity: dict[str, Any]  # JSON: everything that decides what a vector is
    digest: str  # of the identity
    dimensions: int

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row a text, in their order, as documents are written."""
        ...

    def encode_query(self, text: str) -> Vectors:
        """One vector, as questions are written."""
        ...


class Encoded(msgspec.Struct, frozen=True):
    """One call of an encoder that somebody is paid for. `tokens` and `cost` (US dollars) are None where they are not known."""

    provider: str
    model: str
    texts: int
    start_ns: int
    end_ns: int
    tokens: int | None = None
    cost: float | None = None
    error: str = ""


_watched: ContextVar[list[Encoded] | None] = ContextVar("encoded", default=None)


@contextlib.contextmanager
def watch_encoding() -> Iterator[list[Encoded]]:
    """The paid calls that are made inside, also in threads that take this context with them."""
    found: list[Encoded] = []
    token = _watched.set(found)
    try:
        yield found
    finally:
        _watched.reset(token)


def told(call: Encoded) -> None:
    """Tell whoever watches of a call."""
    if (found := _watched.get()) is not None:
        found.append(call)


def checked(texts: Sequence[str]) -> list[str]:
    """The texts. Raises `Invalid` for one without anything to encode, naming its place."""
    for place, text in enumerate(texts):
        if not text.strip():
            raise Invalid(f"text {place} is empty: there is nothing to encode")
        try:
            text.encode()
        except UnicodeEncodeError as e:
            raise Invalid(f"text {place} is not Unicode text: {e.reason}") from e
    return list(texts)


def needs(*libraries: str) -> None:
    """Raises `Unavailable` naming the first of these libraries that is not installed."""
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            raise Unavailable(f"encoding text needs {library}, which is not installed", remedy='pip install "windlass[embed]"')
