"""The baseline model: an honest extractive reader, built in, deterministic, free, without network or weights.

It is the bar that any paid model must beat; `bars` has others beside it. It answers only with sentences of its context,
ranked against the question; says so when nothing fits; fills an output schema by documented rules (`baseline_form`); as
an agent calls the tool that fits best (`baseline_agent`). What prompts it understands is told in `baseline_prompt`.
Sampling parameters change nothing but `max_tokens` and `stop`. Its behaviour is frozen by vectors as `model/baseline@1`: a
change makes a new number, and old ones stay.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from windlass.core.digest import digest_json
from windlass.core.message import Message, ModelReply, ModelRequest, Part, StopReason, TextPart, ToolCallPart, ToolResultPart, Usage
from windlass.runtime.models.baseline_agent import next_call, plain_result
from windlass.runtime.models.baseline_form import fill
from windlass.runtime.models.baseline_prompt import Brief, Passage, read_prompt
from windlass.runtime.models.baseline_reader import Extract, read
from windlass.runtime.models.baseline_text import count_tokens

VERSION = "baseline@1"


def answer(request: ModelRequest, reader: Callable[[Brief], Extract] = read, version: str = VERSION) -> ModelReply:
    """The reply to a request: a pure function of it, but for the times. Raises `ModelFailed` where the output schema cannot be
    filled."""
    began = time.monotonic_ns()
    parts, stop = _compose(request, reader)
    if stop == "stop" and isinstance(parts[0], TextPart):
        text, stop = _limited(parts[0].text, request.parameters)
        parts = (TextPart(text),)
    usage = Usage(input=sum(count_tokens(_plain(m)) for m in request.messages), output=sum(count_tokens(_written(p)) for p in parts))
    return ModelReply(
        Message("assistant", parts), stop, usage, version,
        response_id="bl_" + digest_json([request.digest(), msgspec.to_builtins(parts)])[-24:],
        latency_ns=time.monotonic_ns() - began, cost=0.0,
    )  # fmt: skip


def _compose(request: ModelRequest, reader: Callable[[Brief], Extract]) -> tuple[tuple[Part, ...], StopReason]:
    brief = read_prompt(request.messages)
    extract = reader(brief)
    if request.tools:
        result = plain_result(request.messages, request.tools)
        if result is not None:
            extract = Extract(True, ((Passage("", result), (result.strip(),)),), 1.0)
        elif call := next_call(request.messages, request.tools, brief, extract):
            name, arguments = call
            made = sum(len(m.tool_calls) for m in request.messages)
            return (ToolCallPart(f"call_{made + 1}_{digest_json([name, arguments])[-8:]}", name, arguments),), "tool_calls"
    if request.output_schema is not None:
        value = fill(request.output_schema, extract, brief.question)
        return (TextPart(msgspec.json.encode(value).decode()),), "stop"
    return (TextPart(_with_keys(brief, extract)),), "stop"


def _with_keys(brief: Brief, extract: Extract) -> str:
    """Plain text: the extract, and after it the keys of the passages it stands in."""
    return " ".join([extract.text, *(f"[{key}]" for key in extract.keys)])


def _limited(text: str, parameters: dict[str, Any]) -> tuple[str, StopReason]:
    stops = parameters.get("stop") or []
    for mark in [stops] if isinstance(stops, str) else stops:
        text = text.split(mark, 1)[0]
    longest = parameters.get("max_tokens")
    if not isinstance(longest, int) or count_tokens(text) <= longest:
        return text, "stop"
    while count_tokens(text) > longest:
        text = text[: max(0, len(text) - max(1, len(text) // 20))]
    return text, "length"


def pieces(text: str) -> list[str]:
    """The text cut before each word, so that the pieces joined are the text."""
    found: list[str] = []
    start = 0
    for i in range(1, len(text)):
        if text[i] == " " and text[i - 1] != " ":
            found.append(text[start:i])
            start = i
    return [*found, text[start:]] if text else []


def _plain(message: Message) -> str:
    return "\n".join(_written(p) for p in message.parts)


def _written(part: Part) -> str:
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, ToolCallPart):
        return f"{part.name} {msgspec.json.encode(part.arguments).decode()}"
    return part.content if isinstance(part, ToolResultPart) else ""
