"""Histograms of metrics: added, subtracted, and quantiles estimated from them. Pure functions.

Explicit buckets lie between bounds, the upper one included. Bucket `i` of an exponential histogram holds what is greater than base^i and
at most base^(i+1), with base = 2^(2^-scale); a scale less is two buckets put into one. All of it as OpenTelemetry's data model says.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from windlass.core.operations.metrics import Quantiles

SHARES = (0.5, 0.9, 0.95, 0.99)


class Explicit(msgspec.Struct, frozen=True, tag="explicit"):
    """`counts` has one more than `bounds`, which rise: the last is of what is greater than all of them."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]


class Exponential(msgspec.Struct, frozen=True, tag="exponential"):
    """Counts by index, of values and of their magnitudes where they are negative. `zero` are those of at most `threshold`."""

    scale: int
    zero: int
    threshold: float
    positive: dict[int, int]
    negative: dict[int, int]


Shape = Explicit | Exponential
_decoder = msgspec.json.Decoder(Shape)


def written(shape: Shape) -> str:
    return msgspec.json.encode(shape).decode()


def read(text: str | None) -> Shape | None:
    """None for what is no histogram, as a summary."""
    if text is None:
        return None
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError:
        return None


def added(a: Shape, b: Shape) -> Shape | None:
    """Both together, as finely as both are told. None where they have nothing in common: the bounds of one are none of the other's."""
    if isinstance(a, Explicit) and isinstance(b, Explicit):
        if a.bounds != b.bounds:
            common = tuple(sorted({*a.bounds} & {*b.bounds}))
            if not common:
                return None
            a, b = _coarser(a, common), _coarser(b, common)
        return Explicit(a.bounds, tuple(x + y for x, y in zip(a.counts, b.counts, strict=True)))
    if isinstance(a, Exponential) and isinstance(b, Exponential):
        return _combined(a, b, 1)
    return None


def less(later: Shape, earlier: Shape) -> Shape | None:
    """What came to a cumulative histogram between two points. None where that cannot be told: buckets are others, or one has shrunk."""
    if isinstance(later, Explicit) and isinstance(earlier, Explicit):
        if later.bounds != earlier.bounds:
            return None
        counts = tuple(x - y for x, y in zip(later.counts, earlier.counts, strict=True))
        return None if any(c < 0 for c in counts) else Explicit(later.bounds, counts)
    if isinstance(later, Exponential) and isinstance(earlier, Exponential):
        made = _combined(later, earlier, -1)
        shrunk = made.zero < 0 or any(c < 0 for c in (*made.positive.values(), *made.negative.values()))
        return None if shrunk else made
    return None


def _coarser(shape: Explicit, bounds: Sequence[float]) -> Explicit:
    """The same by fewer bounds, all of which are its own."""
    counts = [0] * (len(bounds) + 1)
    for n, count in enumerate(shape.counts):
        counts[bisect_left(bounds, shape.bounds[n]) if n < len(shape.bounds) else len(bounds)] += count
    return Explicit(tuple(bounds), tuple(counts))


def _combined(a: Exponential, b: Exponential, sign: int) -> Exponential:
    scale, threshold = min(a.scale, b.scale), max(a.threshold, b.threshold)
    sides = []
    for mine, theirs in ((a.positive, b.positive), (a.negative, b.negative)):
        side = Counter(_scaled(mine, a.scale - scale))
        for index, count in _scaled(theirs, b.scale - scale).items():
            side[index] += sign * count
        sides.append({index: count for index, count in side.items() if count})
    return Exponential(scale, a.zero + sign * b.zero, threshold, *sides)


def _scaled(counts: Mapping[int, int], by: int) -> Mapping[int, int]:
    """Counts at a scale that is less by so much."""
    if by == 0:
        return counts
    made = Counter[int]()
    for index, count in counts.items():
        made[index >> by] += count
    return made


def quantiles(shape: Shape, low: float | None = None, high: float | None = None) -> Quantiles | None:
    """Estimates at 0.5, 0.9, 0.95 and 0.99, within the least and the greatest value where they are known. None where nothing is told."""
    least, most = -math.inf if low is None else low, math.inf if high is None else high
    told = _explicit(shape, low, high) if isinstance(shape, Explicit) else _exponential(shape)
    parts = [(min(max(start, least), most), max(min(end, most), least), count) for start, end, count in told if count > 0]
    if not parts:
        return None
    between = _linear if isinstance(shape, Explicit) else _logarithmic
    return Quantiles(*(_quantile(parts, share, between) for share in SHARES))


_Part = tuple[float, float, int]  # from, to, how many lie there


def _explicit(shape: Explicit, low: float | None, high: float | None) -> Iterator[_Part]:
    bounds = shape.bounds
    if not bounds:  # all in one, of which nothing is known
        return
    first = low if low is not None else min(0.0, bounds[0])
    last = high if high is not None else bounds[-1]
    yield min(first, bounds[0]), bounds[0], shape.counts[0]
    for n in range(1, len(bounds)):
        yield bounds[n - 1], bounds[n], shape.counts[n]
    yield bounds[-1], max(last, bounds[-1]), shape.counts[-1]


def _exponential(shape: Exponential) -> Iterator[_Part]:
    for index in sorted(shape.negative, reverse=True):
        yield -_power(shape.scale, index + 1), -_power(shape.scale, index), shape.negative[index]
    if shape.zero:
        threshold = shape.threshold
        yield -threshold if shape.negative else 0.0, threshold if shape.positive or not shape.negative else 0.0, shape.zero
    for index in sorted(shape.positive):
        yield _power(shape.scale, index), _power(shape.scale, index + 1), shape.positive[index]


def _power(scale: int, index: int) -> float:
    """base^index; what is beyond floating point's reach is its greatest number, or 0."""
    try:
        return math.pow(2.0, math.ldexp(index, -scale))
    except OverflowError:
        return math.ldexp(1.0, 1023) if index > 0 else 0.0


def _quantile(parts: Sequence[_Part], share: float, between: Callable[[float, float, float], float]) -> float:
    rank = share * sum(count for *_, count in parts)
    below = 0
    for start, end, count in parts:
        if below + count >= rank:
            return between(start, end, (rank - below) / count)
        below += count
    return parts[-1][1]


def _linear(start: float, end: float, part: float) -> float:
    return start + (end - start) * part


def _logarithmic(start: float, end: float, part: float) -> float:
    """Linear in the bucket around 0."""
    if start * end <= 0:
        return _linear(start, end, part)
    return math.copysign(math.exp(_linear(math.log(abs(start)), math.log(abs(end)), part)), end)
