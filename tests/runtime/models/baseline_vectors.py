"""Makes `baseline_vectors.json`. Run it only for a new number of the model: `python tests/runtime/models/baseline_vectors.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from windlass.core.message import Message, ModelRequest, ToolResultPart, ToolSpec, assistant, system, user
from windlass.runtime.models.baseline import answer

CONTEXT = """[asyncio.timeout] Timeout async context manager.

Useful in cases when you want to apply timeout logic around block of code.

>>> async with timeout(10):
...     pass
[asyncio.wait_for] Wait for the single Future or coroutine to complete, with timeout. If the wait is cancelled, the future is cancelled too.
[shlex.split] Split the string *s* using shell-like syntax.
[str.split] Return a list of the substrings in the string, using sep as the separator string.
[statistics.median] Return the median (middle value) of numeric data, e.g. of a list. When the number of points is even, the mean is taken.
[random.shuffle] Shuffle list x in place, and return None."""
STRICT = "Answer only from the passages. Name the symbol you rely on. If they don't answer it, say so."
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "symbols": {"type": "array", "items": {"type": "string"}}, "confidence": {"type": "number"}},
    "required": ["text", "symbols"],
}
QUESTIONS = [
    "How do I split a shell command line?", "How do I stop waiting for a coroutine after a timeout?", "What does `str.split` return?",
    "the middle value of a list of numbers", "How do I bake bread?", "Put the list in another order, in place", "Wie trenne ich Text?",
]  # fmt: skip
TOOLS = (
    ToolSpec("search", "Search the documentation.", {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}),
    ToolSpec("read_entry", "Read one entry.", {"type": "object", "properties": {"symbol": {"type": "string"}}, "required": ["symbol"]}),
    ToolSpec(
        "evaluate",
        "Evaluate an expression.",
        {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
    ),
)


def requests() -> dict[str, ModelRequest]:
    """Every path through the model, by name."""
    found: dict[str, ModelRequest] = {}
    for i, question in enumerate(QUESTIONS):
        for how, told in (("plain", "Answer from the passages."), ("strict", STRICT), ("one sentence", "Answer with one sentence.")):
            found[f"{how} {i}"] = ModelRequest("baseline", (system(told), user(f"{question}\n\n{CONTEXT}")))
        found[f"schema {i}"] = ModelRequest("baseline", (system(STRICT), user(f"Question: {question}\n\n{CONTEXT}")), output_schema=SCHEMA)
        found[f"tools {i}"] = ModelRequest("baseline", (user(question),), tools=TOOLS)
    taught = "Do not guess.\nmix up, jumble -> shuffle in place\n\nQ: How do I mix the order of songs?\nA: [random.shuffle]"
    found["hint"] = ModelRequest("baseline", (system(taught), user(f"How do I jumble my cards?\n{CONTEXT}")))
    found["example"] = ModelRequest("baseline", (system(taught), user(f"How can I mix the order of cards?\n{CONTEXT}")))
    found["empty"] = ModelRequest("baseline", (user(""),))
    found["limits"] = ModelRequest("baseline", (user(f"split a shell command\n{CONTEXT}"),), {"max_tokens": 4})
    asked = (user("What is 6 * 7?"), answer(ModelRequest("baseline", (user("What is 6 * 7?"),), tools=TOOLS)).message)
    result = Message("tool", (ToolResultPart(asked[1].tool_calls[0].id, "42"),))
    found["tool result"] = ModelRequest("baseline", (*asked, result), tools=TOOLS)
    found["turns"] = ModelRequest(
        "baseline", (user(f"split a shell command\n{CONTEXT}"), assistant("[shlex.split]"), user("and shuffle a list?"))
    )
    return found


def vector(name: str, request: ModelRequest) -> dict[str, Any]:
    reply = answer(request)
    told = {"parts": reply.message.parts, "stop": reply.stop, "usage": reply.usage, "id": reply.response_id}
    return {"name": name, "request": msgspec.to_builtins(request), "reply": msgspec.to_builtins(told)}


if __name__ == "__main__":
    made = [vector(name, request) for name, request in requests().items()]
    Path(__file__).with_name("baseline_vectors.json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", "utf-8")
