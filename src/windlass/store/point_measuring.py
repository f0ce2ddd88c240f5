"""What the points of a metric come to, from what an engine says of each series and bucket.

A cumulative series is taken apart by when it began: what it counts from there is never mixed with what a process of the same name counts,
and a fall without a new beginning is a beginning too. What it grew by between two points is in the bucket of the later. Its first point
counts from 0 where it began in the time asked for; where it began before and nothing is known of it, that is unknown, and not 0.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.metrics import (
    MeasuredBucket,
    Measurement,
    MetricAttribute,
    MetricGroup,
    MetricSeen,
    MetricShow,
    MetricTold,
    PointType,
)
from windlass.store.histograms import Shape, added, less, quantiles, read
from windlass.store.span_figuring import DAY, SECOND, step_of

BEFORE_NS = 3600 * SECOND  # how long before the time asked for the point is looked for from which a series grew
MOST = 200_000  # series and buckets in one answer
DELTAS = 500_000  # histograms that are read one by one
SERIES = 1_000  # that are looked at for what a metric can be told by
LONGEST = 200  # characters of an attribute's name


class Plan(NamedTuple):
    """A question with its times set. `step` in nanoseconds."""

    query: MetricShow
    since: int
    until: int
    step: int

    @property
    def first(self) -> int:
        """The number of the first bucket; what was measured before has the one before it."""
        return self.since // self.step


class Reduced(NamedTuple):
    """What the points of one series say in one bucket. `begun` is when a series that grows began to count, 0 where that says nothing; `run`
    how often it fell since. `values` are in order of time: first, last, sum, least, greatest; `counts` and `totals` first, last, sum."""

    series: str
    begun: int
    run: int
    bucket: int
    group: str | None
    temporality: str
    points: int
    last_ns: int
    values: tuple[float | None, ...]
    counts: tuple[int | None, ...]
    totals: tuple[float | None, ...]
    low: float | None
    high: float | None
    first_shape: str | None
    last_shape: str | None
    shapes: Sequence[str | None]  # of each point, where they are deltas


def planned(query: MetricShow) -> Plan:
    """Raises `Invalid`."""
    if query.by is not None and not 0 < len(query.by) <= LONGEST:
        raise Invalid(f"the name of an attribute has 1 to {LONGEST} characters", where="by", remedy="windlass metrics NAME lists them")
    until = time.time_ns() if query.until_ns is None else query.until_ns
    since = until - DAY * SECOND if query.since_ns is None else query.since_ns
    if not 0 <= since < until < 1 << 63:
        remedy = "`since_ns` must be before `until_ns`, and both are nanoseconds since 1970"
        raise Invalid("this time is over before it begins", where="since_ns", remedy=remedy)
    return Plan(query, since, until, step_of(since, until, query.bucket_s))


def chosen(query: MetricShow, found: Sequence[MetricSeen]) -> MetricSeen:
    """Which of the metrics of a name is meant. Raises `NotFound`, and `Invalid` where it may be several."""
    fits = [m for m in found if query.unit in (None, m.unit) and query.type in (None, m.type)]
    if not fits:
        asked = f" as a {query.type or 'metric'} in {query.unit or 'any unit'}" if query.unit is not None or query.type else ""
        raise NotFound(f"no point of a metric {query.name[:100]!r} has come{asked}", remedy="windlass metrics lists which there are")
    if len(fits) > 1 and len({(m.unit, m.type) for m in fits}) > 1:
        ways = ", ".join(f"{m.type} in {m.unit or 'no unit'}" for m in fits)
        raise Invalid(f"{query.name[:100]!r} is measured in several ways: {ways}", where="name", remedy="say `unit` or `type`")
    return max(fits, key=lambda m: m.last_ns)


def held_to(deltas: int) -> None:
    """Raises `Invalid` for more histograms than there is memory for."""
    if deltas > DELTAS:
        remedy = "ask for a shorter time, or by a filter for fewer series; of cumulative histograms less has to be read"
        raise Invalid(f"these are {deltas:,} histograms told as deltas, more than the {DELTAS:,} that are put together", remedy=remedy)


class _Said(NamedTuple):
    """What one series adds to a bucket: what it grew by, what was recorded, or where it stood. `recorded` None is unknown."""

    series: str
    group: str | None
    bucket: int
    points: int
    grown: float | None = None
    recorded: int | None = None
    total: float | None = None
    shape: Shape | None = None
    low: float | None = None
    high: float | None = None
    stood: tuple[float, int, float, float, float, int] | None = None  # sum, how many, least, greatest, last, when
    unknown: bool = False


def _said(rows: Iterable[Reduced], metric: MetricSeen, plan: Plan) -> Iterator[_Said]:
    spread = metric.type not in ("gauge", "sum")
    stands = metric.type == "gauge"
    before: Reduced | None = None
    for r in rows:
        within = r.bucket >= plan.first
        if stands or (r.temporality != "delta" and not (r.temporality == "cumulative" and metric.monotonic)):
            if within and not spread:
                yield _standing(r)
            elif within:  # of a histogram that does not say since when it counts
                yield _Said(r.series, r.group, r.bucket, r.points, unknown=True)
            continue
        if r.temporality == "delta":
            if within:
                yield _delta(r, spread)
            continue
        of_same = before is not None and before[:3] == r[:3]
        if within:
            yield _grown(r, before if of_same else None, plan, spread)
        before = r


def _standing(r: Reduced) -> _Said:
    _, last, total, least, most = r.values
    assert last is not None and total is not None and least is not None and most is not None
    return _Said(r.series, r.group, r.bucket, r.points, stood=(total, r.points, least, most, last, r.last_ns))


def _delta(r: Reduced, spread: bool) -> _Said:
    if not spread:
        return _Said(r.series, r.group, r.bucket, r.points, r.values[2])
    shape = _all_of(read(text) for text in r.shapes)
    return _Said(r.series, r.group, r.bucket, r.points, None, r.counts[2], r.totals[2], shape, r.low, r.high)


def _grown(r: Reduced, before: Reduced | None, plan: Plan, spread: bool) -> _Said:
    """What a cumulative series grew by in a bucket."""
    from_zero = before is None and (r.run > 0 or r.begun >= max(1, plan.since))
    said = _Said(r.series, r.group, r.bucket, r.points)
    if before is None and not from_zero and r.points == 1:
        return said._replace(unknown=True)
    if not spread:
        first, last = r.values[:2]
        base = 0.0 if from_zero else before.values[1] if before else first
        return said._replace(grown=_minus(last, base), unknown=before is None and not from_zero)
    base_count, base_total = (0, 0.0) if from_zero else (before.counts[1], before.totals[1]) if before else (r.counts[0], r.totals[0])
    now = read(r.last_shape)
    if not from_zero and now is not None:
        old = read(before.last_shape if before else r.first_shape)
        now = None if old is None else less(now, old)
    low, high = (r.low, r.high) if from_zero else (None, None)
    return said._replace(
        recorded=_minus(r.counts[1], base_count), total=_minus(r.totals[1], base_total), shape=now, low=low, high=high,
        unknown=before is None and not from_zero,
    )  # fmt: skip


def _minus(a: Any, b: Any) -> Any:
    return None if a is None or b is None else a - b


def _all_of(shapes: Iterable[Shape | None]) -> Shape | None:
    """All together; None where one is not told, or they have no bounds in common."""
    whole: Shape | None = None
    for n, shape in enumerate(shapes):
        whole = shape if n == 0 else None if whole is None or shape is None else added(whole, shape)
        if whole is None:
            return None
    return whole


class _Cell:
    """Of a group and bucket."""

    def __init__(self) -> None:
        self.said: list[_Said] = []

    def told(self, metric: MetricSeen, seconds: float) -> dict[str, Any]:
        """The fields of a `Measurement`."""
        told: dict[str, Any] = {"points": sum(s.points for s in self.said), "unknown": len({s.series for s in self.said if s.unknown})}
        if grown := [s.grown for s in self.said if s.grown is not None]:
            told |= {"increase": math.fsum(grown), "rate": math.fsum(grown) / seconds}
        if stood := [(s.series, s.stood) for s in self.said if s.stood is not None]:
            told |= _of_gauge([at for _, at in stood]) if metric.type == "gauge" else _of_levels(stood)
        if spread := [s for s in self.said if s.recorded is not None]:
            told |= _of_spread(spread)
            told["rate"] = told["count"] / seconds
        return told


_Stood = tuple[float, int, float, float, float, int]


def _of_gauge(stood: Sequence[_Stood]) -> dict[str, Any]:
    last = max(stood, key=lambda at: at[5])[4]
    mean = sum(at[0] for at in stood) / sum(at[1] for at in stood)
    return {"mean": mean, "min": min(at[2] for at in stood), "max": max(at[3] for at in stood), "last": last}


def _of_levels(stood: Sequence[tuple[str, _Stood]]) -> dict[str, Any]:
    """Of what goes up and down in several places: all together. How low or high all of them were at once nobody knows."""
    by_series: dict[str, list[_Stood]] = defaultdict(list)
    for series, at in stood:
        by_series[series].append(at)
    each = [_of_gauge(some) for some in by_series.values()]
    told = {"mean": sum(e["mean"] for e in each), "last": sum(e["last"] for e in each)}
    return each[0] if len(each) == 1 else told


def _of_spread(spread: Sequence[_Said]) -> dict[str, Any]:
    count = sum(s.recorded or 0 for s in spread)
    told: dict[str, Any] = {"count": count}
    filled = [s for s in spread if s.recorded]
    if all(s.total is not None for s in filled):
        told["sum"] = math.fsum(s.total or 0 for s in filled)
        told["mean"] = told["sum"] / count if count else None
    if not filled:
        return told
    told["min"] = _extreme(min, [s.low for s in filled])
    told["max"] = _extreme(max, [s.high for s in filled])
    if (shape := _all_of(s.shape for s in filled)) is not None:
        told["quantiles"] = quantiles(shape, told["min"], told["max"])
    return told


def _extreme(best: Callable[[Iterable[float]], float], found: Sequence[float | None]) -> float | None:
    """None where one is not told."""
    told = [value for value in found if value is not None]
    return best(told) if len(told) == len(found) else None


def measured(
    plan: Plan, metric: MetricSeen, rows: Sequence[Reduced], series: Sequence[tuple[str, str, str]]
) -> MetricTold:  # fmt: skip
    """The answer. `rows` in the order of series, begun, run and bucket, of which `MOST` are too many; `series` are attributes, resource
    and service of some. Raises `Invalid`."""
    if len(rows) >= MOST:
        remedy = "ask for a shorter time, for longer buckets, or by a filter for fewer series"
        raise Invalid(f"this metric has {MOST:,} series and buckets or more in this time", where="since_ns", remedy=remedy)
    said = list(_said(rows, metric, plan))
    values, more = _largest(said, plan)
    cells: dict[tuple[Any, int | None], _Cell] = defaultdict(_Cell)
    for s in said:
        group = _ALL if plan.query.by is None else s.group if s.group is None or s.group in values else _OTHERS
        for of in dict.fromkeys((_ALL, group)):
            cells[of, None].said.append(s)
            cells[of, s.bucket].said.append(s)
    groups = []
    each: list[tuple[Any, str | None]] = [*((v, v) for v in values), (_OTHERS, None), (None, None)]
    for of, value in each if plan.query.by is not None else ():
        if (of, None) in cells:
            groups.append(MetricGroup(value, *_board(cells, of, metric, plan), others=of is _OTHERS))
    whole, buckets = _board(cells, _ALL, metric, plan)
    return MetricTold(metric, plan.since, plan.until, plan.step, whole, buckets, tuple(groups), more, _attributes(series))


_ALL, _OTHERS = object(), object()


def _board(cells: dict[Any, _Cell], of: Any, metric: MetricSeen, plan: Plan) -> tuple[Measurement, tuple[MeasuredBucket, ...]]:
    whole = Measurement(**cells[of, None].told(metric, (plan.until - plan.since) / SECOND))
    found = []
    for bucket in sorted(b for group, b in cells if b is not None and group == of):
        start = bucket * plan.step
        seconds = (min(start + plan.step, plan.until) - max(start, plan.since)) / SECOND
        found.append(MeasuredBucket(start_ns=start, **cells[of, bucket].told(metric, seconds)))
    return whole, tuple(found)


def _largest(said: Sequence[_Said], plan: Plan) -> tuple[list[str], int]:
    """The values of the groups that are told, the largest first, and how many more there are."""
    size: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    for s in said:
        if s.group is not None:
            of = size[s.group]
            of[0] += s.recorded or abs(s.grown or 0.0)
            of[1] += s.points
    values = sorted(size, key=lambda value: ([-n for n in size[value]], value))
    return values[: plan.query.limit], max(0, len(values) - plan.query.limit)


def _attributes(series: Sequence[tuple[str, str, str]]) -> tuple[MetricAttribute, ...]:
    own, around, services = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set), set[str]()
    for attributes, resource, service in series:
        for text, into, room in ((attributes, own, ""), (resource, around, "resource.")):
            for name, value in msgspec.json.decode(text).items():
                into[room + name].add(str(value))
        services.add(service)
    found = [MetricAttribute(name, len(own[name])) for name in sorted(own)]
    found += [MetricAttribute("service", len(services - {""}))] if services - {""} else []
    return (*found, *(MetricAttribute(name, len(around[name])) for name in sorted(around) if len(around[name]) > 1))


def page_of(found: Sequence[Sequence[Any]], limit: int) -> tuple[tuple[MetricSeen, ...], str | None]:
    """What engines say of metrics, in the order of `CURSOR`, one more than a page has; and the cursor of the next page."""
    items = tuple(seen(row) for row in found[:limit])
    return items, cursor_of(items[-1]) if len(found) > limit else None


def seen(row: Sequence[Any]) -> MetricSeen:
    name, unit, kind, monotonic, temporalities, series, count, first, last, description = row
    return MetricSeen(name, unit, kind, bool(monotonic), tuple(sorted(temporalities)), series, count, first, last, description)


CURSOR = ("metric", "unit", "type", "monotonic")


def cursor_of(last: MetricSeen) -> str:
    return msgspec.json.encode([last.name, last.unit, last.type, last.monotonic]).decode()


def cursor_after(cursor: str) -> tuple[str, str, PointType, bool]:
    """Raises `Invalid`."""
    try:
        return msgspec.json.decode(cursor, type=tuple[str, str, PointType, bool])
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise Invalid("this cursor is not one of ours", where="cursor", remedy="start from the first page") from None
