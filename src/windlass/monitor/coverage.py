"""How much of production lies outside what was evaluated, and what that leaves of a score.

The region is all that is at most as far from the fit half as 95 % of the calibration half is. The rate outside has a confidence sequence
by the mixture of Beta-binomials (Robbins, Ann. Math. Stat. 41, 1970): it holds at every look. How many evaluation rows themselves
lie outside in truth is not 5 % but Beta-distributed about it, exactly (Wilks, Ann. Math. Stat. 12, 1941); the interval of the
uncovered share includes that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from windlass.core.monitoring import Coverage, Quality
from windlass.core.score import Interval

INSIDE = 0.95
LEVEL = 0.95
# of the error of the interval: the region is what is known least
FOR_RATE, FOR_REGION = 0.4, 0.6
PRIOR = (0.5, 0.5)


def rate_interval(hits: int, rows: int, level: float = LEVEL) -> Interval:
    """A confidence sequence for a rate, at this many rows: every rate that the mixture has not refuted."""
    if not rows:
        return Interval(0.0, 1.0, level, anytime=True)
    a, b = PRIOR
    mixture = _log_beta(a + hits, b + rows - hits) - _log_beta(a, b)
    bar = math.log(1 / (1 - level))

    def refuted(rate: float) -> bool:
        likelihood = (hits * math.log(rate) if hits else 0.0) + ((rows - hits) * math.log1p(-rate) if hits < rows else 0.0)
        return mixture - likelihood >= bar

    seen = hits / rows
    low = 0.0 if not hits else _edge(refuted, 0.0, seen)
    high = 1.0 if hits == rows else _edge(refuted, 1.0, seen)
    return Interval(low, high, level, anytime=True)


def _edge(refuted: Callable[[float], bool], outside: float, inside: float) -> float:
    """Where refutation begins between an end of the range and what was seen; on the outer side of it."""
    for _ in range(60):
        middle = (outside + inside) / 2
        if refuted(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def missed_interval(calibration: int, beyond: int, level: float) -> Interval:
    """What share of evaluation-like rows lies beyond a rank of the calibration half that has `beyond` gaps above it."""
    from scipy.stats import beta  # heavy: only where it is used

    law = beta(beyond, calibration + 1 - beyond)
    tail = (1 - level) / 2
    return Interval(float(law.ppf(tail)), float(law.ppf(1 - tail)), level)


def coverage(outside: int, rows: int, calibration: int, beyond: int, level: float = LEVEL) -> Coverage:
    """The uncovered share after so many rows, of which so many lie outside."""
    error = 1 - level
    rate = outside / rows if rows else 0.0
    shown = rate_interval(outside, rows, level)
    rates = rate_interval(outside, rows, 1 - error * FOR_RATE)
    missed = missed_interval(calibration, beyond, 1 - error * FOR_REGION)
    expected = beyond / (calibration + 1)

    def excess(rate: float, missed: float) -> float:
        return min(1.0, max(0.0, (rate - missed) / (1 - missed)))

    between = Interval(excess(rates.low, missed.high), excess(rates.high, missed.low), level, anytime=True)
    return Coverage(rows, outside, rate, shown, 1 - expected, excess(rate, expected), between)


def quality(
    means: Sequence[float | None], evaluated: Sequence[int], production: Sequence[int], uncovered: Interval, bounds: tuple[float, float]
) -> Quality | None:
    """What a mean score is worth in production: topic by topic its mean on the evaluation rows, weighted by the covered rows of production,
    and the uncovered share at the worst and at the best. A topic without a score counts as the mean of all. None without scores."""
    known = [(mean, n) for mean, n in zip(means, evaluated, strict=True) if mean is not None]
    if not known or not sum(n for _, n in known):
        return None
    overall = sum(mean * n for mean, n in known) / sum(n for _, n in known)
    filled = [overall if mean is None else mean for mean in means]
    total = sum(production)
    inside = sum(mean * n for mean, n in zip(filled, production, strict=True)) / total if total else overall
    worst, best = bounds
    return Quality(
        evaluated=overall,
        reweighted=inside,
        low=(1 - uncovered.high) * inside + uncovered.high * worst,
        high=(1 - uncovered.high) * inside + uncovered.high * best,
    )
