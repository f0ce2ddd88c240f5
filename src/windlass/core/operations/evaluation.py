"""Operations that measure: evaluations, their rows, comparisons, the gate and its verdicts."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page
from windlass.core.score import Decision, Interval, Score, Verdict


class EvaluateRequest(msgspec.Struct, omit_defaults=True):
    """Evaluate a target with a suite. `target` defaults to the newest version of the suite's target."""

    suite: str
    target: str | None = None
    project: str = "default"
    fresh: bool = False  # draw anew instead of re-using recorded draws


class EvaluatorSummary(msgspec.Struct, omit_defaults=True):
    """`mean` over measured rows with its interval; None when nothing was measured."""

    name: str
    evaluator: str
    measured: int
    unmeasured: int
    mean: float | None = None
    interval: Interval | None = None


class Evaluation(msgspec.Struct, omit_defaults=True):
    """One evaluation. `done` of `rows` are finished; `reused` came from recorded draws; `failed` are unmeasured."""

    id: str
    project: str
    suite: str  # ref with digest
    target: str  # ref with digest, or the foreign target's address@version
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    rows: int
    done: int
    created_ns: int
    finished_ns: int | None = None
    failed: int = 0
    reused: int = 0
    calls: int = 0
    cost: float | None = None
    evaluators: tuple[EvaluatorSummary, ...] = ()
    error: str | None = None
    actor: str = ""


class EvaluationQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"
    suite: str | None = None
    cursor: str | None = None
    limit: Limit = 50


class EvaluationPage(Page):
    items: tuple[Evaluation, ...]


class IdQuery(msgspec.Struct, omit_defaults=True):
    id: str  # whole, or an unambiguous prefix or suffix of at least 4
    project: str = "default"


class OutcomesQuery(msgspec.Struct, omit_defaults=True):
    id: str
    project: str = "default"
    cursor: str | None = None
    limit: Limit = 50
    only: Literal["all", "failed", "low"] = "all"


class Outcome(msgspec.Struct, omit_defaults=True):
    """One row × target × repeat. `error` when the run failed: then its scores are unmeasured."""

    row: str
    repeat: int
    input: Any
    output: Any = None
    text: str = ""
    scores: tuple[Score, ...] = ()
    trace: str | None = None
    error: str | None = None
    reused: bool = False
    latency_ns: int = 0
    cost: float | None = None


class OutcomePage(Page):
    items: tuple[Outcome, ...]


class CompareQuery(msgspec.Struct, omit_defaults=True):
    """`a` is the base, `b` the candidate: evaluation ids."""

    a: str
    b: str
    project: str = "default"
    cursor: str | None = None
    limit: Limit = 50
    only: Literal["all", "changed", "worse", "better"] = "changed"


class PairedSummary(msgspec.Struct, omit_defaults=True):
    name: str
    pairs: int
    a: float | None = None
    b: float | None = None
    difference: float | None = None
    interval: Interval | None = None
    better: int = 0
    worse: int = 0


class Pair(msgspec.Struct, omit_defaults=True):
    row: str
    a: Outcome | None = None
    b: Outcome | None = None


class Comparison(Page):
    a: Evaluation
    b: Evaluation
    summaries: tuple[PairedSummary, ...]
    items: tuple[Pair, ...]


class GateRequest(msgspec.Struct, omit_defaults=True):
    """Gate a candidate release against what `environment` points to. `candidate` defaults to the newest release of the
    suite's target."""

    suite: str
    candidate: str | None = None
    project: str = "default"
    environment: str = "production"


class GatePlan(msgspec.Struct, omit_defaults=True):
    """What a gate would do, told before money is spent."""

    suite: str
    candidate: str
    base: str | None
    rows: int
    can_differ: int | None  # None when it cannot be told without running
    calls: int | None = None
    cost: float | None = None


class GateJob(msgspec.Struct, omit_defaults=True):
    """A gate under way or done."""

    id: str
    plan: GatePlan
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    done: int = 0
    total: int = 0
    verdict: Verdict | None = None
    error: dict[str, Any] | None = None


class VerdictQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"
    suite: str | None = None
    decision: Decision | None = None
    cursor: str | None = None
    limit: Limit = 50


class VerdictPage(Page):
    items: tuple[Verdict, ...]


EVALUATE = Operation("evaluations.start", "POST", EvaluateRequest, Evaluation, "run")
EVALUATIONS = Operation("evaluations.list", "GET", EvaluationQuery, EvaluationPage, "read")
EVALUATION = Operation("evaluations.show", "GET", IdQuery, Evaluation, "read")
OUTCOMES = Operation("evaluations.outcomes", "GET", OutcomesQuery, OutcomePage, "read")
COMPARE = Operation("evaluations.compare", "GET", CompareQuery, Comparison, "read")
GATE = Operation("gate.start", "POST", GateRequest, GateJob, "run")
GATE_JOB = Operation("gate.show", "GET", IdQuery, GateJob, "read")
VERDICTS = Operation("verdicts.list", "GET", VerdictQuery, VerdictPage, "read")
VERDICT = Operation("verdicts.show", "GET", IdQuery, Verdict, "read")
