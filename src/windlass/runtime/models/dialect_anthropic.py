"""Anthropic's Messages API: requests out, answers and event streams in.

Its input tokens leave out what was cached; ours include it. `max_tokens` must be sent, so `DEFAULT_MAX_TOKENS` is where a
request has none. A parameter it has no word for (`seed`) is refused, not dropped.
"""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.errors import Invalid, ModelFailed
from windlass.core.message import (
    FilePart,
    ImagePart,
    Message,
    ModelReply,
    ModelRequest,
    Part,
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
    "temperature", "top_p", "top_k", "max_tokens", "stop", "tool_choice", "reasoning_effort", "thinking", "metadata", "service_tier",
    "cache_control", "output_config",
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
    if isinstance(part, ImagePart) and part.url and not part.url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    if isinstance(part, ImagePart) and part.url:
        media, _, data = part.url.removeprefix("data:").partition(";base64,")
        return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}
    kind, media = ("image", "image/png") if isinstance(part, ImagePart) else ("document", "application/pdf")
    source: dict[str, Any] = {"type": "base64", "media_type": part.media_type or media, "data": encoded(part, blobs)}
    title = {"title": part.name} if isinstance(part, FilePart) and part.name else {}
    return {"type": kind, "source": source, **title}


class WireUsage(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None

    def usage(self) -> Usage:
        """Inclusive: cached and written tokens are input too."""
        cached, written = self.cache_read_input_tokens, self.cache_creation_input_tokens
        total = None if self.input_tokens is None else self.input_tokens + (cached or 0) + (written or 0)
        return Usage(total, self.output_tokens, cached, written)

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


class MessageBody(msgspec.Struct):
    id: str | None = None
    model: str = ""
    content: list[_Block] = []
    stop_reason: str | None = None
    usage: WireUsage = WireUsage()
    type: str = ""
    error: Any = None


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
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
    for index, block in enumerate(whole.content):
        gathered.blocks[index] = (block, [])
    return gathered.reply()


def reader(provider: Provider) -> StreamReader:
    return _Gathered(provider)


def _failed(provider: Provider, error: Any) -> ModelFailed:
    told = error.get("message") if isinstance(error, dict) else error
    return ModelFailed(f"{provider.name} failed: {str(told)[:400]}", provider=provider.name)


class _Gathered:
    """An answer as it comes together, from one body or many events."""

    def __init__(self, provider: Provider) -> None:
        self.done = False
        self.blocks: dict[int, tuple[_Block, list[str]]] = {}
        self._provider = provider
        self._stop: str | None = None
        self._usage = WireUsage()
        self._model = ""
        self._id: str | None = None

    def begin(self, message: MessageBody) -> None:
        self._model, self._id, self._stop = message.model, message.id, message.stop_reason
        self._usage = message.usage

    def feed(self, event: str, data: bytes) -> str:
        try:
            found = _event_decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise ModelFailed(f"{self._provider.name} sent something that is not an event: {e}", provider=self._provider.name) from e
        if found.type == "error":
            raise _failed(self._provider, found.error)
        if found.type == "message_start" and found.message is not None:
            self.begin(found.message)
        elif found.type == "content_block_start" and found.content_block is not None:
            self.blocks[found.index] = (found.content_block, [])
            return found.content_block.text
        elif found.type == "content_block_delta" and found.delta is not None:
            return self._add(found.index, found.delta)
        elif found.type == "message_delta":
            self._stop = (found.delta.stop_reason if found.delta else None) or self._stop
            self._usage = self._usage.updated(found.usage) if found.usage else self._usage
        elif found.type == "message_stop":
            self.done = True
        return ""

    def _add(self, index: int, delta: _Delta) -> str:
        block, pieces = self.blocks.setdefault(index, (_Block("text"), []))
        if block.type == "tool_use":
            pieces.append(delta.partial_json)
            return ""
        if delta.type != "text_delta":
            return ""
        pieces.append(delta.text)
        return delta.text

    def reply(self) -> ModelReply:
        parts: list[Part] = []
        for _, (block, pieces) in sorted(self.blocks.items()):
            if block.type == "text" and (text := block.text + "".join(pieces)):
                parts.append(TextPart(text))
            elif block.type == "tool_use":
                arguments = parse_arguments("".join(pieces)) if pieces else block.input or {}
                if arguments is None:
                    name = self._provider.name
                    raise ModelFailed(f"{name} called {block.name!r} with arguments that are not a JSON object", provider=name)
                parts.append(ToolCallPart(block.id, block.name, arguments))
        stop = _STOPS.get(self._stop or "end_turn", "stop")
        return ModelReply(Message("assistant", tuple(parts) or (TextPart(""),)), stop, self._usage.usage(), self._model, self._id)
