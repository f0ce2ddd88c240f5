"""The evaluation dataset as what production is held against: split once, by a seed, and measured.

The fit half is what distances are taken to and whose words are known; the calibration half, which no score was fitted on, is the sample
that production must be exchangeable with. A dataset from which nothing can be said is refused in a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from windlass.core.monitoring import Instrument
from windlass.core.score import in_percent
from windlass.monitor.coverage import INSIDE
from windlass.monitor.descriptors import METHOD as DESCRIBED
from windlass.monitor.descriptors import NAMES, UNKNOWN, describe, vocabulary
from windlass.monitor.naming import names
from windlass.monitor.rows import EvaluationRow, alike, draws, mark, order, ties
from windlass.monitor.urn import METHOD as URN
from windlass.monitor.urn import Cuts, cut
from windlass.monitor.vectors import Grid, grid, nearest, unit

SMALLEST = 40  # rows: with a calibration half of 20 the 95 % rank is its largest but one
MOST = 4000  # rows; more would be slower and hardly sharper
SAME = 0.005  # cosine distance below which two rows say the same
REPEATED = 0.5  # share of rows with a twin, above which the dataset is copies and no sample
PER_GROUP, GROUPS = 25, 20  # evaluation rows in a topic of theirs, and the most topics
DISTANCE = "distance"
METHODS = (URN, DESCRIBED)


class Baseline(msgspec.Struct, frozen=True):
    """A measured evaluation dataset. Rows are named by their keys, the fit half first. `refusal` says why nothing can be said of it."""

    seed: int
    instrument: Instrument
    methods: tuple[str, ...]
    rows: int
    keys: tuple[str, ...] = ()
    fit: int = 0
    dimensions: int = 0
    steps: bytes = b""
    cuts: dict[str, Cuts] = {}
    known_texts: tuple[int, ...] = ()
    known_words: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()  # of each row
    centres: bytes = b""
    group_words: tuple[tuple[str, ...], ...] = ()
    group_scores: tuple[float | None, ...] = ()
    bounds: tuple[float, float] = (0.0, 1.0)
    refusal: str = ""

    @property
    def vectors(self) -> Grid:
        """Every row's vector on the grid."""
        return np.frombuffer(self.steps, np.int16).reshape(-1, self.dimensions)

    @property
    def group_centres(self) -> Grid:
        return np.frombuffer(self.centres, np.int16).reshape(-1, self.dimensions)

    @property
    def calibration(self) -> int:
        """Rows of the calibration half."""
        return self.rows - self.fit

    @property
    def beyond(self) -> int:
        """The first bin of distance that is outside the region."""
        ranks = np.cumsum(self.cuts[DISTANCE].gaps)[:-1]
        return int((ranks >= math.ceil(INSIDE * self.calibration)).argmax()) + 1

    @property
    def gaps_beyond(self) -> int:
        """Gaps between rows of the calibration half that are outside the region."""
        return sum(self.cuts[DISTANCE].gaps[self.beyond :])

    @property
    def group_sizes(self) -> tuple[int, ...]:
        return tuple(np.bincount(np.array(self.groups, np.int64), minlength=len(self.group_words)).tolist())


def build(
    rows: Sequence[EvaluationRow],
    vectors: NDArray[np.floating],
    instrument: Instrument,
    seed: int = 0,
    bounds: tuple[float, float] = (0, 1),
) -> Baseline:
    """The baseline of these rows and their vectors. The order of rows makes no difference, but that the first row of a session counts."""
    chosen = _chosen(rows, seed)
    rows = [rows[i] for i in chosen]
    steps = grid(np.asarray(vectors)[chosen]) if chosen else np.zeros((0, 1), np.int16)
    if refusal := _refusal(rows, steps):
        return Baseline(seed, instrument, METHODS, len(rows), refusal=refusal)
    fit = len(rows) // 2
    texts = [row.text for row in rows]
    known = vocabulary(texts[:fit])
    groups, centres = _grouped(steps, seed)
    return Baseline(
        seed, instrument, METHODS, len(rows), tuple(row.key for row in rows), fit, steps.shape[1], steps.tobytes(),
        cuts=_cuts(rows, steps, fit, known, seed),
        known_texts=tuple(sorted({mark(alike(text)) for text in texts})),
        known_words=tuple(sorted(known)),
        groups=tuple(groups.tolist()),
        centres=centres.tobytes(),
        group_words=tuple(names([[t for t, g in zip(texts, groups, strict=True) if g == k] for k in range(len(centres))])),
        group_scores=tuple(_mean([r.score for r, g in zip(rows, groups, strict=True) if g == k]) for k in range(len(centres))),
        bounds=bounds,
    )  # fmt: skip


def _chosen(rows: Sequence[EvaluationRow], seed: int) -> list[int]:
    """The places of the rows that are used, in an order made by the seed and their keys: one of a session, and not too many."""
    sessions: set[str] = set()
    places = []
    for place, row in enumerate(rows):
        if row.text.strip() and not (row.session and row.session in sessions):
            sessions.add(row.session)
            places.append(place)
    at = order(draws(seed, [rows[p].key for p in places]))
    return [places[i] for i in np.argsort(at, kind="stable")[:MOST]]


def _refusal(rows: Sequence[EvaluationRow], steps: Grid) -> str:
    if len(rows) < SMALLEST:
        return (
            f"The evaluation dataset has {len(rows)} rows of their own. Below {SMALLEST} nothing can be said of production; 500 say much."
        )
    if len({alike(row.text) for row in rows}) == 1 or not (steps != steps[0]).any():
        return "All rows of the evaluation dataset are alike, so there is nothing to compare production with."
    twins = float((nearest(steps, steps, apart=True)[0] < SAME).mean())
    if twins > REPEATED:
        return (
            f"{in_percent(twins)} of the rows of the evaluation dataset repeat another row, so they are copies and no sample. "
            "Keep one of each, or give the rows their sessions."
        )
    return ""


def _cuts(rows: Sequence[EvaluationRow], steps: Grid, fit: int, known: frozenset[str], seed: int) -> dict[str, Cuts]:
    drawn = draws(seed, [row.key for row in rows])
    distances, _ = nearest(steps[fit:], steps[:fit])
    found = {DISTANCE: cut(distances, ties(drawn[fit:], 0), "above")}
    for place, (name, values) in enumerate(describe([row.text for row in rows], known).items(), 1):
        start = fit if name == UNKNOWN else 0  # no other is fitted on the fit half, so all rows are its sample
        found[name] = cut(values[start:], ties(drawn[start:], place), "both")
    return found


def _grouped(steps: Grid, seed: int) -> tuple[NDArray[np.int64], Grid]:
    """Topics of the evaluation rows, and their centres."""
    from sklearn.cluster import KMeans  # heavy: only where it is used

    count = max(1, min(GROUPS, len(steps) // PER_GROUP))
    found: Any = KMeans(count, n_init=2, random_state=seed % 2**32).fit(unit(steps))
    centres = grid(found.cluster_centers_)
    return nearest(steps, centres)[1], centres


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [s for s in scores if s is not None]
    return sum(known) / len(known) if known else None


SCORES = (DISTANCE, *NAMES)
