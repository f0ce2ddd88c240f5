"""What the clients of three dialects read in a stream, by the documentation alone: nothing of Windlass is imported."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """What an answer says, in one shape for all dialects; `problems` is what a strict client would stumble over."""

    text: str = ""
    thought: str = ""
    signatures: list[str] = field(default_factory=list)
    redacted: list[str] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)  # name, arguments as text
    stop: str | None = None
    usage: dict[str, int] | None = None
    error: str | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.text) + len(self.thought) + sum(len(c[1]) for c in self.calls)


def sse(data: bytes) -> Iterator[tuple[str, str]]:
    """Events as the HTML standard cuts them, and one without its last empty line."""
    name, said = "", []
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    for line in [*re.split(r"\r\n|\n|\r", text), ""]:
        if not line:
            if said:
                yield name, "\n".join(said)
            name, said = "", []
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            name = value
        elif key == "data":
            said.append(value)


def size(dialect: str, data: bytes) -> int:
    """How much of an answer is in these bytes, in characters."""
    return read(dialect, data).size


def read(dialect: str, data: bytes) -> Outcome:
    """A stream, or the JSON in its place."""
    found = Outcome()
    if data.lstrip().startswith(b"{"):
        with contextlib.suppress(ValueError):
            told = json.loads(data)
            if told.get("error"):
                found.error = _sentence(told["error"])
                return found
    elif data.lstrip().startswith(b"<"):
        found.error = data.decode()
        return found
    reader = {"openai": _chat, "anthropic": _messages, "responses": _responses}[dialect]
    events = []
    for name, said in sse(data):
        try:
            events.append((name, "[DONE]" if said == "[DONE]" else json.loads(said)))
        except ValueError:
            found.problems.append(f"an event is no JSON: {said[:60]!r}")
    reader(events, found)
    return found


def _sentence(error: Any) -> str:
    return str(error.get("message")) if isinstance(error, dict) else str(error)


def _chat(events: list[tuple[str, Any]], out: Outcome) -> None:
    finished, ids, done, refused = 0, set(), 0, False
    for _, event in events:
        if done:
            out.problems.append("something comes after [DONE]")
        if event == "[DONE]":
            done += 1
            continue
        if event.get("error"):
            out.error = _sentence(event["error"])
            continue
        ids.add((event.get("id"), event.get("object")))
        if event.get("usage"):
            out.usage = _counts(event["usage"], "prompt_tokens", "completion_tokens")
        for choice in event.get("choices") or []:
            delta = choice.get("delta") or {}
            if finished and any(delta.get(k) for k in ("content", "tool_calls", "reasoning_content")):
                out.problems.append("a piece comes after the reason to stop")
            refused = refused or bool(delta.get("refusal"))
            out.text += (delta.get("content") or "") + (delta.get("refusal") or "")
            out.thought += delta.get("reasoning_content") or delta.get("reasoning") or ""
            for block in delta.get("thinking_blocks") or []:
                out.signatures += [block["signature"]] if block.get("signature") else []
                out.redacted += [block["data"]] if block.get("type") == "redacted_thinking" else []
            for call in delta.get("tool_calls") or []:
                _chat_call(call, out)
            if choice.get("finish_reason"):
                finished += 1
                told = {"content_filter": "refusal"}.get(choice["finish_reason"], choice["finish_reason"])
                out.stop = "refusal" if refused else told
    if out.error is None:
        out.problems += [f"finish_reason comes {finished} times"] if finished != 1 else []
        out.problems += [] if done == 1 else ["there is no [DONE]"]
    if len({i for i in ids if i[0]}) > 1:
        out.problems.append(f"chunks have different ids: {sorted(map(str, ids))}")


def _chat_call(call: dict[str, Any], out: Outcome) -> None:
    index, function = call.get("index", 0), call.get("function") or {}
    if index > len(out.calls):
        out.problems.append(f"tool call {index} comes after {len(out.calls)}")
    while index >= len(out.calls):
        out.calls.append(["", ""])
        if not call.get("id") or not function.get("name"):
            out.problems.append("a tool call begins without an id or a name")
    out.calls[index][0] += function.get("name") or ""
    out.calls[index][1] += function.get("arguments") or ""


STOPS = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length", "model_context_window_exceeded": "length",
    "tool_use": "tool_calls", "refusal": "refusal",
}  # fmt: skip
FITTING = {"text": ("text_delta", "citations_delta"), "thinking": ("thinking_delta", "signature_delta"), "tool_use": ("input_json_delta",)}


def _messages(events: list[tuple[str, Any]], out: Outcome) -> None:
    open_: dict[int, str] = {}
    usage: dict[str, Any] = {}
    calls: dict[int, list[str]] = {}
    order: list[str] = []
    for name, event in events:
        kind = event.get("type", "")
        order += [kind] if kind != "ping" else []
        if name != kind:
            out.problems.append(f"the event {name!r} has the type {kind!r}")
        if kind == "error":
            out.error = _sentence(event["error"])
        elif kind == "message_start":
            usage |= {k: v for k, v in (event["message"].get("usage") or {}).items() if v is not None}
        elif kind == "content_block_start":
            block, index = event["content_block"], event["index"]
            if open_ or index != order.count(kind) - 1:
                out.problems.append(f"block {index} begins while {sorted(open_)} are open")
            open_[index] = block["type"]
            out.text += block.get("text") or "" if block["type"] == "text" else ""
            if block["type"] == "tool_use":
                calls[index] = [block["name"], json.dumps(block["input"]) if block.get("input") else ""]
                out.calls.append(calls[index])
            out.redacted += [block["data"]] if block["type"] == "redacted_thinking" else []
        elif kind == "content_block_delta":
            delta, index = event["delta"], event["index"]
            if delta["type"] not in FITTING.get(open_.get(index, ""), (delta["type"],) if index in open_ else ()):
                out.problems.append(f"{delta['type']} in block {index}, which is {open_.get(index, 'not open')}")
            out.text += delta.get("text", "") if delta["type"] == "text_delta" else ""
            out.thought += delta.get("thinking", "")
            out.signatures += [delta["signature"]] if delta.get("signature") else []
            if index in calls:
                calls[index][1] += delta.get("partial_json", "")
        elif kind == "content_block_stop":
            if open_.pop(event["index"], None) is None:
                out.problems.append(f"block {event['index']} ends, and is not open")
        elif kind == "message_delta":
            out.stop = STOPS.get(event["delta"]["stop_reason"], event["delta"]["stop_reason"])
            usage |= {k: v for k, v in (event.get("usage") or {}).items() if v is not None}
    if usage:
        cached, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
        thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
        given = (usage.get("input_tokens") or 0) + cached + written
        out.usage = {"input": given, "output": usage.get("output_tokens") or 0, "cached": cached, "cache_write": written}
        out.usage |= {"reasoning": thought} if thought is not None else {}
    if out.error is None and (order[:1] != ["message_start"] or order[-2:] != ["message_delta", "message_stop"] or open_):
        out.problems.append(f"the events are in this order: {order}")


def _responses(events: list[tuple[str, Any]], out: Outcome) -> None:
    items: dict[int, dict[str, Any]] = {}
    parts: dict[tuple[int, str], str] = {}
    last: dict[str, Any] = {}
    for place, (name, event) in enumerate(e for e in events if e[1] != "[DONE]"):  # some send it, and clients stop there
        kind = event.get("type", "")
        if kind == "error" or event.get("error"):
            out.error = _sentence(event.get("error") or event)
            continue
        if name != kind or event.get("sequence_number") != place:
            out.problems.append(f"event {place} is {name!r}, {kind!r}, number {event.get('sequence_number')}")
        index = event.get("output_index", -1)
        if kind == "response.output_item.added":
            items[index] = {"call": None, "done": None}
            if index != len(items) - 1 or any(i["done"] is None for at, i in items.items() if at != index):
                out.problems.append(f"item {index} begins before the one before it is done")
            if event["item"]["type"] == "function_call":
                items[index]["call"] = [event["item"]["name"], ""]
                out.calls.append(items[index]["call"])
        elif kind.endswith(".delta") and isinstance(event.get("delta"), str):
            key = (index, kind.removesuffix(".delta"))
            parts[key] = parts.get(key, "") + event["delta"]
            if index not in items or items[index]["done"] is not None:
                out.problems.append(f"{kind} in item {index}, which is not open")
            elif items[index]["call"] is not None:
                items[index]["call"][1] += event["delta"]
            elif "reasoning" in kind:
                out.thought += event["delta"]
            else:
                out.text += event["delta"]
        elif kind == "response.output_item.done":
            items[index]["done"] = event["item"]
        elif kind.endswith(".done") and "part" not in event:
            same = parts.get((index, kind.removesuffix(".done")), "") == event.get("text", event.get("arguments"))
            out.problems += [] if same else [f"{kind} says something else than its deltas"]
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            out.problems += [f"{kind} comes after the end"] if last else []
            last = event["response"]
            if kind == "response.failed":
                out.error = _sentence(last.get("error"))
    _responses_end(last, items, out)


def _responses_end(last: dict[str, Any], items: dict[int, dict[str, Any]], out: Outcome) -> None:
    for item in (i["done"] for _, i in sorted(items.items()) if i["done"]):
        if item["type"] == "reasoning" and (hidden := item.get("encrypted_content")):
            (out.redacted if hidden.startswith("redacted:") else out.signatures).append(hidden.removeprefix("redacted:"))
    if out.error is not None:
        return
    if not last:
        out.problems.append("there is no last event")
        return
    if last["output"] != [i["done"] for _, i in sorted(items.items())]:
        out.problems.append("the whole response has other items than its events")
    reason = (last.get("incomplete_details") or {}).get("reason")
    out.stop = {"max_output_tokens": "length", "content_filter": "refusal"}.get(reason or "", "tool_calls" if out.calls else "stop")
    if last.get("usage"):
        out.usage = _counts(last["usage"], "input_tokens", "output_tokens")


def _counts(usage: dict[str, Any], given: str, made: str) -> dict[str, int]:
    inside, outside = usage.get(f"{given}_details") or {}, usage.get(f"{made}_details") or {}
    found = {
        "input": usage.get(given), "output": usage.get(made), "cached": inside.get("cached_tokens"),
        "cache_write": inside.get("cache_write_tokens"), "reasoning": outside.get("reasoning_tokens"),
    }  # fmt: skip
    return {k: v for k, v in found.items() if v is not None}
