"""The rule that turns scores into a verdict. Pure: rows in, decisions out; where rows come from is `gates`' affair.

A candidate is promoted when, on every guard, the bet against "worse than production by the margin or more" reaches 1/error
(intersection-union: each guard at the whole error, Berger 1982). It is blocked when, on any guard, the bet against "not worse
by more than the margin" reaches 1/error, split over the guards. Else it is inconclusive. With nothing in production, floors take
the margins' place. Rows are taken in an order nobody chose: by a hash of dataset, candidate, seed and row.

A row that a run failed on is unmeasured: it counts as the worst possible where that speaks against promotion, and not at all
where it would speak for a block.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from statistics import fmean

import msgspec

from windlass.core.artifacts import Guard
from windlass.core.score import Decision, GuardResult
from windlass.evaluate.stats import Bet, mean_interval

CURVE_POINTS = 400


class Judged(msgspec.Struct, frozen=True):
    """One guard on one row: the mean score over its repeats in each arm, None where none was measured. `pessimistic` is the
    candidate's with every unmeasured repeat as the worst score there is. `base` is None on a first release too."""

    row: str
    candidate: float | None
    pessimistic: float
    base: float | None = None


class Limits(msgspec.Struct, frozen=True):
    """How one guard is judged: differences against minus the margin, or scores against the floor."""

    low: float
    high: float
    null: float


def order(rows: Sequence[str], dataset: str, candidate: str, seed: int) -> list[str]:
    """The rows in the order in which they are judged."""
    return sorted(rows, key=lambda row: hashlib.sha256(f"{dataset}\n{candidate}\n{seed}\n{row}".encode()).digest())


def decide(guards: Sequence[GuardResult], first: bool) -> Decision:
    """The verdict of all guards together. A first release is decided by the guards that have a floor."""
    deciding = [g for g in guards if (g.floor if first else g.margin) is not None]
    if any(g.decision == "block" for g in deciding):
        return "block"
    if deciding and all(g.decision == "promote" for g in deciding):
        return "promote"
    return "inconclusive"


def judge(guard: Guard, rows: Sequence[Judged], bounds: tuple[float, float], *, first: bool, error: float, guards: int) -> GuardResult:
    """One guard's outcome. `rows` in the order of `order`; `bounds` the evaluator's range; `guards` how many decide together."""
    low, high = bounds
    threshold = guard.floor if first else guard.margin
    measured = [r for r in rows if r.candidate is not None and (first or r.base is not None)]
    result = GuardResult(
        name=guard.name,
        evaluator=guard.evaluator,
        decision="inconclusive",
        candidate=_mean([r.candidate for r in measured]),
        base=None if first else _mean([r.base for r in measured]),
        margin=None if first else guard.margin,
        floor=guard.floor if first else None,
        measured=len(measured),
        unmeasured=len(rows) - len(measured),
    )
    level = 1 - 2 * error
    values = [_value(r, first) for r in measured]
    if first:
        result = _set(result, interval=mean_interval(values, low, high, level))
    else:
        interval = mean_interval(values, low - high, high - low, level)
        result = _set(result, difference=_mean(values), interval=interval)
    if threshold is None:
        return _set(result, sentence="has no floor: shown, not judged" if first else "has no margin: shown, not judged")
    limits = Limits(low, high, threshold) if first else Limits(low - high, high - low, -threshold)
    if not limits.low < limits.null < limits.high:
        asked = f"a floor of {threshold:g}" if first else f"a margin of {threshold:g}"
        return _set(result, sentence=f"{asked} lies at the end of what scores can be, {low:g} to {high:g}: nothing shows it")
    return _bet(result, rows, limits, first, error, guards)


def _bet(result: GuardResult, rows: Sequence[Judged], limits: Limits, first: bool, error: float, guards: int) -> GuardResult:
    """Bet on both sides, row by row, and say what came of it."""
    above = Bet(limits.low, limits.high, limits.null, "above")
    below = Bet(limits.low, limits.high, limits.null, "below")
    seen_above: list[float] = []
    seen_below: list[float] = []
    good: int | None = None
    bad: int | None = None
    curve: list[tuple[int, float]] = []
    for number, row in enumerate(rows, 1):
        if row.base is None and not first:
            continue
        base = row.base or 0.0
        seen_above.append(row.pessimistic - base)
        above.see(row.pessimistic - base)
        if row.candidate is not None:
            seen_below.append(row.candidate - base)
            below.see(row.candidate - base)
        curve.append((number, min(above.capital, 1e12)))
        good = number if good is None and above.capital >= 1 / error else good
        bad = number if bad is None and below.capital >= guards / error else bad
    result = _set(result, evidence=tuple(_thin(curve)))
    # what the first rows showed, all rows together must not deny: that takes from the chance of error, and adds nothing to it
    denied = (good is not None and fmean(seen_above) <= limits.null) or (bad is not None and fmean(seen_below) >= limits.null)
    if denied or (good is not None and bad is not None):
        return _set(result, sentence="the evidence speaks for both: the rows are not alike, or something changed on the way")
    if good is not None:
        return _set(result, decision="promote", settled_after=good, sentence=_shown(result, good))
    if bad is not None:
        return _set(result, decision="block", settled_after=bad, sentence=_shown_worse(result, bad))
    found = [n for n in (above.needs(seen_above, error), below.needs(seen_below, error / guards)) if n is not None]
    needs = min(found) if found else None
    return _set(result, needs=needs, sentence=_open(result, needs))


def _value(row: Judged, first: bool) -> float:
    assert row.candidate is not None
    return row.candidate if first else row.candidate - (row.base or 0.0)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if known else None


def _thin(curve: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `CURVE_POINTS` points, the last among them."""
    stride = max(1, math.ceil(len(curve) / CURVE_POINTS))
    return [p for i, p in enumerate(curve, 1) if i % stride == 0 or i == len(curve)]


def _set(result: GuardResult, **fields: object) -> GuardResult:
    return msgspec.structs.replace(result, **fields)


def _shown(result: GuardResult, rows: int) -> str:
    return f"at least {result.floor:g} shown after {rows} rows" if result.floor is not None else f"shown not worse after {rows} rows"


def _shown_worse(result: GuardResult, rows: int) -> str:
    return f"below {result.floor:g} shown after {rows} rows" if result.floor is not None else f"shown worse after {rows} rows"


def _open(result: GuardResult, needs: int | None) -> str:
    if not result.measured:
        return "nothing was measured"
    if needs is None:
        at = "the score lies at the floor" if result.floor is not None else "the difference lies at the margin"
        return f"no number of rows like these would settle it: {at}"
    return f"about {needs:,} more rows like these would settle it"
