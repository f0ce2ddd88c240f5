"""Operations on monitors: what runs in production, held against what was evaluated; drift, and quality over time."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from windlass.core.monitoring import Drift, Look, Topic
from windlass.core.operations import Limit, Operation, Page
from windlass.core.score import Interval

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Status = Literal["idle", "looking", "paused"]


class MonitorRequest(msgspec.Struct, omit_defaults=True):
    """Watch the runs of a release (the suite's own by default), or of a `service` that sends its traces, against the rows of a suite.

    `encoder` by name makes vectors of texts; `error` bounds the chance of ever a false alarm; `tolerance` is the share of traffic outside
    the evaluation that is nobody's trouble. `judges` are evaluators of the suite, by name, that judge a `sample` of the runs; by default
    all that need no row. A judge is given as `margin` what it may fall below its evaluation before that is an alarm.
    """

    name: str
    suite: str
    project: str = "default"
    release: str | None = None
    service: str | None = None
    environment: str = "production"
    encoder: str = "words"
    error: Annotated[float, msgspec.Meta(gt=0, lt=0.5)] = 0.05
    tolerance: Share = 0.05
    sample: Share = 0.1
    judges: tuple[str, ...] | None = None
    margin: Share = 0.05
    seed: int = 0


class MonitorQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"
    cursor: str | None = None
    limit: Limit = 50


class MonitorName(msgspec.Struct, omit_defaults=True):
    name: str
    project: str = "default"


class MonitorPause(msgspec.Struct, omit_defaults=True):
    """`paused` false lets it go on: with what came in between."""

    name: str
    paused: bool = True
    project: str = "default"


class JudgeState(msgspec.Struct, omit_defaults=True):
    """One evaluator over runs in production. `mean` with an interval that holds at every look; `evaluated` what the release scored when it
    was let out, `worse` whether it was shown to be more than the margin below that."""

    name: str
    measured: int
    unmeasured: int
    mean: float | None = None
    interval: Interval | None = None
    evaluated: float | None = None
    margin: float = 0.05
    worse: bool = False
    sentence: str = ""


class MonitorState(msgspec.Struct, omit_defaults=True):
    """A monitor as it stands. `dataset` is what it holds production against, since `since_ns`: another dataset, encoder or setting begins
    anew, with all of `error` to spend. `problem` is why it could not look, as errors are told."""

    name: str
    ref: str
    suite: str
    watched: str  # release/NAME or a service
    environment: str
    encoder: str
    error: float
    tolerance: float
    sample: float
    status: Status
    dataset: str | None = None
    rows: int = 0
    since_ns: int | None = None
    why_anew: str = ""
    looked_ns: int | None = None
    look: Look | None = None
    judges: tuple[JudgeState, ...] = ()
    problem: dict[str, Any] | None = None


class MonitorPage(Page):
    items: tuple[MonitorState, ...]


class LookSeen(msgspec.Struct, omit_defaults=True):
    """A look at its time: for the drawing of evidence and coverage."""

    at_ns: int
    look: Look


class Exemplar(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run that shows a topic; `row` where a row was made of it."""

    trace: str
    text: str
    start_ns: int
    row: str | None = None


class TopicSeen(msgspec.Struct, frozen=True):
    topic: Topic
    exemplars: tuple[Exemplar, ...]


class Point(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row of the evaluation or a run, in a map of two dimensions: near is alike. `id` is the row's key or the trace's id."""

    x: float
    y: float
    id: str
    text: str
    run: bool = False
    outside: bool = False


class MonitorDetail(msgspec.Struct, omit_defaults=True):
    """`looks` are thinned to at most 200; `points` a sample of both sides."""

    monitor: MonitorState
    looks: tuple[LookSeen, ...] = ()
    topics: tuple[TopicSeen, ...] = ()
    points: tuple[Point, ...] = ()
    kept: float = 0.0  # the share of all differences that the map shows


class DriftQuery(msgspec.Struct, omit_defaults=True):
    """The last `hours` against as many before them, or against `against` hours."""

    name: str
    project: str = "default"
    hours: Annotated[float, msgspec.Meta(gt=0)] = 168
    against: float | None = None


class DriftSeen(msgspec.Struct, omit_defaults=True):
    drift: Drift
    topics: tuple[TopicSeen, ...] = ()


class QualityQuery(msgspec.Struct, omit_defaults=True):
    """Judgements of runs in production by release version, in equal parts of the last `hours`."""

    project: str = "default"
    release: str | None = None
    service: str | None = None
    environment: str = "production"
    hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 366)] = 24 * 14


class QualityPoint(msgspec.Struct, frozen=True, omit_defaults=True):
    at_ns: int
    measured: int
    unmeasured: int
    mean: float | None = None
    interval: Interval | None = None


class QualitySeries(msgspec.Struct, frozen=True, omit_defaults=True):
    """One evaluator over one version of the release; the whole, and by time."""

    evaluator: str
    release: str | None
    measured: int
    unmeasured: int
    mean: float | None
    interval: Interval | None
    points: tuple[QualityPoint, ...]


class QualityOverTime(msgspec.Struct, omit_defaults=True):
    """`moves` are when the environment moved, with the release it moved to."""

    since_ns: int
    until_ns: int
    series: tuple[QualitySeries, ...]
    moves: tuple[tuple[int, str], ...] = ()


SET_MONITOR = Operation("monitors.set", "POST", MonitorRequest, MonitorState, "write")
MONITORS = Operation("monitors.list", "GET", MonitorQuery, MonitorPage, "read")
MONITOR = Operation("monitors.show", "GET", MonitorName, MonitorDetail, "read")
LOOK_NOW = Operation("monitors.look", "POST", MonitorName, MonitorState, "run")
PAUSE_MONITOR = Operation("monitors.pause", "POST", MonitorPause, MonitorState, "write")
DRIFT = Operation("monitors.drift", "GET", DriftQuery, DriftSeen, "read")
QUALITY = Operation("monitors.quality", "GET", QualityQuery, QualityOverTime, "read")
