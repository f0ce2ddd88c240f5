"""Continuous evaluation: a sample of the runs in production is judged by the suite's evaluators that need no row, and each judgement
hangs under its run in the trace.

Which runs are judged depends on the trace's id alone, so that looking again judges no others. That the mean in production fell is shown
by a bet (`evaluate/stats.py`), which may be looked at after every run.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Protocol

import msgspec

from windlass.core import span as names
from windlass.core.actor import Actor
from windlass.core.artifacts import EvaluatorBody, Version
from windlass.core.errors import NotFound, RunFailed
from windlass.core.operations.monitors import JudgeState
from windlass.core.operations.traces import Trace, TraceShow
from windlass.core.ref import Ref
from windlass.core.rollout import parse_assigned
from windlass.core.score import Score
from windlass.core.span import TraceContext
from windlass.evaluate.stats import crossing, mean_interval
from windlass.runtime.context import Ledger, Records, RunContext, step
from windlass.runtime.library import body_of
from windlass.store.spans import Arrival, ScoreSeen, Spans
from windlass.traces.timeline import calls_of, timeline

GIVEN = frozenset({"output", "input", "text", "passages", "calls", "trace"})  # what a run in production can give a judge
WATCHER = Actor("monitor", "owner")
AT_ONCE = 4


class Judges(Protocol):
    """The part of `runtime.execute.Executor` that judges."""

    async def evaluate(self, evaluator: Ref, arguments: dict[str, Any], context: RunContext) -> Score: ...


class Online:
    """Judges runs.

    Args:
        judges: the executor.
        spans: where the run's passages are read.
        records: where judgements go.
    """

    def __init__(self, judges: Judges, spans: Spans, records: Records) -> None:
        self._judges = judges
        self._spans = spans
        self._records = records

    async def judge(self, project: str, environment: str, runs: Sequence[Arrival], evaluators: Mapping[str, Version]) -> int:
        """Judge these runs by these evaluators. Returns how many judgements were made."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one(run: Arrival) -> int:
            async with room:
                return await self._one(project, environment, run, evaluators)

        return sum(await asyncio.gather(*(one(run) for run in runs)))

    async def _one(self, project: str, environment: str, run: Arrival, evaluators: Mapping[str, Version]) -> int:
        given = {"output": _value(run.output), "input": _value(run.input), "text": _text(run.output), "trace": run.trace_id}
        if any({"passages", "calls"} & _needs(v) for v in evaluators.values()):
            try:
                trace = await self._spans.trace(TraceShow(run.trace_id, project))
            except NotFound:  # its day was removed meanwhile
                return 0
            given["passages"] = passages_of(trace)
            if trace.next is None:  # of a trace that is larger the calls are not all known
                given["calls"] = msgspec.to_builtins(calls_of(timeline(trace.summary, trace.spans, trace.versions)))
        root = TraceContext(run.trace_id, run.span_id)
        for name, version in evaluators.items():
            context = RunContext(
                actor=WATCHER, project=project, release=run.release, environment=environment, session=run.session, user=run.user,
                parent=root, trace=run.trace_id, ledger=Ledger(), assigned=parse_assigned(run.rollout),
            )  # fmt: skip
            with step(self._records, context, f"score {name}", "evaluator", versions=[str(version.ref)]) as span:
                score = await self._score(version, given, span.context)
                span.set(scored=name, score=score.value, explanation=score.explanation or score.unmeasured)
        return len(evaluators)

    async def _score(self, version: Version, given: dict[str, Any], context: RunContext) -> Score:
        if given["output"] is None:
            return Score(version.name, unmeasured="its output was not recorded whole")
        try:
            return await self._judges.evaluate(version.ref, given, context)
        except RunFailed as e:
            return Score(version.name, unmeasured=str(e))


def can_judge(version: Version) -> bool:
    """Whether an evaluator asks only for what a run in production can give it."""
    return _needs(version) <= GIVEN


def sampled(runs: Iterable[Arrival], share: float) -> list[Arrival]:
    """The runs to judge: those that answered and whose id falls into the share."""
    return [r for r in runs if r.status != "error" and _place(r.trace_id) < share]


def _place(trace: str) -> float:
    return int.from_bytes(hashlib.sha256(trace.encode()).digest()[:6], "big") / 2**48


def judged(
    name: str, scores: Sequence[ScoreSeen], bounds: tuple[float, float], evaluated: float | None, margin: float, error: float
) -> JudgeState:
    """What one judge's scores of one release show, in the order they came. `error` bounds the chance that it is ever called worse than
    its evaluation by more than the margin where it is not."""
    low, high = bounds
    values = [s.value for s in scores if s.value is not None]
    found = JudgeState(name, len(values), len(scores) - len(values), margin=margin, evaluated=evaluated)
    if not values:
        return msgspec.structs.replace(found, sentence="nothing judged yet")
    found.mean, found.interval = fmean(values), mean_interval(values, low, high)
    if evaluated is None:
        found.sentence = "not held against its evaluation: this release was let out without one"
    elif evaluated - margin <= low:
        found.sentence = f"its evaluation, {evaluated:.2f}, lies within the margin of the worst there is"
    else:
        found.worse = crossing(values, low, high, evaluated - margin, "below", error)
        what = "worse than when it was let out" if found.worse else "no worse than when it was let out, as far as is shown"
        found.sentence = f"{found.mean:.2f} after {len(values):,} runs, {evaluated:.2f} when it was evaluated: {what}"
    return found


def passages_of(trace: Trace) -> list[dict[str, Any]]:
    """The passages that searches of a run found, in their order."""
    found: list[dict[str, Any]] = []
    for span in trace.spans:
        if span.attributes.get(names.KIND) == "retrieval" and isinstance(some := _value(span.attributes.get(names.OUTPUT)), list):
            found += [p for p in some if isinstance(p, dict)]
    return found


def _needs(version: Version) -> set[str]:
    body: EvaluatorBody = body_of(version)
    return set(body.needs)


def _value(recorded: Any) -> Any:
    """A recorded input or output; text that is no JSON is a string, or was shortened, which its end says."""
    if not isinstance(recorded, str):
        return None
    try:
        return msgspec.json.decode(recorded)
    except (msgspec.DecodeError, RecursionError):
        return None if recorded.endswith(" characters)") else recorded


def _text(recorded: str | None) -> str:
    value = _value(recorded)
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return str(value["text"])
    return value if isinstance(value, str) else recorded or ""
