"""Operations on what happened: traces, one trace, why an answer came, home's live figures."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from windlass.core.errors import Invalid
from windlass.core.operations import Limit, Operation, Page
from windlass.core.span import StoredSpan


class TraceQuery(msgspec.Struct, omit_defaults=True):
    """Filters combine with and. `filter` is in the language of `core/filter.py`; the others say each one thing of it. `search` is text in
    the name, input or output of any step; `kind` that of the outermost. `uses` is a ref (digest may be a
    prefix): traces in which that version took part; `passage` the key of a chunk that a search gave them; `score` the name of a score of
    the trace or of a step, or a name and what it is now: `helpful=no`, `stars<3`, `tone=plain`. Times are UTC nanoseconds."""

    project: str = "default"
    filter: str = ""
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
    score: str | None = None
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


class FieldQuery(msgspec.Struct, omit_defaults=True):
    """What the newest `among` traces that fit say in the fields of filters: of all whose values can be counted, or of one `field`, also
    `attr.NAME` or `resource.NAME`; `attr` and `resource` tell the names of attributes. `starts` is how a value begins, in any case. At
    most `limit` values of each, the most frequent first."""

    project: str = "default"
    filter: str = ""
    evaluation: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    field: str = ""
    starts: str = ""
    among: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000
    limit: Limit = 10


class FieldValue(msgspec.Struct):
    value: str
    traces: int  # with it


class FieldTold(msgspec.Struct, omit_defaults=True):
    name: str
    about: str = ""
    values: tuple[FieldValue, ...] = ()


class Fields(msgspec.Struct):
    """`traces` is how many fit; where there are `more`, so many are the newest of them, which alone were looked at."""

    traces: int
    more: bool
    fields: tuple[FieldTold, ...]


class TraceShow(msgspec.Struct, omit_defaults=True):
    """`id` whole, or an unambiguous prefix of at least 4. `cursor` pages the spans of a giant trace; `span` is one of them, to be shown
    alone."""

    id: str
    project: str = "default"
    cursor: str | None = None
    limit: Limit = 200
    span: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{16})?$")] = ""


class TextShow(msgspec.Struct, omit_defaults=True):
    """One text of a span, whole: what `Trace` shortens where it is very long. `id` as in `TraceShow`; attributes and events are JSON."""

    id: str
    span: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    of: Literal["input", "output", "attributes", "events", "status_message", "name", "resource", "links"] = "input"
    project: str = "default"


class SpanText(msgspec.Struct):
    text: str


class ScoreGiven(msgspec.Struct, omit_defaults=True):
    """One score or comment. `value` is a number, yes or no, or a category; None for a comment alone, or where a judge could not measure.
    `by` is the actor, or the monitor's judge. `span` is the step it is about; None where it is about the whole trace, or about the
    `session`. `step` is that step's name as a trace tells it; None where it is an outermost one, or has
    not come. `given` is False for what an evaluator of a monitor or of another platform said."""

    name: str
    at_ns: int
    value: bool | float | str | None = None
    comment: str = ""
    by: str = ""
    span: str | None = None
    session: str | None = None
    given: bool = False
    step: str | None = None


class Trace(Page):
    """Spans in start order, at most 200 a page; `versions` every ref that took part in any of them, `tags` what any is tagged with;
    `scores` what was said of it and of its spans, the newest first: all, whatever the page."""

    summary: TraceSummary
    spans: tuple[StoredSpan, ...]
    versions: tuple[str, ...] = ()
    scores: tuple[ScoreGiven, ...] = ()
    tags: tuple[str, ...] = ()


class ScoreRequest(msgspec.Struct, omit_defaults=True):
    """A score or a comment on a trace, on one of its spans, on a session, or on a run of a dataset as a whole. `value` is a number, true
    or false, or a category; with none, `comment` stands alone. The same name given again to the same by the same actor replaces, so does
    the same `id`, with which one actor gives several of a name; `withdraw` takes it back. `trace` is an id of 32 hex digits, which need
    not have arrived yet, or the start of one that has; `span` likewise with 16. A session must have arrived: its score stands at its
    newest run. `run` is the id of a run that Langfuse's or Opik's SDK made. `at_ns`, in UTC nanoseconds, is when it was given, where that
    was elsewhere and before."""

    name: str
    value: bool | float | str | None = None
    comment: str | None = None
    trace: str | None = None
    span: str | None = None
    session: str | None = None
    id: str | None = None
    withdraw: bool = False
    project: str = "default"
    at_ns: int | None = None
    run: str | None = None

    def __post_init__(self) -> None:
        """Raises `Invalid` for a value that is not finite: JSON has none, and on its way it would become a score without a value."""
        if isinstance(self.value, float) and not math.isfinite(self.value):
            remedy = "leave it out where it could not be measured, and say why in a comment"
            raise Invalid("a value must be finite", where="value", remedy=remedy)


class ScoreKept(msgspec.Struct, omit_defaults=True):
    """What is on disk now. `trace` is where it stands; `arrived` whether that trace has come, `withdrawn` that the score is gone."""

    trace: str
    score: ScoreGiven
    arrived: bool = True
    withdrawn: bool = False


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
FIELDS = Operation("traces.fields", "GET", FieldQuery, Fields, "read")
TRACE = Operation("traces.show", "GET", TraceShow, Trace, "read")
TEXT = Operation("traces.text", "GET", TextShow, SpanText, "read")
WHY = Operation("traces.why", "GET", TraceShow, Why, "read")
LIVE = Operation("traces.live", "GET", LiveQuery, LiveFigures, "read")
GIVE_SCORE = Operation("traces.score", "POST", ScoreRequest, ScoreKept, "trace", also="read, for the start of an id")
REMAP = Operation("traces.remap", "POST", TraceRemap, Remapped, "admin")
