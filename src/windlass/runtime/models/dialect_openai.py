"""OpenAI's chat completions, as OpenAI and many others speak it: requests out, answers and streams in.

Parameters go out under their own names beside `messages`, so that a provider's extras work; `max_tokens` is renamed
where a provider wants `max_completion_tokens`. Usage is inclusive already. Reasoning is read where hosts put it (`reasoning_content`,
`reasoning`, a part of the type `thinking`), and not sent back: the API has no place for it.
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
from windlass.runtime.models.dialect import Blobs, StreamReader, encoded, parse_arguments

path = "/chat/completions"

_OURS = ("model", "messages", "stream", "stream_options", "tools", "response_format")
_STOPS: dict[str, StopReason] = {
    "stop": "stop", "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls", "content_filter": "refusal",
}  # fmt: skip


def encode(request: ModelRequest, model: str, provider: Provider, blobs: Blobs | None, *, stream: bool) -> bytes:
    """The body to send. Raises `Invalid` for a parameter that would overwrite the request."""
    body: dict[str, Any] = {"model": model, "messages": [w for m in request.messages for w in _message(m, blobs)]}
    for name, value in request.parameters.items():
        if name in _OURS:
            raise Invalid(f"{name!r} cannot be a parameter: the request sets it", where=f"parameters.{name}")
        body[name] = value
    if "max_tokens" in body and "max_completion_tokens" in provider.quirks:
        body["max_completion_tokens"] = body.pop("max_tokens")
    if isinstance(choice := body.get("tool_choice"), dict) and set(choice) == {"name"}:
        body["tool_choice"] = {"type": "function", "function": choice}
    if request.tools:
        body["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
            for t in request.tools
        ]
    if request.output_schema is not None:
        _ask_for_schema(body, request.output_schema, provider)
    if stream:
        body["stream"] = True
        if "no_stream_usage" not in provider.quirks:
            body["stream_options"] = {"include_usage": True}
    return msgspec.json.encode(body)


def _ask_for_schema(body: dict[str, Any], schema: dict[str, Any], provider: Provider) -> None:
    if "no_json_schema" not in provider.quirks:
        format_ = {"name": "output", "schema": schema, "strict": _is_strict(schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": format_}
        return
    body["response_format"] = {"type": "json_object"}
    told = "Answer with one JSON object that is an instance of this JSON Schema:\n" + msgspec.json.encode(schema).decode()
    body["messages"] = [{"role": "system", "content": told}, *body["messages"]]


def _is_strict(schema: Any) -> bool:
    """Whether a schema keeps to the subset OpenAI can enforce: closed objects with every field required."""
    if isinstance(schema, list):
        return all(_is_strict(s) for s in schema)
    if not isinstance(schema, dict):
        return True
    if "properties" in schema and isinstance(schema["properties"], dict):
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("required", [])) != set(schema["properties"]):
            return False
    return all(_is_strict(value) for value in schema.values())


def _message(message: Message, blobs: Blobs | None) -> list[dict[str, Any]]:
    """One message of ours as one or more on the wire: each tool result is a message of its own there."""
    results = [p for p in message.parts if isinstance(p, ToolResultPart)]
    wire: list[dict[str, Any]] = [{"role": "tool", "tool_call_id": r.id, "content": r.content} for r in results]
    rest = [p for p in message.parts if not isinstance(p, (ToolResultPart, ReasoningPart))]
    if not rest:
        return wire
    out: dict[str, Any] = {"role": message.role if message.role != "tool" else "user"}
    if all(isinstance(p, (TextPart, ToolCallPart)) for p in rest):
        out["content"] = message.text or (None if message.tool_calls else "")
    else:
        out["content"] = [_part(p, blobs) for p in rest if not isinstance(p, ToolCallPart)]
    if message.tool_calls:
        out["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": msgspec.json.encode(c.arguments).decode()}}
            for c in message.tool_calls
        ]
    return [*wire, out]


def _part(part: Part, blobs: Blobs | None) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        url = part.url or f"data:{part.media_type or 'image/png'};base64,{encoded(part, blobs)}"
        return {"type": "image_url", "image_url": {"url": url}}
    if isinstance(part, FilePart):
        data = f"data:{part.media_type or 'application/octet-stream'};base64,{encoded(part, blobs)}"
        return {"type": "file", "file": {"filename": part.name or "file", "file_data": data}}
    assert isinstance(part, TextPart)
    return {"type": "text", "text": part.text}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Text(msgspec.Struct):
    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None  # DeepSeek, vLLM, SGLang and others
    reasoning: Any = None  # OpenRouter, Groq, Ollama; elsewhere no text
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Text | None = None
    delta: _Text | None = None
    finish_reason: str | None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class WireUsage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None

    def usage(self) -> Usage:
        inside, out = self.prompt_tokens_details, self.completion_tokens_details
        return Usage(
            self.prompt_tokens, self.completion_tokens, inside.cached_tokens if inside else None,
            inside.cache_write_tokens if inside else None, out.reasoning_tokens if out else None,
        )  # fmt: skip


class Completion(msgspec.Struct):
    """A completion, or a chunk of one."""

    id: str | None = None
    model: str = ""
    choices: list[_Choice] | None = None
    usage: WireUsage | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(Completion)


def decode(body: bytes, provider: Provider) -> ModelReply:
    """The reply in an answer's body. Raises `ModelFailed`."""
    whole = _parsed(body, provider)
    if not whole.choices or whole.choices[0].message is None:
        raise ModelFailed(f"{provider.name} sent an answer without a message", provider=provider.name)
    gathered = _Gathered(provider)
    gathered.take(whole, whole.choices[0].message)
    return gathered.reply()


def reader(provider: Provider) -> StreamReader:
    return _Gathered(provider)


def _parsed(data: bytes, provider: Provider) -> Completion:
    try:
        found = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ModelFailed(f"{provider.name} sent something that is not a chat completion: {e}", provider=provider.name) from e
    if found.error:
        told = found.error.get("message") if isinstance(found.error, dict) else found.error
        raise ModelFailed(f"{provider.name} failed: {str(told)[:400]}", provider=provider.name)
    return found


class _Gathering(msgspec.Struct):
    """A tool call as far as it came; `told` once its id and name have gone on."""

    id: str
    name: str = ""
    pieces: list[str] = []
    told: bool = False

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class _Gathered:
    """An answer as it comes together, from one body or many chunks."""

    def __init__(self, provider: Provider) -> None:
        self.done = False
        self.over = False
        self._provider = provider
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[_Gathering] = []
        self._places: dict[int, int] = {}  # index on the wire → which of the calls
        self._finish: str | None = None
        self._usage = Usage()
        self._model = ""
        self._id: str | None = None

    def feed(self, event: str, data: bytes) -> list[Delta]:
        if data.strip() == b"[DONE]":
            self.done = self.over = True
            return []
        chunk = _parsed(data, self._provider)
        delta = next((c.delta or c.message for c in chunk.choices or () if c.index == 0), None)
        found = self.take(chunk, delta)
        self.done = self.done or self._finish is not None
        return found

    def take(self, chunk: Completion, part: _Text | None) -> list[Delta]:
        """Add a chunk; what it brings."""
        self._model = chunk.model or self._model
        self._id = chunk.id or self._id
        if chunk.usage is not None:
            self._usage = chunk.usage.usage()
        self._finish = next((c.finish_reason for c in chunk.choices or () if c.index == 0 and c.finish_reason), self._finish)
        if part is None:
            return []
        found = []
        if thought := _thought(part):
            self._reasoning.append(thought)
            found.append(Delta(reasoning=ReasoningPart(thought)))
        text = part.content if isinstance(part.content, str) else _joined(part.content)
        self._text.append(text)
        if part.refusal:
            self._refusal.append(part.refusal)
        if text or part.refusal:
            found.append(Delta(text or part.refusal or ""))
        for position, call in enumerate(part.tool_calls or []):
            found += self._take_call(call.index if call.index is not None else position, call)
        return found

    def _take_call(self, index: int, call: _Call) -> list[Delta]:
        function = call.function or _Function()
        place = self._places.get(index)
        if place is None or _is_another(self._calls[place], call, function):
            place = self._places[index] = len(self._calls)
            self._calls.append(_Gathering(call.id or f"call_{place}"))
        known = self._calls[place]
        known.name = function.name or known.name
        told = function.arguments
        piece = told if isinstance(told, str) else msgspec.json.encode(told).decode() if told else ""
        known.pieces.append(piece)
        if known.told:
            return [Delta(call=CallDelta(place, arguments=piece))] if piece else []
        if not known.name:
            return []
        known.told = True
        return [Delta(call=CallDelta(place, known.id, known.name, known.arguments))]

    def reply(self) -> ModelReply:
        parts: list[Part] = [ReasoningPart(thought)] if (thought := "".join(self._reasoning)) else []
        refusal = "".join(self._refusal)
        if text := "".join(self._text) or refusal:
            parts.append(TextPart(text))
        stop = _STOPS.get(self._finish or "stop", "stop")
        for call in self._calls:
            arguments = parse_arguments(call.arguments)
            if arguments is not None:
                parts.append(ToolCallPart(call.id, call.name, arguments))
            elif stop != "length":  # else it was cut off by a limit of tokens
                provider = self._provider.name
                raise ModelFailed(f"{provider} called {call.name!r} with arguments that are not a JSON object", provider=provider)
        if refusal:
            stop = "refusal"
        elif self._calls and stop == "stop":
            stop = "tool_calls"
        return ModelReply(Message("assistant", tuple(parts) or (TextPart(""),)), stop, self._usage, self._model, self._id)


def _is_another(known: _Gathering, call: _Call, function: _Function) -> bool:
    """Whether a piece begins a call of its own, though its index (or the want of one) says that it is of a known one: some hosts give
    every call the index 0."""
    if call.id:
        return call.id != known.id
    return bool(function.name and known.arguments.strip()) and parse_arguments(known.arguments) is not None


def _joined(content: list[dict[str, Any]] | None) -> str:
    return "".join(str(p.get("text", "")) for p in content or [] if p.get("type") == "text")


def _thought(part: _Text) -> str:
    """The reasoning in a chunk or a message, wherever the host puts it."""
    if part.reasoning_content or isinstance(part.reasoning, str):
        return part.reasoning_content or str(part.reasoning)
    if not isinstance(part.content, list):
        return ""
    told = [p.get("thinking") for p in part.content if p.get("type") == "thinking"]  # Mistral
    return "".join(t if isinstance(t, str) else _joined(t) for t in told)
