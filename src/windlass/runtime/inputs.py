"""What a caller sends, as arguments by name: an object, a bare string, or the messages of a conversation.

A target that takes `messages` is chat-shaped. One that takes a single string is given the last user message; what it would
forget or ignore (an earlier turn, instructions, an image) is refused with a sentence.
"""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.errors import Invalid
from windlass.core.message import Message, TextPart, assistant, system, user
from windlass.runtime.schema import sole_string

_PLAIN = {"user": user, "assistant": assistant, "system": system, "developer": system}


def arguments_of(given: Any, schema: dict[str, Any], who: str) -> dict[str, Any]:
    """The arguments of a target with this input schema. Raises `Invalid` with a sentence; does not check the schema."""
    properties = schema.get("properties", {})
    if given is None:
        return {}
    if isinstance(given, str):
        return {_string(schema, who): given} if "messages" not in properties else {"messages": plain_messages([user(given)])}
    if not isinstance(given, dict):
        raise Invalid(f"the input of {who} must be an object of arguments or a string", remedy=_takes(schema))
    if set(given) == {"messages"} and isinstance(given["messages"], list):
        messages = read_messages(given["messages"])
        if "messages" in properties:
            return {"messages": plain_messages(messages)}
        return {_string(schema, who): last_question(messages, who)}
    return given


def read_messages(given: list[Any]) -> list[Message]:
    """Messages in our shape, or with plain text as `content`. Raises `Invalid` naming the one that is malformed."""
    messages = []
    for number, item in enumerate(given, 1):
        if isinstance(item, dict) and isinstance(item.get("content"), str) and item.get("role") in _PLAIN:
            messages.append(_PLAIN[item["role"]](item["content"]))
            continue
        try:
            messages.append(msgspec.convert(item, Message))
        except msgspec.ValidationError as e:
            raise Invalid(f"message {number} is malformed: {e}", remedy="write {role, parts: [{type: text, text}]}") from e
    return messages


def last_question(messages: list[Message], who: str) -> str:
    """The one user message. Raises `Invalid` for what a target that takes one string would have to forget."""
    if not messages or messages[-1].role != "user":
        raise Invalid(f"{who} needs a user message at the end")
    if len([m for m in messages if m.role in ("user", "assistant", "tool")]) > 1:
        raise Invalid(
            f"{who} takes one question and would forget the turns before it",
            remedy="send one user message, or call a chain that takes messages",
        )
    if any(m.role == "system" for m in messages):
        raise Invalid(f"{who} has instructions of its own and would ignore a system message", remedy="send one user message")
    if not all(isinstance(p, TextPart) for p in messages[-1].parts):
        raise Invalid(
            f"{who} takes text only, and would ignore an image or a file", remedy="send text, or call a chain that takes messages"
        )
    return messages[-1].text


def plain_messages(messages: list[Message]) -> list[Any]:
    """Messages as JSON: lists, where structs have tuples."""
    plain: list[Any] = msgspec.json.decode(msgspec.json.encode(messages))
    return plain


def _string(schema: dict[str, Any], who: str) -> str:
    name = sole_string(schema)
    if name is None:
        raise Invalid(f"{who} takes more than one string", remedy=_takes(schema))
    return name


def _takes(schema: dict[str, Any]) -> str:
    return "it takes an object with " + (", ".join(schema.get("properties", {})) or "nothing")
