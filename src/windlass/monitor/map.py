"""A map of what was evaluated and what is asked: both sides on the two directions in which they differ most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from windlass.core.operations.monitors import Point
from windlass.monitor.baseline import Baseline
from windlass.monitor.rows import Encode
from windlass.monitor.vectors import Grid, grid, unit

EVALUATED = 300  # rows of the evaluation in a map
SHOWN = 160  # characters of a text
Unlike = Callable[[Sequence[str], Grid], list[bool]]


def drawn(
    baseline: Baseline, evaluated: Mapping[str, str], runs: Mapping[str, tuple[str, int]], encode: Encode, unlike: Unlike
) -> tuple[tuple[Point, ...], float]:
    """The points, and the share of all differences that two directions keep. `evaluated` are texts by the keys of rows, `runs` texts and
    times by trace, `unlike` the rule of the watch by which runs are marked."""
    if baseline.refusal:
        return (), 0.0
    rows = unit(baseline.vectors)[:EVALUATED]
    ids = list(runs)
    steps = grid(encode([runs[id][0] for id in ids])) if ids else np.zeros((0, baseline.dimensions), np.int16)
    both = np.concatenate([rows, unit(steps)])
    centred = both - both.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    flat: Any = centred @ directions[:2].T
    total = float((sizes**2).sum())
    away = unlike(ids, steps)
    points = [
        Point(round(float(x), 4), round(float(y), 4), key, evaluated.get(key, "")[:SHOWN])
        for key, (x, y) in zip(baseline.keys, flat[: len(rows)], strict=False)
    ]
    points += [
        Point(round(float(x), 4), round(float(y), 4), id, runs[id][0][:SHOWN], True, out)
        for id, (x, y), out in zip(ids, flat[len(rows) :], away, strict=True)
    ]
    return tuple(points), float((sizes[:2] ** 2).sum()) / total if total else 0.0
