"""Pass-through: a call whose provider speaks the caller's dialect goes out and comes back byte for byte.

Only the model's name and the credentials change; fields we do not know survive both ways, and events of a stream are passed
on as they come, unparsed. What was said is read from the kept bytes after the answer is out, for the trace. Nothing is
tried again here: clients have their own policy for that, and it is told the provider's own status. One thing is added: a stream that
ends before its end gets an error after its last whole event, since its client would take what came for all there is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from windlass.core.errors import ModelFailed, WindlassError
from windlass.core.ids import now_ns
from windlass.core.message import Message, ModelReply, Usage, user
from windlass.discover.providers import Endpoint
from windlass.doors.gateway.answers import FACES
from windlass.doors.gateway.calls import Call, counted
from windlass.doors.gateway.exchange import ClientGone, Exchange
from windlass.doors.gateway.read_responses import ResponsesReader, read
from windlass.runtime.context import Records
from windlass.runtime.models import Http, Price
from windlass.runtime.models.dialect import StreamReader
from windlass.runtime.models.http import EventReader, described
from windlass.runtime.models.models import CODECS

if TYPE_CHECKING:
    import aiohttp  # loaded when somebody is called: a seventh of a small command's time

KEPT = 8 * 2**20  # bytes of an answer kept for its trace; of a longer one only the beginning and the end
_PASSED = ("retry-after", "retry-after-ms", "request-id", "x-request-id")
_PASSED_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-", "openai-")
_FORWARDED = ("anthropic-version", "anthropic-beta", "openai-beta", "idempotency-key")
_ENDS = ("message_stop", "response.completed", "response.incomplete", "response.failed", "error")  # events that nothing comes after
_ENDING = (b"[DONE]", b"message_stop", b"response.", b"error")
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
        answer = _Kept(endpoint, path, fields, stream=bytes(fields.get("stream", b"")) == b"true")
        try:
            async with exchange.watched():
                await self._carry(exchange, call, endpoint, path, body, headers, answer)
        except ClientGone:
            answer.problem = "the client left before its answer was whole"
        except WindlassError as e:
            answer.problem = e.message
            raise
        finally:
            self._records.record([answer.span(call, name, self._price)])

    async def _carry(
        self, exchange: Exchange, call: Call, endpoint: Endpoint, path: str, body: bytes, headers: dict[str, str], answer: _Kept
    ) -> None:
        import aiohttp

        limits = self._http.timeouts
        wait = limits.first_token_s if answer.stream else limits.total_s
        provider = endpoint.provider.name
        ended = False
        try:
            async with asyncio.timeout(wait) as limit:
                async with await self._http.send(endpoint, path, body, headers) as response:
                    if response.status >= 400:
                        await self._carry_error(exchange, endpoint, response, answer)
                        return
                    if not answer.stream:
                        data = await response.read()
                        answer.keep(data)
                        call.first_ns = now_ns()
                        await exchange.respond(response.status, data, _passed(response))
                        return
                    held = b""
                    answer.stream = response.content_type != "application/json"
                    while chunk := await response.content.readany():
                        if not exchange.begun:
                            call.first_ns = now_ns()
                            await exchange.begin(response.status, _passed(response))
                        answer.keep(chunk)
                        whole, held = _whole_events(held + chunk if held else chunk)
                        ended = ended or _ends(whole)
                        wait = limits.after_end_s if ended else limits.between_tokens_s
                        limit.reschedule(asyncio.get_running_loop().time() + wait)
                        if whole:
                            await exchange.write(whole)
        except TimeoutError:
            if not ended:
                raise ModelFailed(
                    f"{provider} sent nothing for {wait:g} s", where=endpoint.base_url, provider=provider, timeout=True
                ) from None
        except aiohttp.ClientError as e:
            if not ended:
                told = endpoint.redact(str(e)) or type(e).__name__
                raise ModelFailed(f"{provider} broke the answer off: {told}", where=endpoint.base_url, provider=provider) from e
        if not exchange.begun:
            raise ModelFailed(f"{provider} answered with nothing", where=endpoint.base_url, provider=provider)
        if not ended and not answer.is_whole():
            raise ModelFailed(f"{provider} broke the stream off", where=endpoint.base_url, provider=provider)
        if held:
            await exchange.write(held)
        await exchange.end()

    async def _carry_error(self, exchange: Exchange, endpoint: Endpoint, response: aiohttp.ClientResponse, answer: _Kept) -> None:
        """The provider's own words and status, without the key; but not its refusal of our key, which would read as the caller's."""
        data = await response.read()
        failure = described(endpoint, response.status, data)
        if response.status in _REPLACED or not data.strip():
            failure.details.pop("status", None)
            raise failure
        answer.problem = failure.message
        clean = data.replace(endpoint.key.encode(), b"[key]") if endpoint.key else data
        await exchange.respond(response.status, clean, _passed(response))


def _whole_events(data: bytes) -> tuple[bytes, bytes]:
    """The bytes up to the end of the last whole event, and the rest. A part of an event is of no use to anyone yet, and were it
    passed on, an error could not be told cleanly after it."""
    if data.endswith((b"\n\n", b"\r\n\r\n")):
        return data, b""
    lf, crlf = data.rfind(b"\n\n"), data.rfind(b"\r\n\r\n")
    end = max(lf + 2 if lf >= 0 else 0, crlf + 4 if crlf >= 0 else 0)
    return data[:end], data[end:]


def _ends(events: bytes) -> bool:
    """Whether the last of these events is one that nothing comes after."""
    if not any(mark in events for mark in _ENDING):
        return False
    found = EventReader().feed(events)
    if not found:
        return False
    if found[-1][1].strip() == b"[DONE]":
        return True
    try:
        return msgspec.json.decode(found[-1][1], type=_Typed).type in _ENDS
    except msgspec.MsgspecError:
        return False


class _Typed(msgspec.Struct):
    type: str = ""


def _passed(response: aiohttp.ClientResponse) -> list[tuple[bytes, bytes]]:
    found = [(b"content-type", response.headers.get("Content-Type", "application/json").encode("latin-1"))]
    for name, value in response.headers.items():
        lower = name.lower()
        if lower in _PASSED or lower.startswith(_PASSED_PREFIXES):
            found.append((lower.encode("latin-1"), value.encode("latin-1")))
    return found


class _Kept:
    """The bytes of an answer, and what they say once it is out."""

    def __init__(self, endpoint: Endpoint, path: str, fields: dict[str, Any], *, stream: bool) -> None:
        self.stream = stream
        self.problem = ""
        self._endpoint = endpoint
        self._path = path
        self._fields = fields
        self._chunks: list[bytes] = []
        self._size = 0

    def keep(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size > KEPT and len(self._chunks) > 2:
            self._size -= len(self._chunks.pop(len(self._chunks) // 2))

    def is_whole(self) -> bool:
        """Whether a stream that ended came to its end; one that cannot be read is left as it is."""
        reader = self._reader()
        if not self.stream or reader is None or len(self._chunks) < 1:
            return True
        try:
            self._fed(reader)
        except ModelFailed:
            return True
        return reader.done

    def span(self, call: Call, name: str, price: Price) -> Any:
        messages = self._messages()
        reply, estimated = self._reply(messages)
        if reply is not None:
            reply = msgspec.structs.replace(reply, cost=price(self._endpoint.provider.name, name, reply.usage, call.start_ns))
        return call.span(messages, reply, self.problem, estimated=estimated)

    def _messages(self) -> tuple[Message, ...] | None:
        face = FACES.get(self._path)
        if face is None:
            text = bytes(self._fields.get("input") or self._fields.get("messages") or b"").decode("utf-8", "replace")
            return (user(text),) if text else None
        said = ("messages", "system", "input", "instructions")
        body: dict[str, Any] = {k: msgspec.json.decode(self._fields[k]) for k in said if k in self._fields}
        try:
            return face.request_of(body, lambda data: "").messages
        except WindlassError:  # a shape we do not know is passed on all the same, and kept as it was
            return (user(msgspec.json.encode(body).decode()),)

    def _reader(self) -> StreamReader | None:
        if self._path == "/responses":
            return ResponsesReader()
        return CODECS[self._endpoint.provider.dialect].reader(self._endpoint.provider) if self._path in FACES else None

    def _fed(self, reader: StreamReader) -> tuple[int, int]:
        """Give a reader all that was kept; how many pieces and bytes of an answer were in it."""
        events = EventReader()
        deltas = [d for e in (*events.feed(b"".join(self._chunks)), *events.end()) for d in reader.feed(*e)]
        texts = (t for d in deltas for t in (d.text, d.reasoning.text if d.reasoning else "", d.call.arguments if d.call else ""))
        return len(deltas), sum(len(t.encode()) for t in texts)

    def _reply(self, messages: tuple[Message, ...] | None) -> tuple[ModelReply | None, bool]:
        """What the answer says, as far as it came; and whether its tokens had to be counted."""
        if not self._chunks or (self.problem and not self.stream):
            return None, False
        reader = self._reader()
        try:
            if not self.stream or reader is None:
                return self._whole(b"".join(self._chunks)), False
            pieces, size = self._fed(reader)
            reply = reader.reply()
        except ModelFailed as e:
            self.problem = self.problem or e.message
            return None, False
        if reader.done:
            return reply, False
        self.problem = self.problem or f"{self._endpoint.provider.name} broke the stream off"
        return msgspec.structs.replace(reply, usage=counted(reply.usage, messages, size, pieces), stop="error"), True

    def _whole(self, data: bytes) -> ModelReply | None:
        if self._path == "/responses":
            return read(data)
        return CODECS[self._endpoint.provider.dialect].decode(data, self._endpoint.provider) if self._path in FACES else _other(data)


class _Counts(msgspec.Struct):
    prompt_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Other(msgspec.Struct):
    """An answer of embeddings or count_tokens, as far as tokens go."""

    model: str = ""
    id: str | None = None
    usage: _Counts | None = None


def _other(data: bytes) -> ModelReply | None:
    """The usage in an answer that is no chat; None where it tells none."""
    try:
        found = msgspec.json.decode(data, type=_Other)
    except msgspec.MsgspecError:
        return None
    if found.usage is None:
        return None
    used = found.usage
    given = used.prompt_tokens if used.prompt_tokens is not None else used.input_tokens
    return ModelReply(Message("assistant", ()), "stop", Usage(given, used.output_tokens or 0), found.model, found.id)
