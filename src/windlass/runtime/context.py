"""What a run knows about itself: who asked, for what, in which trace, by which rules; and what it has used so far.

`RunContext` never changes; `under` and `deeper` make the next one down. All contexts of a run share one `Ledger`. A
`Step` is a span while it is open.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import msgspec

from windlass.core import span as names
from windlass.core.actor import Actor
from windlass.core.errors import WindlassError
from windlass.core.ids import now_ns, span_id, trace_id, uuid7
from windlass.core.message import ModelReply, Usage
from windlass.core.ref import DEFAULT_PROJECT
from windlass.core.rollout import Assigned
from windlass.core.span import Span, SpanEvent, SpanKind, TraceContext
from windlass.core.trajectory import CallMade
from windlass.runtime.models.choosing import Caller

DrawPolicy = Literal["live", "record", "reuse", "replay"]
SHOWN = 32_000  # characters of an input or output that a span keeps


class Records(Protocol):
    """Where spans go; does not wait (`traces.recorder.Recorder`)."""

    def record(self, spans: Sequence[Span]) -> None: ...


class Ledger:
    """What a run has used. `cost` is in US dollars; `cost_known` is False once a call had no price. `waited_ns` is the
    latency of all answers, that of a reused one as it was when it was made; `root` the run's root span; `tool_calls` the
    calls of tools in the order they were made, also those that did not run;
    `draws` the keys of the draws it met, unless its policy is `live`: two runs of one row that met the same draws saw the same
    answers; `missed` the draws that `replay` did not find; `not_compared` why a run says nothing of the arms of a
    rollout. While `held` is a list, spans wait there instead of being recorded."""

    def __init__(self) -> None:
        self.calls = 0
        self.reused = 0
        self.cost = 0.0
        self.cost_known = True
        self.tokens_in = 0
        self.tokens_out = 0
        self.tokens_known = True
        self.waited_ns = 0
        self.versions: dict[str, None] = {}
        self.passages: list[dict[str, Any]] = []
        self.tool_calls: list[CallMade] = []
        self.warnings: list[str] = []
        self.occurrences: Counter[str] = Counter()
        self.draws: list[str] = []
        self.missed = 0
        self.held: list[Span] | None = None
        self.root: TraceContext | None = None
        self.not_compared = ""

    def enter(self, reply: ModelReply) -> None:
        """Count one answer of a model; a reused one with its original cost."""
        self.calls += not reply.reused
        self.reused += reply.reused
        self.waited_ns += reply.latency_ns
        self.tokens_in += reply.usage.input or 0
        self.tokens_out += reply.usage.output or 0
        self.tokens_known = self.tokens_known and reply.usage.input is not None and reply.usage.output is not None
        self.cost_known = self.cost_known and reply.cost is not None
        self.cost += reply.cost or 0.0

    def paid(self, cost: float | None) -> None:
        """Count what was paid beside answers of models: for encoding a question."""
        self.cost_known = self.cost_known and cost is not None
        self.cost += cost or 0.0

    @property
    def tokens(self) -> int:
        """Of all answers that told."""
        return self.tokens_in + self.tokens_out

    @property
    def usage(self) -> Usage | None:
        """Tokens of all answers; None when there was none, or one did not tell."""
        told = self.tokens_known and (self.calls or self.reused)
        return Usage(self.tokens_in, self.tokens_out) if told else None

    @property
    def total(self) -> float | None:
        return self.cost if self.cost_known else None


class RunContext(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `row` and `repeat` name a dataset row in an evaluation, `row` in a batch. `draws`:

    - `live`: ask the model, keep nothing (serving);
    - `record`: ask the model and keep the answer, in place of one kept before;
    - `reuse`: take the kept answer, else ask and keep;
    - `replay`: only kept answers; a request that was never answered fails.

    `parent` is where the run hangs in a trace that somebody else began. `grant` names the one grant that counts for its agents' calls.
    `agents` are those inside which this happens, the outermost first: who stops one stops this.
    `decided` is what the next span says of a call of a tool and of the broker's decision. `assigned` says which arm of a rollout this is.
    """

    actor: Actor
    run: str = msgspec.field(default_factory=uuid7)
    trace: str = msgspec.field(default_factory=trace_id)
    parent: TraceContext | None = None
    project: str = DEFAULT_PROJECT
    release: str | None = None
    environment: str | None = None
    evaluation: str | None = None
    batch: str | None = None
    row: str | None = None
    repeat: int = 0
    draws: DrawPolicy = "live"
    session: str | None = None
    user: str | None = None
    grant: str | None = None
    agents: tuple[str, ...] = ()
    depth: int = 0
    decided: dict[str, Any] = {}
    assigned: Assigned | None = None
    ledger: Ledger = msgspec.field(default_factory=Ledger)

    def under(self, parent: TraceContext) -> RunContext:
        """The context of what happens inside that span."""
        return msgspec.structs.replace(self, parent=parent, trace=parent.trace_id, decided={})

    def deciding(self, decided: dict[str, Any]) -> RunContext:
        """The context of the one span that a call of a tool, or the decision about it, is about."""
        return msgspec.structs.replace(self, decided=self.decided | decided)

    def inside(self, agent: str) -> RunContext:
        """The context of what an agent does."""
        return self if self.agents[-1:] == (agent,) else msgspec.structs.replace(self, agents=(*self.agents, agent))

    def deeper(self) -> RunContext:
        """The context of a run inside this run."""
        return msgspec.structs.replace(self, depth=self.depth + 1)

    def caller(self) -> Caller:
        """For whom this run asks models. In an evaluation it is the row: every arm meets the same upstream."""
        row = None if self.row is None else f"{self.row}#{self.repeat}"
        trace = self.parent.trace_id if self.parent else self.trace
        return Caller(self.project, trace, self.user, self.session, row)

    def attributes(self) -> dict[str, Any]:
        """What every span of this run says."""
        said: dict[str, Any] = {
            names.PROJECT: self.project,
            names.RELEASE: self.release,
            names.ENVIRONMENT: self.environment,
            names.EVALUATION: self.evaluation,
            names.BATCH: self.batch,
            names.ROW: self.row,
            names.SESSION: self.session,
            names.USER: self.user,
            names.ACTOR: self.actor.id,
        }
        if self.assigned is not None:
            said |= {
                names.ROLLOUT: self.assigned.rollout, names.ROLLOUT_STAGE: self.assigned.stage, names.ARM: self.assigned.arm,
                names.ROLLOUT_UNIT: f"{self.assigned.place:016x}",
            }  # fmt: skip
        return {name: value for name, value in said.items() if value is not None}


class Step:
    """A span that is open. `context` is for what happens inside it."""

    def __init__(self, span: Span, context: RunContext) -> None:
        self.span = span
        self.context = context

    def set(self, **attributes: Any) -> None:
        """Attributes by the names of constants in `core.span`, in lower case."""
        for name, value in attributes.items():
            if value is not None:
                self.span.attributes[getattr(names, name.upper())] = value

    def output(self, value: Any) -> None:
        self.span.attributes[names.OUTPUT] = shown(value)

    def event(self, name: str, **attributes: Any) -> None:
        self.span.events.append(SpanEvent(name, now_ns(), attributes))


@contextlib.contextmanager
def step(
    records: Records,
    context: RunContext,
    name: str,
    kind: SpanKind,
    *,
    versions: Sequence[str] = (),
    input: Any = None,
) -> Iterator[Step]:
    """Open a span, record it when it ends, with the error if one passes through."""
    attributes = {names.KIND: kind, **context.attributes(), **context.decided}
    if versions:
        attributes[names.VERSIONS] = list(versions)
        context.ledger.versions.update(dict.fromkeys(versions))
    if input is not None:
        attributes[names.INPUT] = shown(input)
    parent = context.parent
    made = Span(
        trace_id=parent.trace_id if parent else context.trace,
        span_id=span_id(),
        name=name,
        start_ns=now_ns(),
        parent=parent.span_id if parent else None,
        attributes=attributes,
        events=[],
        project=context.project,
    )
    try:
        yield Step(made, context.under(TraceContext(made.trace_id, made.span_id)))
        made.status = "ok"
    except BaseException as e:
        made.status, made.status_message = "error", _why(e)
        made.attributes["error.type"] = e.code if isinstance(e, WindlassError) else type(e).__name__
        raise
    finally:
        made.end_ns = now_ns()
        if context.ledger.held is None:
            records.record([made])
        else:
            context.ledger.held.append(made)


def _why(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return (str(error) or type(error).__name__)[:2000]


def shown(value: Any) -> str:
    """A JSON value as text a span keeps, shortened where it is long."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"
