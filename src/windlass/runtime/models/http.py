"""The way to a provider: one shared connection pool, timeouts, retries within a budget, and failures as sentences.

Knows HTTP and server-sent events; no dialect. A key goes out in headers only, and is cut out of whatever comes back before
it can reach an error. Retried: connection failures, 408, 409, 429 and 5xx, before anything of an answer was seen.
"""

from __future__ import annotations

import asyncio
import copy
import email.utils
import random
import re
import time
import urllib.parse
import urllib.request
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import msgspec

from windlass.core.errors import ModelFailed, TooLarge
from windlass.discover.hosting import shaped
from windlass.discover.providers import Endpoint
from windlass.runtime.models.event_stream import CONTENT_TYPE, Unframed

if TYPE_CHECKING:
    import aiohttp  # loaded when somebody is called: a seventh of a small command's time

_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
# how providers say that a request has more tokens than the model reads
_TOO_LONG = re.compile(
    rb"context_length_exceeded|maximum context length|prompt is too long|context window|input length and `?max_tokens`? exceed", re.I
)
_TOO_LONG_STATUS = (400, 413, 422)
_EVENT_LIMIT = 32 * 1024 * 1024
_TOKEN_SECONDS = 30.0  # for which a token's issuer may take
# what AWS answers with 403 where the credentials are none, and not what they may do
_UNKNOWN_TO_AWS = ("UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException", "IncompleteSignatureException")


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
        self._under: dict[Timeouts, Http] = {}
        self._limits: aiohttp.ClientTimeout | None = None
        self._sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = weakref.WeakKeyDictionary()

    def under(self, timeouts: Timeouts) -> Http:
        """The same connections under other timeouts, and nothing tried again: a route does that itself."""
        if (found := self._under.get(timeouts)) is None:
            found = copy.copy(self)
            found.timeouts, found._retries, found._limits = timeouts, Retries(1), None
            self._under[timeouts] = found
        return found

    def session(self) -> aiohttp.ClientSession:
        """The running loop's session."""
        import aiohttp

        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            connector = aiohttp.TCPConnector(limit=self._connections, limit_per_host=0, keepalive_timeout=30)
            session = aiohttp.ClientSession(
                connector=connector,
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
                data = endpoint.clean(await response.read())
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
                    for name, data in reader.feed(chunk):
                        yield name, endpoint.clean(data)
                    wait = self.timeouts.after_end_s if over() else self.timeouts.between_tokens_s
            for name, data in reader.end():
                yield name, endpoint.clean(data)
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
        """One POST, its answer whatever the status. A key that is refused is tried no more while there is another. Raises `ModelFailed`
        when there is no answer, `Invalid` for a call that the provider's host does not have."""
        while True:
            response = await self._post(endpoint, path, body, headers)
            if not _key_refused(response) or (following := endpoint.refused()) is None:
                return response
            response.release()
            endpoint = following

    async def _post(self, endpoint: Endpoint, path: str, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        import aiohttp
        from yarl import URL

        provider = endpoint.provider
        call = shaped(provider.hosting, path, body, headers, provider=provider.name, api_version=endpoint.api_version)
        url = endpoint.base_url + call.path
        sent = {"Content-Type": "application/json", **call.headers, **endpoint.headers}
        if endpoint.signer is not None:
            sent |= await endpoint.signer.headers("POST", url, {"Content-Type": "application/json"}, call.body, self.post_form)
        if self._limits is None:
            self._limits = aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect_s)
        try:
            response = await self.session().post(
                URL(url, encoded=True) if provider.hosting else url, data=call.body, headers=sent, allow_redirects=False,
                proxy=_proxy(endpoint.base_url), timeout=self._limits,
            )  # fmt: skip
        except aiohttp.ClientError as e:
            raise _broken(endpoint, "could not be reached", e) from e
        framed = response.status == 200 and response.content_type == CONTENT_TYPE
        return cast("aiohttp.ClientResponse", Unframed(response)) if framed else response

    async def get(self, endpoint: Endpoint, path: str, *, timeout_s: float = 20.0) -> bytes:
        """The body of a 2xx answer to a GET; nothing is tried again. Raises `ModelFailed`."""
        import aiohttp

        url, sent = endpoint.base_url + path, dict(endpoint.headers)
        try:
            async with asyncio.timeout(timeout_s):
                if endpoint.signer is not None:
                    sent |= await endpoint.signer.headers("GET", url, {}, b"", self.post_form)
                response = await self.session().get(url, headers=sent, allow_redirects=False, proxy=_proxy(endpoint.base_url))
                if not 200 <= response.status < 300:
                    if _key_refused(response):
                        endpoint.refused()
                    raise await failure_of(endpoint, response)
                async with response:
                    return endpoint.clean(await response.read())
        except TimeoutError:
            raise _late(endpoint, f"did not answer within {timeout_s:g} s") from None
        except aiohttp.ClientError as e:
            raise _broken(endpoint, "could not be reached", e) from e

    async def post_form(self, url: str, form: bytes) -> tuple[int, bytes]:
        """A form sent to who issues tokens. Raises `TimeoutError`, `OSError`."""
        import aiohttp

        sent = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:
            async with (
                asyncio.timeout(_TOKEN_SECONDS),
                self.session().post(url, data=form, headers=sent, allow_redirects=False, proxy=_proxy(url)) as response,
            ):
                return response.status, await response.content.read(262144)
        except aiohttp.ClientError as e:
            raise OSError(str(e) or type(e).__name__) from e

    def _total(self, timeout_s: float | None) -> float:
        return self.timeouts.total_s if timeout_s is None else min(timeout_s, self.timeouts.total_s)


def _key_refused(response: aiohttp.ClientResponse) -> bool:
    """Whether a provider says that it does not know us, before it did anything."""
    return response.status == 401 or (
        response.status == 403 and response.headers.get("x-amzn-ErrorType", "").partition(":")[0] in _UNKNOWN_TO_AWS
    )


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
    if status in _TOO_LONG_STATUS and _TOO_LONG.search(body):
        details["context"] = True
    if wait_s is not None:
        details["retry_after_s"] = wait_s
    return ModelFailed(
        f"{name} answered {status}" + (f": {told}" if told else ""), where=endpoint.base_url, remedy=remedies.get(status), **details
    )


def _key_remedy(endpoint: Endpoint) -> str:
    if endpoint.source.startswith("given here"):
        return f"check the key that was {endpoint.source}: `windlass providers` lists those"
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
    remedy = "is it running, and is the address right?"
    return ModelFailed(f"{name} {what}: {told}", where=endpoint.base_url, remedy=remedy, provider=name, connection=True)


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
