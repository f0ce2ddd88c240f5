"""The direction in which production moved: learnt from the rows that came before, held against those that come after.

After 50, 100, 200 … counted rows it is the difference between the mean vector of production so far and that of the fit half: what the mean
discrepancy's witness is for a linear kernel. Every row that comes after has a place along it, the calibration half says where evaluation
rows lie, and an urn counts. A direction is fixed before its rows come, and is made of no row that it is held against, so its evidence is
that of any other score; each further one has less of the error (a union bound).

Distance sees rows that are like nothing evaluated. This sees many rows that are like one another, such as one new topic, also where
evaluation rows are few and far between, so that any row is far from the nearest.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from windlass.core.monitoring import Coverage
from windlass.monitor.baseline import Baseline
from windlass.monitor.coverage import INSIDE, LEVEL, coverage
from windlass.monitor.urn import Cuts, Ints, Urn, UrnState, cut
from windlass.monitor.vectors import STEPS, Bools, Floats, Grid, grid

NAME = "direction"
FIRST = 50  # counted rows after which there is a direction, and a new one whenever there are twice as many
TIE = 12  # which of a row's tie-breakers is this score's


class DirectionState(msgspec.Struct):
    """Sums of all counted rows by half, the direction in force with its urn, and the best evidence of any. `effect` is the largest of
    directions that are over and alarmed, `covered` what the one before this showed."""

    sums: bytes = b""
    rows: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    learnt: bytes = b""
    number: int = 0
    urn: UrnState | None = None
    best: float = -math.inf
    since: int | None = None
    effect: float = 0.0
    covered: Coverage | None = None


class Direction:
    """The score of one watch.

    Args:
        baseline: the evaluation rows.
        ties: tie-breakers of the calibration half.
        error: the part of alpha that this score has.
        state: where it stood, to go on from there.
    """

    def __init__(self, baseline: Baseline, ties: Floats, error: float, state: DirectionState | None = None) -> None:
        self.state = state or DirectionState()
        self._baseline = baseline
        self._ties = ties
        self._error = error
        vectors = baseline.vectors
        self._fit = vectors[: baseline.fit].astype(np.int64).sum(axis=0)
        self._calibration = vectors[baseline.fit :]
        known = np.frombuffer(self.state.sums, np.int64) if self.state.sums else np.zeros(2 * baseline.dimensions, np.int64)
        self._sums = known.reshape(2, baseline.dimensions).copy()
        self._learnt: Grid | None = np.frombuffer(self.state.learnt, np.int16) if self.state.learnt else None
        self._urn = self._held(self.state.urn) if self._learnt is not None else None

    def kept(self) -> DirectionState:
        """All there is to go on from."""
        self.state.sums = self._sums.tobytes()
        return self.state

    @property
    def counted(self) -> int:
        return sum(self.state.rows)

    @property
    def due(self) -> int:
        """The counted row after which the next direction is learnt."""
        return next(FIRST << k for k in range(64) if FIRST << k > self.counted)

    def see(self, steps: Grid, halves: Ints, ties: Floats) -> None:
        """Take rows, which do not reach over the row that is due."""
        due, s = self.due, self.state
        if self._urn is not None and self._learnt is not None and len(steps):
            before = self.counted - self._urn.rows
            self._urn.see(self._urn.cuts.bins(along(steps, self._learnt), ties))
            s.urn = self._urn.state
            s.best = max(s.best, s.urn.best + math.log(share_of(s.number)))
            if s.urn.crossed is not None:
                s.since = s.since or before + s.urn.crossed
        for h in (0, 1):
            self._sums[h] += steps[halves == h].astype(np.int64).sum(axis=0)
            s.rows[h] += int((halves == h).sum())
        if self.counted == due:
            self._learn()

    def _learn(self) -> None:
        if self._urn is not None:
            self.state.effect, self.state.covered = self.effect(), self.coverage()
        self._learnt = self._between(self._sums.sum(axis=0), self.counted)
        self.state.learnt, self.state.urn = self._learnt.tobytes(), None
        self.state.number += 1
        self._urn = self._held(None)

    def _between(self, total: Ints, rows: int) -> Grid:
        """The direction from the fit half's mean to the mean of rows with this sum."""
        learnt: Grid = grid((total / max(1, rows) - self._fit / max(1, self._baseline.fit))[None])[0]
        return learnt

    def _held(self, state: UrnState | None) -> Urn:
        assert self._learnt is not None
        return Urn(self._cuts(self._learnt), "above", -math.log(self._error * share_of(self.state.number)), state)

    def _cuts(self, learnt: Grid) -> Cuts:
        return cut(along(self._calibration, learnt), self._ties, "above")

    def log_e(self) -> float:
        """Log-evidence of the direction in force."""
        return self._urn.log_e if self._urn is not None else 0.0

    def effect(self) -> float:
        """The largest share of rows beyond a direction that alarmed."""
        crossed = self._urn is not None and self._urn.state.crossed is not None
        return max(self.state.effect, self._covered(self._urn).uncovered) if self._urn is not None and crossed else self.state.effect

    def coverage(self) -> Coverage | None:
        """The share of rows since the direction was learnt that lie further along it than evaluation rows do, once that was shown. Its
        interval holds for all directions together with the coverage by distance. Of the one before, until this one has seen some."""
        if self.state.since is None or self._urn is None or self._urn.rows < FIRST:
            return self.state.covered
        return self._covered(self._urn, 1 - (1 - LEVEL) * share_of(self.state.number) / 2)

    def _covered(self, urn: Urn, level: float = LEVEL) -> Coverage:
        first, gaps = _beyond(urn.cuts)
        return coverage(sum(urn.state.counts[first:]), urn.rows, len(self._calibration), gaps, level)

    def outside(self, steps: Grid, ties: Floats) -> tuple[Bools, Bools]:
        """Which of these rows, and which of the calibration half, lie far along the direction that the rows of the first half alone give,
        so that what the second half shows of them is a test."""
        learnt = self._between(self._sums[0], self.state.rows[0])
        cuts = self._cuts(learnt)
        first, _ = _beyond(cuts)
        theirs: Bools = cuts.bins(along(steps, learnt), ties) >= first
        ours: Bools = cuts.bins(along(self._calibration, learnt), self._ties) >= first
        return theirs, ours


def along(steps: Grid, learnt: Grid) -> Floats:
    """How far each row lies along a direction: whole numbers below 2²⁴ added in float32, so the same bits in any order."""
    found: Floats = (steps.astype(np.float32) @ learnt.astype(np.float32)).astype(np.float64) / STEPS**2
    return found


def share_of(number: int) -> float:
    """The part of the score's error that its direction of this number has; all together are 1."""
    return 6 / (math.pi * number) ** 2


def _beyond(cuts: Cuts) -> tuple[int, int]:
    """The first bin beyond the rank that 95 % of the sample reach, and how many gaps lie in it and above."""
    ranks = np.cumsum(cuts.gaps)[:-1]
    first = int((ranks >= math.ceil(INSIDE * cuts.size)).argmax()) + 1
    return first, int(sum(cuts.gaps[first:]))
