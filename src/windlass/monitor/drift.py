"""Two windows of production, an earlier and a later: what changed over time, whatever was evaluated.

One comparison at one time, not a watch: a third of alpha each for the whole distributions (permutation), for topics that the later window
has and the earlier lacks (Fisher, Holm), and for the descriptors (Kolmogorov and Smirnov, Holm). Rows are thinned as the watch thins
them, window by window.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from windlass.core.monitoring import DescriptorChange, Drift, KernelLook, Topic
from windlass.core.score import in_percent
from windlass.monitor import topics
from windlass.monitor.coverage import INSIDE
from windlass.monitor.descriptors import describe, vocabulary
from windlass.monitor.kernel import compare
from windlass.monitor.rows import Encode, Row, Thinning, draws, half, order
from windlass.monitor.topics import Outside, Region, holm
from windlass.monitor.vectors import Grid, grid, nearest, unit

SMALLEST = 40  # rows of a window
MOST = 4000  # rows of a window that are compared
PERMUTATIONS = 999


class Window(msgspec.Struct, frozen=True):
    """The rows of a window that are compared, in an order of their own, halves by a bit of each."""

    rows: list[Row]
    steps: Grid
    halves: NDArray[np.int64]


def drift(earlier: Sequence[Row], later: Sequence[Row], encode: Encode, seed: int = 0, alpha: float = 0.05) -> Drift:
    """The comparison. Same rows and seed, same result."""
    before, after = _window(earlier, encode, seed), _window(later, encode, seed)
    sizes = len(before.rows), len(after.rows)
    if min(sizes) < SMALLEST:
        which = "earlier" if sizes[0] <= sizes[1] else "later"
        told = f"The {which} window has {min(sizes)} inputs of different sessions; below {SMALLEST} nothing can be said."
        return Drift(told, alpha, 1.0, False, *sizes)
    found = compare(unit(before.steps), unit(after.steps), seed, PERMUTATIONS)
    kernel = _look(found.witness, before, after, found.p, alpha / 3, found.mmd2, found.moved)
    new = _topics(before, after, seed)
    changes = _changes(before, after)
    p = min(1.0, 3 * min([found.p, *(t.p for t in new), *(c.p for c in changes)]))
    shown = tuple(msgspec.structs.replace(t, tier="confirmed" if t.p <= alpha / 3 else "candidate") for t in new)
    return Drift(_sentence(kernel, shown, changes, alpha), alpha, p, p <= alpha, *sizes, kernel, shown, changes)


def _window(rows: Sequence[Row], encode: Encode, seed: int) -> Window:
    kept = Thinning().keep(rows)
    at = order(draws(seed, [row.id for row in kept]))
    kept = [kept[i] for i in np.argsort(at, kind="stable")[:MOST].tolist()]
    steps = grid(encode([row.text for row in kept])) if kept else np.zeros((0, 1), np.int16)
    return Window(kept, steps, half(draws(seed, [row.id for row in kept])))


def _look(witness: NDArray[np.float64], before: Window, after: Window, p: float, level: float, mmd2: float, moved: float) -> KernelLook:
    m = len(before.rows)
    new, old = np.argsort(-witness[m:], kind="stable")[:10], np.argsort(witness[:m], kind="stable")[:10]
    return KernelLook(
        m + len(after.rows), len(after.rows), p, level, mmd2, moved,
        tuple(after.rows[i].id for i in new.tolist()), tuple(before.rows[i].id for i in old.tolist()),
    )  # fmt: skip


def _topics(before: Window, after: Window, seed: int) -> tuple[Topic, ...]:
    """What the later window asks beyond the region of the earlier, whose one half makes the region and whose other half is held against."""
    fit, calibration = before.steps[before.halves == 0], before.steps[before.halves == 1]
    usual, distances = nearest(calibration, fit)[0], nearest(after.steps, fit)[0]
    radius = float(np.quantile(usual, INSIDE, method="higher"))
    away = distances > radius
    text = {row.id: row.text for row, out in zip(after.rows, away.tolist(), strict=True) if out}
    rows = [int((after.halves == h).sum()) for h in (0, 1)]
    outside = [int((away & (after.halves == h)).sum()) for h in (0, 1)]
    given = Outside(list(text), after.steps[away], after.halves[away], rows, outside)
    region = Region(given, calibration[usual > radius], len(calibration))
    return topics.find([region], lambda ids: {i: text[i] for i in ids}, seed)


def _changes(before: Window, after: Window) -> tuple[DescriptorChange, ...]:
    """Each descriptor in both windows, the largest change first. Words count as known when the one half of the earlier window has them."""
    from scipy.stats import ks_2samp  # heavy: only where it is used

    learned = before.halves == 0
    known = vocabulary([row.text for row, first in zip(before.rows, learned.tolist(), strict=True) if first])
    old = describe([row.text for row, first in zip(before.rows, learned.tolist(), strict=True) if not first], known)
    new = describe([row.text for row in after.rows], known)
    tests = {name: ks_2samp(old[name], new[name]) for name in old}
    ps = holm([float(test.pvalue) for test in tests.values()])
    found = [
        DescriptorChange(name, float(old[name].mean()), float(new[name].mean()), p, float(test.statistic))
        for p, (name, test) in zip(ps, tests.items(), strict=True)
    ]
    return tuple(sorted(found, key=lambda c: (c.p, -c.effect, c.descriptor)))


def _sentence(kernel: KernelLook, new: Sequence[Topic], changes: Sequence[DescriptorChange], alpha: float) -> str:
    told = []
    if kernel.alarmed:
        told.append(f"inputs differ as a whole, as if {in_percent(kernel.moved)} of them were something else")
    if confirmed := [t for t in new if t.tier == "confirmed"]:
        told.append(f"{in_percent(sum(t.share for t in confirmed))} ask something new: {'; '.join(t.name for t in confirmed[:3])}")
    if moved := [c for c in changes if c.p <= alpha / 3]:
        told.append("they differ in " + ", ".join(f"{c.descriptor} ({c.earlier:.3g} → {c.later:.3g})" for c in moved[:3]))
    if not told:
        return "Nothing shows that inputs changed between the two windows."
    sentence = "; ".join(told)
    return f"{sentence[0].upper()}{sentence[1:]}."
