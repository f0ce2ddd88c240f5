"""Long texts shortened so that they still can be read: JSON stays JSON, with its strings cut and the middle of long lists left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

KEPT = 16_384  # characters of a text that a row of a span keeps at most, where its engine cannot keep more
# characters of a string, and entries of a list or object, that are kept: tried one after the other
STEPS = ((4_000, 400), (1_000, 200), (400, 60), (120, 24))
_encode = msgspec.json.Encoder().encode


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters: itself, or where it is JSON what is left of it as JSON, or its beginning."""
    if len(text) <= most:
        return text
    if text[:1] in ("{", "["):
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return text[:most]
        for characters, entries in STEPS:
            made = _encode(_less(value, characters, entries)).decode()
            if len(made) <= most:
                return made
    return text[:most]


def shortened_object(text: str, most: int) -> str:
    """As `shortened`, of JSON that must stay JSON: an empty object or list where nothing of it finds room."""
    made = shortened(text, most)
    if len(text) <= most or made != text[:most]:
        return made
    return "[]" if text[:1] == "[" else "{}"


def _less(value: Any, characters: int, entries: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= characters else f"{value[:characters]}…"
    if isinstance(value, list):
        if len(value) > entries:  # what was said first and last says most
            first = entries // 4
            value = [*value[:first], *value[len(value) - (entries - first) :]]
        return [_less(v, characters, entries) for v in value]
    if isinstance(value, dict):
        return {k[:characters]: _less(v, characters, entries) for k, v in list(value.items())[:entries]}
    return value


# texts of a span, and how each is shortened; on some that are JSON others rely
SHORTENS: Mapping[str, Callable[[str, int], str]] = {
    **dict.fromkeys(("name", "status_message", "input", "output", "session", "user", "tool", "prompt"), shortened),
    **dict.fromkeys(("attributes", "events", "links", "resource"), shortened_object),
}


def within(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, int]]:
    """Shorten texts of rows of which each is longer than `most`, and what is left of all together than eight times as many, to `KEPT`.
    Returns of each row what was shortened, and how long it was."""
    room, cut = most * 8, list[dict[str, int]]()
    for row in rows:
        of_row: dict[str, int] = {}
        for column, shorten in SHORTENS.items():
            text = row.get(column)
            if text is None or len(text) <= KEPT:
                continue
            if len(text) <= min(most, room):
                room -= len(text)
            else:
                of_row[column] = len(text)
                row[column] = shorten(text, KEPT)
        cut.append(of_row)
    return cut
