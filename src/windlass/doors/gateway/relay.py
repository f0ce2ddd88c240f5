"""Pass-through: a call whose provider speaks the caller's dialect goes out and comes back byte for byte.

Only the model's name and the credentials change; fields we do not know survive both ways, and chunks of a stream are passed
on as they come, unparsed. What was said is read from the kept bytes after the answer is out, for the trace. Nothing is
tried again here: clients have their own policy for that, and it is told the provider's own status.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from windlass.core.errors import ModelFailed, WindlassError
from windlass.core.ids import now_ns
from windlass.core.message import Message, ModelReply, Usage, user
from windlass.discover.providers import Endpoint
from windlass.doors.gateway.answers import CHAT, FACES
from windlass.doors.gateway.calls import Call
from windlass.doors.gateway.exchange import ClientGone, Exchange
from windlass.runtime.context import Records
from windlass.runtime.models import Http, Price
from windlass.runtime.models.http import EventReader, described
from windlass.runtime.models.models import CODECS

if TYPE_CHECKING:
    import aiohttp  # loaded when somebody is called: a seventh of a small command's time

KEPT = 8 * 2**20  # bytes of an answer kept for its trace; of a longer one only the beginning and the end
_PASSED = ("retry-after", "retry-after-ms", "request-id", "x-request-id")
_PASSED_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-", "openai-")
_FORWARDED = ("anthropic-version", "anthropic-beta", "openai-beta", "idempotency-key")
_REPLACED = (401, 403)  # the provider's word on our key is not for the caller


class Relay:
    """Passes calls through and writes their traces."""

    def __init__(self, http: Http, price: Price, records: Records) -> None:
        self._http = http
        self._price = price
        self._records = records

    async def pass_on(self, exchange: Exchange, call: Call, endpoint: Endpoint, path: str, fields: dict[str, Any], name: str) -> None:
        """Forward a request whose top-level fields are raw JSON, as the provider's model `name`."""
        body = msgspec.json.encode({**fields, "model": name})
        headers = {k: v for k in _FORWARDED if (v := exchange.headers.get(k)) is not None}
        answer = _Kept(endpoint, fields, stream=bytes(fields.get("stream", b"")) == b"true")
        try:
            async with exchange.watched():
                await self._carry(exchange, call, endpoint, path, body, headers, answer)
        except ClientGone:
            answer.problem = "the client left before its answer was whole"
        except WindlassError as e:
            answer.problem = e.message
            raise
        finally:
            self._records.record([answer.span(call, path, name, self._price)])

    async def _carry(
        self, exchange: Exchange, call: Call, endpoint: Endpoint, path: str, body: bytes, headers: dict[str, str], answer: _Kept
    ) -> None:
        import aiohttp

        limits = self._http.timeouts
        wait = limits.first_token_s if answer.stream else limits.total_s
        provider = endpoint.provider.name
        try:
            async with asyncio.timeout(wait) as limit:
                async with await self._http.send(endpoint, path, body, headers) as response:
                    if response.status >= 400:
                        await self._carry_error(exchange, endpoint, response, answer)
                        return
                    if not answer.stream:
                        data = endpoint.clean(await response.read())
                        answer.keep(data)
                        call.first_ns = now_ns()
                        await exchange.respond(response.status, data, _passed(endpoint, response))
                        return
                    held = b""
                    while chunk := await response.content.readany():
                        if not exchange.begun:
                            call.first_ns = now_ns()
                            await exchange.begin(response.status, _passed(endpoint, response))
                        wait = limits.between_tokens_s
                        limit.reschedule(asyncio.get_running_loop().time() + wait)
                        whole, held = _whole_events(held + chunk if held else chunk)
                        if whole:
                            whole = endpoint.clean(whole)
                            answer.keep(whole)
                            await exchange.write(whole)
                    if held:
                        held = endpoint.clean(held)
                        answer.keep(held)
                        await exchange.write(held)
        except TimeoutError:
            raise ModelFailed(f"{provider} sent nothing for {wait:g} s", where=endpoint.base_url, provider=provider, timeout=True) from None
        except aiohttp.ClientError as e:
            told = endpoint.redact(str(e)) or type(e).__name__
            raise ModelFailed(f"{provider} broke the answer off: {told}", where=endpoint.base_url, provider=provider) from e
        if not exchange.begun:
            raise ModelFailed(f"{provider} answered with nothing", where=endpoint.base_url, provider=provider)
        await exchange.end()

    async def _carry_error(self, exchange: Exchange, endpoint: Endpoint, response: aiohttp.ClientResponse, answer: _Kept) -> None:
        """The provider's own words and status, without the key; but not its refusal of our key, which would read as the caller's."""
        data = await response.read()
        failure = described(endpoint, response.status, data)
        if response.status in _REPLACED or not data.strip():
            failure.details.pop("status", None)
            raise failure
        answer.problem = failure.message
        await exchange.respond(response.status, endpoint.clean(data), _passed(endpoint, response))


def _whole_events(data: bytes) -> tuple[bytes, bytes]:
    """The bytes up to the end of the last whole event, and the rest. A part of an event is of no use to anyone yet, and were it
    passed on, an error could not be told cleanly after it."""
    if data.endswith((b"\n\n", b"\r\n\r\n")):
        return data, b""
    lf, crlf = data.rfind(b"\n\n"), data.rfind(b"\r\n\r\n")
    end = max(lf + 2 if lf >= 0 else 0, crlf + 4 if crlf >= 0 else 0)
    return data[:end], data[end:]


def _passed(endpoint: Endpoint, response: aiohttp.ClientResponse) -> list[tuple[bytes, bytes]]:
    found = [(b"content-type", response.headers.get("Content-Type", "application/json").encode("latin-1"))]
    for name, value in response.headers.items():
        lower = name.lower()
        if lower in _PASSED or lower.startswith(_PASSED_PREFIXES):
            found.append((lower.encode("latin-1"), endpoint.redact(value).encode("latin-1")))
    return found


class _Kept:
    """The bytes of an answer, and what they say once it is out."""

    def __init__(self, endpoint: Endpoint, fields: dict[str, Any], *, stream: bool) -> None:
        self.stream = stream
        self.problem = ""
        self._endpoint = endpoint
        self._fields = fields
        self._chunks: list[bytes] = []
        self._size = 0

    def keep(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size > KEPT and len(self._chunks) > 2:
            self._size -= len(self._chunks.pop(len(self._chunks) // 2))

    def span(self, call: Call, path: str, name: str, price: Price) -> Any:
        reply, estimated = self._reply(path)
        if reply is not None:
            provider = self._endpoint.provider
            cost = price(provider.priced_as or provider.name, name, reply.usage, call.start_ns)
            reply = msgspec.structs.replace(reply, cost=None if estimated else cost)
        return call.span(self._messages(path), reply, self.problem, estimated=estimated)

    def _messages(self, path: str) -> tuple[Message, ...] | None:
        face = FACES.get(self._endpoint.provider.dialect) if path in CHAT else None
        if face is None:
            text = bytes(self._fields.get("input") or self._fields.get("messages") or b"").decode("utf-8", "replace")
            return (user(text),) if text else None
        body: dict[str, Any] = {k: msgspec.json.decode(self._fields[k]) for k in ("messages", "system") if k in self._fields}
        try:
            return face.request_of(body, lambda data: "").messages
        except WindlassError:  # a shape we do not know is passed on all the same, and kept as it was
            return (user(msgspec.json.encode(body).decode()),)

    def _reply(self, path: str) -> tuple[ModelReply | None, bool]:
        """What the answer says, as far as it came; and whether its tokens had to be counted."""
        if not self._chunks or (self.problem and not self.stream):
            return None, False
        data = b"".join(self._chunks)
        try:
            if path not in CHAT:
                return _other(data, self.stream), False
            codec = CODECS[self._endpoint.provider.dialect]
            if not self.stream:
                return codec.decode(data, self._endpoint.provider), False
            reader = codec.reader(self._endpoint.provider)
            pieces = 0
            for event, payload in EventReader().feed(data):
                pieces += bool(reader.feed(event, payload))
            reply = reader.reply()
        except ModelFailed as e:
            self.problem = self.problem or e.message
            return None, False
        if reader.done:
            return reply, False
        self.problem = self.problem or f"{self._endpoint.provider.name} broke the stream off"
        counted = Usage(reply.usage.input, max(pieces, reply.usage.output or 0), reply.usage.cached, reply.usage.cache_write)
        return msgspec.structs.replace(reply, usage=counted, stop="error"), True


class _Counts(msgspec.Struct):
    prompt_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Other(msgspec.Struct):
    """An answer of embeddings, responses or count_tokens, as far as tokens go."""

    model: str = ""
    id: str | None = None
    usage: _Counts | None = None
    response: _Other | None = None
    type: str = ""


def _other(data: bytes, stream: bool) -> ModelReply | None:
    """The usage in an answer that is not a chat; None where it tells none."""
    try:
        found = None if stream else msgspec.json.decode(data, type=_Other)
        for _, payload in EventReader().feed(data) if stream else ():
            if b'"response.completed"' in payload or b'"response.incomplete"' in payload:
                found = msgspec.json.decode(payload, type=_Other).response
    except msgspec.MsgspecError:
        return None
    if found is None or found.usage is None:
        return None
    used = found.usage
    given = used.prompt_tokens if used.prompt_tokens is not None else used.input_tokens
    return ModelReply(Message("assistant", ()), "stop", Usage(given, used.output_tokens or 0), found.model, found.id)
