"""Scores and comments that people and applications give: each is a span of kind `evaluator` below what it is about, on disk before it is
acknowledged. Its id says who gave it to what under which name, so the same again is a revision, and the newest counts."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from windlass.core import foreign_runs
from windlass.core import span as names
from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound
from windlass.core.ids import now_ns
from windlass.core.operations.traces import ScoreGiven, ScoreKept, ScoreRequest, Trace, TraceQuery, TraceShow
from windlass.core.span import Span
from windlass.govern.permissions import guard
from windlass.store.span_scores import WITHDRAWN
from windlass.traces.query import Traces
from windlass.traces.recorder import Recorder

LONGEST_NAME, LONGEST_CATEGORY, LONGEST_COMMENT, LONGEST_ID = 100, 200, 10_000, 200  # characters
LARGEST = 1e12  # of which a mean can be taken
AHEAD_NS = 60 * 10**9  # that another clock may be ahead
RUNS = 20  # of a session, the newest, among which a score is looked for that is withdrawn
FIRST = 5  # spans among which a run's first is looked for: a score may have come before it
LOOKED = 200  # spans of a trace among which the start of a span's id is looked for
_SHARED = (
    names.RELEASE,
    names.ENVIRONMENT,
    names.EVALUATION,
    names.SESSION,
    names.USER,
    names.ROLLOUT,
    names.ROLLOUT_STAGE,
    names.ARM,
    names.ROLLOUT_UNIT,
)  # fmt: skip  what a score has of the run it is about
_ENVIRONMENT = ("deployment.environment.name", "deployment.environment")  # as others' processes name it
_TRACE, _SPAN = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{16}")


class Scoring:
    """Service of `traces.score`.

    Args:
        traces: where what is scored is looked up.
        recorder: keeps the score.
    """

    def __init__(self, traces: Traces, recorder: Recorder) -> None:
        self._traces = traces
        self._recorder = recorder

    async def score(self, actor: Actor, request: ScoreRequest) -> ScoreKept:
        """Operation `traces.score`. Raises `Invalid` for what is no score, `NotFound` where it is about nothing, `Unavailable` where it
        could not be made durable."""
        guard(actor, "trace", request.project)
        _check(request)
        if request.session is not None:
            return await self._of_session(actor, request, request.session)
        if request.run is not None:
            return await self._of_run(actor, request, request.run)
        id = (request.trace or "").strip().lower()
        if not _TRACE.fullmatch(id):
            guard(actor, "read", request.project)  # who may only send learns no ids
        found = await self._trace(request, id)
        if request.withdraw and (found is None or not _gave(actor, request, found)):
            raise _no_score(request)
        span = _span(request, found)
        made = _made(actor, request, found.summary.trace_id if found else id, found, span)
        await self._recorder.keep(request.project, [made])
        return _kept(request, made, arrived=found is not None and _first(found) is not None)

    async def _trace(self, request: ScoreRequest, id: str) -> Trace | None:
        """None for a whole id that has not come yet."""
        try:
            return await self._traces.found(TraceShow(id, request.project, limit=LOOKED if request.span else FIRST))
        except NotFound:
            if not _TRACE.fullmatch(id) or not id.strip("0"):
                raise
            return None

    async def _of_session(self, actor: Actor, request: ScoreRequest, session: str) -> ScoreKept:
        page = await self._traces.of_session(
            TraceQuery(request.project, session=session, evaluation="*", limit=RUNS if request.withdraw else 1)
        )
        if not page.items:
            remedy = "`windlass sessions list` lists them; score it once a run of it is here, or score the trace"
            raise NotFound(f"there is no session {session[:100]!r}", where="session", remedy=remedy)
        runs = [await self._traces.found(TraceShow(t.trace_id, request.project, limit=FIRST)) for t in page.items]
        if request.withdraw and not (runs := [run for run in runs if _gave(actor, request, run)]):
            raise _no_score(request)
        made = [_made(actor, request, run.summary.trace_id, run, None) for run in runs]
        await self._recorder.keep(request.project, made)
        return _kept(request, made[0], arrived=True)

    async def _of_run(self, actor: Actor, request: ScoreRequest, run: str) -> ScoreKept:
        """Of a run as a whole, which may not have begun yet."""
        trace = foreign_runs.run_trace(request.project, run)
        found = await self._trace(request, trace)
        if request.withdraw and (found is None or not _gave(actor, request, found)):
            raise _no_score(request)
        made = _made(actor, request, trace, None, None)
        await self._recorder.keep(request.project, [made])
        return _kept(request, made, arrived=found is not None and _first(found) is not None)


def _check(request: ScoreRequest) -> None:
    """Raises `Invalid`."""
    if not _plain(request.name, LONGEST_NAME) or any(c in request.name for c in "<>=!"):
        raise Invalid(
            f"{request.name[:40]!r} is no name of a score", where="name",
            remedy=f"take 1 to {LONGEST_NAME} characters without < > = ! and line breaks, such as helpful",
        )  # fmt: skip
    if sum(of is not None for of in (request.trace, request.session, request.run)) != 1:
        raise Invalid("a score is about one trace, session or run of a dataset", where="trace", remedy="give `trace`, `session` or `run`")
    if request.span is not None and request.trace is None:
        raise Invalid("a span is part of a trace", where="span", remedy="give its `trace`")
    if request.run is not None and not _plain(request.run, LONGEST_ID):
        raise Invalid("this is no id of a run of a dataset", where="run", remedy="give the id that the SDK told when it made it")
    if request.session is not None and not request.session.strip():
        raise Invalid("a session needs a name", where="session")
    if request.id is not None and not _plain(request.id, LONGEST_ID):
        raise Invalid("this is no id of a score", where="id", remedy=f"take 1 to {LONGEST_ID} characters without line breaks, or none")
    if request.comment is not None and len(request.comment) > LONGEST_COMMENT:
        raise Invalid(f"a comment has at most {LONGEST_COMMENT:,} characters", where="comment", remedy="shorten it")
    if request.at_ns is not None and not 0 < request.at_ns <= now_ns() + AHEAD_NS:
        raise Invalid("a score is given at a time that has come", where="at_ns", remedy="leave it out for now, or give UTC nanoseconds")
    value, comment = request.value, (request.comment or "").strip()
    if request.withdraw and (value is not None or comment):
        raise Invalid("a score is given or withdrawn, not both", where="withdraw", remedy="leave out value and comment")
    if not request.withdraw and value is None and not comment:
        remedy = "give a number, true or false, a category, or a comment"
        raise Invalid("there is neither a value nor a comment", where="value", remedy=remedy)
    if isinstance(value, float) and abs(value) > LARGEST:
        raise Invalid(f"{value:.3g} is too large for a value", where="value", remedy=f"stay within ±{LARGEST:.0e}")
    if isinstance(value, str) and not _plain(value, LONGEST_CATEGORY):
        remedy = f"take 1 to {LONGEST_CATEGORY} characters without line breaks; longer text is a comment"
        raise Invalid("this is no category", where="value", remedy=remedy)


def _plain(text: str, most: int) -> bool:
    return 0 < len(text) <= most and text.isprintable() and text == text.strip()


def _span(request: ScoreRequest, found: Trace | None) -> str | None:
    """The span that is meant, whole; None for the trace. Raises `Invalid` and `NotFound`."""
    if request.span is None:
        return None
    text = request.span.strip().lower()
    if not 4 <= len(text) <= 16 or set(text) - set("0123456789abcdef") or not text.strip("0"):
        raise Invalid(f"{request.span[:40]!r} is not a span id", where="span", remedy="give 4 to 16 hex digits")
    if _SPAN.fullmatch(text):
        return text
    fits = [s.span_id for s in found.spans if s.span_id.startswith(text)] if found else []
    if not fits:
        raise NotFound(f"no span of this trace begins with {text}", where="span", remedy="give all 16 digits")
    if len(fits) > 1:
        raise Invalid(f"{text} fits several spans", where="span", remedy="give more digits")
    return fits[0]


def _gave(actor: Actor, request: ScoreRequest, trace: Trace) -> bool:
    return any((s.by, s.name, s.session, s.given) == (actor.id, request.name, request.session, True) for s in trace.scores)


def _no_score(request: ScoreRequest) -> NotFound:
    return NotFound(f"you gave no score {request.name!r} here", where="name", remedy="only who gave a score can withdraw it")


def _made(actor: Actor, request: ScoreRequest, trace: str, found: Trace | None, span: str | None) -> Span:
    """The score as a span, below the span that is meant or the run's first. Where that has not come, below one that nobody has: it is no
    run of its own."""
    first = _first(found) if found else None
    if first and span == first.span_id and first.parent is None:
        span = None
    of = "session" if request.session is not None else "run" if request.run is not None else "span" if span else "trace"
    told: dict[str, Any] = {names.SESSION: request.session}
    if request.run is not None:
        told[names.EVALUATION] = foreign_runs.evaluation(request.run)
    if found and first:
        s = found.summary
        told |= {name: first.attributes.get(name, first.resource.get(name)) for name in _SHARED}
        told[names.ENVIRONMENT] = told[names.ENVIRONMENT] or next((first.resource[n] for n in _ENVIRONMENT if n in first.resource), None)
        told |= {names.RELEASE: s.release, names.SESSION: request.session or s.session, names.USER: s.user}
    attributes = {names.KIND: "evaluator", names.PROJECT: request.project, names.ACTOR: actor.id, names.SCORED: request.name}
    attributes |= {name: value for name, value in told.items() if value is not None}
    attributes |= _said(request) | {names.GIVEN_TO: of}
    # another clock may be behind, or count in seconds: what is said of a run does not move when it began
    now = max(request.at_ns, first.start_ns if first else 0) if request.at_ns else now_ns()
    return Span(
        trace_id=trace, span_id=_id(request, actor, trace, span), name=f"score {request.name}", start_ns=now, end_ns=now,
        parent=span or (first.span_id if first else trace[:16]), status="ok", attributes=attributes, project=request.project,
        service=first.service if first else "windlass",
    )  # fmt: skip


def _first(trace: Trace) -> Span | None:
    """The span that stands for the run; None where nothing but scores has come."""
    steps = [s for s in trace.spans if names.GIVEN not in s.attributes and s.kind != names.LOG]
    return next((s for s in steps if s.parent is None), steps[0] if steps else None)


def _said(request: ScoreRequest) -> dict[str, Any]:
    """What was judged, as attributes."""
    if request.withdraw:
        return {names.GIVEN: WITHDRAWN}
    value, comment = request.value, (request.comment or "").strip()
    said: dict[str, Any] = {names.EXPLANATION: comment} if comment else {}
    if isinstance(value, bool):
        return said | {names.GIVEN: "boolean", names.SCORE: float(value), names.LABEL: "true" if value else "false"}
    if isinstance(value, str):
        return said | {names.GIVEN: "category", names.LABEL: value}
    return said | ({names.GIVEN: "comment"} if value is None else {names.GIVEN: "number", names.SCORE: float(value)})


def _id(request: ScoreRequest, actor: Actor, trace: str, span: str | None) -> str:
    own = ("id", request.id) if request.id is not None else ("name", request.name)
    parts = (request.project, trace, span or "", request.session or "", actor.id, *own)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _kept(request: ScoreRequest, made: Span, arrived: bool) -> ScoreKept:
    span = made.parent if made.attributes[names.GIVEN_TO] == "span" else None
    comment = str(made.attributes.get(names.EXPLANATION, ""))
    by = str(made.attributes[names.ACTOR])
    score = ScoreGiven(request.name, made.start_ns, request.value, comment, by, span, request.session, given=True)
    return ScoreKept(made.trace_id, score, arrived, request.withdraw)
