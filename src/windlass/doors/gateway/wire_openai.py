"""The OpenAI face of the gateway: chat completion requests in, completions, chunks and error objects out.

The counterpart of `runtime.models.dialect_openai`, which speaks to providers. What cannot be said in our words is refused
with a sentence (400), never dropped, but for fields that change no answer (`NEUTRAL`). Reasoning has no place in the API: it goes out
as `reasoning_content`, as hosts of open models have it, and what a provider must be given back as `thinking_blocks`, as LiteLLM has it.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from windlass.core.errors import Invalid, WindlassError
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
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    Usage,
)

T = TypeVar("T")
Keep = Callable[[bytes], str]  # keeps bytes in the blob store, gives their digest

# Bookkeeping of a provider's own, with no bearing on the answer.
EMPTY: dict[str, Any] = {"type": "object", "properties": {}}  # the parameters of a tool that takes none
NEUTRAL = ("user", "metadata", "store", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier")
_HANDLED = ("model", "messages", "stream", "stream_options", "tools", "response_format", "max_completion_tokens", "n", "tool_choice")
# What a field says that says nothing: some clients send them always.
DEFAULTS: dict[str, Any] = {
    "frequency_penalty": 0, "presence_penalty": 0, "logprobs": False, "top_logprobs": 0, "logit_bias": {}, "modalities": ["text"],
}  # fmt: skip
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
    parameters = parameters_of(body, _HANDLED)
    if body.get("max_completion_tokens") is not None:
        parameters["max_tokens"] = body["max_completion_tokens"]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        choice = {"name": (told(choice, "function", dict, "tool_choice") or {}).get("name")}
    if choice is not None:
        parameters["tool_choice"] = choice
    return ModelRequest(
        str(body.get("model", "")),
        tuple(_message(m, f"messages[{i}]", keep) for i, m in enumerate(body["messages"])),
        parameters,
        tuple(_tool(t, f"tools[{i}]") for i, t in enumerate(told(body, "tools", list) or [])),
        _schema(body.get("response_format")),
    )


_SAYS: dict[type[Any], str] = {str: "text", list: "a list", dict: "an object"}


def told(body: dict[str, Any], name: str, kind: type[T], where: str = "") -> T | None:
    """A field of a type; None where it is not told. Raises `Invalid` naming it."""
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise Invalid(f"{name!r} must be {_SAYS[kind]}", where=f"{where}.{name}" if where else name)
    return value


def parameters_of(body: dict[str, Any], handled: tuple[str, ...]) -> dict[str, Any]:
    """The fields that go on as they are: neither handled nor without a bearing on the answer."""
    passed = {k: v for k, v in body.items() if k not in handled and k not in NEUTRAL and v is not None}
    return {k: v for k, v in passed.items() if k not in DEFAULTS or v != DEFAULTS[k]}


def _schema(wanted: Any) -> dict[str, Any] | None:
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema" and isinstance(schema := (told(wanted, "json_schema", dict, "response_format") or {}).get("schema"), dict):
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
    return ToolSpec(function["name"], told(function, "description", str, where) or "", told(function, "parameters", dict, where) or EMPTY)


def _message(message: Any, where: str, keep: Keep | None) -> Message:
    if not isinstance(message, dict):
        raise Invalid("a message must be an object", where=where)
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        content = content if isinstance(content, str) else told(message, "content", list, where)
        return Message("tool", (ToolResultPart(str(message.get("tool_call_id", "")), "".join(_texts(content, where))),))
    parts = (
        [TextPart(content)] if isinstance(content, str) else [_part(p, where, keep) for p in told(message, "content", list, where) or []]
    )
    if role in ("system", "developer"):
        return Message("system", tuple(parts))
    if role == "user":
        return Message("user", tuple(parts))
    if role != "assistant":
        raise Invalid(f"{role!r} is not a role", where=f"{where}.role", remedy="system, developer, user, assistant or tool")
    calls = [_call(c, where) for c in told(message, "tool_calls", list, where) or []]
    thoughts = [t for b in told(message, "thinking_blocks", list, where) or [] if (t := _thought(b)) is not None]
    return Message("assistant", (*thoughts, *parts, *calls))


def _thought(block: Any) -> ReasoningPart | None:
    """Reasoning that goes back to the model it came from; without a signature no model takes it."""
    if not isinstance(block, dict):
        return None
    if block.get("type") == "redacted_thinking":
        return ReasoningPart(redacted=str(block.get("data", "")))
    signature = str(block.get("signature") or "")
    return ReasoningPart(str(block.get("thinking", "")), signature) if signature else None


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
    if kind == "image_url" and isinstance(url := (told(part, "image_url", dict, where) or {}).get("url"), str):
        return ImagePart(url=url)
    if kind == "file" and isinstance(data := (told(part, "file", dict, where) or {}).get("file_data"), str) and keep is not None:
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
    function = told(call, "function", dict, where) if isinstance(call, dict) else None
    if function is None:
        raise Invalid("a tool call must have a function", where=f"{where}.tool_calls")
    try:
        arguments = msgspec.json.decode(told(function, "arguments", str, where) or "{}", type=dict[str, Any])
    except msgspec.MsgspecError as e:
        raise Invalid("a tool call's arguments must be a JSON object", where=f"{where}.tool_calls") from e
    return ToolCallPart(str(call.get("id", "")), str(function.get("name", "")), arguments)


def reply_body(reply: ModelReply, model: str, asked: dict[str, Any], usage: bool = True) -> bytes:
    """A completion. `usage` False: it is not known."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.message.text or None, "refusal": None}
    if reply.stop == "refusal":
        message = {"role": "assistant", "content": None, "refusal": reply.message.text}
    if thought := "".join(r.text for r in reply.message.reasoning):
        message["reasoning_content"] = thought
    if blocks := [_block(r) for r in reply.message.reasoning if r.signature or r.redacted]:
        message["thinking_blocks"] = blocks
    if reply.message.tool_calls:
        message["tool_calls"] = [_whole_call(c) for c in reply.message.tool_calls]
    body = {
        "id": reply.response_id or "chatcmpl-windlass", "object": "chat.completion", "created": int(time.time()), "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": _FINISH[reply.stop], "logprobs": None}],
    }  # fmt: skip
    if usage:
        body["usage"] = _usage(reply.usage)
    return msgspec.json.encode(body)


def _block(part: ReasoningPart) -> dict[str, Any]:
    if part.redacted:
        return {"type": "redacted_thinking", "data": part.redacted}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _whole_call(call: ToolCallPart) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()}}


def _usage(usage: Usage) -> dict[str, Any]:
    given, made = usage.input or 0, usage.output or 0
    written = {"cache_write_tokens": usage.cache_write} if usage.cache_write else {}
    return {
        "prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made,
        "prompt_tokens_details": {"cached_tokens": usage.cached or 0, **written},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
    }  # fmt: skip


class StreamWriter:
    """A reply as chunks: `start`, a `piece` as often as there is one, `end`."""

    def __init__(self, model: str, identity: str, body: dict[str, Any]) -> None:
        self._base = {"id": f"chatcmpl-{identity}", "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
        self._with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._more = {"usage": None} if self._with_usage else {}
        self._filled: list[bool] = []  # of each call, whether it has arguments
        self._thought: list[str] = []

    def start(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, delta: Delta) -> bytes:
        found = self._reasoning(delta.reasoning) if delta.reasoning is not None else b""
        if delta.text:
            found += self._chunk({"content": delta.text})
        return found + self._call(delta.call) if delta.call is not None else found

    def end(self, reply: ModelReply, usage: bool = True) -> bytes:
        unfilled = [i for i, filled in enumerate(self._filled) if not filled]
        found = b"".join(self._call(CallDelta(i, arguments="{}")) for i in unfilled)  # clients read them as JSON
        for index, call in list(enumerate(reply.message.tool_calls))[len(self._filled) :]:
            found += self._call(CallDelta(index, call.id, call.name, msgspec.json.encode(call.arguments).decode()))
        found += self._chunk({}, _FINISH[reply.stop])
        if self._with_usage and usage:
            found += _event({**self._base, "choices": [], "usage": _usage(reply.usage)})
        return found + b"data: [DONE]\n\n"

    def error(self, error: WindlassError, status: int) -> bytes:
        return error_event(error, status)

    def _call(self, call: CallDelta) -> bytes:
        head: dict[str, Any] = {}
        function = {"arguments": call.arguments}
        if call.index == len(self._filled):
            self._filled.append(False)
            head = {"id": call.id, "type": "function"}
            function = {"name": call.name, "arguments": call.arguments}
        self._filled[call.index] = self._filled[call.index] or bool(call.arguments)
        return self._chunk({"tool_calls": [{"index": call.index, **head, "function": function}]})

    def _reasoning(self, part: ReasoningPart) -> bytes:
        found = self._chunk({"reasoning_content": part.text}) if part.text else b""
        self._thought += [part.text] if part.text else []
        if part.redacted:
            return found + self._chunk({"thinking_blocks": [_block(part)]})
        if part.signature:
            found += self._chunk({"thinking_blocks": [_block(ReasoningPart("".join(self._thought), part.signature))]})
            self._thought = []
        return found

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return _event({**self._base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **self._more})


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def error_fields(error: WindlassError, status: int) -> dict[str, Any]:
    """What OpenAI's clients read of an error."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = "invalid_api_key" if status == 401 else "model_not_found" if error.code == "not_found" else error.code
    if (measured := error.details.get("limit")) is not None:
        spent = error.details.get("spent")
        kind, code = ("insufficient_quota",) * 2 if spent else ("tokens" if measured == "tokens" else "requests", "rate_limit_exceeded")
    told = f"{error.message} ({error.remedy})" if error.remedy else error.message
    return {"message": told, "type": kind, "param": error.where, "code": code}


def error_body(error: WindlassError, status: int) -> bytes:
    """The error object that OpenAI's clients read."""
    return msgspec.json.encode({"error": error_fields(error, status)})


def error_event(error: WindlassError, status: int) -> bytes:
    """The same inside a stream that has begun."""
    return b"data: " + error_body(error, status) + b"\n\n"
