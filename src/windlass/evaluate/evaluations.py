"""The service of evaluations: start one, list, show, look at its rows, put two side by side."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from windlass.core.actor import Actor
from windlass.core.errors import Invalid
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.evaluation import (
    CompareQuery,
    Comparison,
    EvaluateRequest,
    Evaluation,
    EvaluationPage,
    EvaluationQuery,
    IdQuery,
    OutcomePage,
    OutcomesQuery,
    Pair,
    PairedSummary,
)
from windlass.core.ref import parse_ref
from windlass.evaluate.experiments import Suite, read_suite
from windlass.evaluate.outcomes import Asked, Outcomes, Scored
from windlass.evaluate.stats import mean_interval
from windlass.evaluate.targets import foreign_name
from windlass.govern.permissions import guard
from windlass.jobs.work import Jobs
from windlass.registry.datasets import Datasets
from windlass.registry.versions import Versions


class Evaluations:
    """Service of evaluations."""

    def __init__(self, outcomes: Outcomes, versions: Versions, datasets: Datasets, jobs: Jobs) -> None:
        self._outcomes = outcomes
        self._versions = versions
        self._datasets = datasets
        self._jobs = jobs

    def start(self, actor: Actor, request: EvaluateRequest) -> Evaluation:
        """Operation `evaluations.start`: begins; `evaluations.show` says how far it is. Raises `NotFound`, `Invalid`."""
        ref = parse_ref(request.suite, project=request.project, kind="suite")
        guard(actor, "run", ref.project)
        suite = read_suite(self._versions, ref)
        target = self._target(suite, request.target, ref.project)
        made = self._new(actor, suite, target, ref.project)
        self._outcomes.create(made, suite.version.name, Asked(actor, request.fresh), self._jobs)
        self._jobs.begin("evaluation", ref.project, made.id)
        return made

    def make(self, actor: Actor, suite: Suite, target: str, project: str) -> Evaluation:
        """An evaluation that is nobody's work yet."""
        made = self._new(actor, suite, target, project)
        self._outcomes.create(made, suite.version.name, Asked(actor, False))
        return made

    def _new(self, actor: Actor, suite: Suite, target: str, project: str) -> Evaluation:
        rows = self.count(suite) * suite.body.repeats
        return Evaluation(uuid7(), project, suite.ref, target, "queued", rows, 0, now_ns(), actor=actor.id)

    def count(self, suite: Suite) -> int:
        """How many rows a suite judges. Raises `Invalid` when there are none."""
        count = sum(1 for _ in self._datasets.rows(suite.dataset, suite.body.split))
        if not count:
            split = f" in split {suite.body.split!r}" if suite.body.split else ""
            raise Invalid(f"{suite.dataset.ref.short} has no rows{split}", where=suite.version.ref.short, remedy="name another split")
        return count

    def _target(self, suite: Suite, given: str | None, project: str) -> str:
        named = suite.body.target
        if isinstance(named, dict):
            if given is not None:
                raise Invalid("this suite's target is no version of ours; it is always its own", where=suite.version.ref.short)
            return foreign_name(named)
        return str(self._versions.resolve(parse_ref(given or named, project=project)))

    def list(self, actor: Actor, query: EvaluationQuery) -> EvaluationPage:
        """Operation `evaluations.list`."""
        guard(actor, "read", query.project)
        return self._outcomes.list(query)

    def show(self, actor: Actor, query: IdQuery) -> Evaluation:
        """Operation `evaluations.show`."""
        guard(actor, "read", query.project)
        return self._outcomes.find(query.project, query.id)

    def outcomes(self, actor: Actor, query: OutcomesQuery) -> OutcomePage:
        """Operation `evaluations.outcomes`."""
        guard(actor, "read", query.project)
        return self._outcomes.page(self._outcomes.find(query.project, query.id).id, query)

    def compare(self, actor: Actor, query: CompareQuery) -> Comparison:
        """Operation `evaluations.compare`: differences of guards both have, over rows measured in both."""
        guard(actor, "read", query.project)
        a, b = (self._outcomes.find(query.project, given) for given in (query.a, query.b))
        suite = read_suite(self._versions, parse_ref(b.suite, project=query.project))
        left, right = (scores_by_row(list(self._outcomes.scored(e.id))) for e in (a, b))
        summaries = tuple(self._summary(suite, g.name, left, right) for g in suite.body.guards)
        names = [g.name for g in suite.body.guards]
        rows = sorted(row for row in left.keys() | right.keys() if _wanted(query.only, left.get(row), right.get(row), names))
        limit = query.limit
        some = [row for row in rows if query.cursor is None or row > query.cursor]
        shown = some[:limit]
        before, after = self._outcomes.by_rows(a.id, shown), self._outcomes.by_rows(b.id, shown)
        items = tuple(Pair(row, before.get(row), after.get(row)) for row in shown)
        return Comparison(a=a, b=b, summaries=summaries, items=items, next=shown[-1] if len(some) > limit else None)

    def _summary(self, suite: Suite, name: str, left: Rows, right: Rows) -> PairedSummary:
        pairs = [(x, y) for row in sorted(left.keys() & right.keys()) if (x := left[row].get(name)) is not None
                 and (y := right[row].get(name)) is not None]  # fmt: skip
        if not pairs:
            return PairedSummary(name, 0)
        differences = [y - x for x, y in pairs]
        low, high = suite.range(name)
        return PairedSummary(
            name, len(pairs), fmean(x for x, _ in pairs), fmean(y for _, y in pairs), fmean(differences),
            mean_interval(differences, low - high, high - low), sum(d > 0 for d in differences), sum(d < 0 for d in differences),
        )  # fmt: skip


Rows = dict[str, dict[str, float | None]]  # row → guard → mean score, None where unmeasured


def scores_by_row(scored: list[Scored]) -> Rows:
    """The mean score of each guard over a row's repeats; None where no repeat was measured."""
    seen: dict[str, dict[str, list[float | None]]] = {}
    for one in scored:
        for score in one.scores:
            seen.setdefault(one.row, {}).setdefault(score.evaluator, []).append(score.value)
    return {row: {name: _mean(values) for name, values in guards.items()} for row, guards in seen.items()}


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if known else None


def _wanted(only: str, before: dict[str, Any] | None, after: dict[str, Any] | None, names: list[str]) -> bool:
    if only == "all":
        return True
    if before is None or after is None:
        return only == "changed"
    moves = [(before.get(n), after.get(n)) for n in names]
    if only == "changed":
        return any(x != y for x, y in moves)
    known = [y - x for x, y in moves if x is not None and y is not None]
    return any(d < 0 for d in known) if only == "worse" else any(d > 0 for d in known)
