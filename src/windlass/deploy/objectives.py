"""What a load test shows of each objective, with 95 % confidence.

- The 95th percentile: its bounds are order statistics, since how many of n calls exceed it is binomial (n, 0.05), whatever their times are
  distributed like. A call that failed counts as one that took for ever. With fewer than 59 calls nothing is shown.
- The share of failures: Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 26 (1934), each side at 95 %.
- The rate: answers in a second while calls were begun. It is counted, not estimated: at least 95 of 100 of what was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from windlass.core.operations.loadtests import Held, Kept, Objectives

CONFIDENCE = 0.95
KEPT_UP = 0.95  # of the rate that was asked for


def held_against(asked: Objectives, took_s: Sequence[float], failed: int, per_second: float | None) -> tuple[Held, ...]:
    """Each objective against what came: seconds of answers, how many calls had none, and how many a second were answered."""
    found = [_rate(asked.per_second, per_second)]
    if asked.p95_s is not None:
        found.append(_latency(asked.p95_s, took_s, failed))
    if asked.errors is not None:
        found.append(_errors(asked.errors, failed, len(took_s) + failed))
    return tuple(found)


def _rate(asked: float, measured: float | None) -> Held:
    kept: Kept = "not shown" if measured is None else "shown" if measured >= KEPT_UP * asked else "missed"
    said = "nothing was answered" if measured is None else f"{measured:,.1f} answers a second, of {asked:,.1f} asked for"
    return Held("rate", asked, measured, None, None, kept, said)


def _latency(asked: float, took_s: Sequence[float], failed: int) -> Held:
    ranked = [*sorted(took_s), *[math.inf] * failed]
    low, high = quantile_bounds(len(ranked), CONFIDENCE)
    bottom, top = (ranked[low] if low is not None else None), (ranked[high] if high is not None else None)
    measured = ranked[len(ranked) * 95 // 100] if ranked else None
    if top is not None and top <= asked:
        kept: Kept = "shown"
        said = f"95 of 100 within {top:.3g} s at most, of {asked:g} s asked for"
    elif bottom is not None and bottom > asked:
        kept = "missed"
        said = "more than 5 of 100 failed" if math.isinf(bottom) else f"95 of 100 take {bottom:.3g} s at least, of {asked:g} s asked for"
    else:
        kept = "not shown"
        said = f"{len(ranked)} calls show too little; ask for longer" if top is None else f"95 of 100 take {_s(bottom)} to {_s(top)}"
    return Held("p95", asked, _finite(measured), _finite(bottom), _finite(top), kept, said)


def _errors(asked: float, failed: int, calls: int) -> Held:
    if not calls:
        return Held("errors", asked, None, None, None, "not shown", "no call was made")
    low, high = share_bounds(failed, calls)
    kept: Kept = "shown" if high <= asked else "missed" if low > asked else "not shown"
    said = f"{failed:,} of {calls:,} failed: {100 * high:.2g} % at most, of {100 * asked:g} % asked for"
    if kept == "missed":
        said = f"{failed:,} of {calls:,} failed: {100 * low:.2g} % at least, of {100 * asked:g} % asked for"
    return Held("errors", asked, failed / calls, low, high, kept, said)


def quantile_bounds(calls: int, quantile: float) -> tuple[int | None, int | None]:
    """Places, from 0, in so many values in order, below and above which the quantile lies, each with 95 %; None where none is so sure."""
    most = 1 - CONFIDENCE
    below, total = None, 0.0
    low = high = None
    for over in range(calls + 1):  # values above the quantile
        total += _binomial(over, calls, 1 - quantile)
        if total <= most:
            high = calls - 1 - over
        if total >= CONFIDENCE:
            below = over
            break
    if below is not None and below < calls:
        low = calls - 1 - below
    return low, high


def share_bounds(hits: int, trials: int) -> tuple[float, float]:
    """Bounds of a share, each with 95 %."""
    low = 0.0 if hits == 0 else _root(lambda p: 1 - _up_to(hits - 1, trials, p), 1 - CONFIDENCE, rising=True)
    high = 1.0 if hits == trials else _root(lambda p: _up_to(hits, trials, p), 1 - CONFIDENCE, rising=False)
    return low, high


def _root(of: object, wanted: float, *, rising: bool) -> float:
    assert callable(of)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if (of(middle) < wanted) == rising:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _up_to(hits: int, trials: int, p: float) -> float:
    return min(1.0, math.fsum(_binomial(k, trials, p) for k in range(hits + 1)))


def _binomial(k: int, n: int, p: float) -> float:
    if p <= 0 or p >= 1:
        return float(k == (0 if p <= 0 else n))
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _s(value: float | None) -> str:
    return "unknown" if value is None else "for ever" if math.isinf(value) else f"{value:.3g} s"
