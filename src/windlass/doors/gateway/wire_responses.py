"""The face of OpenAI's Responses: items in, a response or its events out.

Nothing is kept between calls: who refers to an earlier response (`previous_response_id`, `conversation`) is told to send its items
again. Reasoning goes out as a summary; what a provider must be given back goes with it as `encrypted_content`, and comes back so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
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
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    Usage,
)
from windlass.doors.gateway.blocks import Block, Blocks, Step, blocks_of
from windlass.doors.gateway.wire_openai import EMPTY, Keep, decoded, error_body, error_fields, parameters_of, told

__all__ = ["StreamWriter", "error_body", "error_event", "reply_body", "request_of"]

_HANDLED = (
    "model", "input", "instructions", "stream", "stream_options", "tools", "tool_choice", "text", "reasoning", "max_output_tokens",
    "include", "truncation", "background",
)  # fmt: skip
_KEPT = {  # what would need an earlier call to be kept here, or a provider's own store
    "previous_response_id": "send the items of the earlier turns in input",
    "conversation": "send the items of the earlier turns in input",
    "prompt": "write the prompt into input, or call a release",
}
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_REDACTED = "redacted:"  # begins the encrypted content of reasoning that was never shown
_ECHOED = ("instructions", "metadata", "max_output_tokens", "temperature", "top_p", "reasoning", "text", "user", "tool_choice", "tools")
_INCOMPLETE = {"length": "max_output_tokens", "refusal": "content_filter"}


def request_of(body: dict[str, Any], keep: Keep | None) -> ModelRequest:
    """A request body in our words. Raises `Invalid` naming the field."""
    _refuse(body)
    parameters = parameters_of(body, _HANDLED)
    if body.get("max_output_tokens") is not None:
        parameters["max_tokens"] = body["max_output_tokens"]
    if effort := (told(body, "reasoning", dict) or {}).get("effort"):
        parameters["reasoning_effort"] = effort
    if (choice := body.get("tool_choice")) is not None:
        parameters["tool_choice"] = _choice(choice)
    instructions = told(body, "instructions", str)
    messages = [Message("system", (TextPart(instructions),))] if instructions else []
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list) or not items:
        raise Invalid("'input' must be text or a list with at least one item", where="input")
    for i, item in enumerate(items):
        _add(messages, _item(item, f"input[{i}]", keep))
    tools = tuple(_tool(t, f"tools[{i}]") for i, t in enumerate(told(body, "tools", list) or []))
    return ModelRequest(
        str(body.get("model", "")), tuple(messages), parameters, tools, _schema((told(body, "text", dict) or {}).get("format"))
    )


def _refuse(body: dict[str, Any]) -> None:
    for name, remedy in _KEPT.items():
        if body.get(name) is not None:
            raise Invalid(f"{name} means something that is not kept here", where=name, remedy=remedy)
    if body.get("background"):
        raise Invalid("a response is made while its caller waits", where="background", remedy="leave it out")
    if body.get("truncation") not in (None, "disabled"):
        raise Invalid("what is too long is refused, not cut", where="truncation", remedy="leave it out, and send less")
    if (told(body, "text", dict) or {}).get("verbosity") not in (None, "medium"):
        raise Invalid("verbosity cannot be passed on here", where="text.verbosity", remedy="leave it out, and say so in the instructions")
    for name in told(body, "include", list) or []:
        if name != "reasoning.encrypted_content":
            raise Invalid(f"{name!r} cannot be included here", where="include", remedy="reasoning.encrypted_content, or nothing")


def _choice(choice: Any) -> Any:
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"name": choice.get("name")}
    if choice in ("auto", "none", "required"):
        return choice
    raise Invalid("this tool_choice is unknown", where="tool_choice", remedy="auto, none, required, or a function by its name")


def _schema(wanted: Any) -> dict[str, Any] | None:
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema" and isinstance(wanted.get("schema"), dict):
        return dict(wanted["schema"])
    if kind == "json_object":
        return {"type": "object"}
    if wanted is None or kind == "text":
        return None
    raise Invalid("this format is unknown", where="text.format", remedy="text, json_object or json_schema with a schema")


def _tool(tool: Any, where: str) -> ToolSpec:
    if not isinstance(tool, dict) or tool.get("type") != "function" or not isinstance(tool.get("name"), str):
        raise Invalid("a tool must be a function with a name", where=where, remedy="a provider's own tools work only on its own models")
    return ToolSpec(tool["name"], told(tool, "description", str, where) or "", told(tool, "parameters", dict, where) or EMPTY)


def _add(messages: list[Message], found: list[Message]) -> None:
    """Items of one turn of the assistant are one message, and so are results that follow one another."""
    for message in found:
        last = messages[-1] if messages else None
        if last is not None and last.role == message.role and message.role in ("assistant", "tool"):
            messages[-1] = Message(message.role, (*last.parts, *message.parts))
        else:
            messages.append(message)


def _item(item: Any, where: str, keep: Keep | None) -> list[Message]:
    kind = item.get("type", "message") if isinstance(item, dict) else None
    if kind == "message" and str(item.get("role")) in _ROLES:
        return [Message(_ROLES[item["role"]], tuple(_parts(item.get("content"), where, keep)))]
    if kind == "function_call":
        try:
            arguments = msgspec.json.decode(told(item, "arguments", str, where) or "{}", type=dict[str, Any])
        except msgspec.MsgspecError as e:
            raise Invalid("a call's arguments must be a JSON object", where=where) from e
        return [Message("assistant", (ToolCallPart(str(item.get("call_id", "")), str(item.get("name", "")), arguments),))]
    if kind == "function_call_output":
        parts = _parts(item.get("output"), where, keep)
        text = "".join(p.text for p in parts if isinstance(p, TextPart))
        rest = tuple(p for p in parts if not isinstance(p, TextPart))  # a result is text: pictures follow it
        result = Message("tool", (ToolResultPart(str(item.get("call_id", "")), text),))
        return [result, Message("user", rest)] if rest else [result]
    if kind == "reasoning":
        thought = _thought(item)
        return [Message("assistant", (thought,))] if thought else []
    raise Invalid(
        f"an item of type {kind!r} cannot be passed on here", where=where,
        remedy="send message, function_call, function_call_output or reasoning",
    )  # fmt: skip


def _thought(item: dict[str, Any]) -> ReasoningPart | None:
    """Reasoning that goes back to the model it came from; without what is encrypted no model takes it."""
    hidden = str(item.get("encrypted_content") or "")
    if hidden.startswith(_REDACTED):
        return ReasoningPart(redacted=hidden.removeprefix(_REDACTED))
    summary = told(item, "summary", list, "input") or []
    text = "".join(str(s.get("text", "")) for s in summary if isinstance(s, dict))
    return ReasoningPart(text, hidden) if hidden else None


def _parts(content: Any, where: str, keep: Keep | None) -> list[Part]:
    if isinstance(content, str):
        return [TextPart(content)]
    if not isinstance(content, list):
        raise Invalid("content must be text or a list of parts", where=where)
    return [_part(p, where, keep) for p in content]


def _part(part: Any, where: str, keep: Keep | None) -> Part:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("input_text", "output_text", "text") and isinstance(part.get("text"), str):
        return TextPart(part["text"])
    if kind == "refusal":
        return TextPart(str(part.get("refusal", "")))
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        return ImagePart(url=part["image_url"])
    if kind == "input_file" and isinstance(data := part.get("file_data"), str) and keep is not None:
        head, _, inside = data.partition(";base64,")
        media = head.removeprefix("data:") if inside else None
        return FilePart(keep(decoded(inside or head, where)), part.get("filename"), media)
    raise Invalid(
        f"a part of type {kind!r} cannot be passed on here", where=where,
        remedy="send input_text, input_image with image_url, or input_file with file_data",
    )  # fmt: skip


def reply_body(reply: ModelReply, model: str, asked: dict[str, Any], usage: bool = True) -> bytes:
    """A response. `usage` False: it is not known."""
    identity = (reply.response_id or "windlass").removeprefix("resp_")
    blocks = blocks_of(reply)
    items = [_done(b, identity, refused=reply.stop == "refusal") for b in blocks]
    return msgspec.json.encode(_response(model, identity, asked, items, reply, usage))


def _response(
    model: str, identity: str, asked: dict[str, Any], items: list[dict[str, Any]], reply: ModelReply | None = None, usage: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """The response as far as it came; `reply` once it is whole."""
    reason = _INCOMPLETE.get(reply.stop) if reply else None
    given = {"tool_choice": "auto", "tools": [], "text": {"format": {"type": "text"}}, "metadata": {}}
    return {
        "id": f"resp_{identity}", "object": "response", "created_at": int(time.time()), "model": model, "output": items, "error": None,
        "status": "in_progress" if reply is None else "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None, "previous_response_id": None, "store": False, "background": False,
        "parallel_tool_calls": asked.get("parallel_tool_calls") is not False, "truncation": "disabled",
        **{k: asked[k] if asked.get(k) is not None else given.get(k) for k in _ECHOED},
        "usage": _usage(reply.usage) if reply and usage else None,
    }  # fmt: skip


def _usage(usage: Usage) -> dict[str, Any]:
    given, made = usage.input or 0, usage.output or 0
    return {
        "input_tokens": given, "output_tokens": made, "total_tokens": given + made,
        "input_tokens_details": {"cached_tokens": usage.cached or 0, "cache_write_tokens": usage.cache_write or 0},
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
    }  # fmt: skip


_PREFIX = {"text": "msg", "reasoning": "rs", "call": "fc"}


def _begun(block: Block, identity: str) -> dict[str, Any]:
    """A block's item as it is when it opens."""
    item: dict[str, Any] = {"id": f"{_PREFIX[block.kind]}_{identity}_{block.place}", "status": "in_progress"}
    if block.kind == "text":
        return {**item, "type": "message", "role": "assistant", "content": []}
    if block.kind == "reasoning":
        return {**item, "type": "reasoning", "summary": []}
    return {**item, "type": "function_call", "call_id": block.id, "name": block.name, "arguments": ""}


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _done(block: Block, identity: str, *, refused: bool = False) -> dict[str, Any]:
    """A block's item when it is whole."""
    item = {**_begun(block, identity), "status": "completed"}
    if block.kind == "text":
        return {**item, "content": [{"type": "refusal", "refusal": block.text} if refused else _text(block.text)]}
    if block.kind == "call":
        return {**item, "arguments": block.text}
    hidden = _REDACTED + block.redacted if block.redacted else block.signature
    shown = [{"type": "summary_text", "text": block.text}] if block.text else []
    return {**item, "summary": shown, **({"encrypted_content": hidden} if hidden else {})}


class StreamWriter:
    """A reply as events, numbered from 0: `start`, a `piece` as often as there is one, `end`."""

    def __init__(self, model: str, identity: str, body: dict[str, Any]) -> None:
        self._model = model
        self._identity = identity
        self._asked = body
        self._blocks = Blocks()
        self._number = 0

    def start(self) -> bytes:
        begun = _response(self._model, self._identity, self._asked, [])
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def piece(self, delta: Delta) -> bytes:
        return b"".join(event for step in self._blocks.add(delta) for event in self._step(step))

    def end(self, reply: ModelReply, usage: bool = True) -> bytes:
        left = b"".join(event for step in self._blocks.end(reply) for event in self._step(step))
        items = [_done(b, self._identity) for b in self._blocks.made]
        whole = _response(self._model, self._identity, self._asked, items, reply, usage)
        return left + self._event(f"response.{whole['status']}", response=whole)

    def error(self, error: WindlassError, status: int) -> bytes:
        return _error_event(error, status, self._number)

    def _step(self, step: Step) -> Iterator[bytes]:
        block = step.block
        if step.what == "open":
            yield self._event("response.output_item.added", output_index=block.place, item=_begun(block, self._identity))
            if block.kind == "text":
                yield self._at(block, "response.content_part.added", content_index=0, part=_text(""))
        elif step.what == "text" and block.kind == "text":
            yield self._at(block, "response.output_text.delta", content_index=0, delta=step.more, logprobs=[])
        elif step.what == "text" and block.kind == "call":
            yield self._at(block, "response.function_call_arguments.delta", delta=step.more)
        elif step.what == "text":
            if block.text == step.more:  # the first of it
                yield self._at(block, "response.reasoning_summary_part.added", summary_index=0, part={"type": "summary_text", "text": ""})
            yield self._at(block, "response.reasoning_summary_text.delta", summary_index=0, delta=step.more)
        elif step.what == "close":
            yield from self._close(block)

    def _close(self, block: Block) -> Iterator[bytes]:
        if block.kind == "text":
            yield self._at(block, "response.output_text.done", content_index=0, text=block.text, logprobs=[])
            yield self._at(block, "response.content_part.done", content_index=0, part=_text(block.text))
        elif block.kind == "call":
            yield self._at(block, "response.function_call_arguments.done", name=block.name, arguments=block.text)
        elif block.text:
            yield self._at(block, "response.reasoning_summary_text.done", summary_index=0, text=block.text)
            part = {"type": "summary_text", "text": block.text}
            yield self._at(block, "response.reasoning_summary_part.done", summary_index=0, part=part)
        yield self._event("response.output_item.done", output_index=block.place, item=_done(block, self._identity))

    def _at(self, block: Block, what: str, /, **fields: Any) -> bytes:
        return self._event(what, item_id=f"{_PREFIX[block.kind]}_{self._identity}_{block.place}", output_index=block.place, **fields)

    def _event(self, what: str, /, **fields: Any) -> bytes:
        number, self._number = self._number, self._number + 1
        return b"event: %s\ndata: %s\n\n" % (what.encode(), msgspec.json.encode({"type": what, "sequence_number": number, **fields}))


def error_event(error: WindlassError, status: int) -> bytes:
    """The error inside a stream of a provider's own, whose numbers nobody counts here."""
    return _error_event(error, status, None)


def _error_event(error: WindlassError, status: int, number: int | None) -> bytes:
    """The error as the documentation has it, and once more as `error`, which is where clients look."""
    fields = error_fields(error, status)
    documented = {k: fields[k] for k in ("code", "message", "param")}
    numbered = {} if number is None else {"sequence_number": number}
    return b"event: error\ndata: %s\n\n" % msgspec.json.encode({"type": "error", **documented, **numbered, "error": fields})
