"""Anthropic's Messages API: requests out, answers and event streams in.

Its input tokens leave out what was cached; ours include it. `max_tokens` must be sent, so `DEFAULT_MAX_TOKENS` is where a
request has none. A parameter it has no word for (`seed`) is refused, not dropped.
"""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.errors import Invalid, ModelFailed
from windlass.core.message import (
    CallDelta,
    Delta,
    FilePart,
    ImagePart,
    Message,
    ModelReply,
    ModelRequest,
    Part,
    ReasoningPart,
    StopReason,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
)  # fmt: skip
from windlass.discover.providers import Provider
from windlass.runtime.models.dialect import Blobs, StreamReader, encoded, parse_arguments, refuse_unknown

path = "/messages"
DEFAULT_MAX_TOKENS = 8192

_KNOWN = (
    "temperature", "top_p", "top_k", "max_tokens", "stop", "tool_choice", "parallel_tool_calls", "reasoning_effort", "thinking", "metadata",
    "service_tier", "cache_control", "output_config",
)  # fmt: skip
_STOPS: dict[str, StopReason] = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
    "model_context_window_exceeded": "length", "tool_use": "tool_calls", "refusal": "refusal",
}  # fmt: skip


def encode(request: ModelRequest, model: str, provider: Provider, blobs: Blobs | None, *, stream: bool) -> bytes:
    """The body to send. Raises `Invalid` for a parameter the dialect has no word for."""
    refuse_unknown(request.parameters, _KNOWN, provider.name)
    parameters = dict(request.parameters)
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": parameters.pop("max_tokens", None) or DEFAULT_MAX_TOKENS,
        "messages": _turns(request.messages, blobs),
    }
    if told := "\n\n".join(m.text for m in request.messages if m.role == "system"):
        body["system"] = told
    stops = parameters.pop("stop", None)
    if stops:
        body["stop_sequences"] = [stops] if isinstance(stops, str) else stops
    config = dict(parameters.pop("output_config", {}))
    if effort := parameters.pop("reasoning_effort", None):
        config["effort"] = effort
    if request.output_schema is not None:
        config["format"] = {"type": "json_schema", "schema": request.output_schema}
    if config:
        body["output_config"] = config
    choice = parameters.pop("tool_choice", None)
    if choice is not None:
        body["tool_choice"] = _choice(choice)
    if parameters.pop("parallel_tool_calls", True) is False and request.tools and choice != "none":
        body["tool_choice"] = {**body.get("tool_choice", {"type": "auto"}), "disable_parallel_tool_use": True}
    if request.tools:
        body["tools"] = [{"name": t.name, "description": t.description, "input_schema": t.parameters} for t in request.tools]
    if stream:
        body["stream"] = True
    return msgspec.json.encode({**body, **parameters})


def _choice(choice: Any) -> dict[str, Any]:
    if isinstance(choice, dict) and "name" in choice:
        return {"type": "tool", "name": choice["name"]}
    words = {"auto": "auto", "required": "any", "none": "none"}
    if choice not in words:
        raise Invalid(f"{choice!r} is not a tool choice", where="parameters.tool_choice", remedy="auto, none, required or {name: …}")
    return {"type": words[choice]}


def _turns(messages: tuple[Message, ...], blobs: Blobs | None) -> list[dict[str, Any]]:
    """Messages but the system's; neighbours of one role become one turn, as the API asks."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [b for p in message.parts if (b := _block(p, blobs)) is not None]
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _block(part: Part, blobs: Blobs | None) -> dict[str, Any] | None:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text} if part.text else None  # the API refuses empty text
    if isinstance(part, ToolCallPart):
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": part.arguments}
    if isinstance(part, ToolResultPart):
        failed = {"is_error": True} if part.error else {}
        return {"type": "tool_result", "tool_use_id": part.id, "content": part.content, **failed}
    if isinstance(part, ReasoningPart):
        if part.redacted:
            return {"type": "redacted_thinking", "data": part.redacted}
        return {"type": "thinking", "thinking": part.text, "signature": part.signature} if part.signature else None
    if isinstance(part, ImagePart) and part.url and not part.url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    if isinstance(part, ImagePart) and part.url:
        media, _, data = part.url.removeprefix("data:").partition(";base64,")
        return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}
    kind, media = ("image", "image/png") if isinstance(part, ImagePart) else ("document", "application/pdf")
    source: dict[str, Any] = {"type": "base64", "media_type": part.media_type or media, "data": encoded(part, blobs)}
    title = {"title": part.name} if isinstance(part, FilePart) and part.name else {}
    return {"type": kind, "source": source, **title}


class _OutputDetails(msgspec.Struct, frozen=True):
    thinking_tokens: int | None = None


class WireUsage(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None

    def usage(self) -> Usage:
        """Inclusive: cached and written tokens are input too."""
        cached, written = self.cache_read_input_tokens, self.cache_creation_input_tokens
        total = None if self.input_tokens is None else self.input_tokens + (cached or 0) + (written or 0)
        thought = self.output_tokens_details.thinking_tokens if self.output_tokens_details else None
        return Usage(total, self.output_tokens, cached, written, thought)

    def updated(self, later: WireUsage) -> WireUsage:
        """What a later event says, over this."""
        told = {k: v for k in self.__struct_fields__ if (v := getattr(later, k)) is not None}
        return msgspec.structs.replace(self, **told)


class _Block(msgspec.Struct):
    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] | None = None
    thinking: str = ""
    signature: str = ""
    data: Any = None


class MessageBody(msgspec.Struct):
    id: str | None = None
    model: str = ""
    content: list[_Block] = []
    stop_reason: str | None = None
    usage: WireUsage | None = None
    type: str = ""
    error: Any = None


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    stop_reason: str | None = None


class Event(msgspec.Struct):
    """Any event of a stream."""

    type: str
    index: int = 0
    message: MessageBody | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: WireUsage | None = None
    error: Any = None


_body_decoder = msgspec.json.Decoder(MessageBody)
_event_decoder = msgspec.json.Decoder(Event)


def decode(body: bytes, provider: Provider) -> ModelReply:
    """The reply in an answer's body. Raises `ModelFailed`."""
    try:
        whole = _body_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ModelFailed(f"{provider.name} sent something that is not a message: {e}", provider=provider.name) from e
    if whole.error:
        raise _failed(provider, whole.error)
    if whole.type != "message":
        raise ModelFailed(f"{provider.name} sent an answer without a message", provider=provider.name)
    gathered = _Gathered(provider)
    gathered.begin(whole)
    return gathered.reply()


def reader(provider: Provider) -> StreamReader:
    return _Gathered(provider)


def _failed(provider: Provider, error: Any) -> ModelFailed:
    told = error.get("message") if isinstance(error, dict) else error
    return ModelFailed(f"{provider.name} failed: {str(told)[:400]}", provider=provider.name)


class _Open(msgspec.Struct):
    """A block of an answer as far as it came; `pieces` of its text, thinking or arguments. `call` counts the tool calls."""

    block: _Block
    call: int = 0
    pieces: list[str] = []

    def part(self, provider: str, cut: bool) -> Part | None:
        """What it is in our words; None for what we have none for, and for a call that was `cut` off by a limit of tokens."""
        block, text = self.block, "".join(self.pieces)
        if block.type == "text":
            return TextPart(block.text + text) if block.text + text else None
        if block.type == "thinking":
            return ReasoningPart(block.thinking + text, block.signature)
        if block.type == "redacted_thinking":
            return ReasoningPart(redacted=str(block.data))
        if block.type != "tool_use":
            return None
        arguments = parse_arguments(text) if text else block.input or {}
        if arguments is None and not cut:
            raise ModelFailed(f"{provider} called {block.name!r} with arguments that are not a JSON object", provider=provider)
        return ToolCallPart(block.id, block.name, arguments) if arguments is not None else None


class _Gathered:
    """An answer as it comes together, from one body or many events."""

    def __init__(self, provider: Provider) -> None:
        self.done = False
        self.over = False
        self._provider = provider
        self._blocks: dict[int, _Open] = {}
        self._calls = 0
        self._stop: str | None = None
        self._usage = WireUsage()
        self._model = ""
        self._id: str | None = None

    def begin(self, message: MessageBody) -> list[Delta]:
        self._model, self._id, self._stop = message.model, message.id, message.stop_reason
        self._usage = message.usage or WireUsage()
        return [d for index, block in enumerate(message.content) for d in (*self._start(index, block), *self._end(index))]

    def feed(self, event: str, data: bytes) -> list[Delta]:
        try:
            found = _event_decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise ModelFailed(f"{self._provider.name} sent something that is not an event: {e}", provider=self._provider.name) from e
        if found.type == "error":
            raise _failed(self._provider, found.error)
        if found.type == "message_start" and found.message is not None:
            return self.begin(found.message)
        if found.type == "message":  # a provider that does not stream answers whole
            self.done = self.over = True
            return self.begin(_body_decoder.decode(data))
        if found.type == "content_block_start" and found.content_block is not None:
            return self._start(found.index, found.content_block)
        if found.type == "content_block_delta" and found.delta is not None:
            return self._add(found.index, found.delta)
        if found.type == "content_block_stop":
            return self._end(found.index)
        if found.type == "message_delta":
            self._stop = (found.delta.stop_reason if found.delta else None) or self._stop
            self._usage = self._usage.updated(found.usage) if found.usage else self._usage
        elif found.type == "message_stop":
            self.done = self.over = True
        return []

    def _start(self, index: int, block: _Block) -> list[Delta]:
        self._blocks[index] = _Open(block, self._calls)
        if block.type == "text":
            return [Delta(block.text)] if block.text else []
        if block.type == "thinking":
            told = ReasoningPart(block.thinking, block.signature)
            return [Delta(reasoning=told)] if block.thinking or block.signature else []
        if block.type == "redacted_thinking":
            return [Delta(reasoning=ReasoningPart(redacted=str(block.data)))]
        if block.type == "tool_use":
            self._calls += 1
            return [Delta(call=CallDelta(self._calls - 1, block.id, block.name))]
        return []

    def _add(self, index: int, delta: _Delta) -> list[Delta]:
        open_ = self._blocks.setdefault(index, _Open(_Block("text")))
        if delta.type == "text_delta":
            open_.pieces.append(delta.text)
            return [Delta(delta.text)] if delta.text else []
        if delta.type == "thinking_delta":
            open_.pieces.append(delta.thinking)
            return [Delta(reasoning=ReasoningPart(delta.thinking))] if delta.thinking else []
        if delta.type == "signature_delta":
            open_.block.signature += delta.signature
            return [Delta(reasoning=ReasoningPart(signature=delta.signature))] if delta.signature else []
        if delta.type == "input_json_delta" and open_.block.type == "tool_use":
            open_.pieces.append(delta.partial_json)
            return [Delta(call=CallDelta(open_.call, arguments=delta.partial_json))] if delta.partial_json else []
        return []

    def _end(self, index: int) -> list[Delta]:
        """A call whose arguments came whole, or that has none."""
        open_ = self._blocks.get(index)
        if open_ is None or open_.block.type != "tool_use" or any(open_.pieces):
            return []
        open_.pieces.append(msgspec.json.encode(open_.block.input or {}).decode())
        return [Delta(call=CallDelta(open_.call, arguments=open_.pieces[-1]))]

    def reply(self) -> ModelReply:
        stop = _STOPS.get(self._stop or "end_turn", "stop")
        blocks = (b for _, b in sorted(self._blocks.items()))
        parts = tuple(p for b in blocks if (p := b.part(self._provider.name, stop == "length")) is not None)
        return ModelReply(Message("assistant", parts or (TextPart(""),)), stop, self._usage.usage(), self._model, self._id)
