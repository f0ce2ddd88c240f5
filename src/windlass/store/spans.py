"""Spans as wide rows, what a person reads of one, and the port of the store: `spans_duckdb.py` or `spans_clickhouse.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from windlass.core.conversation import gist
from windlass.core.errors import NotFound, Unavailable
from windlass.core.operations.calls import CallGraph, CallsShow
from windlass.core.operations.costs import CostsShow, TraceCosts
from windlass.core.operations.figures import Figures, FiguresQuery
from windlass.core.operations.ledger import LedgerAudit, LedgerAudited, LedgerPage, LedgerQuery
from windlass.core.operations.logs import LogPage, LogQuery
from windlass.core.operations.metrics import MetricPage, MetricQuery, MetricShow, MetricTold
from windlass.core.operations.sessions import SessionPage, SessionQuery
from windlass.core.operations.traces import (
    FieldQuery,
    Fields,
    LiveFigures,
    LiveQuery,
    Remapped,
    SpanText,
    TextShow,
    Trace,
    TracePage,
    TraceQuery,
    TraceShow,
    TraceSummary,
)
from windlass.core.operations.trees import TraceTree, TreeShow
from windlass.core.span import Span, SpanEvent, SpanLink, StoredSpan
from windlass.store.segments import Position

if TYPE_CHECKING:
    from windlass.store.points import PointRow, Row
    from windlass.store.span_ledger import Account, Entry

SpanKey = tuple[str, str, str]  # project, trace, span
READ = ("kind", "model", "provider", "tokens_in", "tokens_out", "tokens_cached", "cost", "tool", "input_from", "output_from", "response")
TALKING = "kind IN ('model', 'agent', 'chain', 'component', 'request')"  # steps whose texts stand for a trace of which the first has none
SHOWN = 1_000_000  # characters of one text that are shown of a span, and an eighth of those of all spans together
SHORT = 400  # characters of an input or output in a list


class SpanRow(msgspec.Struct):
    """One span as it is stored. Times are UTC nanoseconds; `cost` in US dollars, None when unknown."""

    project: str
    trace_id: str
    span_id: str
    parent: str | None
    name: str
    kind: str
    start_ns: int
    end_ns: int
    receipt_ns: int
    status: str
    status_message: str
    service: str
    digest: str  # 16 hex digits of the span's content: the same again is dropped, another is a revision
    model: str | None = None
    provider: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None  # of tokens_in, as tokens_written
    tokens_written: int | None = None
    tokens_reasoning: int | None = None  # of tokens_out
    cost: float | None = None
    input: str | None = None
    output: str | None = None
    session: str | None = None
    user: str | None = None
    release: str | None = None
    environment: str | None = None
    evaluation: str | None = None
    row: str | None = None
    tool: str | None = None
    prompt: str | None = None  # of another platform: its name, with @ and version where that is told
    tags: list[str] = []
    versions: list[str] = []
    attributes: str = "{}"  # JSON, as everything below; without the two that are in `input` and `output` as they came
    events: str = "[]"
    links: str = "[]"
    resource: str | None = "{}"  # None: of a file of format 1, which did not keep it
    input_from: str | None = None  # the attribute whose text `input` is
    output_from: str | None = None
    response: str | None = None  # the provider's id of an answer
    joined: bool = False  # a revision that nobody sent: log records told more of a span that was there
    severity: int | None = None  # of what came as a log record: OpenTelemetry's number, 0 where it told none


class ArrivalQuery(msgspec.Struct, omit_defaults=True):
    """Runs that came since `cursor`, which is None at the very beginning: of a release by name, or of a `service` that sends its own
    traces. Evaluation runs are left out."""

    project: str
    release: str | None = None
    service: str | None = None
    environment: str | None = None
    cursor: str | None = None
    limit: int = 500


class Arrival(msgspec.Struct, omit_defaults=True):
    """One run, by its span: the root of what Windlass ran, or of a foreign trace. `input` and `output` are JSON text as it was recorded."""

    trace_id: str
    span_id: str
    start_ns: int
    end_ns: int
    receipt_ns: int
    status: str
    input: str | None = None
    output: str | None = None
    session: str | None = None
    user: str | None = None
    release: str | None = None
    rollout: str | None = None  # `core.rollout.Assigned` as text, where one chose who answered


class Arrivals(msgspec.Struct):
    """In the order they came, whatever the clocks said. `cursor` is where to go on; a span that came again may be among them again."""

    items: tuple[Arrival, ...]
    cursor: str
    more: bool = False


class TrialQuery(msgspec.Struct, omit_defaults=True):
    """Runs that a rollout put on an arm, and what was said of them, as they came since `cursor`, which is None at the very beginning."""

    project: str
    rollout: str
    cursor: str | None = None
    limit: int = 2000


class Trial(msgspec.Struct, array_like=True):
    """One run, or where `score` names one, what was said of it. `value` is None where it could not be measured, or was withdrawn; `cost`
    in US dollars, None when unknown. `stage` and `unit` as its span says them."""

    span_id: str
    start_ns: int
    end_ns: int
    status: str
    cost: float | None
    arm: str | None
    unit: str | None
    stage: str | None
    not_compared: str | None
    score: str | None
    value: float | None
    given: str | None


class Trials(msgspec.Struct):
    """As `Arrivals`."""

    items: tuple[Trial, ...]
    cursor: str
    more: bool = False


class ScoreQuery(msgspec.Struct, omit_defaults=True):
    """Judgements of runs in production: of a release by name, or of a `service`; with `monitors` without what people and applications
    gave. `limit` is how many, the newest."""

    project: str
    release: str | None = None
    service: str | None = None
    environment: str | None = None
    evaluator: str | None = None  # by the name it is judged under
    since_ns: int | None = None
    monitors: bool = False
    limit: int = 20_000


class ScoreSeen(msgspec.Struct, array_like=True):
    """One judgement. `value` is None where it could not be measured."""

    at_ns: int
    trace_id: str
    release: str | None
    evaluator: str
    value: float | None


class SubjectQuery(msgspec.Struct, omit_defaults=True):
    """Whose traces: those with one of `names` as user, or as session where no other user is told; those already known; and where there is
    a `pattern` (RE2) those in which it is found. `sessions` are known from elsewhere."""

    project: str
    names: tuple[str, ...]
    traces: tuple[str, ...] = ()
    pattern: str = ""
    sessions: tuple[str, ...] = ()


class Theirs(msgspec.Struct):
    """Ids of a person's traces, what was asked in their outermost steps, and sessions in which no span is anybody else's."""

    traces: tuple[str, ...]
    said: tuple[str, ...]
    sessions: tuple[str, ...] = ()


class CommonQuery(msgspec.Struct):
    """Which of these beginnings of texts (`core.quoting`) others say too, in traces that are not these."""

    project: str
    traces: tuple[str, ...]
    texts: tuple[str, ...]


class Standing(msgspec.Struct, array_like=True):
    """Of the records of a project that came at one time, the digests of the points of metrics that were not erased from them."""

    receipt_ns: int
    digests: tuple[str, ...]


class Forget(msgspec.Struct, omit_defaults=True):
    """Traces whose spans are to be gone, also from the bytes of files; and of the points that came at these times all but those that
    stand. `erased`: by hour, source and signal how many log records and points are erased from the journal, all in all."""

    project: str
    traces: tuple[str, ...]
    erased: tuple[tuple[int, str, str, int], ...] = ()
    points: tuple[Standing, ...] = ()


class PortionQuery(msgspec.Struct, omit_defaults=True):
    """Some of a project's rows from `cursor` on, empty at the beginning, to be written to a `file` of Parquet that is not there: these
    columns of those that began, or were measured, from `since_ns` to before `until_ns`. Ids as OpenTelemetry writes them."""

    project: str
    columns: tuple[str, ...]
    file: str
    cursor: str = ""
    since_ns: int | None = None
    until_ns: int | None = None
    of: Literal["spans", "points"] = "spans"


class Portion(msgspec.Struct):
    """How many rows and bytes the file has. `next` goes on, None at the end."""

    rows: int
    bytes: int
    next: str | None = None


class RecentQuery(msgspec.Struct, omit_defaults=True):
    """Those of these spans, each a trace and an id, that came today or yesterday, the newest revision of each, in any order. Of their texts
    no more is told than of a trace's; `cut` says what is short."""

    project: str
    spans: tuple[tuple[str, str], ...]


class MentionQuery(msgspec.Struct):
    project: str
    pattern: str


class SpanStore(Protocol):
    """Appends rows with the journal's position in one transaction; answers what pages ask. Not safe for threads."""

    def write(self, day: str, rows: Sequence[Row], writer: str, position: Position, account: Account = ...) -> int:
        """Append to the file of a day (YYYY-MM-DD of receipt), and enter in the ledger what `account` says once it is told which were
        new. Returns how many of these are spans or log records."""
        ...

    def ledger(self, project: str, since: int) -> list[Entry]:
        """What was entered from an hour on; a key may be there several times. With it, of all projects, when the ledger began."""
        ...

    def enter(self, entries: Sequence[Entry]) -> None: ...  # in the ledger, what comes with no row
    def mended(self, error: Exception) -> Unavailable | None:
        """What an error of the engine means for whoever asked. Where that is needed to go on, the store is open anew when this returns.
        None for one that is a defect."""
        ...

    def days(self) -> list[str]:
        """Days of receipt of which there is something, as YYYY-MM-DD, the first first."""
        ...

    def index(self, seconds: float) -> bool:
        """Work for about so long on what makes searches quick; to be called again and again. Returns whether there was something to do."""
        ...

    def expire(self, day: str) -> int:
        """Remove a day, and enter that what came on it is expired. Cut off anywhere it can be done again. Returns how many rows it was;
        0 too while rows are being read anew, which goes first."""
        ...

    def rows_by_hour(self, project: str) -> list[tuple[int, str, int]]:
        """Hour, service and how many rows and points are there; an hour and service may be there several times."""
        ...

    def held(self, day: str, project: str, traces: Sequence[str]) -> list[SpanRow]:
        """Every row of these traces that a day has."""
        ...

    def held_points(self, day: str, project: str, digests: Sequence[str]) -> list[PointRow]:
        """Every point of a day with one of these digests."""
        ...

    def hears(self) -> bool: ...  # whether there are log records of traces at all that came today or yesterday
    def records(self, keys: Sequence[SpanKey]) -> list[SpanRow]:
        """The log records under these spans that came today or yesterday, in their order."""
        ...

    def spans_at(self, keys: Sequence[SpanKey]) -> list[SpanRow]:
        """These spans, the newest revision of each, where they came today or yesterday."""
        ...

    def unsure(self) -> dict[str, Position]:
        """Where writes were to end that are done in part, or may be: done again they must end there."""
        ...

    def positions(self) -> dict[str, Position]: ...
    def traces(self, query: TraceQuery) -> TracePage: ...
    def fields(self, query: FieldQuery) -> Fields: ...
    def logs(self, query: LogQuery) -> LogPage: ...
    def trace(self, query: TraceShow) -> Trace: ...
    def recent(self, query: RecentQuery) -> list[StoredSpan]: ...
    def tree(self, query: TreeShow) -> TraceTree: ...
    def calls(self, query: CallsShow) -> CallGraph: ...
    def costs(self, query: CostsShow) -> TraceCosts: ...
    def text(self, query: TextShow) -> SpanText: ...
    def live(self, query: LiveQuery) -> LiveFigures: ...
    def figures(self, query: FiguresQuery) -> Figures: ...
    def metrics(self, query: MetricQuery) -> MetricPage: ...
    def metric(self, query: MetricShow) -> MetricTold: ...
    def arrivals(self, query: ArrivalQuery) -> Arrivals: ...
    def trials(self, query: TrialQuery) -> Trials: ...
    def scores(self, query: ScoreQuery) -> list[ScoreSeen]: ...
    def sessions(self, query: SessionQuery) -> SessionPage: ...
    def counts(self) -> dict[str, int]: ...
    def theirs(self, query: SubjectQuery) -> Theirs: ...
    def common(self, query: CommonQuery) -> list[str]: ...
    def forget(self, asked: Forget) -> int: ...
    def mentions(self, query: MentionQuery) -> int: ...
    def portion(self, query: PortionQuery) -> Portion: ...
    def remap(self, read: Callable[[SpanRow], SpanRow], seconds: float) -> Remapped: ...
    def size(self) -> int: ...  # bytes it takes, as its engine counts them
    def rest(self) -> None: ...
    def close(self) -> None: ...


class Spans(Protocol):
    """What doors ask: the same questions, answered after everything that was synced before they were asked."""

    async def traces(self, query: TraceQuery) -> TracePage: ...
    async def fields(self, query: FieldQuery) -> Fields: ...
    async def logs(self, query: LogQuery) -> LogPage: ...
    async def trace(self, query: TraceShow) -> Trace: ...
    async def recent(self, query: RecentQuery) -> list[StoredSpan]: ...
    async def tree(self, query: TreeShow) -> TraceTree: ...
    async def calls(self, query: CallsShow) -> CallGraph: ...
    async def costs(self, query: CostsShow) -> TraceCosts: ...
    async def text(self, query: TextShow) -> SpanText: ...
    async def live(self, query: LiveQuery) -> LiveFigures: ...
    async def figures(self, query: FiguresQuery) -> Figures: ...
    async def metrics(self, query: MetricQuery) -> MetricPage: ...
    async def metric(self, query: MetricShow) -> MetricTold: ...
    async def arrivals(self, query: ArrivalQuery) -> Arrivals: ...
    async def trials(self, query: TrialQuery) -> Trials: ...
    async def scores(self, query: ScoreQuery) -> list[ScoreSeen]: ...
    async def sessions(self, query: SessionQuery) -> SessionPage: ...
    async def counts(self) -> dict[str, int]: ...
    async def theirs(self, query: SubjectQuery) -> Theirs: ...
    async def common(self, query: CommonQuery) -> list[str]: ...
    async def forget(self, asked: Forget) -> int: ...
    async def mentions(self, query: MentionQuery) -> int: ...
    async def portion(self, query: PortionQuery) -> Portion: ...
    async def remap(self) -> Remapped: ...
    async def ledger(self, query: LedgerQuery) -> LedgerPage: ...
    async def audit(self, asked: LedgerAudit) -> LedgerAudited: ...
    async def close(self) -> None: ...


def cursor_of(last: TraceSummary | Span) -> str:
    """Where the page after this one begins."""
    return f"{last.start_ns}-{last.trace_id if isinstance(last, TraceSummary) else last.span_id}"


def summary_of(row: tuple[Any, ...]) -> TraceSummary:
    """A trace as a list shows it, of what either engine says of it in one row."""
    trace, start, took, spans, failed, inner, roots, tin, tout, cost, release, session, user, name, kind, given, output, own = row
    tokens = None if tin is None and tout is None else (tin or 0) + (tout or 0)
    status = "error" if failed or (inner and not roots) else "ok"
    return TraceSummary(
        trace_id=trace, name=name, kind=kind, start_ns=start, duration_ns=max(0, took), status=status, spans=spans, input=readable(given),
        output=readable(output), release=own or release, tokens=tokens, cost=cost, session=session, user=user,
    )  # fmt: skip


def told(query: TextShow, found: list[str | None]) -> SpanText:
    """The answer, of what was found. Raises `NotFound`."""
    if not found:
        raise no_span(query.span, query.id)
    return SpanText(found[0] or "")


def no_span(span: str, trace: str) -> NotFound:
    return NotFound(f"there is no span {span} in trace {trace}", remedy="windlass traces ID shows its spans")


def span_of(row: dict[str, Any], cut: dict[str, int] | None = None) -> StoredSpan:
    """A span, of its row; `cut` are columns that are shortened, with how long they are."""
    attributes = msgspec.json.decode(row["attributes"])
    for column in ("input", "output"):
        if row[f"{column}_from"]:
            attributes[row[f"{column}_from"]] = row[column]
    events = msgspec.json.decode(row["events"], type=list[SpanEvent])
    links = msgspec.json.decode(row["links"], type=list[SpanLink])
    return StoredSpan(
        trace_id=row["trace_id"], span_id=row["span_id"], name=row["name"], start_ns=row["start_ns"], end_ns=row["end_ns"],
        parent=row["parent"], status=row["status"], status_message=row["status_message"], attributes=attributes, events=events,
        project=row["project"], service=row["service"], links=links, resource=msgspec.json.decode(row["resource"] or "{}"),
        told_input=None if row["input_from"] else row["input"], told_output=None if row["output_from"] else row["output"],
        cut=cut or {},
        **{column: row[column] for column in READ},
    )  # fmt: skip


def readable(text: str | None) -> str:
    """What a person reads of an input or output: the text in it, shortened."""
    shown = gist(text)
    return shown if len(shown) <= SHORT else shown[:SHORT] + "…"
