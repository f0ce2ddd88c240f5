"""Texts by which what somebody said is known again where it is quoted: in an alert, a topic, an example. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

SHORTEST = 12  # characters of a text that is looked for: shorter ones are anybody's
QUOTED = 80  # characters by which a text is known again: a quotation may be cut
THEIR_ROLES = ("user", "human")  # of messages; the others are not their words
_WORD = re.compile(r"\w")
_SPACES = re.compile(r"\s+")


def beginnings(text: str | None) -> Iterator[str]:
    """Of each text that a person said in a text or in JSON, the beginning by which it is known: one line, from its first word on."""
    for said in _said(text):
        line = one_line(said)
        if len(line) >= SHORTEST:
            yield line[:QUOTED]


def one_line(text: str) -> str:
    """A text from its first word on, with single spaces."""
    flat = _SPACES.sub(" ", text)
    first = _WORD.search(flat)
    return flat[first.start() :].rstrip() if first else ""


def _said(text: str | None) -> Iterator[str]:
    if not text:
        return
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        yield text
        return
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, dict) and value.get("role", "user") in THEIR_ROLES:
            waiting += value.values()
