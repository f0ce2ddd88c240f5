"""Texts as vectors by the words in them, without weights: what is at hand on any machine, and quick.

Features are words, pairs of neighbouring words, and pieces of three to five letters of every word with its ends marked, so that forms of
one word are near one another. Each is hashed to a place and a sign (Weinberger et al., ICML 2009). A word that occurs often counts by the
logarithm; short ones count for a quarter, since they are mostly grammar. Likeness is that of wording: a paraphrase is far away.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from math import log2
from typing import TYPE_CHECKING, Any

from windlass.core.digest import digest_json
from windlass.core.encoding import HASHED_WORDS
from windlass.runtime.encoders.encoder import checked, needs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from windlass.runtime.encoders.encoder import Vectors

    Entry = tuple[NDArray[np.int64], NDArray[np.float64]]  # places and values

DIMENSIONS: int = HASHED_WORDS["dimensions"]
MOST_WORDS: int = HASHED_WORDS["max_words"]
LONGEST: int = HASHED_WORDS["max_letters"]
WEIGHTS: dict[str, float] = HASHED_WORDS["weights"]
_WORD = re.compile(r"\w+")


class Words:
    """The encoder. Nothing to install or to open."""

    identity: dict[str, Any] = HASHED_WORDS
    digest = digest_json(HASHED_WORDS)
    dimensions = DIMENSIONS

    def encode(self, texts: Sequence[str]) -> Vectors:
        needs("numpy")
        import numpy as np

        given = checked(texts)
        if not given:
            return np.zeros((0, DIMENSIONS), np.float32)
        found_in = [(row, entry, times) for row, text in enumerate(given) for entry, times in _entries(text)]
        sizes = [len(places) for _, (places, _), _ in found_in]
        places = np.concatenate([places for _, (places, _), _ in found_in])
        places += np.repeat(np.array([row * DIMENSIONS for row, _, _ in found_in]), sizes)
        values = np.concatenate([values for _, (_, values), _ in found_in]) * np.repeat([times for _, _, times in found_in], sizes)
        sums = np.bincount(places, values, len(given) * DIMENSIONS).reshape(len(given), DIMENSIONS)
        vectors: Vectors = (sums / np.sqrt((sums * sums).sum(axis=1, keepdims=True))).astype(np.float32)
        return vectors

    def encode_query(self, text: str) -> Vectors:
        found: Vectors = self.encode([text])[0]
        return found


def _entries(text: str) -> Iterator[tuple[Entry, float]]:
    """The features of a text, each with how often it counts. A text without a letter or digit is one word as a whole."""
    words = [word[:LONGEST] for word in _WORD.findall(text.lower())[:MOST_WORDS]] or ["".join(text.split())[:LONGEST]]
    for word, count in Counter(words).items():
        yield _word(word), 1 + log2(count)
    for pair in dict.fromkeys(pairwise(words)):
        yield _pair(*pair), 1.0


@lru_cache(maxsize=50_000)
def _word(word: str) -> Entry:
    """A word and its pieces; all pieces together weigh as one feature, however long the word."""
    marked = f"<{word}>"
    pieces = [marked[i : i + size] for size in (3, 4, 5) for i in range(len(marked) - size + 1)]
    whole = WEIGHTS["short"] if len(word) <= WEIGHTS["short_letters"] else WEIGHTS["word"]
    part = whole * WEIGHTS["pieces"] / max(1, len(pieces)) ** 0.5
    return _hashed([("word " + word, whole), *(("piece " + piece, part) for piece in pieces)])


@lru_cache(maxsize=50_000)
def _pair(first: str, second: str) -> Entry:
    return _hashed([(f"pair {first} {second}", WEIGHTS["pair"])])


def _hashed(features: Sequence[tuple[str, float]]) -> Entry:
    import numpy as np

    numbers = [int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little") for name, _ in features]
    signed = [worth if number >> 63 else -worth for number, (_, worth) in zip(numbers, features, strict=True)]
    return np.array([number % DIMENSIONS for number in numbers], np.int64), np.array(signed)
