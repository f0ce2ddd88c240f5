"""Rows that say the same: exactly, or nearly. Pure: rows in, pairs out.

Two rows are compared by their text fields, in lower case without punctuation. Their likeness is the Jaccard index of the sets of
their runs of five characters; candidates are found by MinHash and banding (Broder 1997; Indyk and Motwani 1998) and each is then
measured, so a pair that is reported is one. Texts with other numbers in them are not alike: they ask for something else. With 28
bands of 5 a pair of likeness 0.8 is missed once in 67,000 times, one of 0.7 once in 170.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

RUN = 5  # characters
BANDS, DEPTH = 28, 5
NEAR = 0.8  # likeness from which two rows are said to be nearly the same
NOT_TEXT = frozenset({"key", "split", "origin"})
CROWD = 50  # rows that share a band; of more only neighbours are compared, so that boilerplate does not cost a square

_random = np.random.default_rng(20261123)  # part of the method: the same rows give the same pairs for ever
_FACTORS = _random.integers(1, 2**63, BANDS * DEPTH, dtype=np.uint64) | np.uint64(1)
_OFFSETS = _random.integers(0, 2**63, BANDS * DEPTH, dtype=np.uint64)
_POWERS = np.array([1099511628211**i % 2**64 for i in range(RUN)], dtype=np.uint64)
_NUMBER = re.compile(r"\d+")
_GAP = re.compile(r"[\W_]+")

Row = Mapping[str, Any]


class Pair(NamedTuple):
    """Two rows, by key; `likeness` is 1.0 for the same text."""

    key: str
    other: str
    likeness: float


def pairs(rows: Iterable[Row], *, fields: Sequence[str] | None = None, near: float = NEAR) -> list[Pair]:
    """Rows of one set that say the same, by `fields` or all their text, the most alike first."""
    texts = {str(row["key"]): text_of(row, fields) for row in rows}
    return _pairs(texts, dict.fromkeys(texts, 0), near, across=False)


def pairs_across(rows: Iterable[Row], others: Iterable[Row], *, fields: Sequence[str] | None = None, near: float = NEAR) -> list[Pair]:
    """Rows of one set that say what rows of another say."""
    texts = {f"0{row['key']}": text_of(row, fields) for row in rows} | {f"1{row['key']}": text_of(row, fields) for row in others}
    found = _pairs(texts, {key: int(key[0]) for key in texts}, near, across=True)
    return [Pair(p.key[1:], p.other[1:], p.likeness) for p in found]


def shared_fields(rows: Sequence[Row], others: Sequence[Row]) -> list[str]:
    """Fields that hold text in both sets: what they can be compared by."""
    mine, theirs = ({f for row in some for f, v in row.items() if isinstance(v, str)} - NOT_TEXT for some in (rows, others))
    return sorted(mine & theirs)


def text_of(row: Row, fields: Sequence[str] | None = None) -> str:
    """The text a row is compared by."""
    wanted = row.keys() - NOT_TEXT if fields is None else fields
    said = " ".join(t for f in sorted(wanted) for t in _texts(row.get(f)))
    return _GAP.sub(" ", said.casefold()).strip()


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from _texts(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _pairs(texts: Mapping[str, str], side: Mapping[str, int], near: float, *, across: bool) -> list[Pair]:
    keys = sorted(key for key, text in texts.items() if text)
    signatures = {key: _signature(texts[key]) for key in keys}
    candidates: set[tuple[str, str]] = set()
    for band in range(BANDS):
        buckets: defaultdict[bytes, list[str]] = defaultdict(list)
        for key in keys:
            buckets[signatures[key][band * DEPTH : (band + 1) * DEPTH].tobytes()].append(key)
        for crowd in buckets.values():
            for i, key in enumerate(crowd):
                candidates |= {(key, other) for other in crowd[i + 1 : i + 1 + CROWD] if not across or side[key] != side[other]}
    runs = {key: _runs(texts[key]) for pair in candidates for key in pair}
    numbers = {key: sorted(_NUMBER.findall(texts[key])) for key in runs}
    found = [Pair(a, b, round(likeness(runs[a], runs[b]), 4)) for a, b in candidates if numbers[a] == numbers[b]]
    return sorted((p for p in found if p.likeness >= near), key=lambda p: (-p.likeness, p.key, p.other))


def likeness(a: set[str], b: set[str]) -> float:
    """The Jaccard index."""
    return len(a & b) / len(a | b) if a or b else 1.0


def _runs(text: str) -> set[str]:
    return {text[i : i + RUN] for i in range(max(1, len(text) - RUN + 1))}


def _signature(text: str) -> npt.NDArray[np.uint32]:
    """The least hash of the text's runs under each of the hash functions. A text shorter than a run is padded."""
    codes = np.frombuffer(text.ljust(RUN).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(codes, RUN)
    hashes = (windows * _POWERS).sum(axis=1, dtype=np.uint64)
    hashes ^= hashes >> np.uint64(29)
    mixed = (hashes[None, :] * _FACTORS[:, None] + _OFFSETS[:, None]) >> np.uint64(32)
    least: npt.NDArray[np.uint32] = mixed.min(axis=1).astype(np.uint32)
    return least
