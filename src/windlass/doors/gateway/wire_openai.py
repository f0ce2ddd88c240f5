"""The OpenAI face of the gateway: chat completion requests in, completions, chunks and error objects out.

The counterpart of `runtime.models.dialect_openai`, which speaks to providers. What cannot be said in our words is refused
with a sentence (400), never dropped, but for fields that change no answer (`NEUTRAL`).
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from windlass.core.errors import Invalid, WindlassError
from windlass.core.message import (
    FilePart,
    ImagePart,
    Message,
    ModelReply,
    ModelRequest,
    Part,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    Usage,
)

Keep = Callable[[bytes], str]  # keeps bytes in the blob store, gives their digest

# Bookkeeping of a provider's own, with no bearing on the answer.
NEUTRAL = ("user", "metadata", "store", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier")
_HANDLED = ("model", "messages", "stream", "stream_options", "tools", "response_format", "max_completion_tokens", "n", "tool_choice")
_FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "refusal": "content_filter", "error": "stop"}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}


def request_of(body: dict[str, Any], keep: Keep | None) -> ModelRequest:
    """A request body in our words. Raises `Invalid` naming the field."""
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        raise Invalid("'messages' must be a list with at least one message", where="messages")
    if body.get("n") not in (None, 1):
        raise Invalid("only one choice is given at a time", where="n", remedy="leave out n, and ask again for another")
    parameters = {k: v for k, v in body.items() if k not in _HANDLED and k not in NEUTRAL and v is not None}
    if body.get("max_completion_tokens") is not None:
        parameters["max_tokens"] = body["max_completion_tokens"]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        choice = {"name": (choice.get("function") or {}).get("name")}
    if choice is not None:
        parameters["tool_choice"] = choice
    return ModelRequest(
        str(body.get("model", "")),
        tuple(_message(m, f"messages[{i}]", keep) for i, m in enumerate(body["messages"])),
        parameters,
        tuple(_tool(t, f"tools[{i}]") for i, t in enumerate(body.get("tools") or [])),
        _schema(body.get("response_format")),
    )


def _schema(wanted: Any) -> dict[str, Any] | None:
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema" and isinstance(schema := (wanted.get("json_schema") or {}).get("schema"), dict):
        return schema
    if kind == "json_object":
        return {"type": "object"}
    if wanted is None or kind == "text":
        return None
    raise Invalid("this response format is unknown", where="response_format", remedy="text, json_object or json_schema with a schema")


def _tool(tool: Any, where: str) -> ToolSpec:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Invalid("a tool must be a function with a name", where=where)
    return ToolSpec(function["name"], function.get("description") or "", function.get("parameters") or {"type": "object", "properties": {}})


def _message(message: Any, where: str, keep: Keep | None) -> Message:
    if not isinstance(message, dict):
        raise Invalid("a message must be an object", where=where)
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        return Message("tool", (ToolResultPart(str(message.get("tool_call_id", "")), "".join(_texts(content, where))),))
    parts = [TextPart(content)] if isinstance(content, str) else [_part(p, where, keep) for p in content or []]
    if role in ("system", "developer"):
        return Message("system", tuple(parts))
    if role == "user":
        return Message("user", tuple(parts))
    if role != "assistant":
        raise Invalid(f"{role!r} is not a role", where=f"{where}.role", remedy="system, developer, user, assistant or tool")
    calls = [_call(c, where) for c in message.get("tool_calls") or []]
    return Message("assistant", (*parts, *calls))


def _texts(content: Any, where: str) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = [_part(p, where, None) for p in content or []]
    return [p.text for p in parts if isinstance(p, TextPart)]


def _part(part: Any, where: str, keep: Keep | None) -> Part:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return TextPart(part["text"])
    if kind == "refusal":
        return TextPart(str(part.get("refusal", "")))
    if kind == "image_url" and isinstance(url := (part.get("image_url") or {}).get("url"), str):
        return ImagePart(url=url)
    if kind == "file" and isinstance(data := (part.get("file") or {}).get("file_data"), str) and keep is not None:
        head, _, encoded = data.partition(";base64,")
        return FilePart(
            keep(decoded(encoded or head, where)), part["file"].get("filename"), head.removeprefix("data:") if encoded else None
        )
    raise Invalid(f"a part of type {kind!r} cannot be passed on here", where=where, remedy="send text, image_url, or file with file_data")


def decoded(text: str, where: str) -> bytes:
    """Base64 as bytes. Raises `Invalid`."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as e:
        raise Invalid("this is not base64", where=where) from e


def _call(call: Any, where: str) -> ToolCallPart:
    function = (call.get("function") if isinstance(call, dict) else None) or {}
    try:
        arguments = msgspec.json.decode(function.get("arguments") or "{}", type=dict[str, Any])
    except msgspec.MsgspecError as e:
        raise Invalid("a tool call's arguments must be a JSON object", where=f"{where}.tool_calls") from e
    return ToolCallPart(str(call.get("id", "")), str(function.get("name", "")), arguments)


def reply_body(reply: ModelReply, model: str, usage: bool = True) -> bytes:
    """A completion. `usage` False: it is not known."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.message.text or None, "refusal": None}
    if reply.stop == "refusal":
        message = {"role": "assistant", "content": None, "refusal": reply.message.text}
    if reply.message.tool_calls:
        message["tool_calls"] = _calls(reply)
    body = {
        "id": reply.response_id or "chatcmpl-windlass", "object": "chat.completion", "created": int(time.time()), "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": _FINISH[reply.stop], "logprobs": None}],
    }  # fmt: skip
    if usage:
        body["usage"] = _usage(reply.usage)
    return msgspec.json.encode(body)


def _calls(reply: ModelReply) -> list[dict[str, Any]]:
    return [
        {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": msgspec.json.encode(c.arguments).decode()}}
        for c in reply.message.tool_calls
    ]


def _usage(usage: Usage) -> dict[str, Any]:
    given, made = usage.input or 0, usage.output or 0
    return {
        "prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made,
        "prompt_tokens_details": {"cached_tokens": usage.cached or 0}, 
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
    }  # fmt: skip


class StreamWriter:
    """A reply as chunks: `start`, `text` as often as there is some, `end`."""

    def __init__(self, model: str, identity: str, body: dict[str, Any]) -> None:
        self._base = {"id": f"chatcmpl-{identity}", "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
        self._with_usage = bool((body.get("stream_options") or {}).get("include_usage"))

    def start(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def text(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def end(self, reply: ModelReply, usage: bool = True) -> Iterator[bytes]:
        if reply.message.tool_calls:
            yield self._chunk({"tool_calls": [{"index": i, **call} for i, call in enumerate(_calls(reply))]})
        yield self._chunk({}, _FINISH[reply.stop])
        if self._with_usage and usage:
            yield _event({**self._base, "choices": [], "usage": _usage(reply.usage)})
        yield b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return _event({**self._base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def error_body(error: WindlassError, status: int) -> bytes:
    """The error object that OpenAI's clients read."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = "invalid_api_key" if status == 401 else "model_not_found" if error.code == "not_found" else error.code
    if (measured := error.details.get("limit")) is not None:
        spent = error.details.get("spent")
        kind, code = ("insufficient_quota",) * 2 if spent else ("tokens" if measured == "tokens" else "requests", "rate_limit_exceeded")
    told = f"{error.message} ({error.remedy})" if error.remedy else error.message
    return msgspec.json.encode({"error": {"message": told, "type": kind, "param": error.where, "code": code}})


def error_event(error: WindlassError, status: int) -> bytes:
    """The same inside a stream that has begun."""
    return b"data: " + error_body(error, status) + b"\n\n"
