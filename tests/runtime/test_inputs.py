"""Strings, objects and conversations as arguments; what would be forgotten is refused."""

from __future__ import annotations

from typing import Any

import pytest

from windlass.core.errors import Invalid
from windlass.runtime.inputs import arguments_of

QUESTION = {"type": "object", "properties": {"question": {"type": "string"}, "k": {"type": "integer"}}, "required": ["question"]}
CHAT = {"type": "object", "properties": {"messages": {"type": "array"}}, "required": ["messages"]}
TWO = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a", "b"]}


def said(*turns: str) -> dict[str, Any]:
    return {"messages": [{"role": turn.split(":")[0], "content": turn.split(":")[1]} for turn in turns]}


@pytest.mark.parametrize(
    ("schema", "given", "arguments"),
    [
        (QUESTION, "why?", {"question": "why?"}),
        (QUESTION, {"question": "why?", "k": 3}, {"question": "why?", "k": 3}),
        (QUESTION, said("user:why?"), {"question": "why?"}),
        (QUESTION, None, {}),
        (CHAT, "hello", {"messages": [{"role": "user", "parts": [{"type": "text", "text": "hello"}]}]}),
        (
            CHAT,
            said("user:a", "assistant:b"),
            {
                "messages": [
                    {"role": "user", "parts": [{"type": "text", "text": "a"}]},
                    {"role": "assistant", "parts": [{"type": "text", "text": "b"}]},
                ]
            },
        ),
    ],
)
def test_what_callers_send(schema: dict[str, Any], given: Any, arguments: dict[str, Any]) -> None:
    assert arguments_of(given, schema, "chain/answer") == arguments


@pytest.mark.parametrize(
    ("schema", "given", "complaint"),
    [
        (QUESTION, said("user:a", "assistant:b", "user:c"), "would forget the turns before it"),
        (QUESTION, said("user:a", "user:b"), "would forget the turns before it"),
        (QUESTION, said("system:be brief", "user:a"), "would ignore a system message"),
        (QUESTION, said("assistant:a"), "needs a user message at the end"),
        (QUESTION, {"messages": []}, "needs a user message at the end"),
        (QUESTION, {"messages": [{"role": "user", "parts": [{"type": "image", "url": "http://x/y.png"}]}]}, "would ignore an image"),
        (QUESTION, {"messages": [{"role": "user"}]}, "message 1 is malformed"),
        (QUESTION, 3, "must be an object of arguments or a string"),
        (TWO, "one", "takes more than one string"),
    ],
)
def test_what_is_refused(schema: dict[str, Any], given: Any, complaint: str) -> None:
    with pytest.raises(Invalid, match=complaint):
        arguments_of(given, schema, "chain/answer")
