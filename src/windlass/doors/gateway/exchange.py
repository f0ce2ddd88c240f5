"""One HTTP exchange of the gateway over raw ASGI: reading the request, sending the answer, noticing that the client left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from windlass.core.errors import TooLarge

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")


class ClientGone(Exception):
    """The client closed the connection before its answer was whole."""


class Exchange:
    """`begun` says whether a status has gone out: after that an error can only be told inside the stream."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        self.begun = False
        self.trace = b""
        self._receive = receive
        self._send = send

    async def body(self, limit: int) -> bytes:
        """The whole request body. Raises `TooLarge` over `limit` bytes, `ClientGone`."""
        told = self.headers.get("content-length", "")
        if told.isdigit() and int(told) > limit:
            raise _too_large(limit)
        message = await self._receive()
        data: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if message["type"] == "http.disconnect":
                raise ClientGone
            return _checked(data, limit)
        pieces = [data]
        size = len(data)
        while message.get("more_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                raise _too_large(limit)
        return _checked(b"".join(pieces), limit)

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Cancel what happens inside as soon as the client leaves, and raise `ClientGone` then. The body must have been read."""
        task = asyncio.current_task()
        assert task is not None
        gone = False

        async def watch() -> None:
            nonlocal gone
            while (await self._receive())["type"] != "http.disconnect":
                pass
            gone = True
            task.cancel()

        watcher = asyncio.ensure_future(watch())
        try:
            yield
        except asyncio.CancelledError:
            if not gone:
                raise
            task.uncancel()
            raise ClientGone from None
        finally:
            watcher.cancel()

    async def respond(self, status: int, data: bytes, headers: Headers = (JSON,)) -> None:
        """A whole answer."""
        self.begun = True
        sized = [*headers, (b"content-length", str(len(data)).encode()), *self._traced()]
        await self._send({"type": "http.response.start", "status": status, "headers": sized})
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def begin(self, status: int = 200, headers: Headers = (EVENTS, (b"cache-control", b"no-cache"))) -> None:
        """The head of a streamed answer."""
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *self._traced()]})

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _traced(self) -> list[tuple[bytes, bytes]]:
        return [(b"windlass-trace", self.trace)] if self.trace else []


def _checked(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise _too_large(limit)
    return data


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the request is larger than {limit // 2**20} MiB", remedy="send less, or name files by digest")
