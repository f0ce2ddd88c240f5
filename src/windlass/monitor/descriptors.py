"""What can be said of a text without meaning: how long it is, what it is written with, how much of it the evaluation rows never used."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

METHOD = "descriptors@1"
_WORD = re.compile(r"\w+")
_CODE = frozenset("{}[]<>=;|\\`")
_KINDS: tuple[Callable[[str], bool], ...] = (str.isdigit, str.isupper, _CODE.__contains__)
_ASCII = tuple(bytes(c for c in range(128) if kind(chr(c))) for kind in _KINDS)


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return _WORD.findall(text.lower())


def vocabulary(texts: Sequence[str]) -> frozenset[str]:
    """Every word of the texts."""
    return frozenset(word for text in texts for word in words(text))


def _share(count: int, of: int) -> float:
    return count / of if of else 0.0


def _kinds(text: str) -> list[float]:
    """How many characters are digits, capitals, signs of code, and which share of letters is beyond ASCII."""
    if text.isascii():  # ten times faster, and the same
        data = text.encode()
        return [*(float(len(data) - len(data.translate(None, kind))) for kind in _ASCII), 0.0]
    letters = [c for c in text if c.isalpha()]
    return [*(float(sum(map(kind, text))) for kind in _KINDS), _share(sum(not c.isascii() for c in letters), len(letters))]


UNKNOWN = "words not in the evaluation"
# the names people see; each has a tie-breaker of its own by its place
NAMES = (
    "characters", "words", "lines", "digits", "capitals", "signs of code", "letters beyond ASCII", "question mark", UNKNOWN,
)  # fmt: skip


def describe(texts: Sequence[str], known: frozenset[str]) -> dict[str, NDArray[np.float64]]:
    """Every descriptor of every text; `known` are the words of the evaluation rows. Digits, capitals and signs are shares of the text."""
    table = np.array([_described(text, known) for text in texts], np.float64).reshape(len(texts), len(NAMES))
    return {name: table[:, place] for place, name in enumerate(NAMES)}


def _described(text: str, known: frozenset[str]) -> tuple[float, ...]:
    size, found = len(text), words(text)
    digits, capitals, code, foreign = _kinds(text)
    asked = "?" in text or "？" in text or "؟" in text
    unknown = _share(sum(word not in known for word in found), len(found))
    of = size or 1
    return (size, len(found), text.count("\n") + 1, digits / of, capitals / of, code / of, foreign, asked, unknown)


def moved(counts: Sequence[int], gaps: Sequence[int]) -> float:
    """How large a difference is: the share of rows that would have to change bins for production to lie as the evaluation rows do."""
    total, balls = sum(counts), sum(gaps)
    return 0.5 * sum(abs(n / total - g / balls) for n, g in zip(counts, gaps, strict=True)) if total else 0.0
