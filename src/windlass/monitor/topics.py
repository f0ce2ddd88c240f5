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


class Region(msgspec.Struct, frozen=True):
    """Where groups are looked for: rows of production outside what was evaluated by one way to see it, and of the `calibration_rows` of
    the calibration half those that are outside too. `dense` groups are those that lie close together with little between; otherwise all
    is one group, as with vectors in which hardly a row is near another."""

    outside: Outside
    calibration: Grid
    calibration_rows: int
    dense: bool = True

    def balls(self, seed: int) -> list[Ball]:
        first = self.outside.steps[self.outside.halves == 0]
        return groups(first, seed) if self.dense else together(first)

    def hits(self, ball: Ball) -> tuple[int, int]:
        """Rows in a ball: of the second half, and of the calibration half."""
        return int(ball.holds(self.outside.steps[self.outside.halves == 1]).sum()), int(ball.holds(self.calibration).sum())

    def said(self, members: Sequence[int], texts: dict[str, str]) -> list[str]:
        return [texts[self.outside.ids[i]] for i in members if self.outside.ids[i] in texts]


def find(regions: Sequence[Region], texts: Texts, seed: int) -> tuple[Topic, ...]:
    """Topics, confirmed ones first, then by share. A later region adds a group only where earlier ones leave most of its rows out."""
    found: list[tuple[Region, Ball]] = []
    for region in regions:
        steps = region.outside.steps[region.outside.halves == 0]
        held = sum((ball.holds(steps) for _, ball in found), np.zeros(len(steps), bool))
        if 2 * int(held.sum()) < len(steps):
            new = region.balls(seed)
            known = [(r, ball) for r, ball in found if all(likeness(ball.centre[None], one.centre)[0] < SAME for one in new)]
            found = [*((region, ball) for ball in new), *known]
    if not found:
        return ()
    hits = [region.hits(ball) for region, ball in found]
    totals = [region.outside.all_rows(1) for region, _ in found]
    ps = holm([fisher(k, n, c, r.calibration_rows) for (k, c), n, (r, _) in zip(hits, totals, found, strict=True)])
    members: list[list[int]] = [np.flatnonzero(ball.holds(region.outside.steps)).tolist() for region, ball in found]
    known_texts = texts(sorted({r.outside.ids[i] for (r, _), member in zip(found, members, strict=True) for i in member}))
    spoken = names([r.said(member, known_texts) for (r, _), member in zip(found, members, strict=True)])
    level = 1 - (1 - LEVEL) / (2 * len(found))
    made = [
        _topic(region, ball, k, c, n, p, member, said, level)
        for (region, ball), (k, c), n, p, member, said in zip(found, hits, totals, ps, members, spoken, strict=True)
    ]
    return tuple(sorted((t for t in made if t is not None), key=lambda t: (t.tier != "confirmed", -t.share, t.name)))


def _topic(
    region: Region, ball: Ball, hits: int, before: int, rows: int, p: float, members: Sequence[int], said: tuple[str, ...], level: float
) -> Topic | None:
    share, evaluated = hits / rows if rows else 0.0, before / region.calibration_rows
    if share <= evaluated:  # the other half does not have it: an accident
        return None
    here, there = exact_interval(hits, rows, level), exact_interval(before, region.calibration_rows, level)
    return Topic(
        " ".join(said[:3]) or "rows without a text", "confirmed" if p <= LEVEL_OF_TEST else "candidate", len(members), share, here,
        evaluated, share / evaluated if evaluated else None, here.low / there.high, here.high / there.low if there.low else None, p, said,
        tuple(region.outside.ids[i] for i in exemplars(region.outside.steps, members, ball)),
    )  # fmt: skip


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


def together(steps: Grid) -> list[Ball]:
    """The one group that rows far along a direction are: those near their mean, then those near the mean of these."""
    for _ in range(2):
        if len(steps) < SMALLEST:
            return []
        centre = grid(steps.astype(np.float64).mean(axis=0)[None])[0]
        near = likeness(steps, centre)
        least = float(np.quantile(near, 1 - REACH))
        steps = steps[near >= least]
    return [Ball(centre, least)]


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
