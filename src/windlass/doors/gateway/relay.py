"""Pass-through: a call whose provider speaks the caller's dialect goes out and comes back byte for byte.

Only the model's name and the credentials change; fields we do not know survive both ways, and events of a stream are passed
on as they come, unparsed. What was said is read from the kept bytes after the answer is out, for the trace. One thing is added: a
stream that ends before its end gets an error after its last whole event, since its client would take what came for all there is.
Without a route nothing is tried again: clients have their own policy for that, and it is told the provider's own status. By a route
(`routed.py`) an attempt is a `Passage` too, which ends in `Refused` where the provider answered with an error, before anything went to
the caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from windlass.core.errors import ModelFailed, WindlassError
from windlass.core.ids import now_ns
from windlass.core.message import Message, ModelReply, Usage, user
from windlass.discover.providers import Endpoint, Provider
from windlass.doors.gateway.answers import FACES
from windlass.doors.gateway.calls import Call, counted
from windlass.doors.gateway.exchange import ClientGone, Exchange, Headers
from windlass.doors.gateway.read_responses import ResponsesReader, read
from windlass.runtime.context import Records
from windlass.runtime.models import Http, Price
from windlass.runtime.models.dialect import StreamReader
from windlass.runtime.models.http import EventReader, described, retry_after
from windlass.runtime.models.models import CODECS

if TYPE_CHECKING:
    import aiohttp  # loaded when somebody is called: a seventh of a small command's time

KEPT = 8 * 2**20  # bytes of an answer kept for its trace; of a longer one only the beginning and the end
_PASSED = ("retry-after", "retry-after-ms", "request-id", "x-request-id")
_PASSED_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-", "openai-")
_FORWARDED = ("anthropic-version", "anthropic-beta", "openai-beta", "idempotency-key")
_ENDS = ("message_stop", "response.completed", "response.incomplete", "response.failed", "error")  # events that nothing comes after
_ENDING = (b"[DONE]", b"message_stop", b"response.", b"error")
_ANSWERS = {"choices", "content", "data", "output"}  # fields of which every answer has one
_REPLACED = (401, 403)  # the provider's word on our key is not for the caller


class Refused(ModelFailed):
    """The provider answered with an error. What it said is the caller's to read, byte for byte, unless another upstream answers."""

    def __init__(self, failure: ModelFailed, status: int, data: bytes, headers: Headers) -> None:
        super().__init__(failure.message, where=failure.where, remedy=failure.remedy, **failure.details)
        self.answer = (status, data, headers)


class Relay:
    """Passes calls through and writes their traces."""

    def __init__(self, http: Http, price: Price, records: Records) -> None:
        self._http = http
        self._price = price
        self._records = records

    async def pass_on(self, exchange: Exchange, call: Call, endpoint: Endpoint, path: str, fields: dict[str, Any], name: str) -> None:
        """Forward a request whose top-level fields are raw JSON, as the provider's model `name`."""
        passage = Passage(self._http, endpoint, path, fields, name, exchange.headers)
        try:
            async with exchange.watched():
                await passage.carry(exchange, call)
        except ClientGone:
            passage.problem = "the client left before its answer was whole"
            call.left = True
        except Refused as e:
            passage.problem = e.message
            await exchange.respond(*e.answer)
        except WindlassError as e:
            passage.problem = e.message
            raise
        finally:
            self._records.record([passage.span(call, self._price)])


class Passage:
    """One request on its way to one provider and back. `end` is when it must be over, by the loop's clock; with `strict`, what is no
    answer at all is a failure while nothing of it went out, so that another upstream can be asked."""

    def __init__(
        self, http: Http, endpoint: Endpoint, path: str, fields: dict[str, Any], name: str, headers: Mapping[str, str], *,
        end: float | None = None, strict: bool = False,
    ) -> None:  # fmt: skip
        self.problem = ""
        self._http = http
        self._endpoint = endpoint
        self._path = path
        self._name = name
        self._body = msgspec.json.encode({**fields, "model": name})
        self._headers = {k: v for k in _FORWARDED if (v := headers.get(k)) is not None}
        self._stream = is_stream(fields)
        self._kept = _Kept(endpoint, path, fields, stream=self._stream)
        self._end = end
        self._strict = strict

    def span(self, call: Call, price: Price, more: Mapping[str, Any] | None = None) -> Any:
        """The span of the call; `more` are further attributes of it."""
        self._kept.problem = self.problem
        return self._kept.span(call, self._name, price, more)

    async def carry(self, exchange: Exchange, call: Call) -> None:
        """Send it, and write what comes back. Raises `ModelFailed`, and `Refused` before anything was written."""
        import aiohttp

        endpoint, limits = self._endpoint, self._http.timeouts
        wait = self._within(limits.first_token_s if self._stream else limits.total_s)
        provider = endpoint.provider.name
        ended = False
        held = b""
        try:
            async with asyncio.timeout(wait) as limit:
                async with await self._http.send(endpoint, self._path, self._body, self._headers) as response:
                    if response.status >= 400:
                        raise await self._refused(response)
                    if not self._stream:
                        await self._carry_whole(exchange, call, response)
                        return
                    if self._strict and not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                        told = f"{provider} answered with something that is no stream"
                        raise ModelFailed(told, where=endpoint.base_url, provider=provider)
                    self._kept.stream = response.content_type != "application/json"
                    while chunk := await response.content.readany():
                        whole, held = _whole_events(held + chunk if held else chunk)
                        if not exchange.begun and (whole or not self._strict):
                            if self._strict:
                                _require_no_error(whole, endpoint)
                            call.first_ns = now_ns()
                            await exchange.begin(response.status, _passed(endpoint, response))
                        ended = ended or _ends(whole)
                        wait = self._within(limits.after_end_s if ended else limits.between_tokens_s)
                        limit.reschedule(asyncio.get_running_loop().time() + wait)
                        if whole:
                            whole = endpoint.clean(whole)
                            self._kept.keep(whole)
                            await exchange.write(whole)
        except TimeoutError:
            if not ended:
                told = f"{provider} sent nothing for {wait:g} s"
                raise ModelFailed(told, where=endpoint.base_url, provider=provider, timeout=True) from None
        except aiohttp.ClientError as e:
            if not ended:
                broke = f"{provider} broke the answer off: {endpoint.redact(str(e)) or type(e).__name__}"
                raise ModelFailed(broke, where=endpoint.base_url, provider=provider, connection=True) from e
        if not exchange.begun:
            raise ModelFailed(f"{provider} answered with nothing", where=endpoint.base_url, provider=provider)
        if held:
            held = endpoint.clean(held)
            self._kept.keep(held)
        if not ended and not self._kept.is_whole():
            raise ModelFailed(f"{provider} broke the stream off", where=endpoint.base_url, provider=provider)
        if held:
            await exchange.write(held)
        await exchange.end()

    async def _carry_whole(self, exchange: Exchange, call: Call, response: aiohttp.ClientResponse) -> None:
        endpoint = self._endpoint
        data = endpoint.clean(await response.read())
        if self._strict:
            _require_object(data, endpoint)
        self._kept.keep(data)
        call.first_ns = now_ns()
        await exchange.respond(response.status, data, _passed(endpoint, response))

    def _within(self, seconds: float) -> float:
        return seconds if self._end is None else max(0.0, min(seconds, self._end - asyncio.get_running_loop().time()))

    async def _refused(self, response: aiohttp.ClientResponse) -> ModelFailed:
        """The provider's own words and status, without the key; but not its refusal of our key, which would read as the caller's."""
        data = await response.read()
        endpoint = self._endpoint
        failure = described(endpoint, response.status, data, retry_after(response.headers.get("Retry-After")) if self._strict else None)
        if response.status in _REPLACED or not data.strip():
            if not self._strict:
                failure.details.pop("status", None)
            return failure
        return Refused(failure, response.status, endpoint.clean(data), _passed(endpoint, response))


def speaks(provider: Provider, dialect: str, path: str) -> bool:
    """Whether a provider is asked as the caller asks; else the call is translated."""
    return provider.dialect == dialect and not (path == "/responses" and "no_responses" in provider.quirks)


def is_stream(fields: Mapping[str, Any]) -> bool:
    """Whether a request, by its top-level fields as raw JSON, wants a stream."""
    return bytes(fields.get("stream", b"")) == b"true"


def _require_object(data: bytes, endpoint: Endpoint) -> None:
    """Raises `ModelFailed` for a body that is no JSON object, or tells an error and no answer under a status that says well."""
    name = endpoint.provider.name
    try:
        body = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ModelFailed(f"{name} answered with something that is no JSON object", where=endpoint.base_url, provider=name) from None
    if bytes(body.get("error", b"null")) != b"null" and not body.keys() & _ANSWERS:
        told = described(endpoint, 500, data)
        raise ModelFailed(told.message.replace("500", "an error", 1), where=endpoint.base_url, provider=name)


def _require_no_error(events: bytes, endpoint: Endpoint) -> None:
    """Raises `ModelFailed` where a stream begins with an error: some providers say only there that they are overloaded."""
    name, payload = next(iter(EventReader().feed(events)), ("", b""))
    if name == "error" or payload.lstrip().startswith((b'{"error"', b'{"type":"error"')):
        raise described(endpoint, 529 if b"overloaded" in payload else 500, payload)


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


def _passed(endpoint: Endpoint, response: aiohttp.ClientResponse) -> list[tuple[bytes, bytes]]:
    found = [(b"content-type", response.headers.get("Content-Type", "application/json").encode("latin-1"))]
    for name, value in response.headers.items():
        lower = name.lower()
        if lower in _PASSED or lower.startswith(_PASSED_PREFIXES):
            found.append((lower.encode("latin-1"), endpoint.redact(value).encode("latin-1")))
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

    def span(self, call: Call, name: str, price: Price, more: Mapping[str, Any] | None = None) -> Any:
        messages = self._messages()
        reply, estimated = self._reply(messages)
        if reply is not None:
            provider = self._endpoint.provider
            reply = msgspec.structs.replace(reply, cost=price(provider.priced_as or provider.name, name, reply.usage, call.start_ns))
        return call.span(messages, reply, self.problem, estimated=estimated, more=more)

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
