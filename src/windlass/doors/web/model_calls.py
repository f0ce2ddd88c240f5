"""A call of a model that somebody's application made, as the playground asks it again: its model and its messages, as OpenAI's wire has
them, which the gateway speaks for every provider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from windlass.core import span as names
from windlass.core.conversation import Part, Turn, asked
from windlass.core.operations.runs import ModelEntry
from windlass.core.span import StoredSpan, instructions_of
from windlass.govern.masking import is_masked

ROLES = ("system", "user", "assistant", "tool")
# as spans name them, and as the gateway takes them
PARAMETERS = {
    "gen_ai.request.temperature": "temperature", "gen_ai.request.top_p": "top_p", "gen_ai.request.max_tokens": "max_tokens",
    "gen_ai.request.seed": "seed", "gen_ai.request.stop_sequences": "stop",
}  # fmt: skip
PROVIDERS = {"gcp.gemini": "gemini", "azure.ai.openai": "azure", "mistral_ai": "mistral", "x_ai": "xai"}  # as OpenTelemetry names ours
TOOLS = ("gen_ai.tool.definitions", "llm.tools", "gen_ai.request.tools")


class MessageAsked(msgspec.Struct, frozen=True):
    """One message. `kind` is text, or json where it holds more than a text: then `value` is the whole message."""

    role: str
    kind: Literal["text", "json"]
    value: str


class CallAsked(msgspec.Struct, frozen=True):
    """`models` are those that can be called here; `why_not` says why `model` cannot, where that is known. `left` is what is not asked as it
    was."""

    model: str
    messages: tuple[MessageAsked, ...]
    parameters: str = ""  # JSON
    models: tuple[str, ...] = ()
    why_not: str = ""
    left: tuple[str, ...] = ()


def call_of(step: StoredSpan, given: str, entries: Sequence[ModelEntry]) -> CallAsked:
    """`given` is all that the step was given; `entries` the models of this installation."""
    left: list[str] = []
    messages = tuple(_messages(asked(given, instructions_of(step)), left))
    told = {name: step.attributes[theirs] for theirs, name in PARAMETERS.items() if theirs in step.attributes}
    if any(name in step.attributes for name in TOOLS):
        left.append("its tools")
    if is_masked(given):
        left.append("what is masked")
    model, known = _model(step), tuple(e.id for e in entries if e.available and not e.id.endswith("…"))
    why_not = "" if model in known else _why_not(model, entries)
    parameters = msgspec.json.format(msgspec.json.encode(told)).decode() if told else ""
    return CallAsked(model, messages, parameters, known, why_not, tuple(dict.fromkeys(left)))


def _model(step: StoredSpan) -> str:
    """As the gateway names it: with its provider, where one is known; of a call by a route the upstream that answered."""
    if isinstance(upstream := step.attributes.get(names.ROUTE_UPSTREAM), str):
        return upstream
    told = step.attributes.get(names.REQUEST_MODEL)
    model = (told if isinstance(told, str) and told else step.model) or ""
    provider = PROVIDERS.get(step.provider or "", step.provider or "")
    return f"{provider}/{model}" if provider and model and not model.startswith(f"{provider}/") else model


def _why_not(model: str, entries: Sequence[ModelEntry]) -> str:
    if not model:
        return "the step does not say which model it asked"
    provider = model.partition("/")[0]
    named = [e for e in entries if e.id == model] or [e for e in entries if e.provider == provider]
    if not named:
        return f"no provider {provider!r} is known here"
    return "" if any(e.available for e in named) else named[0].why_not or "it cannot be called here"


def _messages(told: Sequence[Turn], left: list[str]) -> Iterator[MessageAsked]:
    """Calls of tools are numbered, and answers in the order of the calls: what a span tells may have no ids."""
    made, answered = 0, 0
    for turn in told:
        role = turn.role if turn.role in ROLES else "user"
        content, calls = list[dict[str, Any]](), list[dict[str, Any]]()
        for part in turn.parts:
            if part.kind == "call":
                made += 1
                calls.append({"id": f"call_{made}", "type": "function", "function": {"name": part.name, "arguments": part.text}})
            elif part.kind == "result":
                answered += 1
                yield _json({"role": "tool", "tool_call_id": f"call_{answered}", "content": part.text})
            elif (block := _block(part)) is not None:
                content.append(block)
            else:
                left.append("thoughts" if part.kind == "thought" else "documents")
        texts = [b["text"] for b in content if b["type"] == "text"]
        if calls:
            yield _json({"role": "assistant", "content": "\n".join(texts) or None, "tool_calls": calls})
        elif content and len(texts) == len(content):
            yield MessageAsked(role, "text", "\n".join(texts))
        elif content:
            yield _json({"role": role, "content": content})


def _block(part: Part) -> dict[str, Any] | None:
    if part.kind in ("text", "json"):
        return {"type": "text", "text": part.text}
    if part.kind == "image" and part.text.startswith(("data:", "https://", "http://")):
        return {"type": "image_url", "image_url": {"url": part.text}}
    return None


def _json(message: dict[str, Any]) -> MessageAsked:
    return MessageAsked(message["role"], "json", msgspec.json.format(msgspec.json.encode(message)).decode())
