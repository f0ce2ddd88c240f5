"""What a response of OpenAI's says, whole or streamed: for the trace of one that passed through."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.errors import ModelFailed
from windlass.core.message import Delta, Message, ModelReply, Part, ReasoningPart, TextPart, ToolCallPart, Usage
from windlass.runtime.models.dialect import parse_arguments

_LAST = ("response.completed", "response.incomplete")
_SAID = ("response.output_text.delta", "response.refusal.delta", "response.function_call_arguments.delta", "response.reasoning_")


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None

    def usage(self) -> Usage:
        inside, out = self.input_tokens_details or _Details(), self.output_tokens_details or _Details()
        given = self.input_tokens if self.input_tokens is not None else self.prompt_tokens
        return Usage(given, self.output_tokens, inside.cached_tokens, inside.cache_write_tokens, out.reasoning_tokens)


class _Item(msgspec.Struct):
    type: str = ""
    content: Any = None
    summary: Any = None
    encrypted_content: Any = None
    call_id: str = ""
    name: str = ""
    arguments: Any = None


class _Response(msgspec.Struct):
    id: str | None = None
    model: str = ""
    status: str | None = None
    output: list[_Item] | None = None
    usage: _Usage | None = None
    incomplete_details: dict[str, Any] | None = None
    error: Any = None

    def reply(self) -> ModelReply:
        parts = tuple(p for item in self.output or [] for p in _parts(item))
        reason = (self.incomplete_details or {}).get("reason")
        calls = any(isinstance(p, ToolCallPart) for p in parts)
        stop = "length" if reason == "max_output_tokens" else "refusal" if reason == "content_filter" else "tool_calls" if calls else "stop"
        usage = self.usage.usage() if self.usage else Usage()
        return ModelReply(Message("assistant", parts), stop, usage, self.model, self.id)  # type: ignore[arg-type]


def _parts(item: _Item) -> list[Part]:
    if item.type == "function_call":
        return [ToolCallPart(item.call_id, item.name, parse_arguments(str(item.arguments or "")) or {})]
    if item.type == "reasoning":
        return [ReasoningPart(_joined(item.summary) or _joined(item.content), str(item.encrypted_content or ""))]
    text = _joined(item.content) if item.type == "message" else ""
    return [TextPart(text)] if text else []


def _joined(parts: Any) -> str:
    found = (p.get("text") or p.get("refusal") for p in parts if isinstance(p, dict)) if isinstance(parts, list) else ()
    return "".join(str(t) for t in found if t)


class _Event(msgspec.Struct):
    type: str = ""
    delta: Any = None
    response: _Response | None = None
    message: Any = None
    error: Any = None


def read(data: bytes) -> ModelReply:
    """A whole response. Raises `ModelFailed` for one that failed or is none."""
    found: _Response = _decoded(data, _Response)
    if found.error:
        raise _failed(found.error)
    return found.reply()


class ResponsesReader:
    """Puts a streamed response together, as `runtime.models.dialect.StreamReader`."""

    def __init__(self) -> None:
        self.done = False
        self.over = False
        self._last: _Response | None = None
        self._said: list[str] = []

    def feed(self, event: str, data: bytes) -> list[Delta]:
        if data.strip() == b"[DONE]":
            return []
        found: _Event = _decoded(data, _Event)
        if found.type in ("error", "response.failed") or (found.error and not found.type):
            raise _failed(found.error or (found.response.error if found.response else found.message))
        self._last = found.response or self._last
        if found.type in _LAST:
            self.done = self.over = True
        if not found.type.startswith(_SAID) or not isinstance(found.delta, str):
            return []
        if not found.type.startswith(_SAID[2:]):
            self._said.append(found.delta)
        return [Delta(found.delta)]

    def reply(self) -> ModelReply:
        """The response; before it is whole, what was said so far."""
        begun = self._last or _Response()
        if self.done:
            return begun.reply()
        return ModelReply(Message("assistant", (TextPart("".join(self._said)),)), "error", Usage(), begun.model, begun.id)


def _decoded(data: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise ModelFailed(f"the provider sent something that is not a response: {e}") from e


def _failed(error: Any) -> ModelFailed:
    told = error.get("message") if isinstance(error, dict) else error
    return ModelFailed(f"the provider failed: {str(told)[:400]}")
