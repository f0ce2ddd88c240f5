"""What was said in a step, of whichever library's making: messages with their roles, texts, calls of tools, images and documents.

Knows the messages of OpenAI (chat and responses), Anthropic, Gemini, LangChain, OpenInference, the Vercel AI SDK and OpenTelemetry's
GenAI conventions. What has none of these shapes stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from windlass.core.json_text import json_said

ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "developer": "system", "function": "tool"}
PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+\Z")
NAMES = ("title", "name", "key", "id", "document", "document_id")  # by which a document that was found is known
DEPTH = 12  # of what lies in one another; whoever sends decides how deep


class Part(msgspec.Struct, frozen=True):
    """`text`: what is read. `document`: one that was sent or found, by its `name` where it has one. `call`: of the tool `name`, with its
    arguments as `text`; `result`: what it gave. `image`: a `data:` address of a picture, or what is known of it. `json`: anything else,
    laid out."""

    kind: Literal["text", "thought", "call", "result", "image", "document", "json"]
    text: str
    name: str = ""


class Turn(msgspec.Struct, frozen=True):
    role: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """What is read of it."""
        return "\n".join(p.text for p in self.parts if p.kind == "text")


def turns(told: str | None, role: str) -> tuple[Turn, ...]:
    """The messages in what was told; `role` is whose it is where nothing says."""
    return _turns(_decoded(told), role) if told else ()


def asked(told: str | None, instructions: str | None) -> tuple[Turn, ...]:
    """The messages that a model was sent, before them what it was told beside them, where they do not begin with the same."""
    messages, beside = turns(told, "user"), turns(instructions, "system")
    said = {t.text for t in messages if t.role == "system"}
    return (*(t for t in beside if t.text not in said), *messages)


def gist(told: str | None, role: str = "user") -> str:
    """The text that a person reads first: of messages the last one's of that role, else what is called; of an object its only text."""
    if not told:
        return ""
    value = _decoded(told)
    if value == {}:  # a function that takes nothing
        return ""
    if isinstance(value, dict) and _messages(value, 0) is None:
        own, texts = value.get("text"), _texts(value)
        return own if isinstance(own, str) else texts[0] if len(texts) == 1 else told
    found = _turns(value, role)
    said = [t for t in found if t.text]
    of_role = [t for t in said if t.role == role] or said
    if of_role:
        return of_role[-1].text
    calls = [p for t in found for p in t.parts if p.kind == "call"]
    return f"calls {calls[-1].name} {' '.join(calls[-1].text.split())}" if calls else told


def _texts(value: dict[str, Any]) -> list[str]:
    """The texts of an object; of one that has none, as a call of a function by its `args` and `kwargs`, the texts of what it holds."""
    held = list(value.values())
    inside = [v for h in held for v in (h if isinstance(h, list) else h.values() if isinstance(h, dict) else ())]
    return [v for v in held if isinstance(v, str)] or [v for v in inside if isinstance(v, str)]


def _turns(value: Any, role: str) -> tuple[Turn, ...]:
    messages = _messages(value, 0)
    if messages is None:
        parts = _documents(value) or tuple(_parts(value, 0) if isinstance(value, str) or _is_blocks(value) else (_laid_out(value),))
        return (Turn(role, parts),) if parts else ()
    found = (_turn(m, role) for m in messages)
    return tuple(t for t in found if t.parts)


def _decoded(text: str) -> Any:
    return json_said(text) if text.lstrip()[:1] in ("{", "[", '"') else text


def _messages(value: Any, depth: int) -> list[dict[str, Any]] | None:
    """The messages that a value is or holds; None where it is none."""
    if depth > DEPTH:
        return None
    if isinstance(value, list):
        each = [(one, _messages(one, depth + 1)) for one in value]
        if not any(inner for _, inner in each):
            return None
        # what is no message, among messages, is told as it is
        return [m for one, inner in each for m in (inner or ([{"content": [one]}] if isinstance(one, dict) else []))]
    if not isinstance(value, dict):
        return None
    for key in ("messages", "choices", "candidates", "contents", "generations", "input", "output"):
        if isinstance(value.get(key), list) and (inner := _messages(value[key], depth + 1)) is not None:
            return [*_system(value), *inner]
    for key in ("message", "kwargs"):
        if isinstance(value.get(key), dict) and (inner := _messages(value[key], depth + 1)) is not None:
            return inner
    if isinstance(value.get("content"), dict) and "parts" in value["content"]:  # a candidate of Gemini's
        return _messages(value["content"], depth + 1)
    if _is_message(value):
        return [value]
    return None


def _system(value: dict[str, Any]) -> list[dict[str, Any]]:
    """What stands beside messages: instructions."""
    said = value.get("system") or value.get("instructions") or value.get("system_instruction")
    return [{"role": "system", "content": said}] if said else []


def _is_message(value: dict[str, Any]) -> bool:
    if isinstance(value.get("role"), str):
        return True
    kind = value.get("type")
    if kind in ("function_call", "function_call_output", "reasoning"):  # items of OpenAI's responses
        return True
    return kind in ("human", "ai", "system", "tool", "function", "AIMessageChunk") and "content" in value


def _turn(message: dict[str, Any], role: str) -> Turn:
    kind = str(message.get("type") or "")
    if kind in ("function_call", "reasoning"):
        return Turn("assistant", tuple(_block(message, 0)))
    if kind == "function_call_output":
        return Turn("tool", tuple(_block(message, 0)))
    who = str(message.get("role") or kind.removesuffix("MessageChunk").lower() or role)
    parts = [*_parts(message.get("parts"), 0), *_parts(message.get("content", message.get("contents")), 0)]
    calls = message.get("tool_calls") or message.get("toolCalls")
    parts += [_call(c) for c in calls] if isinstance(calls, list) else []
    if isinstance(message.get("refusal"), str):
        parts.append(Part("text", message["refusal"]))
    who = ROLES.get(who, who)
    if who == "tool":
        parts = [Part("result", p.text, str(message.get("name") or "")) if p.kind in ("text", "json") else p for p in parts]
    return Turn(who, tuple(parts))


def _parts(content: Any, depth: int) -> Iterator[Part]:
    if content is None or content == "" or depth > DEPTH:
        return
    if isinstance(content, str):
        yield Part("text", content)
    elif isinstance(content, list):
        for block in content:
            yield from _block(block, depth) if isinstance(block, dict) else _parts(block, depth + 1)
    elif isinstance(content, dict):
        yield from _block(content, depth)
    else:
        yield _laid_out(content)


def _documents(value: Any) -> tuple[Part, ...]:
    """What a search gave, a part for each: its text, named by its id and score; what else is known as JSON. Empty where it is none."""
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if not isinstance(value, list) or not all(isinstance(d, dict) for d in value):
        return ()
    parts = tuple(p for d in value if (p := _document(d)) is not None)
    return parts if len(parts) == len(value) else ()


def _document(found: dict[str, Any]) -> Part | None:
    of = next((k for k in ("text", "content", "page_content") if isinstance(found.get(k), str)), None)
    if of is None or "role" in found or not found.keys() & {"score", "metadata", "page_content", *NAMES}:
        return None
    name = next((str(found[k]) for k in NAMES if isinstance(found.get(k), str | int)), "")
    score = found.get("score")
    known = [name, f"{score:.3g}"] if isinstance(score, int | float) and not isinstance(score, bool) else [name]
    rest = {k: v for k, v in found.items() if v and v != name and k not in (of, "score", "type")}
    told = f"\n{msgspec.json.encode(rest).decode()}" if rest else ""
    return Part("document", found[of] + told, " · ".join(filter(None, known)))


def _is_blocks(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(b, dict) and isinstance(b.get("type"), str) for b in value)


def _block(block: dict[str, Any], depth: int) -> Iterator[Part]:
    """The parts of one block of a message's content."""
    if isinstance(inner := block.get("message_content"), dict):  # OpenInference
        block = inner
    kind, given = str(block.get("type") or ""), block.get
    if kind in ("tool_use", "tool_call", "tool-call", "function_call", "functionCall") or "functionCall" in block:
        yield _call(given("functionCall", given("function_call", block)))
    elif kind in ("tool_result", "tool_call_response", "tool-result", "function_call_output", "functionResponse"):
        result = next((given(k) for k in ("response", "result", "output", "content") if given(k) is not None), None)
        texts = [p.text for p in _parts(result, depth + 1)]
        yield Part("result", "\n".join(texts), str(given("name") or given("toolName") or ""))
    elif kind in ("thinking", "reasoning", "redacted_thinking"):
        said = next((given(k) for k in ("thinking", "content", "text", "summary") if given(k)), None)
        yield from (Part("thought", p.text) for p in _parts(said, depth + 1))
    elif (picture := _picture(block)) is not None:
        yield Part("image", picture)
    elif kind in ("document", "file", "uri", "blob"):
        name = given("title") or given("filename") or given("file_name") or given("uri") or given("mime_type") or kind
        yield Part("document", str(name))
    elif isinstance(text := given("text", given("content")), str):
        yield Part("text", text)
    elif kind in ("text", "output_text", "input_text") or isinstance(given("content"), list):
        yield from _parts(given("text", given("content")), depth + 1)
    else:
        yield _laid_out(block)


def _call(call: Any) -> Part:
    if isinstance(call, dict) and isinstance(call.get("tool_call"), dict):  # OpenInference
        call = call["tool_call"]
    if not isinstance(call, dict):
        return _laid_out(call)
    function = call["function"] if isinstance(call.get("function"), dict) else call
    name = next((function[k] for k in ("name", "toolName") if isinstance(function.get(k), str)), "")
    arguments: Any = next((function[k] for k in ("arguments", "args", "input") if function.get(k) is not None), {})
    return Part("call", _shown(_decoded(arguments) if isinstance(arguments, str) else arguments), name)


def _picture(block: dict[str, Any]) -> str | None:
    """A picture's address where it is one; else what is known of it. None where the block is no picture."""
    kind, source = str(block.get("type") or ""), block.get("source")
    mime = next((str(b[k]) for b in (block, source) if isinstance(b, dict) for k in ("media_type", "mime_type", "mimeType") if k in b), "")
    if kind not in ("image", "image_url", "input_image") and not (mime.startswith("image/") or block.get("modality") == "image"):
        return None
    held = source if isinstance(source, dict) else block
    told = block.get("image_url") or held.get("url") or held.get("uri") or block.get("image")
    if isinstance(told, dict):
        told = told.get("url")
    if isinstance(data := held.get("data") or held.get("content") or held.get("inlineData"), str):
        told = f"data:{mime or 'image/png'};base64,{data}"
    if isinstance(told, str) and told.startswith("data:"):
        return told if PICTURE.match(told) else f"{mime or 'an image'} that cannot be shown here"
    return told if isinstance(told, str) and told else mime or "an image"


def _laid_out(value: Any) -> Part:
    return Part("json", _shown(value))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
