"""Operations on what happened: traces, one trace, why an answer came, home's live figures."""

from __future__ import annotations

from typing import Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page
from windlass.core.span import Step


class TraceQuery(msgspec.Struct, omit_defaults=True):
    """Filters combine with and. `search` looks in the name, input and output of the root. `uses` is a ref (digest may be a
    prefix): traces in which that version took part; `passage` the key of a chunk that a search gave them. Times are UTC nanoseconds."""

    project: str = "default"
    search: str | None = None
    status: Literal["ok", "error"] | None = None
    uses: str | None = None
    passage: str | None = None
    model: str | None = None
    kind: str | None = None
    session: str | None = None
    user: str | None = None
    environment: str | None = None
    evaluation: str | None = None  # an evaluation's id; by default evaluation runs are left out
    since_ns: int | None = None
    until_ns: int | None = None
    slower_than_ms: float | None = None
    cursor: str | None = None
    limit: Limit = 50


class TraceSummary(msgspec.Struct, omit_defaults=True):
    trace_id: str
    name: str
    kind: str
    start_ns: int
    duration_ns: int
    status: str
    spans: int
    input: str = ""  # shortened to 400 characters
    output: str = ""
    release: str | None = None
    tokens: int | None = None
    cost: float | None = None
    session: str | None = None
    user: str | None = None


class TracePage(Page):
    items: tuple[TraceSummary, ...]


class TraceShow(msgspec.Struct, omit_defaults=True):
    """`id` whole, or an unambiguous prefix of at least 4. `cursor` pages the spans of a giant trace."""

    id: str
    project: str = "default"
    cursor: str | None = None
    limit: Limit = 200


class Trace(Page):
    """Spans in start order, at most 200 a page; `versions` every ref that took part in any of them."""

    summary: TraceSummary
    spans: tuple[Step, ...]
    versions: tuple[str, ...] = ()


class Given(msgspec.Struct, omit_defaults=True):
    """A passage that an answer was given. `index` is the version that it was found in, `score` what it had there."""

    key: str
    name: str
    index: str | None = None
    score: float | None = None


class Why(msgspec.Struct, omit_defaults=True):
    """What produced an answer: release, its verdict and move, every version, and the passages it was given; and `rows`, what was made
    of it since, as `dataset#key`."""

    trace: TraceSummary
    release: str | None
    versions: tuple[str, ...]
    verdict: str | None = None
    released_ns: int | None = None
    passages: tuple[Given, ...] = ()
    rows: tuple[str, ...] = ()


class LiveQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"
    release: str | None = None  # name
    hours: int = 24


class LiveFigures(msgspec.Struct, omit_defaults=True):
    """Traffic of one release, evaluation runs left out. None where there is nothing to measure. `series` are
    `[bucket start ns, requests, p95 latency ms, errors]`."""

    requests: int
    errors: int
    p50_ms: float | None = None
    p95_ms: float | None = None
    cost: float | None = None
    tokens: int | None = None
    series: tuple[tuple[int, int, float, int], ...] = ()


class TraceRemap(msgspec.Struct):
    """Read what is kept of every span anew, in all projects, by the tables of this version and the prices of today."""


class Remapped(msgspec.Struct, omit_defaults=True):
    """How far that has come: ask again until it has `finished`. `changed` are rows that say something else now, by column; `total` grows
    with what comes in meanwhile."""

    done: int
    total: int
    changed: dict[str, int] = {}
    finished: bool = False


TRACES = Operation("traces.list", "GET", TraceQuery, TracePage, "read")
TRACE = Operation("traces.show", "GET", TraceShow, Trace, "read")
WHY = Operation("traces.why", "GET", TraceShow, Why, "read")
LIVE = Operation("traces.live", "GET", LiveQuery, LiveFigures, "read")
REMAP = Operation("traces.remap", "POST", TraceRemap, Remapped, "admin")
