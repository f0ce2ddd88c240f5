"""What an evaluation dataset of a size can show at all: the smallest unseen share that would be noticed four times of five.

By simulation of the alarm itself: the share falls beyond all evaluation rows, which is the easiest case there is, so what is promised
here is the most one can hope for.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from windlass.monitor.urn import ABOVE, log_evidence

POWER = 0.8
ROWS = (250, 500, 1000, 2000, 4000)  # of production, at which is looked
SHARES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.10, 0.15, 0.20, 0.30, 0.50)
SIZES = (40, 60, 100, 150, 250, 400, 600, 1000, 1500, 2500, 4000)  # of an evaluation dataset
WORLDS = 200


@lru_cache(maxsize=256)
def power(calibration: int, share: float, error: float) -> float:
    """How often an unseen share is shown within the last of `ROWS` inputs of production."""
    generator = np.random.default_rng(7)
    ranks = sorted({min(calibration, max(1, math.ceil(q * calibration))) for q in ABOVE})
    gaps = np.diff([0, *ranks, calibration + 1])
    chances = generator.dirichlet(gaps, WORLDS) * (1 - share)
    chances[:, -1] += share
    counts, shown, before = np.zeros_like(chances, dtype=np.int64), np.zeros(WORLDS, bool), 0
    for rows in ROWS:
        counts += generator.multinomial(rows - before, chances)
        shown |= log_evidence(counts, gaps.tolist(), "above") >= math.log(1 / error)
        before = rows
    return float(shown.mean())


def shows(calibration: int, error: float) -> float | None:
    """The smallest share that is shown; None when not even half of all traffic would be."""
    return next((share for share in SHARES if power(calibration, share, error) >= POWER), None)


def size_for(share: float, error: float) -> int | None:
    """How many evaluation rows show a share, half of them being the calibration half; None when more than we would look at."""
    return next((size for size in SIZES if power(size // 2, share, error) >= POWER), None)
