"""Words that tell groups of texts apart: class-based TF-IDF (Grootendorst, arXiv 2203.05794)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from windlass.monitor.descriptors import words

_COMMON_WORDS = """
a an and are as at be but by can could do does for from have how i if in into is it its me my no not of on or our please so that the their
them then there these they this to was we what when where which who why will with would you your
"""
_COMMON = frozenset(_COMMON_WORDS.split())


def names(groups: Sequence[Sequence[str]], most: int = 5) -> list[tuple[str, ...]]:
    """The words of each group that are frequent in it and rare in the others, best first. Common words only where there is nothing else."""
    counts = [Counter(word for text in group for word in words(text) if not word.isdigit()) for group in groups]
    everywhere: Counter[str] = Counter()
    for count in counts:
        everywhere.update(count)
    mean = sum(everywhere.values()) / max(1, len(groups))
    found = []
    for count in counts:
        size = max(1, sum(count.values()))
        weight = {w: n / size * math.log1p(mean / everywhere[w]) for w, n in count.items()}
        ranked = sorted(weight, key=lambda w: (w in _COMMON or len(w) < 2, -weight[w], w))
        found.append(tuple(ranked[:most]))
    return found
