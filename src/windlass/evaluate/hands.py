"""Rows of evaluations that are worked on elsewhere: what is asked of another machine, and what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec

import windlass
from windlass.core.errors import WindlassError, error_from_dict
from windlass.core.span import Span
from windlass.evaluate.outcomes import Result
from windlass.runtime.context import DrawPolicy
from windlass.settings import Settings

WRITTEN = ("providers.toml", "prices.toml", "policy.toml")


class Given(msgspec.Struct, frozen=True):
    """What a machine needs to work as another one does, over the same stores. No secret is in it."""

    version: str
    settings: Settings
    files: dict[str, bytes]  # what an owner wrote into the data folder


def given_of(folder: Path, settings: Settings) -> bytes:
    """`Given`, of a data folder and its settings."""
    files = {name: (folder / name).read_bytes() for name in WRITTEN if (folder / name).exists()}
    return msgspec.msgpack.encode(Given(windlass.__version__, msgspec.structs.replace(settings, ray=""), files))


class RowAsked(msgspec.Struct, frozen=True):
    """One row and repeat of an evaluation that is in the store."""

    project: str
    evaluation: str
    row: str
    repeat: int
    policy: DrawPolicy


class RowDone(msgspec.Struct, omit_defaults=True):
    """`result` is None where a replay could not answer. Its spans are recorded by who asked, so that they are there once."""

    result: Result | None = None
    spans: tuple[Span, ...] = ()
    error: dict[str, Any] | None = None


class Hands:
    """Has rows done elsewhere; `do` takes bytes there and brings bytes back (`jobs.spread`)."""

    def __init__(self, do: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._do = do

    async def row(self, asked: RowAsked) -> RowDone:
        """Raises what doing it raised."""
        done = msgspec.msgpack.decode(await self._do(msgspec.msgpack.encode(asked)), type=RowDone)
        if done.error is not None:
            raise error_from_dict(done.error)
        return done


class Collected:
    """`Records` that keeps spans for who asked: those of each row apart."""

    def __init__(self) -> None:
        self._of: ContextVar[list[Span] | None] = ContextVar("spans", default=None)

    def begin(self) -> list[Span]:
        """From here on in this task, and in what it starts."""
        found: list[Span] = []
        self._of.set(found)
        return found

    def record(self, spans: Sequence[Span]) -> None:
        if (found := self._of.get()) is not None:
            found.extend(spans)


async def answered(asked: bytes, do: Callable[[RowAsked], Awaitable[Result | None]], records: Collected) -> bytes:
    """One row, as bytes in and out."""
    spans = records.begin()
    try:
        done = RowDone(await do(msgspec.msgpack.decode(asked, type=RowAsked)), tuple(spans))
    except WindlassError as e:
        done = RowDone(error=e.as_dict())
    return msgspec.msgpack.encode(done)
