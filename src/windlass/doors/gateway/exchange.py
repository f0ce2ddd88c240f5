"""One HTTP exchange of the gateway over raw ASGI: reading the request, sending the answer, noticing that the client left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from windlass.core.errors import TooLarge, Unavailable, WindlassError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")


class ClientGone(Exception):
    """The client closed the connection before its answer was whole."""


class Exchange:
    """`begun` says whether a status has gone out: after that an error can only be told inside the stream. While what it waits for
    can be cut off, it is in `watching`."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, watching: set[Exchange]) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        self.begun = False
        self.trace = b""
        self.error_event: Callable[[WindlassError, int], bytes] | None = None  # how the stream that has begun tells an error
        self.upstream = b""  # that a route chose
        self.told: list[tuple[bytes, bytes]] = []  # headers of ours, which stand for a provider's of the same names
        self._receive = receive
        self._send = send
        self._watching = watching
        self._task: asyncio.Task[Any] | None = None
        self._why: Exception | None = None  # of being cut off

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
        """Cancel what happens inside as soon as the client leaves or the server stops; raise `ClientGone` or `Unavailable` then.
        The body must have been read."""
        self._task = asyncio.current_task()
        watcher = asyncio.ensure_future(self._watch())
        self._watching.add(self)
        try:
            yield
        except asyncio.CancelledError:
            if self._why is None or self._task is None:
                raise
            self._task.uncancel()
            raise self._why from None
        finally:
            self._watching.discard(self)
            watcher.cancel()

    def stop(self) -> None:
        """End what is being waited for: the server stops."""
        self._cut(Unavailable("the server stops before the answer is whole", remedy="ask again when it is back", retry_after_s=2))

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._cut(ClientGone())

    def _cut(self, why: Exception) -> None:
        if self._why is None and self._task is not None:
            self._why = why
            self._task.cancel()

    async def respond(self, status: int, data: bytes, headers: Headers = (JSON,)) -> None:
        """A whole answer."""
        self.begun = True
        sized = [*self._ours(headers), (b"content-length", str(len(data)).encode()), *self._traced()]
        await self._send({"type": "http.response.start", "status": status, "headers": sized})
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def begin(self, status: int = 200, headers: Headers = (EVENTS, (b"cache-control", b"no-cache"))) -> None:
        """The head of a streamed answer."""
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": [*self._ours(headers), *self._traced()]})

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _ours(self, headers: Headers) -> Headers:
        names = {name for name, _ in self.told}
        return [*(h for h in headers if h[0] not in names), *self.told] if names else headers

    def _traced(self) -> list[tuple[bytes, bytes]]:
        told = [(b"windlass-trace", self.trace)] if self.trace else []
        return [*told, (b"windlass-upstream", self.upstream)] if self.upstream else told


def _checked(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise _too_large(limit)
    return data


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the request is larger than {limit // 2**20} MiB", remedy="send less, or name files by digest")
