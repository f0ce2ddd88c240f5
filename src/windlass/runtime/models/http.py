"""The way to a provider: one shared connection pool, timeouts, retries within a budget, and failures as sentences.

Knows HTTP and server-sent events; no dialect. A key goes out in headers only, and is cut out of whatever comes back before
it can reach an error. Retried: connection failures, 408, 409, 429 and 5xx, before anything of an answer was seen.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
import urllib.parse
import urllib.request
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from windlass.core.errors import ModelFailed, TooLarge
from windlass.discover.providers import Endpoint

if TYPE_CHECKING:
    import aiohttp  # loaded when somebody is called: a seventh of a small command's time

_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_EVENT_LIMIT = 32 * 1024 * 1024


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds. `first_token` runs until the first byte of a streamed answer; `total` bounds a call with its retries; `after_end` is how
    long a stream that said its last word is waited for, since some never close."""

    connect_s: float = 10.0
    first_token_s: float = 120.0
    between_tokens_s: float = 60.0
    total_s: float = 600.0
    after_end_s: float = 1.0


class Retries(msgspec.Struct, frozen=True):
    """At most `attempts` in all, waiting at most `budget_s` seconds between them altogether."""

    attempts: int = 3
    budget_s: float = 20.0
    base_s: float = 0.5


class Http:
    """Calls providers. One per process; sessions are made on first use, one per event loop."""

    def __init__(self, timeouts: Timeouts = Timeouts(), retries: Retries = Retries(), *, connections: int = 8192) -> None:
        self.timeouts = timeouts
        self._retries = retries
        self._connections = connections
        self._sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = weakref.WeakKeyDictionary()

    def session(self) -> aiohttp.ClientSession:
        """The running loop's session."""
        import aiohttp

        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            connector = aiohttp.TCPConnector(limit=self._connections, limit_per_host=0, keepalive_timeout=30)
            limits = aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect_s)
            session = aiohttp.ClientSession(
                connector=connector,
                timeout=limits,
                auto_decompress=True,
                read_bufsize=2**18,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            self._sessions[loop] = session
        return session

    async def close(self) -> None:
        """Close the running loop's connections."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()

    async def fetch(self, endpoint: Endpoint, path: str, body: bytes, *, timeout_s: float | None = None) -> bytes:
        """The whole body of a 2xx answer. Raises `ModelFailed`."""
        import aiohttp

        total = self._total(timeout_s)
        try:
            async with asyncio.timeout(total), await self._answer(endpoint, path, body) as response:
                data = await response.read()
        except TimeoutError:
            raise _late(endpoint, f"did not answer within {total:g} s") from None
        except aiohttp.ClientError as e:
            raise _broken(endpoint, "broke its answer off", e) from e
        if not data.strip():
            raise ModelFailed(f"{endpoint.provider.name} answered with nothing", where=endpoint.base_url, provider=endpoint.provider.name)
        return data

    async def events(
        self, endpoint: Endpoint, path: str, body: bytes, *, timeout_s: float | None = None, over: Callable[[], bool] = lambda: False
    ) -> AsyncGenerator[tuple[str, bytes], None]:
        """The server-sent events of a 2xx answer as (event name, data); an answer that is no stream is one event. Raises `ModelFailed`;
        ends where the stream ends, whole or not (that only the dialect can tell), or a little after `over` says that nothing follows."""
        import aiohttp

        total = self._total(timeout_s)
        deadline = time.monotonic() + total
        wait = min(self.timeouts.first_token_s, total)
        reader = EventReader()
        try:
            async with asyncio.timeout(wait):
                response = await self._answer(endpoint, path, body)
            async with response:
                if response.content_type == "application/json":
                    async with asyncio.timeout(deadline - time.monotonic()):
                        data = await response.read()
                    if data.strip():
                        yield "", data
                    return
                while True:
                    wait = min(wait, deadline - time.monotonic())
                    async with asyncio.timeout(wait):
                        chunk = await response.content.readany()
                    if not chunk:
                        break
                    for event in reader.feed(chunk):
                        yield event
                    wait = self.timeouts.after_end_s if over() else self.timeouts.between_tokens_s
            for event in reader.end():
                yield event
        except TimeoutError:
            if over():
                return
            raise _late(endpoint, f"sent nothing for {max(wait, 0):g} s") from None
        except aiohttp.ClientError as e:
            raise _broken(endpoint, "broke the stream off", e) from e

    async def _answer(self, endpoint: Endpoint, path: str, body: bytes) -> aiohttp.ClientResponse:
        """A response with status 2xx, after retries; its body is not read yet."""
        spent = 0.0
        for attempt in range(1, self._retries.attempts + 1):
            told: float | None = None
            try:
                response = await self.send(endpoint, path, body)
            except ModelFailed as e:
                failure = e
            else:
                if 200 <= response.status < 300:
                    return response
                failure = await failure_of(endpoint, response)
                if response.status not in _RETRIED:
                    raise failure
                told = failure.details.get("retry_after_s")
            pause = told if told is not None else self._retries.base_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
            if attempt == self._retries.attempts or spent + pause > self._retries.budget_s:
                raise failure
            spent += pause
            await asyncio.sleep(pause)
        raise AssertionError("attempts is at least 1")

    async def send(self, endpoint: Endpoint, path: str, body: bytes, headers: Mapping[str, str] = {}) -> aiohttp.ClientResponse:
        """One POST, its answer whatever the status. Raises `ModelFailed` when there is none."""
        import aiohttp

        sent = {"Content-Type": "application/json", **headers, **endpoint.headers}
        try:
            return await self.session().post(
                endpoint.base_url + path, data=body, headers=sent, allow_redirects=False, proxy=_proxy(endpoint.base_url)
            )
        except aiohttp.ClientError as e:
            raise _broken(endpoint, "could not be reached", e) from e

    def _total(self, timeout_s: float | None) -> float:
        return self.timeouts.total_s if timeout_s is None else min(timeout_s, self.timeouts.total_s)


@lru_cache(maxsize=256)
def _proxy(base_url: str) -> str | None:
    """The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name for an address; asked once, since aiohttp's own way
    (`trust_env`) costs two threads a call."""
    address = urllib.parse.urlsplit(base_url)
    if urllib.request.proxy_bypass_environment(address.netloc):  # type: ignore[attr-defined]
        return None
    return urllib.request.getproxies_environment().get(address.scheme)


async def failure_of(endpoint: Endpoint, response: aiohttp.ClientResponse) -> ModelFailed:
    """A provider's error answer as an error of ours: its own sentence, without the key."""
    import aiohttp

    async with response:
        try:
            async with asyncio.timeout(10):
                body = await response.content.read(65536)
        except (TimeoutError, aiohttp.ClientError):
            body = b""
    return described(endpoint, response.status, body, retry_after(response.headers.get("Retry-After")))


def described(endpoint: Endpoint, status: int, body: bytes, wait_s: float | None = None) -> ModelFailed:
    """The error for a status and body a provider sent."""
    name = endpoint.provider.name
    told = endpoint.redact(_sentence(body))
    remedies = {401: _key_remedy(endpoint), 403: _key_remedy(endpoint), 404: "check the model's name and the base URL"}
    remedies[429] = f"try again in {wait_s:g} s" if wait_s is not None else "try again later"
    details: dict[str, object] = {"provider": name, "status": status}
    if wait_s is not None:
        details["retry_after_s"] = wait_s
    return ModelFailed(
        f"{name} answered {status}" + (f": {told}" if told else ""), where=endpoint.base_url, remedy=remedies.get(status), **details
    )


def _key_remedy(endpoint: Endpoint) -> str:
    names = endpoint.provider.keys
    return f"check the key in {' or '.join(names)}" if names else "give this provider a key in providers.toml"


def _sentence(body: bytes) -> str:
    """What an error body says, at most 400 characters."""
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body.decode("utf-8", "replace").strip()[:200] if not body.lstrip().startswith(b"<") else ""
    for _ in range(3):
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            value = next((value[k] for k in ("error", "message", "detail") if value.get(k)), "")
    return value[:400] if isinstance(value, str) else ""


def retry_after(header: str | None) -> float | None:
    """Seconds a `Retry-After` header asks for, either form; None when absent or unreadable."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None


def _late(endpoint: Endpoint, what: str) -> ModelFailed:
    name = endpoint.provider.name
    return ModelFailed(f"{name} {what}", where=endpoint.base_url, remedy="try again, or raise the timeout", provider=name, timeout=True)


def _broken(endpoint: Endpoint, what: str, cause: Exception) -> ModelFailed:
    name = endpoint.provider.name
    told = endpoint.redact(str(cause)) or type(cause).__name__
    return ModelFailed(f"{name} {what}: {told}", where=endpoint.base_url, remedy="is it running, and is the address right?", provider=name)


class EventReader:
    """Cuts a byte stream into server-sent events, wherever it is split. Lines end in LF, CRLF or CR."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """The events that are whole now. Raises `TooLarge` for an event of more than 32 MiB."""
        data = self._rest + chunk if self._rest else chunk
        half = b""
        if b"\r" in data:
            if data.endswith(b"\r"):  # the other half of a CRLF may follow
                data, half = data[:-1], b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *whole, rest = data.split(b"\n\n")
        self._rest = rest + half
        if len(self._rest) > _EVENT_LIMIT:
            raise TooLarge("a provider sent an event of more than 32 MiB")
        if whole and not self._begun:
            self._begun = True
            whole[0] = whole[0].removeprefix(b"\xef\xbb\xbf")
        return [event for block in whole if (event := _event(block)) is not None]

    def end(self) -> list[tuple[str, bytes]]:
        """The last event, where its lines are whole and only the empty line after it is missing: some leave that out."""
        return self.feed(b"\n\n") if self._rest.endswith((b"\n", b"\r")) else []


def _event(block: bytes) -> tuple[str, bytes] | None:
    name, data = "", []
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode("utf-8", "replace")
    return (name, b"\n".join(data)) if data else None
