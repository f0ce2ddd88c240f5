"""The alarm: whether numbers that keep coming are exchangeable with a small fixed sample of the same kind, at any look, for ever.

The sample is sorted and cut at some of its ranks. While production is exchangeable with it, the bins its numbers fall into are draws
from a Pólya urn that starts with the rank gaps as balls, whatever the distribution is: the finite sample is accounted for exactly. The
evidence is the ratio of a mixture of other urns to that one. It is a martingale that starts at 1, so by Ville's inequality the chance
that it ever reaches 1/α is at most α.

Other urns: with fewer balls of the same proportions (bins differ in any way), and with balls moved to the ends (more rows far from, or
far nearer than, what was evaluated). The rank argument is that of conformal test martingales (Vovk, Gammerman and Shafer, "Algorithmic
learning in a random world", 2005), with production never joining the sample (Shaer, Bar, Prinster and Romano, arXiv 2602.13848); the
likelihood ratio of Dirichlet-multinomials is Bayes' classical one. Ties are broken by a uniform number that belongs to the row, so a
replay gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

METHOD = "urn@1"
Side = Literal["above", "both"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ABOVE = (0.50, 0.75, 0.90, 0.95, 0.98, 0.99, 1.0)
BOTH = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99, 1.0)
LOOSER = (1 / 2, 1 / 4, 1 / 16)
TILTS = (0.02, 0.05, 0.1, 0.2, 0.4)
BLOCK = 16_384  # rows worked on at once


class Cuts(msgspec.Struct, frozen=True):
    """Where the sample is cut: `values` with the tie-breakers of the rows they are from, rising, and how many `gaps` between sample rows
    each bin spans: one more than there are rows in the sample."""

    values: tuple[float, ...]
    ties: tuple[float, ...]
    gaps: tuple[int, ...]

    @property
    def size(self) -> int:
        """Rows of the sample."""
        return sum(self.gaps) - 1

    def bins(self, values: Floats, ties: Floats) -> Ints:
        """The bin of each number: how many cuts lie below it."""
        found = np.zeros(len(values), np.int64)
        for cut, tie in zip(self.values, self.ties, strict=True):
            found += (values > cut) | ((values == cut) & (ties > tie))
        return found


def cut(values: Floats, ties: Floats, side: Side) -> Cuts:
    """Cuts at the ranks of a side. Neighbouring ranks that fall on one row of a small sample are one cut."""
    order = np.lexsort((ties, values))
    ranks = sorted({min(len(values), max(1, math.ceil(q * len(values)))) for q in (ABOVE if side == "above" else BOTH)})
    rows = order[[r - 1 for r in ranks]]
    gaps = np.diff([0, *ranks, len(values) + 1])
    return Cuts(tuple(values[rows].tolist()), tuple(ties[rows].tolist()), tuple(gaps.tolist()))


class UrnState(msgspec.Struct):
    """Everything an urn remembers: rows in each bin, log-evidence of each bet, the highest log-evidence yet and after which row."""

    counts: list[int]
    logs: list[float]
    best: float = 0.0
    best_at: int = 0
    crossed: int | None = None  # the row after which the bar was reached first


class Urn:
    """The evidence for one score.

    Args:
        cuts: of the sample.
        side: whether only what lies above the sample counts, or both ends do.
        bar: the log-evidence at which it is noted that it was reached.
        state: where it stood, to go on from there.
    """

    def __init__(self, cuts: Cuts, side: Side, bar: float = math.inf, state: UrnState | None = None) -> None:
        self.cuts = cuts
        self.bar = bar
        self._gaps = np.array(cuts.gaps, np.float64)
        self._balls, weights = bets(cuts.gaps, side)
        self._log_weights = [math.log(w) for w in weights]
        self.state = state or UrnState([0] * len(cuts.gaps), [0.0] * len(weights))

    @property
    def rows(self) -> int:
        return sum(self.state.counts)

    @property
    def log_e(self) -> float:
        """Log-evidence now."""
        return float(_mixed(np.array(self.state.logs)[:, None], self._log_weights)[0])

    def see(self, bins: Ints) -> None:
        """Take the bins of more rows, in their order. The same rows in other portions give the same bits."""
        for start in range(0, len(bins), BLOCK):
            self._block(bins[start : start + BLOCK])

    def _block(self, bins: Ints) -> None:
        state, before = self.state, self.rows
        own = np.zeros(len(bins), np.float64)  # rows in the same bin before each row
        for j in range(len(state.counts)):
            here = bins == j
            count = int(here.sum())
            own[here] = state.counts[j] + np.arange(count)
            state.counts[j] += count
        rows = before + np.arange(len(bins), dtype=np.float64)
        null = np.log((self._gaps[bins] + own) / (self._gaps.sum() + rows))
        logs = np.empty((len(self._balls), len(bins)))
        for k, balls in enumerate(self._balls):
            # one after the other from where it stood, so that portions make no difference
            steps = np.log((balls[bins] + own) / (balls.sum() + rows)) - null
            logs[k] = np.cumsum(np.concatenate(([state.logs[k]], steps)))[1:]
        state.logs = logs[:, -1].tolist()
        mixed = _mixed(logs, self._log_weights)
        top = int(mixed.argmax())
        if mixed[top] > state.best:
            state.best, state.best_at = float(mixed[top]), before + top + 1
        if state.crossed is None and mixed[top] >= self.bar:
            state.crossed = before + int((mixed >= self.bar).argmax()) + 1


def bets(gaps: Sequence[int], side: Side) -> tuple[list[Floats], list[float]]:
    """The other urns, each as its balls, and their weights in the mixture."""
    null = np.array(gaps, np.float64)
    total = null.sum()
    balls = [null * looser for looser in LOOSER]
    # a row of an unseen topic is further away than all of the sample, or at least than most of it
    ends = [_end(null, 1), _end(null, 3)] if side == "above" else [_end(null, 2), _end(null[::-1], 2)[::-1]]
    balls += [(1 - tilt) * null + tilt * total * end for end in ends for tilt in TILTS]
    few, many = len(LOOSER), len(balls) - len(LOOSER)
    return balls, [*(0.3 / few for _ in range(few)), *(0.7 / many for _ in range(many))]


def _end(null: Floats, bins: int) -> Floats:
    """Where moved balls go: in equal parts to the last few bins."""
    end = np.zeros_like(null)
    end[-bins:] = 1 / min(bins, len(null))
    return end


def log_evidence(counts: NDArray[Any], gaps: Sequence[int], side: Side) -> Floats:
    """Log-evidence of many urns at once by their counts alone (rows: urns, columns: bins). The order of rows makes no difference to it."""
    from scipy.special import gammaln  # heavy: only where it is used

    def likelihood(balls: Floats) -> Floats:
        n = counts.sum(axis=1)
        whole: Floats = (gammaln(balls + counts) - gammaln(balls)).sum(axis=1) + gammaln(balls.sum()) - gammaln(balls.sum() + n)
        return whole

    balls, weights = bets(gaps, side)
    null = likelihood(np.array(gaps, np.float64))
    return _mixed(np.stack([likelihood(b) - null for b in balls]), [math.log(w) for w in weights])


def _mixed(logs: Floats, log_weights: Sequence[float]) -> Floats:
    """The log of the weighted mean of evidence, column by column; summed in one order, however many columns there are."""
    top = logs.max(axis=0)
    total = np.zeros(logs.shape[1])
    for row, weight in zip(logs, log_weights, strict=True):
        total += np.exp(row + weight - top)
    mixed: Floats = top + np.log(total)
    return mixed
