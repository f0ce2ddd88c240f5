"""How often each topic of the evaluation rows is asked in production: shares side by side, with intervals that all hold together."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.core.monitoring import Mix
from windlass.core.score import Interval
from windlass.monitor.coverage import LEVEL, rate_interval


def exact_interval(hits: int, rows: int, level: float) -> Interval:
    """The interval of a rate of a fixed sample (Clopper and Pearson, Biometrika 26, 1934)."""
    from scipy.stats import beta  # heavy: only where it is used

    tail = (1 - level) / 2
    low = float(beta.ppf(tail, hits, rows - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, rows - hits)) if hits < rows else 1.0
    return Interval(low, high, level)


def table(words: Sequence[tuple[str, ...]], evaluated: Sequence[int], production: Sequence[int]) -> tuple[Mix, ...]:
    """One line a topic, those that moved most first. The error is split over all intervals; those of production hold at every look."""
    sizes, counted = sum(evaluated), sum(production)
    if not counted:
        return ()
    level = 1 - (1 - LEVEL) / (2 * len(words))
    lines = []
    for k, name in enumerate(words):
        there, here = exact_interval(evaluated[k], sizes, level), rate_interval(production[k], counted, level)
        apart = here.low > there.high or here.high < there.low
        lines.append(Mix(k, name, evaluated[k] / sizes, there, production[k] / counted, here, apart))
    return tuple(sorted(lines, key=lambda line: (-abs(line.production - line.evaluated), line.topic)))
