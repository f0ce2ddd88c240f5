"""OTLP by HTTP: `POST …/v1/traces`, `/v1/logs` and `/v1/metrics`, protobuf or JSON, packed or not. Raw ASGI: a hot path.

The answer, a refusal too, comes after the journal has synced and in the request's own content type.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, Unauthenticated, WindlassError
from windlass.doors import api
from windlass.doors.auth import headers_of
from windlass.doors.otlp.intake import Intake, Share, wait_after
from windlass.doors.otlp.senders import PATHS, project_of, reads_prompts
from windlass.doors.otlp.unpacking import ENCODINGS, Unpacker, too_large
from windlass.doors.otlp.wire import JSON, PROTOBUF, SIGNALS, status

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
LINGER_SECONDS = 5.0


class _Unsupported(Invalid):
    """A kind of body that is not read here."""

    status = 415


class Otlp:
    """The door, in front of an `Intake`."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.counts = intake.counts

    @staticmethod
    def serves(scope: Scope) -> bool:
        return scope["path"] in PATHS and scope["method"] == "POST"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        sender, name = PATHS[scope["path"]]
        kind, body = _kind(headers), Body(receive)
        self._intake.came(name)
        actor = None
        try:
            actor = await self._intake.admit(sender, headers)
            encoding = _checked(kind, headers.get("content-encoding", "").strip().lower())
            with self._intake.share() as share:
                data = await body.whole(share, encoding, self._intake.limit)
                foreign, linked = project_of(sender, headers), reads_prompts(sender, headers)
                said = await self._intake.take(SIGNALS[name], actor.project, data, kind, foreign, linked)
        except Exception as e:
            await self._refuse(e if isinstance(e, WindlassError) else api.defect(scope["path"]), name, kind, body, send, actor)
        else:
            await _answer(send, 200, said, kind)

    def refusing(self, error: WindlassError) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
        """Tells this to whoever sends something, as the door would."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            name = PATHS[scope["path"]][1]
            self._intake.came(name)
            await self._refuse(error, name, _kind(headers_of(scope)), Body(receive), send)

        return answer

    async def _refuse(self, error: WindlassError, name: str, kind: str, body: Body, send: Send, actor: Actor | None = None) -> None:
        await body.linger(self._intake.limit)
        self._intake.turned_away(name, error, actor)
        shape = kind if kind in (PROTOBUF, JSON) else PROTOBUF if "protobuf" in kind else JSON
        more: list[tuple[bytes, bytes]] = []
        if (retry := wait_after(error)) is not None:
            more.append((b"retry-after", str(retry).encode()))
        if isinstance(error, Unauthenticated):
            more.append((b"www-authenticate", b"Bearer"))
        if isinstance(error, _Unsupported):
            more.append((b"accept-encoding", ", ".join(ENCODINGS).encode()))
        await _answer(send, error.status, status(error, shape, retry), shape, more)


def _kind(headers: dict[str, str]) -> str:
    return headers.get("content-type", PROTOBUF).split(";")[0].strip().lower()


def _checked(kind: str, encoding: str) -> str:
    """The encoding to unpack; empty for none. Raises `_Unsupported`."""
    if kind not in (PROTOBUF, JSON):
        raise _Unsupported(f"{kind[:100]!r} is not a kind of OTLP", remedy=f"send {PROTOBUF} or {JSON}")
    if encoding not in ("", "identity", *ENCODINGS):
        raise _Unsupported(f"{encoding[:100]!r} is not an encoding we read", remedy=f"send {', '.join(ENCODINGS)}, or none")
    return encoding if encoding in ENCODINGS else ""


async def _answer(send: Send, code: int, said: bytes, kind: str, more: list[tuple[bytes, bytes]] | None = None) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(said)).encode()), *(more or [])]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": said})


class Body:
    """The body of a request, as it comes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._more = True

    async def whole(self, share: Share, encoding: str, limit: int) -> bytes:
        """All of it, unpacked. Raises `Invalid`, `TooLarge`, `Busy`."""
        unpacker = Unpacker(encoding, limit) if encoding else None
        pieces: list[bytes] = []
        size = 0
        while self._more:
            data = self._data(await self._receive())
            if unpacker:
                data = unpacker.feed(data)
            size += len(data)
            if size > limit:
                raise too_large(limit)
            share.add(len(data))
            pieces.append(data)
        if unpacker:
            unpacker.finish()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _data(self, event: MutableMapping[str, Any]) -> bytes:
        if event["type"] == "http.disconnect":
            self._more = False
            raise Invalid("the request broke off")
        self._more = bool(event.get("more_body"))
        return event.get("body", b"")  # type: ignore[no-any-return]

    async def linger(self, most: int) -> None:
        """Read on for a while before a refusal: a caller who is still sending would see a broken connection instead of it."""
        with contextlib.suppress(TimeoutError, Invalid):
            async with asyncio.timeout(LINGER_SECONDS):
                while self._more and most > 0:
                    most -= len(self._data(await self._receive()))
