"""What production asks that was not evaluated: groups of rows outside the region, found in one half of them and tested on the other.

Rows outside go through PCA and HDBSCAN (Campello, Moulavi and Sander, PAKDD 2013). Each group is a ball about its centre; rows of the
other half that fall into it are held against the calibration half by Fisher's one-sided test, corrected after Holm (Scand. J. Stat. 6,
1979). Without that split most groups found are accidents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from windlass.core.monitoring import Topic
from windlass.monitor.coverage import LEVEL
from windlass.monitor.mix import exact_interval
from windlass.monitor.naming import names
from windlass.monitor.vectors import STEPS, Floats, Grid, grid, unit

METHOD = "topics@1"
COMPONENTS = 20
SMALLEST = 5  # rows of a group
REACH = 0.9  # of a group's rows are in its ball
EXEMPLARS = 5
SAME = 0.7  # likeness of two groups' centres from which they are one
LEVEL_OF_TEST = 0.05
Texts = Callable[[Sequence[str]], dict[str, str]]


class Outside(msgspec.Struct, frozen=True):
    """Rows outside the region: a sample of them with their halves, and of how many rows and rows outside each half consists."""

    ids: Sequence[str]
    steps: Grid
    halves: NDArray[np.int64]
    rows: Sequence[int]
    outside: Sequence[int]

    def all_rows(self, half: int) -> int:
        """Of how many rows the sample's rows of a half are those outside: fewer than there were, when the sample is not all of them."""
        kept = int((self.halves == half).sum())
        return max(kept, round(self.rows[half] * kept / self.outside[half])) if self.outside[half] else self.rows[half]


class Ball(msgspec.Struct, frozen=True):
    """A group: its centre and how near to it a row must be."""

    centre: Grid
    least: float

    def holds(self, steps: Grid) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = likeness(steps, self.centre) >= self.least
        return found


def likeness(steps: Grid, centre: Grid) -> Floats:
    found: Floats = (steps.astype(np.float32) @ centre.astype(np.float32)).astype(np.float64) / STEPS**2
    return found


def find(
    outside: Outside, calibration: Grid, calibration_rows: int, texts: Texts, seed: int, far: NDArray[np.bool_] | None = None
) -> tuple[Topic, ...]:
    """Topics, confirmed ones first, then by share. `calibration` are the rows of the calibration half that lie outside the region. `far`
    are rows that lie far along the direction in which production moved: where dense groups hold less than half of them, as with vectors
    in which no row is near another, those are one group."""
    first, second = outside.halves == 0, outside.halves == 1
    balls = groups(outside.steps[first], seed)
    alone = outside.steps[first & far] if far is not None else outside.steps[:0]
    if len(alone) and 2 * np.any([ball.holds(alone) for ball in balls] or [np.zeros(len(alone), bool)], axis=0).sum() < len(alone):
        one = together(alone)
        balls = [one, *(ball for ball in balls if float(likeness(ball.centre[None], one.centre)[0]) < SAME)] if one else balls
    if not balls:
        return ()
    total = outside.all_rows(1)
    hits = [int(ball.holds(outside.steps[second]).sum()) for ball in balls]
    there = [int(ball.holds(calibration).sum()) for ball in balls]
    ps = holm([fisher(k, total, c, calibration_rows) for k, c in zip(hits, there, strict=True)])
    members: list[list[int]] = [np.flatnonzero(ball.holds(outside.steps)).tolist() for ball in balls]
    known = texts([outside.ids[i] for i in sorted({i for member in members for i in member})])
    spoken = names([[known[outside.ids[i]] for i in member if outside.ids[i] in known] for member in members])
    level = 1 - (1 - LEVEL) / (2 * len(balls))
    found = []
    for ball, k, c, p, member, said in zip(balls, hits, there, ps, members, spoken, strict=True):
        here, before = exact_interval(k, total, level), exact_interval(c, calibration_rows, level)
        share, evaluated = k / total if total else 0.0, c / calibration_rows
        if share <= evaluated:  # the other half does not have it: an accident
            continue
        lift = share / evaluated if evaluated else None
        found.append(
            Topic(
                " ".join(said[:3]) or "rows without a text", "confirmed" if p <= LEVEL_OF_TEST else "candidate", len(member), share, here,
                evaluated, lift, here.low / before.high, here.high / before.low if before.low else None, p, said,
                tuple(outside.ids[i] for i in exemplars(outside.steps, member, ball)),
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda t: (t.tier != "confirmed", -t.share, t.name)))


def groups(steps: Grid, seed: int) -> list[Ball]:
    """The groups of these rows; none when there are too few, or no two are near one another."""
    if len(steps) < 2 * SMALLEST:
        return []
    from sklearn.cluster import HDBSCAN  # heavy: only where it is used
    from sklearn.decomposition import PCA

    vectors = unit(steps)
    components = min(COMPONENTS, len(vectors) - 1, vectors.shape[1])
    reduced: Any = PCA(components, svd_solver="randomized", random_state=seed % 2**32).fit_transform(vectors)
    # one group is a group: often exactly one thing is new
    labels = HDBSCAN(min_cluster_size=SMALLEST, allow_single_cluster=True, copy=True).fit_predict(reduced)
    found = []
    for label in range(int(labels.max()) + 1):
        members = steps[labels == label]
        centre = grid(members.astype(np.float64).mean(axis=0)[None])[0]
        found.append(Ball(centre, float(np.quantile(likeness(members, centre), 1 - REACH))))
    return found


def together(steps: Grid) -> Ball | None:
    """The one group that rows far along a direction are: those near their mean, then those near the mean of these. None where there are
    hardly any."""
    for _ in range(2):
        if len(steps) < SMALLEST:
            return None
        centre = grid(steps.astype(np.float64).mean(axis=0)[None])[0]
        near = likeness(steps, centre)
        least = float(np.quantile(near, 1 - REACH))
        steps = steps[near >= least]
    return Ball(centre, least)


def fisher(hits: int, rows: int, hits_before: int, rows_before: int) -> float:
    """The chance of so many hits or more among the rows, when all hits could as well have been anywhere."""
    from scipy.stats import hypergeom  # heavy: only where it is used

    return float(hypergeom.sf(hits - 1, rows + rows_before, hits + hits_before, rows))


def holm(ps: Sequence[float]) -> list[float]:
    """The p-values, corrected so that one may hold each against the level of all together."""
    found, worst = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[place]))
        found[place] = worst
    return found


def exemplars(steps: Grid, members: Sequence[int], ball: Ball) -> list[int]:
    """The row nearest to the centre, and of the nearer half each time the one that is least like those already taken: what is said of a
    topic in several ways, and not what just lies at its edge."""
    if not len(members):
        return []
    near = likeness(steps[list(members)], ball.centre)
    chosen = np.argsort(-near, kind="stable")[: max(EXEMPLARS, -(-len(near) // 2))]
    vectors = steps[[members[i] for i in chosen.tolist()]]
    taken = [0]
    closest = likeness(vectors, vectors[0])
    while len(taken) < min(EXEMPLARS, len(vectors)):
        closest[taken[-1]] = np.inf
        taken.append(int(closest.argmin()))
        closest = np.maximum(closest, likeness(vectors, vectors[taken[-1]]))
    return [members[int(chosen[i])] for i in taken]
