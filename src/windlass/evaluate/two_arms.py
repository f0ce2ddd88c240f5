"""Evidence about how much worse a candidate is than the base, from units that were put on either arm by lot, however often one looks.

A unit that came to the candidate with chance p and was measured y gives

    z = (y − b)/p                on the candidate
    z = −(y − b)/(1 − p)         on the base

for any b that was fixed before. Whatever came before, the mean of z over the lot is what the candidate would have been measured for this
unit less what the base would: the difference itself, also where traffic changes from hour to hour and where p changes from step to step
(Horvitz and Thompson; b is the mean so far, which makes z small). Pairs, one unit measured on both, give z = y₁ − y₀.

`Bounded`: y in [0, 1], by the gate's bets (`stats.py`) on z, whose range is known once p and b are: Waudby-Smith and Ramdas, JRSS B 86
(2024). Holds for any distribution, at any number of units. `Unbounded`: y ≥ 0 without an upper end (seconds, dollars), by a confidence
sequence that holds in the limit of many units: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Annals of Statistics 52 (2024).

y counts harm: more is worse. Knows nothing of rollouts.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from windlass.evaluate.stats import STAKES, WEIGHTS

METHOD = "lots-betting@1"  # the rule and the grid; part of what a rollout's evidence says of itself
_SIZES = np.geomspace(0.001, 1.0, 24)
_SHARES = np.array(STAKES)
_WEIGHTS = np.array(WEIGHTS)
LEAST_REACH = 0.05
WARM_UP = 20  # units of each arm by which an unbounded measure is centred before anything counts
LEAST = 100  # units of each arm before a limit is believed: with 30, long tails let one at its margin through in 10 %
TUNED_FOR = 500  # units at which the sequence is tightest


def lot(candidate: Any, chance: Any, y: Any, b: Any) -> tuple[Any, Any, Any]:
    """z of a unit, and the range it lay in before its arm was drawn. Of numbers, or of arrays alike."""
    z = (y - b) * np.where(candidate, 1 / chance, -1 / (1 - chance))
    return z, -np.maximum(b / chance, (1 - b) / (1 - chance)), np.maximum((1 - b) / chance, b / (1 - chance))


def bet(capitals: NDArray[np.float64], nulls: NDArray[np.float64], z: Any, low: Any, high: Any) -> NDArray[np.float64]:
    """Capitals of shape (…, 2, stakes, nulls) after z in [low, high], which are of shape (…): [0] bets that the mean lies below a null,
    [1] that it lies above."""
    z, low, high = (np.asarray(of)[..., None] for of in (z, low, high))
    excess = z - nulls
    reach = np.maximum(np.stack([high - nulls, nulls - low], -2), LEAST_REACH)
    returns = np.stack([-excess, excess], -2) / reach
    after: NDArray[np.float64] = np.minimum(capitals * (1.0 + _SHARES[:, None] * returns[..., None, :]), 1e300)
    return after


class Measured(Protocol):
    """Evidence on one measure. `units` are those that counted, base and candidate."""

    units: list[int]

    def see(self, candidate: bool, chance: float, y: float) -> None: ...
    def see_pair(self, candidate: float, base: float) -> None: ...
    def not_worse(self, error: float) -> bool: ...
    def worse(self, error: float) -> bool: ...
    def estimate(self) -> float | None: ...
    def interval(self, error_high: float, error_low: float) -> tuple[float, float] | None: ...
    def needs(self, error: float) -> int | None: ...


class Kept(msgspec.Struct, array_like=True):
    """Evidence as it is kept between two looks."""

    units: list[int]
    sums: list[float]
    arrays: bytes = b""


class Bounded:
    """Bets on harm in [0, 1]. `margin`: how much worse is still let go; `guess`: the mean of y, before anything is known."""

    def __init__(self, margin: float, guess: float = 0.5, kept: Kept | None = None) -> None:
        self._margin = margin
        self._nulls = np.unique(np.concatenate([-_SIZES, [0.0], _SIZES, [margin]]))
        self._at = int(np.searchsorted(self._nulls, margin))
        shape = (2, len(STAKES), len(self._nulls))
        self.units = [0, 0]
        self._sums = [guess, 1.0, 0.0, 0.0]  # of y and their number, with a guess that counts as one; of z and their number
        # [0] against "worse by the null or more", [1] against "worse by the null or less"; then the most that each ever was
        self._capitals: NDArray[np.float64] = np.broadcast_to(_WEIGHTS[:, None], shape).copy()
        self._most: NDArray[np.float64] = np.ones((2, len(self._nulls)))
        if kept is not None:
            self.units, self._sums = list(kept.units), list(kept.sums)
            numbers = np.frombuffer(kept.arrays)
            size = int(np.prod(shape))
            self._capitals, self._most = numbers[:size].reshape(shape).copy(), numbers[size:].reshape(self._most.shape).copy()

    def kept(self) -> Kept:
        return Kept(self.units, self._sums, self._capitals.tobytes() + self._most.tobytes())

    def see(self, candidate: bool, chance: float, y: float) -> None:
        """Raises `ValueError` for what is no number in [0, 1], and where the arm was no lot."""
        if not 0.0 <= y <= 1.0:
            raise ValueError(f"{y} does not lie in [0, 1]")
        if not 0.0 < chance < 1.0:
            raise ValueError("a unit whose arm was no lot says nothing of the difference")
        b = min(1.0, max(0.0, self._sums[0] / self._sums[1]))
        self._bet(*lot(candidate, chance, y, b))
        self._sums[0] += y
        self._sums[1] += 1
        self.units[bool(candidate)] += 1

    def see_pair(self, candidate: float, base: float) -> None:
        if not (0.0 <= candidate <= 1.0 and 0.0 <= base <= 1.0):
            raise ValueError("a pair does not lie in [0, 1]")
        self._bet(candidate - base, -1.0, 1.0)
        self.units[0] += 1
        self.units[1] += 1

    def _bet(self, z: float, low: float, high: float) -> None:
        self._capitals = bet(self._capitals, self._nulls, z, low, high)
        np.maximum(self._most, self._capitals.sum(axis=1), out=self._most)
        self._sums[2] += float(z)
        self._sums[3] += 1

    def not_worse(self, error: float) -> bool:
        """Whether it was ever shown not to be worse by the margin or more."""
        return bool(self._most[0, self._at] >= 1 / error)

    def worse(self, error: float) -> bool:
        """Whether it was ever shown to be worse by more than the margin."""
        return bool(self._most[1, self._at] >= 1 / error)

    def capitals(self) -> tuple[float, float]:
        """Against "worse by the margin", and against "not worse by more", as they stand."""
        now = self._capitals.sum(axis=1)[:, self._at]
        return float(now[0]), float(now[1])

    def estimate(self) -> float | None:
        return self._sums[2] / self._sums[3] if self._sums[3] else None

    def interval(self, error_high: float, error_low: float) -> tuple[float, float] | None:
        """What no bet has refuted of the difference, to the next null of the grid: its upper end at one error, its lower at the other."""
        if not self._sums[3]:
            return None
        above, below = self._most[0] >= 1 / error_high, self._most[1] >= 1 / error_low
        high = float(self._nulls[above].min(initial=1.0))
        low = float(self._nulls[below].max(initial=-1.0))
        return min(low, high), max(low, high)

    def needs(self, error: float) -> int | None:
        """How many more units would show it not worse, if they went on like those seen; None when they never would."""
        n = self._sums[3]
        if not n or self.not_worse(error):
            return None
        capitals = np.maximum(self._capitals[0, :, self._at], 1e-300)
        growth = np.log(capitals / _WEIGHTS) / (n + 1)
        missing = math.log(1 / error) - np.log(capitals)
        able = growth > 1e-9
        return int(np.ceil(np.maximum(missing[able] / growth[able], 1)).min()) if able.any() else None


class Unbounded:
    """Harm without an upper end. `margin` is how much worse is still let go: an amount, or with `relative` a share of what the base has."""

    def __init__(self, margin: float, relative: bool = False, kept: Kept | None = None) -> None:
        self._amount, self._ratio = (0.0, 1.0 + margin) if relative else (margin, 1.0)
        self.units = [0, 0]
        # sums of y by arm; how many counted, their mean, and the sum of squares about it; pairs
        self._sums = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        if kept is not None:
            self.units, self._sums = list(kept.units), list(kept.sums)

    def kept(self) -> Kept:
        return Kept(self.units, self._sums)

    def see(self, candidate: bool, chance: float, y: float) -> None:
        """Raises `ValueError` for what is no number, and where the arm was no lot."""
        if not (math.isfinite(y) and y >= 0):
            raise ValueError(f"{y} is no amount")
        if not 0.0 < chance < 1.0:
            raise ValueError("a unit whose arm was no lot says nothing of the difference")
        if min(self.units) >= WARM_UP:
            base, mine = (self._sums[a] / self.units[a] for a in (0, 1))
            z = mine - self._ratio * base - self._amount
            z += (y - mine) / chance if candidate else -self._ratio * (y - base) / (1 - chance)
            self._count(z)
        self._sums[bool(candidate)] += y
        self.units[bool(candidate)] += 1

    def see_pair(self, candidate: float, base: float) -> None:
        if not (math.isfinite(candidate) and math.isfinite(base) and min(candidate, base) >= 0):
            raise ValueError("a pair is no two amounts")
        self._count(candidate - self._ratio * base - self._amount)
        for arm, y in enumerate((base, candidate)):
            self._sums[arm] += y
            self.units[arm] += 1

    def _count(self, z: float) -> None:
        self._sums[2] += 1
        delta = z - self._sums[3]
        self._sums[3] += delta / self._sums[2]
        self._sums[4] += delta * (z - self._sums[3])

    def _reach(self, error: float) -> float | None:
        """How far the mean may lie from what was seen, to one side; None before enough was."""
        n = self._sums[2]
        if min(self.units) < LEAST or n < LEAST:
            return None
        tuned = (-2 * math.log(error) + math.log(-2 * math.log(error)) + 1) / TUNED_FOR
        v = n * tuned + 1
        return math.sqrt(self._sums[4] / n * 2 * v / (n * n * tuned) * math.log(1 + math.sqrt(v) / (2 * error)))

    def not_worse(self, error: float) -> bool:
        reach = self._reach(error)
        return reach is not None and self._sums[3] + reach < 0

    def worse(self, error: float) -> bool:
        reach = self._reach(error)
        return reach is not None and self._sums[3] - reach > 0

    def _margin(self) -> float:
        """The margin as an amount: of what the base has so far, where it is a share."""
        return self._amount + (self._ratio - 1.0) * (self._sums[0] / self.units[0] if self.units[0] else 0.0)

    def estimate(self) -> float | None:
        return self._sums[3] + self._margin() if self._sums[2] else None

    def interval(self, error_high: float, error_low: float) -> tuple[float, float] | None:
        high, low = self._reach(error_high), self._reach(error_low)
        if high is None or low is None:
            return None
        return self._sums[3] + self._margin() - low, self._sums[3] + self._margin() + high

    def needs(self, error: float) -> int | None:
        """How many more units, if they went on like those seen; before enough was seen, those that lack for that."""
        reach = self._reach(error)
        if reach is None:
            return max(1, LEAST - min(self.units))
        if self._sums[3] + reach < 0:
            return None
        return math.ceil(self._sums[2] * ((reach / -self._sums[3]) ** 2 - 1)) if self._sums[3] < 0 else None
