"""The Anthropic face of the gateway: Messages requests in, messages, events and error objects out.

The counterpart of `runtime.models.dialect_anthropic`, which speaks to providers. What cannot be said in our words is refused
with a sentence (400); a model's earlier thinking is left out, since only the model that thought it can read it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.errors import Invalid, WindlassError
from windlass.core.message import (
    Delta,
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
from windlass.doors.gateway.blocks import Block, Blocks, Step, blocks_of
from windlass.doors.gateway.wire_openai import Keep, decoded, told

NEUTRAL = ("metadata", "service_tier", "cache_control")
_HANDLED = ("model", "messages", "system", "stream", "tools", "tool_choice", "stop_sequences", "output_config", "thinking")
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "refusal": "refusal", "error": "end_turn"}
_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error",
}  # fmt: skip
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def request_of(body: dict[str, Any], keep: Keep | None) -> ModelRequest:
    """A request body in our words. Raises `Invalid` naming the field."""
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        raise Invalid("'messages' must be a list with at least one message", where="messages")
    if (told(body, "thinking", dict) or {}).get("type", "disabled") != "disabled":
        raise Invalid("thinking is not passed on to this model", where="thinking", remedy="leave it out, or call one of Anthropic's models")
    parameters = {k: v for k, v in body.items() if k not in _HANDLED and k not in NEUTRAL and v is not None}
    if body.get("stop_sequences"):
        parameters["stop"] = body["stop_sequences"]
    if (choice := body.get("tool_choice")) is not None:
        parameters |= _choice(choice)
    config = told(body, "output_config", dict) or {}
    if config.get("effort"):
        parameters["reasoning_effort"] = config["effort"]
    messages = [Message("system", tuple(_parts(body["system"], "system", keep)))] if body.get("system") else []
    for i, message in enumerate(body["messages"]):
        messages.extend(_message(message, f"messages[{i}]", keep))
    tools = tuple(_tool(t, f"tools[{i}]") for i, t in enumerate(told(body, "tools", list) or []))
    return ModelRequest(str(body.get("model", "")), tuple(messages), parameters, tools, _schema(config))


def _schema(config: dict[str, Any]) -> dict[str, Any] | None:
    return told(told(config, "format", dict, "output_config") or {}, "schema", dict, "output_config.format")


def _choice(choice: Any) -> dict[str, Any]:
    kind = str(choice.get("type")) if isinstance(choice, dict) else ""
    if kind != "tool" and kind not in _CHOICES:
        raise Invalid("this tool_choice is unknown", where="tool_choice", remedy="give it the type auto, any, none, or tool with a name")
    one_at_a_time = {"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") else {}
    return {"tool_choice": {"name": choice.get("name")} if kind == "tool" else _CHOICES[kind], **one_at_a_time}


def _tool(tool: Any, where: str) -> ToolSpec:
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str) or not isinstance(tool.get("input_schema"), dict):
        raise Invalid(
            "a tool must have a name and an input_schema", where=where, remedy="a provider's own tools work only on its own models"
        )
    return ToolSpec(tool["name"], told(tool, "description", str, where) or "", tool["input_schema"])


def _message(message: Any, where: str, keep: Keep | None) -> list[Message]:
    """One wire message as one or two of ours: tool results are a turn of their own, and pictures in them come after it."""
    if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
        raise Invalid("a message must have the role user or assistant", where=where)
    parts = _parts(message.get("content"), where, keep)
    content = message.get("content")
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict) and block.get("type") == "tool_result" and isinstance(block.get("content"), list):
            parts += [p for p in _parts(block["content"], where, keep) if not isinstance(p, TextPart)]
    results = tuple(p for p in parts if isinstance(p, ToolResultPart))
    rest = tuple(p for p in parts if not isinstance(p, ToolResultPart))
    found = [Message("tool", results)] if results else []
    return [*found, Message(message["role"], rest)] if rest else found


def _parts(content: Any, where: str, keep: Keep | None) -> list[Part]:
    if isinstance(content, str):
        return [TextPart(content)]
    if not isinstance(content, list):
        raise Invalid("content must be text or a list of blocks", where=where)
    return [part for block in content if (part := _part(block, where, keep)) is not None]


def _part(block: Any, where: str, keep: Keep | None) -> Part | None:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "text":
        return TextPart(str(block.get("text", "")))
    if kind in ("thinking", "redacted_thinking"):
        return None
    if kind == "tool_use":
        return ToolCallPart(str(block.get("id", "")), str(block.get("name", "")), told(block, "input", dict, where) or {})
    if kind == "tool_result":
        texts = [p.text for p in _parts(block.get("content") or "", where, keep) if isinstance(p, TextPart)]
        return ToolResultPart(str(block.get("tool_use_id", "")), "".join(texts), bool(block.get("is_error")))
    source = (told(block, "source", dict, where) if isinstance(block, dict) else None) or {}
    if kind == "image" and source.get("type") == "url":
        return ImagePart(url=str(source.get("url")))
    if kind == "image" and source.get("type") == "base64":
        return ImagePart(url=f"data:{source.get('media_type')};base64,{source.get('data')}")
    if kind == "document" and source.get("type") == "text":
        return TextPart(str(source.get("data", "")))
    if kind == "document" and source.get("type") == "base64" and keep is not None:
        return FilePart(
            keep(decoded(str(source.get("data", "")), where)), told(block, "title", str, where), told(source, "media_type", str, where)
        )
    raise Invalid(
        f"a block of type {kind!r} cannot be passed on here", where=where, remedy="send text, image, document, tool_use or tool_result"
    )


def reply_body(reply: ModelReply, model: str, body: dict[str, Any], usage: bool = True) -> bytes:
    """A message. Without known usage its counts are 0, for the API has no way to leave them out."""
    blocks = blocks_of(reply)
    if not any(b.kind in ("text", "call") for b in blocks):
        blocks.append(Block("text", len(blocks)))
    return msgspec.json.encode(
        {
            "id": reply.response_id or "msg_windlass",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [_whole(b) for b in blocks],
            "stop_reason": _STOPS[reply.stop],
            "stop_sequence": None,
            "usage": _usage(reply.usage),
        }
    )


def _whole(block: Block) -> dict[str, Any]:
    filled = {"text": {"text": block.text}, "reasoning": {"thinking": block.text, "signature": block.signature}, "call": {}}[block.kind]
    if block.kind == "call":
        filled = {"input": msgspec.json.decode(block.text)}
    return {**_empty(block), **({} if block.redacted else filled)}


def _empty(block: Block) -> dict[str, Any]:
    """A block as it is when it opens."""
    if block.redacted:
        return {"type": "redacted_thinking", "data": block.redacted}
    if block.kind == "reasoning":
        return {"type": "thinking", "thinking": "", "signature": ""}
    return {"type": "text", "text": ""} if block.kind == "text" else {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}


def _usage(usage: Usage) -> dict[str, Any]:
    thought = {} if usage.reasoning is None else {"output_tokens_details": {"thinking_tokens": usage.reasoning}}
    cached, written = usage.cached or 0, usage.cache_write or 0
    return {
        "input_tokens": max(0, (usage.input or 0) - cached - written), "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written, "output_tokens": usage.output or 0, **thought,
    }  # fmt: skip


class StreamWriter:
    """A reply as events: `start`, a `piece` as often as there is one, `end`."""

    def __init__(self, model: str, identity: str, body: dict[str, Any]) -> None:
        self._model = model
        self._identity = identity
        self._blocks = Blocks()

    def start(self) -> bytes:
        message: dict[str, Any] = {
            "id": f"msg_{self._identity}", "type": "message", "role": "assistant", "model": self._model, "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": _usage(Usage()),
        }  # fmt: skip
        return _event("message_start", message=message)

    def piece(self, delta: Delta) -> bytes:
        return b"".join(map(_step, self._blocks.add(delta)))

    def end(self, reply: ModelReply, usage: bool = True) -> bytes:
        left = b"".join(map(_step, self._blocks.end(reply)))
        last = _event("message_delta", delta={"stop_reason": _STOPS[reply.stop], "stop_sequence": None}, usage=_usage(reply.usage))
        return left + last + _event("message_stop")

    def error(self, error: WindlassError, status: int) -> bytes:
        return error_event(error, status)


def _step(step: Step) -> bytes:
    block = step.block
    if step.what == "open":
        return _event("content_block_start", index=block.place, content_block=_empty(block))
    if step.what == "close":
        return _event("content_block_stop", index=block.place)
    deltas = {
        "text": {"type": "text_delta", "text": step.more},
        "reasoning": {"type": "thinking_delta", "thinking": step.more},
        "call": {"type": "input_json_delta", "partial_json": step.more},
    }
    delta = {"type": "signature_delta", "signature": step.more} if step.what == "signature" else deltas[block.kind]
    return _event("content_block_delta", index=block.place, delta=delta)


def _event(name: str, **fields: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode({"type": name, **fields}) + b"\n\n"


def error_body(error: WindlassError, status: int) -> bytes:
    """The error object that Anthropic's clients read."""
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    sentence = f"{error.message} ({error.remedy})" if error.remedy else error.message
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": sentence}})


def error_event(error: WindlassError, status: int) -> bytes:
    """The same inside a stream that has begun."""
    return b"event: error\ndata: " + error_body(error, status) + b"\n\n"
