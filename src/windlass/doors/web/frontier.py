"""The drawing of a bake-off: models by what they cost and what they score; by their time, where nothing costs anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from windlass.core.operations.bakeoffs import Arm
from windlass.core.operations.evaluation import EvaluatorSummary
from windlass.doors import format as words

LEFT, RIGHT, TOP, BOTTOM = 60.0, 660.0, 24.0, 230.0
FREE = 40.0  # half the strip where what costs nothing stands, left of the logarithmic scale
NAME = 190.0  # a name's width, at most
LINE = 13.0  # its height


class Dot(msgspec.Struct, frozen=True):
    """A model: x by cost or time, y by its score, `low` and `high` its interval, `size` by its time."""

    model: str
    x: float
    y: float
    low: float
    high: float
    label_y: float
    anchor: Literal["start", "end"]
    size: int
    out: bool
    frontier: bool
    chosen: bool
    said: str


class Tick(msgspec.Struct, frozen=True):
    at: float
    text: str


class Drawing(msgspec.Struct, frozen=True):
    """`line` joins the models that no other beats on the two axes, as SVG points."""

    guard: str
    against: Literal["cost", "time"]
    dots: tuple[Dot, ...]
    line: str
    across: tuple[Tick, ...]
    scores: tuple[Tick, ...]
    unpriced: tuple[str, ...]


class _Across:
    """A logarithmic scale from power of ten to power of ten, with a strip before it for 0."""

    def __init__(self, amounts: Sequence[float], write: Callable[[int], str], none: str) -> None:
        some = [a for a in amounts if a > 0]
        self._least = math.floor(math.log10(min(some))) if some else 0
        self._most = max(self._least + 1, math.ceil(math.log10(max(some)) - 1e-9)) if some else 1
        self._start = LEFT + 20.0 + (2 * FREE if len(some) < len(amounts) else 0.0)
        self.ticks = [Tick(self.at(10.0**p), write(p)) for p in range(self._least, self._most + 1)] if some else []
        if len(some) < len(amounts):
            self.ticks.insert(0, Tick(self.at(0.0), none))

    def at(self, amount: float) -> float:
        if amount <= 0:
            return LEFT + FREE
        return round(self._start + (RIGHT - self._start) * (math.log10(amount) - self._least) / (self._most - self._least), 1)


class _Up:
    """A scale of scores, which holds all intervals and begins at 0."""

    def __init__(self, scores: Sequence[EvaluatorSummary]) -> None:
        ends = [v for s in scores for v in ((s.interval.low, s.interval.high) if s.interval else (s.mean or 0.0,))]
        self._low = min(0.0, *ends)
        self._high = max(1.0, *ends) if max(ends) > 0.6 else max(*ends, 0.1) * 1.15
        step = 0.2 if self._high - self._low > 0.5 else 0.1
        marks = (round(self._low + step * i, 2) for i in range(12))
        self.ticks = [Tick(self.at(v), f"{v:.1f}") for v in marks if v <= self._high + 1e-9]

    def at(self, score: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (score - self._low) / (self._high - self._low), 1)


def draw(arms: Sequence[Arm], guard: str, chosen: str | None) -> Drawing | None:
    """Where the models stand. None while none is both measured and priced."""
    known = [(a, s) for a in arms for s in a.guards if s.name == guard and s.mean is not None]
    priced = [(a, s) for a, s in known if a.per_row is not None]
    if not priced:
        return None
    by_cost = any(a.per_row for a, _ in priced)
    amount = _cost if by_cost else _time
    across = _Across([amount(a) for a, _ in priced], _dollars if by_cost else _seconds, "free" if by_cost else "no time")
    up = _Up([s for _, s in priced])
    slowest = max(_time(a) for a, _ in priced) or 1.0
    dots: list[Dot] = []
    for a, s in sorted(priced, key=lambda one: -(one[1].mean or 0.0)):
        x, y = across.at(amount(a)), up.at(s.mean or 0.0)
        ends = (up.at(s.interval.low), up.at(s.interval.high)) if s.interval else (y, y)
        size = min(3, int(4 * _time(a) / slowest * 0.999))
        said = f"{guard} {words.score(s.mean)}, {words.dollars(a.per_row)} a row, {words.duration(_time(a) * 1e9)}"
        dots.append(
            Dot(a.model, x, y, *ends, _free_line(x, y + 4, dots), "end" if x > RIGHT - 150 else "start", size, a.status != "done",
                a.frontier, a.model == chosen, said)
        )  # fmt: skip
    unpriced = tuple(a.model for a, _ in known if a.per_row is None)
    return Drawing(
        guard, "cost" if by_cost else "time", tuple(dots), _edge(dots), tuple(across.ticks), tuple(up.ticks), unpriced,
    )  # fmt: skip


def _free_line(x: float, y: float, dots: Sequence[Dot]) -> float:
    """Where a name does not lie on another."""
    while any(abs(y - d.label_y) < LINE and abs(x - d.x) < NAME for d in dots):
        y += LINE
    return round(y, 1)


def _edge(dots: Sequence[Dot]) -> str:
    """Through the models on the frontier; past those that are there for what the axes do not show."""
    best: list[Dot] = []
    for d in sorted((d for d in dots if d.frontier), key=lambda d: (d.x, d.y)):
        if not best or d.y < best[-1].y:
            best.append(d)
    return " ".join(f"{d.x},{d.y}" for d in best) if len(best) > 1 else ""


def _cost(a: Arm) -> float:
    return a.per_row or 0.0


def _time(a: Arm) -> float:
    return a.latency or 0.0


def _dollars(power: int) -> str:
    return f"${10.0**power:.{max(0, -power)}f}"


def _seconds(power: int) -> str:
    unit, shift = ("s", 0) if power >= 0 else ("ms", 3) if power >= -3 else ("µs", 6)
    return f"{10 ** (power + shift):,} {unit}"
