"""What can be said of a text without meaning: how long it is, what it is written with, how much of it the evaluation rows never used."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

METHOD = "descriptors@1"
_WORD = re.compile(r"\w+")
_CODE = frozenset("{}[]<>=;|\\`")
_KINDS: dict[str, Callable[[str], bool]] = {
    "digits": str.isdigit,
    "capitals": str.isupper,
    "signs of code": _CODE.__contains__,
}
_ASCII = {name: bytes(c for c in range(128) if kind(chr(c))) for name, kind in _KINDS.items()}


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return _WORD.findall(text.lower())


def vocabulary(texts: Sequence[str]) -> frozenset[str]:
    """Every word of the texts."""
    return frozenset(word for text in texts for word in words(text))


def _share(count: int, of: int) -> float:
    return count / of if of else 0.0


def _kind(name: str) -> Callable[[str], float]:
    """The share of characters that are of a kind."""

    def share(text: str) -> float:
        if text.isascii():  # ten times faster, and the same
            return _share(len(text) - len(text.encode().translate(None, _ASCII[name])), len(text))
        return _share(sum(map(_KINDS[name], text)), len(text))

    return share


def _foreign(text: str) -> float:
    if text.isascii():
        return 0.0
    letters = [c for c in text if c.isalpha()]
    return _share(sum(not c.isascii() for c in letters), len(letters))


# the names people see; each has a tie-breaker of its own by its place
DESCRIPTORS: dict[str, Callable[[str], float]] = {
    "characters": lambda text: float(len(text)),
    "words": lambda text: float(len(words(text))),
    "lines": lambda text: float(text.count("\n") + 1),
    "digits": _kind("digits"),
    "capitals": _kind("capitals"),
    "letters beyond ASCII": _foreign,
    "signs of code": _kind("signs of code"),
    "question mark": lambda text: float("?" in text or "？" in text or "؟" in text),
}
UNKNOWN = "words not in the evaluation"
NAMES = (*DESCRIPTORS, UNKNOWN)


def describe(texts: Sequence[str], known: frozenset[str]) -> dict[str, NDArray[np.float64]]:
    """Every descriptor of every text; `known` are the words of the evaluation rows."""
    found = {name: np.array([of(text) for text in texts], np.float64) for name, of in DESCRIPTORS.items()}
    found[UNKNOWN] = np.array([_unknown(text, known) for text in texts], np.float64)
    return found


def _unknown(text: str, known: frozenset[str]) -> float:
    found = words(text)
    return _share(sum(word not in known for word in found), len(found))


def moved(counts: Sequence[int], gaps: Sequence[int]) -> float:
    """How large a difference is: the share of rows that would have to change bins for production to lie as the evaluation rows do."""
    total, balls = sum(counts), sum(gaps)
    return 0.5 * sum(abs(n / total - g / balls) for n, g in zip(counts, gaps, strict=True)) if total else 0.0
