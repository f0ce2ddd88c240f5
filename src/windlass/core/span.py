"""A step of a run, shaped as OpenTelemetry's span, and the names of the attributes Windlass writes.

Windlass's own spans use the GenAI semantic conventions where they have a name (`gen_ai.*`) and `windlass.*` where they
have none. Times are UTC nanoseconds. `versions` are the exact refs that took part in the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

SpanKind = Literal["chain", "agent", "component", "model", "retrieval", "embedding", "tool", "evaluator", "request", "span"]
Status = Literal["ok", "error", "unset"]

# Attribute names, each used in exactly one meaning.
KIND = "windlass.kind"  # a SpanKind, or LOG
LOG = "log"  # the kind of a log record, which is no step
PROJECT = "windlass.project"
RELEASE = "windlass.release"  # ref of the release that ran, digest included
VERSIONS = "windlass.versions"  # list of refs with digest: all that took part in this step
INPUT = "windlass.input"  # JSON text
OUTPUT = "windlass.output"  # JSON text
TEXTS = "windlass.texts"  # how many an encoder was given
COST = "windlass.cost_usd"  # float; absent when unknown
REUSED = "windlass.reused"  # bool: a recorded draw, not a call
ROW = "windlass.row"  # key of the dataset row, in an evaluation
SCORED = "gen_ai.evaluation.name"  # by what a run in production was judged; its span hangs under the run
SCORE = "gen_ai.evaluation.score.value"  # float; absent where it could not be measured
LABEL = "gen_ai.evaluation.score.label"  # a score in words: a category, or true and false
EXPLANATION = "gen_ai.evaluation.explanation"  # of the score, or why there is none
GIVEN = "windlass.score.given"  # by somebody, not by a monitor: number, boolean, category, comment, or withdrawn; TOLD for no score
TOLD = "told"  # what another platform's SDK says of the whole trace: no step of it, and no score
GIVEN_TO = "windlass.score.of"  # trace, span, session, or run of a dataset
EVALUATION = "windlass.evaluation"  # id of the evaluation this run belongs to
BATCH = "windlass.batch"  # id of the batch this run belongs to
DATASET_RUN = "run/"  # how that begins on what is of a run of a dataset as a whole, and is in no list of traces
ROLLOUT = "windlass.rollout"  # id of the one that chose who answers
ROLLOUT_STAGE = "windlass.rollout.stage"  # int: its how many-th share, from 1
ARM = "windlass.rollout.arm"  # base or candidate
ROLLOUT_UNIT = "windlass.rollout.unit"  # place of whoever is kept on that arm, 16 hex digits
NOT_COMPARED = "windlass.rollout.not_compared"  # why a run says nothing of the arms
ENVIRONMENT = "windlass.environment"  # label it was called by
ACTOR = "windlass.actor"
SESSION = "gen_ai.conversation.id"
USER = "user.id"
TOOL_NAME = "gen_ai.tool.name"  # as a model calls it; on all that belongs to one call of a tool
TOOL_CALL = "gen_ai.tool.call.id"
CALLER = "windlass.caller"  # whose model wants a call, whose code makes it, or who by hand
STEP = "windlass.step"  # int: of an agent, from 1
DECISION = "windlass.decision"  # about a call: allow, ask or deny
DECISION_CODE = "windlass.decision.code"  # why it was not allowed, in a word
DECISION_WHY = "windlass.decision.why"
GRANT = "windlass.grant"  # id of the one that decided
APPROVAL = "windlass.approval"  # id of the request that a person was asked by
APPROVED = "windlass.approval.state"  # how it ended
AUDIT = "windlass.audit"  # number of the entry in the record of what was done
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
INSTRUCTIONS = "gen_ai.system_instructions"  # beside the messages, where a provider takes them apart
RESPONSE_MODEL = "gen_ai.response.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens"
WRITTEN_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
LOG_BODY = "windlass.log.body"  # of a log record, as it came
LOG_SEVERITY = "windlass.log.severity"
USAGE_ESTIMATED = "windlass.usage_estimated"  # bool: the answer broke off, so tokens nobody told were counted by the text
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
ROUTE = "windlass.route.name"  # by which a model's upstream was chosen
ROUTE_DIGEST = "windlass.route.digest"  # of who may answer by it
ROUTE_UPSTREAM = "windlass.route.upstream"  # id of the model that answered, or was asked last
ROUTE_WHY = "windlass.route.why"  # why that one, in a sentence
ROUTE_ATTEMPTS = "windlass.route.attempts"  # JSON: list of RouteAttempt
FIRST_TOKEN = "gen_ai.response.time_to_first_chunk"  # seconds


class SpanEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    time_ns: int
    attributes: dict[str, Any] = {}


class SpanLink(msgspec.Struct, frozen=True, omit_defaults=True):
    """Another span that this one is about or came from."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any] = {}


class Span(msgspec.Struct, omit_defaults=True):
    """One step. `parent` is a span id or None for a root; `end_ns` is 0 while it runs."""

    trace_id: str
    span_id: str
    name: str
    start_ns: int
    end_ns: int = 0
    parent: str | None = None
    status: Status = "unset"
    status_message: str = ""
    attributes: dict[str, Any] = {}
    events: list[SpanEvent] = []
    project: str = "default"
    service: str = "windlass"
    links: list[SpanLink] = []
    resource: dict[str, Any] = {}  # what its process and library say of themselves


class StoredSpan(Span, omit_defaults=True):
    """A span as it is kept, with what tables of conventions read of it: of whoever's it is, `kind` is a SpanKind or `log`. Where what
    went in or came out is an attribute as it came, `input_from` or `output_from` names it; else it is `told_input` or `told_output`. Both
    are JSON text or text. `cost` in US dollars, None when unknown."""

    kind: str = "span"
    model: str | None = None
    provider: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    cost: float | None = None
    tool: str | None = None
    told_input: str | None = None
    told_output: str | None = None
    input_from: str | None = None
    output_from: str | None = None
    response: str | None = None  # the provider's id of the answer
    cut: dict[str, int] = {}  # very long texts that are shortened here, as `input` or `attributes`: how many characters they are


def kind_of(span: Span) -> str:
    """What kind of step it is, as far as is known."""
    return span.kind if isinstance(span, StoredSpan) else str(span.attributes.get(KIND) or "span")


def input_of(span: Span) -> str | None:
    """What went in, as it was told."""
    if isinstance(span, StoredSpan):
        return _text(span.attributes.get(span.input_from)) if span.input_from else span.told_input
    return _text(span.attributes.get(INPUT))


def instructions_of(span: Span) -> str | None:
    """What a model was told beside its messages, as it was told."""
    return _text(span.attributes.get(INSTRUCTIONS))


def output_of(span: Span) -> str | None:
    """What came out, as it was told."""
    if isinstance(span, StoredSpan):
        return _text(span.attributes.get(span.output_from)) if span.output_from else span.told_output
    return _text(span.attributes.get(OUTPUT))


def make_whole(span: StoredSpan, texts: Mapping[str, str]) -> None:
    """Put in texts of a span that were shortened, by what they are of."""
    for of, text in texts.items():
        name = {"input": span.input_from, "output": span.output_from}.get(of)
        if name:
            span.attributes[name] = text
        elif of in ("input", "output"):
            setattr(span, f"told_{of}", text)
        elif of == "attributes":
            said = {n: span.attributes[n] for n in (span.input_from, span.output_from) if n}
            span.attributes = {**msgspec.json.decode(text, type=dict[str, Any]), **said}
        elif of in ("name", "status_message"):
            setattr(span, of, text)
        elif of in ("events", "links"):
            setattr(span, of, msgspec.json.decode(text, type=list[SpanEvent] if of == "events" else list[SpanLink]))
    span.cut = {of: size for of, size in span.cut.items() if of not in texts}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


class TraceContext(msgspec.Struct, frozen=True):
    """Where a step hangs in its trace; travels as a W3C `traceparent` header."""

    trace_id: str
    span_id: str

    def header(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-01"


def parse_traceparent(header: str | None) -> TraceContext | None:
    """The context of a `traceparent` header, or None where it is absent or malformed (as the W3C says: start anew)."""
    parts = (header or "").strip().split("-")
    if len(parts) < 4 or len(parts[0]) != 2 or parts[0] == "ff":
        return None
    trace, span = parts[1], parts[2]
    hexes = "0123456789abcdef"
    if len(trace) != 32 or len(span) != 16 or set(trace + span) - set(hexes):
        return None
    if not trace.strip("0") or not span.strip("0"):
        return None
    return TraceContext(trace, span)
