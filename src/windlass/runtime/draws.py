"""Recorded draws: a model's answer to one request, kept under its complete identity.

The key, within a project, is the digest of the request, the model's version, row, repeat and occurrence within the run: never
the arm, so that two versions which send the same request meet the same answer. What is kept is a whole reply, never an error. A reply
taken from here says `reused` and keeps the cost and latency of the call that made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from sqlalchemy import Engine, insert, select, update

from windlass.core.digest import digest_json
from windlass.core.errors import RunFailed
from windlass.core.ids import now_ns
from windlass.core.message import Draw, ModelReply, ModelRequest
from windlass.runtime.context import RunContext
from windlass.store.meta import read, write
from windlass.store.tables import draws

_reply = msgspec.json.Decoder(ModelReply)


class DrawStore(Protocol):
    """Where draws are kept. `put` keeps the first of two answers to one key unless told to replace it, and returns the
    one that is kept now."""

    def get(self, project: str, key: str) -> bytes | None: ...
    def put(self, project: str, key: str, request: str, model: str, draw: Draw, reply: bytes, *, replace: bool) -> bytes: ...


class TableDraws:
    """`DrawStore` in the relational store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, project: str, key: str) -> bytes | None:
        with read(self._engine) as connection:
            return connection.execute(select(draws.c.reply).where(draws.c.project == project, draws.c.key == key)).scalar()

    def put(self, project: str, key: str, request: str, model: str, draw: Draw, reply: bytes, *, replace: bool) -> bytes:
        this = (draws.c.project == project, draws.c.key == key)
        values = {"request": request, "model": model, "row": draw.row, "repeat": draw.repeat, "occurrence": draw.occurrence}
        with write(self._engine) as connection:
            kept: bytes | None = connection.execute(select(draws.c.reply).where(*this)).scalar()
            if kept is None:
                connection.execute(insert(draws).values(project=project, key=key, **values, reply=reply, created_ns=now_ns()))
            elif replace:
                connection.execute(update(draws).where(*this).values(reply=reply, created_ns=now_ns()))
            else:
                return kept
        return reply


class Asked(msgspec.Struct, frozen=True):
    """What a draw is asked for: digests of the request and of the model's version, which draw, and for which run."""

    request: str
    model: str
    draw: Draw
    context: RunContext


class Draws:
    """Asks a model at most once for one draw, also when many ask at the same time."""

    def __init__(self, store: DrawStore) -> None:
        self._store = store
        self._under_way: dict[tuple[str, str, bool], asyncio.Future[ModelReply | None]] = {}

    async def reply(self, request: ModelRequest, model: str, context: RunContext, ask: Callable[[], Awaitable[ModelReply]]) -> ModelReply:
        """The answer by the context's policy (see `RunContext`). `model` is the digest of the model's version.

        Raises `RunFailed` under `replay` for a request that has no answer, and whatever `ask` raises.
        """
        if context.draws == "live":
            return await ask()
        digest = request.digest()
        counted = f"{digest} {model}"
        draw = Draw(context.row or "", context.repeat, context.ledger.occurrences[counted])
        context.ledger.occurrences[counted] += 1
        key = draw_key(digest, model, draw)
        context.ledger.draws.append(key)
        # A leader reads what is kept only after it is known as the leader: whoever read first and led afterwards could
        # miss an answer kept in between, and ask for it again. Who records wants no kept answer, so it follows none.
        one = (context.project, key, context.draws == "record")
        while True:
            if (leader := self._under_way.get(one)) is None:
                return await self._lead(one, Asked(digest, model, draw, context), ask)
            if (reply := await asyncio.shield(leader)) is not None:
                return msgspec.structs.replace(reply, reused=True)

    async def _lead(self, one: tuple[str, str, bool], asked: Asked, ask: Callable[[], Awaitable[ModelReply]]) -> ModelReply:
        """Answer all who want this draw. When it fails or is cancelled, the next of them leads."""
        done: asyncio.Future[ModelReply | None] = asyncio.get_running_loop().create_future()
        self._under_way[one] = done
        reply: ModelReply | None = None
        try:
            reply = await self._kept(one) or await self._fresh(one, asked, ask)
            return reply
        finally:
            del self._under_way[one]
            done.set_result(reply)

    async def _kept(self, one: tuple[str, str, bool]) -> ModelReply | None:
        project, key, recording = one
        data = None if recording else await asyncio.to_thread(self._store.get, project, key)
        return None if data is None else msgspec.structs.replace(_reply.decode(data), reused=True)

    async def _fresh(self, one: tuple[str, str, bool], asked: Asked, ask: Callable[[], Awaitable[ModelReply]]) -> ModelReply:
        if asked.context.draws == "replay":
            asked.context.ledger.missed += 1
            raise RunFailed("this request was never answered, and only recorded answers may be used here", request=asked.request)
        reply = await ask()
        project, key, recording = one
        data = msgspec.json.encode(reply)
        kept = await asyncio.to_thread(self._store.put, project, key, asked.request, asked.model, asked.draw, data, replace=recording)
        return reply if kept == data else _reply.decode(kept)  # another process answered first: a draw has one answer


def draw_key(request: str, model: str, draw: Draw) -> str:
    """The complete identity of a draw, as a digest."""
    return digest_json({"request": request, "model": model, "row": draw.row, "repeat": draw.repeat, "occurrence": draw.occurrence})
