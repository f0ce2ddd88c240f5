"""Long texts shortened so that they still can be read: JSON stays JSON, with its strings cut and the middle of long lists left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

KEPT = 16_384  # bytes of a text that a row of a span keeps at most, where its engine cannot keep more
# characters of a string, and entries of a list or object, that are kept: tried one after the other
STEPS = ((4_000, 400), (1_000, 200), (400, 60), (120, 24))
_encode = msgspec.json.Encoder().encode


def is_long(text: str) -> bool:
    """Whether a row does not keep all of a text. In bytes, since an engine's memory is: a character of Chinese takes three."""
    if len(text) > KEPT or len(text) * 4 <= KEPT or text.isascii():  # which are known without looking at each character
        return len(text) > KEPT
    return len(_bytes(text)) > KEPT


def beginning(text: str, most: int) -> str:
    """A text's first characters, at most so many bytes."""
    return text if len(text) * 4 <= most else _bytes(text[:most])[:most].decode(errors="ignore")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters: itself, or where it is JSON what is left of it as JSON, or its beginning."""
    if len(text) <= most:
        return text
    if text[:1] in ("{", "["):
        try:
            value = msgspec.json.decode(text)
            for characters, entries in STEPS:
                made = _encode(_less(value, characters, entries)).decode()
                if len(made) <= most:
                    return made
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):  # what can be read may be too deep for `_less` still
            return text[:most]
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


def kept(column: str, text: str) -> str:
    """What a row keeps of a long text of `SHORTENS`: at most `KEPT` bytes."""
    most = KEPT
    while (size := len(_bytes(made := SHORTENS[column](text, most)))) > KEPT:
        if made == text[:most]:
            return beginning(text, KEPT)
        most = most * KEPT // size
    return made


def within(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, int]]:
    """Shorten texts of rows of which each is longer than `most`, and what is left of all together than eight times as many, to `KEPT`.
    Returns of each row what was shortened, and how long it was."""
    room, cut = most * 8, list[dict[str, int]]()
    for row in rows:
        of_row: dict[str, int] = {}
        for column in SHORTENS:
            text = row.get(column)
            if text is None or not is_long(text):
                continue
            if len(text) <= min(most, room):
                room -= len(text)
            else:
                of_row[column] = len(text)
                row[column] = kept(column, text)
        cut.append(of_row)
    return cut
