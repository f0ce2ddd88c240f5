"""Metrics that applications measure and send by OTLP: which there are, and one of them over time, by any attribute."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page

PointType = Literal["gauge", "sum", "histogram", "exponential_histogram", "summary"]
Temporality = Literal["", "delta", "cumulative"]  # empty for a gauge, and where it is not told


class MetricQuery(msgspec.Struct, omit_defaults=True):
    """Metrics of which a point was measured in the last so many `hours`, 0 for all time; `search` is text in a name, in any case."""

    project: str = "default"
    hours: Annotated[int, msgspec.Meta(ge=0, le=87_600)] = 720
    search: str = ""
    cursor: str | None = None
    limit: Limit = 100


class MetricSeen(msgspec.Struct, omit_defaults=True):
    """A metric by its name, unit and type. A sum that is `monotonic` only grows (a counter); another goes up and down. `series` is how
    many there are of it: each with attributes, resource and scope of its own. Times are UTC nanoseconds, of measuring."""

    name: str
    unit: str
    type: PointType
    monotonic: bool
    temporalities: tuple[Temporality, ...]
    series: int
    points: int
    first_ns: int
    last_ns: int
    description: str = ""


class MetricPage(Page):
    """By name."""

    items: tuple[MetricSeen, ...]


class MetricShow(msgspec.Struct, omit_defaults=True):
    """A metric over time: its points that were measured from `since_ns` to `until_ns`, the latter excluded; by default in the last 24
    hours. `unit` and `type` say which is meant where a name has several. `by` is the name of an attribute of points, `service`, or
    `resource.` and the name of one. `filter` has terms on `attr.NAME`, `resource.NAME` and `service`, put together as those of traces.
    Buckets as in `FiguresQuery`. `limit` groups are told, the largest; the rest together as others."""

    name: str
    project: str = "default"
    unit: str | None = None
    type: PointType | None = None
    by: str | None = None
    filter: str = ""
    since_ns: int | None = None
    until_ns: int | None = None
    bucket_s: Annotated[int, msgspec.Meta(ge=1)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=50)] = 8


class Quantiles(msgspec.Struct, frozen=True):
    """Estimated from a histogram's buckets, in the metric's unit: between the bounds of a bucket linearly; in one of an exponential
    histogram logarithmically. Where the last bucket has no upper bound it is the greatest that was told, or the last bound."""

    p50: float
    p90: float
    p95: float
    p99: float


class Measurement(msgspec.Struct, omit_defaults=True):
    """What points come to. None is unknown: it was not told, or nothing was measured.

    Of a counter, and of any sum told as delta: `increase`, and `rate` a second. Of a histogram or summary: `count` and `sum` of what was
    recorded, `rate` of it a second, its `mean`; of a histogram `quantiles`, and `min` and `max` as far as they are told. Of a gauge:
    `mean`, `min`, `max` and `last` of its points. Of a sum that goes up and down: the same, of all its series added up; `min` and `max`
    only of one alone. `unknown` is how many series have points whose increase cannot be told, since none was told before."""

    points: int = 0
    increase: float | None = None
    rate: float | None = None
    count: int | None = None
    sum: float | None = None
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    last: float | None = None
    quantiles: Quantiles | None = None
    unknown: int = 0


class MeasuredBucket(Measurement, kw_only=True, omit_defaults=True):
    """Of what was measured in it. What a cumulative series grew by between two points is in the bucket of the later."""

    start_ns: int


class MetricGroup(msgspec.Struct, omit_defaults=True):
    """One value of what it is told by; None for points that have none, or for all `others` together."""

    value: str | None
    whole: Measurement
    buckets: tuple[MeasuredBucket, ...] = ()
    others: bool = False


class MetricAttribute(msgspec.Struct):
    """What a metric can be told by, and how many values that has among the series looked at."""

    name: str
    values: int


class MetricTold(msgspec.Struct, omit_defaults=True):
    """Buckets in which nothing was measured are left out: a gap is not 0. `more` values are in `others`. `attributes` are what it can be
    told by, as in `by`; of at most 1,000 series."""

    metric: MetricSeen
    since_ns: int
    until_ns: int
    bucket_ns: int
    whole: Measurement
    buckets: tuple[MeasuredBucket, ...] = ()
    groups: tuple[MetricGroup, ...] = ()
    more: int = 0
    attributes: tuple[MetricAttribute, ...] = ()


METRICS = Operation("metrics.list", "GET", MetricQuery, MetricPage, "read")
METRIC = Operation("metrics.show", "GET", MetricShow, MetricTold, "read")
