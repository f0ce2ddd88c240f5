"""Evidence about a mean of bounded scores that holds however often one looks: betting e-processes and what follows from them.

A bet against "the mean is at most m" multiplies its capital by 1 + λ(x − m) with each observation x, where λ is small enough
that capital never falls below zero. If the claim holds, expected capital never grows, so by Ville's inequality the chance that it
ever reaches 1/α is at most α: for any distribution on the range, at any sample size, at any stopping time. Capital here is a
weighted mean over a fixed grid of λ, which is a bet too.

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024); Wilson, JASA 22 (1927).
Knows nothing of guards, rows or suites.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import NormalDist, fmean
from typing import Literal

from windlass.core.score import Interval

METHOD = "betting-mixture@1"  # the grid and the rule; part of a verdict's manifest
STAKES = tuple(0.99 / 1.5**k for k in range(9, -1, -1))  # shares of the stake that could ruin
# the boldest bet has more weight: rows on which two versions cannot differ are settled soonest by it
WEIGHTS = (*(0.7 / (len(STAKES) - 1) for _ in STAKES[1:]), 0.3)
Side = Literal["above", "below"]


class Bet:
    """Evidence that the mean of values in [low, high] lies above (or below) `null`.

    `capital` starts at 1; `capital` ≥ 1/α is shown at error α. Raises `ValueError` for a null at or beyond the end of the range from
    which the bet starts: there is nothing to lose there, so nothing is shown.
    """

    def __init__(self, low: float, high: float, null: float, side: Side) -> None:
        self._sign = 1.0 if side == "above" else -1.0
        self._null = null
        reach = null - low if side == "above" else high - null
        if not (low < high and reach > 0):
            raise ValueError(f"no bet {side} {null} on values from {low} to {high}")
        self._stakes = [share / reach for share in STAKES]
        self._capitals = list(WEIGHTS)
        self.capital = 1.0

    def see(self, value: float) -> float:
        """Take one observation; the capital after it."""
        excess = self._sign * (value - self._null)
        self._capitals = [min(c * (1.0 + stake * excess), 1e300) for c, stake in zip(self._capitals, self._stakes, strict=True)]
        self.capital = sum(self._capitals)
        return self.capital

    def needs(self, seen: Sequence[float], error: float) -> int | None:
        """How many more observations would show it, if they went on like those seen; None when they never would.

        The growth of each stake is its mean log-return over `seen`, with one observation at the null added so that a
        short lucky run does not promise too much.
        """
        if not seen:
            return None
        best: int | None = None
        for capital, stake in zip(self._capitals, self._stakes, strict=True):
            growth = sum(math.log1p(stake * self._sign * (x - self._null)) for x in seen) / (len(seen) + 1)
            missing = math.log(1 / error) - math.log(max(capital, 1e-300))
            if growth > 1e-9:
                more = max(1, math.ceil(missing / growth))
                best = more if best is None else min(best, more)
        return best


def crossing(values: Iterable[float], low: float, high: float, null: float, side: Side, error: float) -> bool:
    """Whether the bet ever reaches 1/error on these values, in this order."""
    bet = Bet(low, high, null, side)
    return any(bet.see(value) >= 1 / error for value in values)


def mean_interval(values: Sequence[float], low: float, high: float, level: float = 0.95) -> Interval | None:
    """A confidence sequence for the mean, at its last observation: all nulls that no bet has refuted so far. None without values.

    Holds at every sample size at once, so one may look after each row. Bounds are found by bisection: capital falls as the
    null moves towards the values. What early observations refuted stays refuted, so that later ones may carry the mean out of it;
    then the interval reaches to the mean.
    """
    if not values:
        return None
    error = (1 - level) / 2
    reaches_low = _bound(lambda null: crossing(values, low, high, null, "above", error), low, high)
    reaches_high = -_bound(lambda null: crossing(values, low, high, -null, "below", error), -high, -low)
    ends = (reaches_low, reaches_high, fmean(values))
    return Interval(min(ends), max(ends), level, anytime=True)


def _bound(refuted: Callable[[float], bool], low: float, high: float) -> float:
    """The largest null that is refuted, where all below it are; `low` when none is."""
    span = high - low
    inside, outside = low, high
    if not refuted(low + span * 1e-6):
        return low
    for _ in range(20):  # to a millionth of the range
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if refuted(middle) else (inside, middle)
    return inside


def wilson(successes: int, trials: int, level: float = 0.95) -> Interval | None:
    """Wilson's score interval of a proportion. None without trials."""
    if not trials:
        return None
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p = successes / trials
    denominator = 1 + z * z / trials
    centre = (p + z * z / (2 * trials)) / denominator
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials)) / denominator
    return Interval(max(0.0, centre - half), min(1.0, centre + half), level)


def score_interval(values: Sequence[float], low: float, high: float, level: float = 0.95) -> Interval | None:
    """The interval shown beside a mean score: Wilson's where scores are all or nothing, else `mean_interval`."""
    if values and (low, high) == (0.0, 1.0) and all(v in (0.0, 1.0) for v in values):
        return wilson(round(sum(values)), len(values), level)
    return mean_interval(values, low, high, level)
