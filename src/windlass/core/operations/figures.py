"""Figures of traces over time: how many, how many failed, how long they took, what they cost, what they were worth; by anything."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from windlass.core.operations import Operation
from windlass.core.operations.traces import TraceQuery

Measure = Literal["traces", "calls", "scores", "steps", "first_token"]
ATTRIBUTE = "attribute:"


class FiguresQuery(TraceQuery, omit_defaults=True):
    """Of the traces that fit the filters, which are those of `traces.list`, and began from `since_ns` to `until_ns`, the latter excluded;
    by default in the last 24 hours. At most 400 buckets of `bucket_s` seconds, which begin at whole multiples of it in UTC; where it is
    not given, as many as a drawing has room for, of a minute to a day. `by` a dimension: model, provider, release, version, prompt,
    service, environment, user, session, kind, name, tool, tag, status, or `attribute:` and the name of one. `limit` groups are told, the
    largest by traces; what is in none of them is in `others`. `steps` and `first_token` are measured when they are named: they read
    more. There is no `cursor`."""

    by: str | None = None
    measures: tuple[Measure, ...] = ("traces", "calls", "scores")
    bucket_s: Annotated[int, msgspec.Meta(ge=1)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=50)] = 8


class Percentiles(msgspec.Struct, frozen=True):
    """In milliseconds; between two values they are interpolated linearly (Hyndman and Fan's type 7, as NumPy's)."""

    p50: float
    p90: float
    p95: float
    p99: float


class ScoreFigure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A score by its name: the mean of those that are numbers, which for yes and no is the share of yes; None where there are none.
    `unmeasured` could not be judged, and are in no mean."""

    name: str
    mean: float | None = None
    measured: int = 0
    unmeasured: int = 0


class Figure(msgspec.Struct, omit_defaults=True):
    """What traces come to. None is unmeasured: there was nothing, or it was not told.

    `errors` are failed traces, `spans` their steps, `latency` how long traces took. A call of a model that several spans tell of counts
    once. `calls` are of models without embeddings, as are `failed_calls`, `call_latency`, `first_token` and the tokens: `tokens_in` has
    the cached ones in it, `tokens_out` the reasoning. `cost` in US dollars is of models and embeddings, as far as it is known;
    `unpriced` is how many of these have none that is. `steps`, `failed_steps` and `step_latency` are of spans one by one."""

    traces: int = 0
    errors: int = 0
    spans: int = 0
    latency: Percentiles | None = None
    calls: int = 0
    failed_calls: int = 0
    call_latency: Percentiles | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    tokens_reasoning: int | None = None
    cost: float | None = None
    unpriced: int = 0
    scores: tuple[ScoreFigure, ...] = ()
    first_tokens: int = 0  # calls of which it is known
    first_token: Percentiles | None = None
    steps: int = 0
    failed_steps: int = 0
    step_latency: Percentiles | None = None


class Bucket(Figure, kw_only=True, omit_defaults=True):
    """Of the traces that began in it, with all that came of them whenever it came."""

    start_ns: int


class FigureGroup(msgspec.Struct, omit_defaults=True):
    """One value of the dimension; None for what has none, or for all `others` together. A trace is in the group of each value that its
    spans have, with its scores; a span in that of its own, and without one in that of its trace, where it has one alone. So groups may
    come to more than the whole."""

    value: str | None
    whole: Figure
    buckets: tuple[Bucket, ...] = ()
    others: bool = False


class Figures(msgspec.Struct, omit_defaults=True):
    """`whole` is exact, whatever the groups are. Buckets in which no trace began are left out. Scores are of the 12 names that are
    given most. `more` values of the dimension are in `others`."""

    since_ns: int
    until_ns: int
    bucket_ns: int
    whole: Figure
    buckets: tuple[Bucket, ...] = ()
    groups: tuple[FigureGroup, ...] = ()
    more: int = 0


FIGURES = Operation("traces.figures", "GET", FiguresQuery, Figures, "read")
