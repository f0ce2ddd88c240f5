"""What was asked, as one text: in a row of an evaluation and in a run of production in the same way, or they could not be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from windlass.core.errors import Invalid
from windlass.core.json_text import json_said
from windlass.core.message import Message
from windlass.runtime.inputs import arguments_of

LONGEST = 8_000  # characters; no encoder reads further, and neither need a person
ORIGIN = frozenset({"key", "split", "origin"})  # fields of a row that nobody is asked


def of_row(row: Mapping[str, Any], fields: tuple[str, ...]) -> str:
    """What a row asks. `fields` are the arguments of what answers it; where they are not known, all texts of the row."""
    if "input" in row:
        return of_value(row["input"])
    asked = {name: row[name] for name in fields if name in row}
    return of_value(asked or {k: v for k, v in row.items() if k not in ORIGIN and isinstance(v, str)})


def of_run(recorded: str | None, schema: dict[str, Any]) -> str | None:
    """What a run was asked, from its recorded input; None where it was not recorded whole, or asked nothing."""
    if not recorded:
        return None
    given = json_said(recorded)  # a bare string is recorded as it is; so is what was shortened, which reads as text too
    try:
        given = arguments_of(given, schema, "it") if schema else given
    except Invalid:
        pass  # a foreign shape is read as it stands
    return of_value(given) or None


def of_value(value: Any) -> str:
    """The text of a value: a lone string as it is, the last user message of a conversation, else each named part on a line of its own."""
    if isinstance(value, str):
        return value[:LONGEST]
    if isinstance(value, list):
        return _of_messages(value)[:LONGEST]
    if isinstance(value, dict):
        if isinstance(value.get("messages"), list):
            return _of_messages(value["messages"])[:LONGEST]
        parts = {k: v for k, v in value.items() if v not in (None, "", [], {})}
        if len(parts) == 1:
            return of_value(next(iter(parts.values())))
        return "\n".join(f"{k}: {v if isinstance(v, str) else of_value(v)}" for k, v in sorted(parts.items()))[:LONGEST]
    return "" if value is None else msgspec.json.encode(value).decode()[:LONGEST]


def _of_messages(value: list[Any]) -> str:
    try:
        messages = msgspec.convert([_whole(m) for m in value], list[Message])
    except msgspec.ValidationError:
        return "\n".join(of_value(v) for v in value)
    asked = [m for m in messages if m.role == "user"] or messages
    return asked[-1].text if asked else ""


def _whole(message: Any) -> Any:
    """A message with plain text as its content, in our shape."""
    if isinstance(message, dict) and isinstance(message.get("content"), str):
        return {"role": message.get("role"), "parts": [{"type": "text", "text": message["content"]}]}
    return message
