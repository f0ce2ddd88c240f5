"""How a client reaches a server: over HTTP, or in this process to the same ASGI application. Both answer the same bytes."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple, Protocol

import httpx2

from windlass.core.errors import Invalid, Unavailable

ASGI = Callable[..., Coroutine[Any, Any, None]]


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: Iterator[bytes]


class Transport(Protocol):
    """Sends one request; the body comes as it comes. Raises `Unavailable` when nobody answers."""

    address: str

    def send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes = b"", kind: str = "application/json"
    ) -> Answer: ...
    def close(self) -> None: ...


class HttpTransport:
    """Over HTTP with a key. Raises `Invalid` for a key that cannot stand in a header."""

    def __init__(self, address: str, key: str | None, *, timeout: float = 600.0) -> None:
        self.address = address.rstrip("/")
        key = (key or "").strip()  # a file that it is in ends with a line
        if not key.isascii() or not key.isprintable():  # the error of whoever sends it would tell it
            raise Invalid("this key cannot be one of ours: it has characters that no key has", where="key", remedy="copy it anew")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(base_url=self.address, headers=headers, timeout=httpx2.Timeout(timeout, connect=10.0))

    def send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes = b"", kind: str = "application/json"
    ) -> Answer:
        headers = {"content-type": kind} if body else {}
        request = self._client.build_request(method, path, params=dict(query or {}), content=body, headers=headers)
        try:
            response = self._client.send(request, stream=True)
        except httpx2.HTTPError as e:
            raise Unavailable(
                f"Windlass does not answer: {e}", where=self.address, remedy="is it running? start it with `windlass up`"
            ) from e
        return Answer(response.status_code, response.headers, self._body(response))

    def _body(self, response: httpx2.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_bytes()
        except httpx2.HTTPError as e:
            raise Unavailable(f"the answer broke off: {e}", where=self.address, remedy="try again") from e
        finally:
            response.close()

    def close(self) -> None:
        self._client.close()


class InProcessTransport:
    """To an ASGI application in this process, on an event loop of its own. `extra` goes into the scope: who acts."""

    def __init__(self, app: ASGI, *, address: str = "in this process", headers: Mapping[str, str] | None = None) -> None:
        self.address = address
        self._app = app
        self._headers = [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="windlass-in-process", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the application's loop, to its end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes = b"", kind: str = "application/json"
    ) -> Answer:
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        gone = asyncio.Event()
        scope = self._scope(method, path, str(httpx2.QueryParams(dict(query or {}))), kind)
        future = asyncio.run_coroutine_threadsafe(self._serve(scope, body, events, gone), self._loop)
        first = events.get()
        if isinstance(first, BaseException):
            raise first
        headers = {k.decode(): v.decode() for k, v in first["headers"]}

        def pieces() -> Iterator[bytes]:
            try:
                while (event := events.get()) is not None:
                    if isinstance(event, BaseException):
                        raise event
                    yield event
            finally:
                self._loop.call_soon_threadsafe(gone.set)
                future.cancel()

        return Answer(first["status"], headers, pieces())

    def _scope(self, method: str, path: str, query: str, kind: str) -> dict[str, Any]:
        headers = [(b"host", b"localhost"), (b"content-type", kind.encode()), *self._headers]
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "path": path,
            "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "headers": headers,
            "client": ("127.0.0.1", 0), "server": ("localhost", 80), "state": {},
        }  # fmt: skip

    async def _serve(self, scope: dict[str, Any], body: bytes, events: queue.SimpleQueue[Any], gone: asyncio.Event) -> None:
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                events.put({"status": message["status"], "headers": message.get("headers", [])})
            elif message["type"] == "http.response.body":
                if message.get("body"):
                    events.put(message["body"])
                if not message.get("more_body"):
                    events.put(None)

        try:
            await self._app(scope, receive, send)
            events.put(None)
        except BaseException as e:
            events.put(e)
            if not isinstance(e, Exception):
                raise

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
