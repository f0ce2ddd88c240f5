"""What this installation itself measured of models: per suite the newest figures of each, from bake-offs and plain evaluations.

An evaluation measures a model where its target calls no other. Of a target with several models only a bake-off can tell which one was
changed. Figures are as in `Arm`.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Engine, select

from windlass.core.actor import Actor
from windlass.core.artifacts import ModelBody
from windlass.core.errors import WindlassError
from windlass.core.models import written
from windlass.core.operations.bakeoffs import Bakeoff, Measured, MeasuredPage, MeasuredQuery
from windlass.core.operations.evaluation import Evaluation
from windlass.core.ref import parse_ref
from windlass.evaluate.outcomes import Outcomes
from windlass.evaluate.race import Line
from windlass.govern.permissions import guard
from windlass.registry.versions import Versions
from windlass.store.meta import read
from windlass.store.tables import bakeoffs, evaluations

LATEST = 500  # evaluations looked at, newest first


class Measurements:
    """Service of what was measured of models."""

    def __init__(self, engine: Engine, versions: Versions, outcomes: Outcomes) -> None:
        self._engine = engine
        self._versions = versions
        self._outcomes = outcomes
        self._models: dict[str, str | None] = {}  # target → its only model; versions never change

    def measured(self, actor: Actor, query: MeasuredQuery) -> MeasuredPage:
        """Operation `models.measured`: by suite, best first guard first."""
        guard(actor, "read", query.project)
        wanted = parse_ref(query.suite, project=query.project, kind="suite").name if query.suite else None
        newest: dict[tuple[str, str], Evaluation] = {}
        arms = self._arms(query.project)
        for e in self._evaluations(query.project):
            suite = parse_ref(e.suite, project=query.project)
            model = arms.get(e.id) or self._model(e.target, query.project)
            if model and wanted in (None, suite.name) and query.model in (None, model):
                kept = newest.setdefault((suite.name, model), e)
                if kept.done < kept.rows and e.done == e.rows:  # an older one of all rows tells more than a newer one of some
                    newest[suite.name, model] = e
        found = [self._figures(model, e) for (_, model), e in newest.items()]
        return MeasuredPage(tuple(sorted(found, key=lambda m: (parse_ref(m.suite).name, -_score(m), m.model))))

    def _evaluations(self, project: str) -> list[Evaluation]:
        e = evaluations.c
        ended = select(e.summary).where(e.project == project, e.status.in_(("done", "cancelled"))).order_by(e.id.desc()).limit(LATEST)
        with read(self._engine) as c:
            found = [msgspec.json.decode(body, type=Evaluation) for body in c.execute(ended).scalars()]
        return [one for one in found if one.done > one.failed]

    def _arms(self, project: str) -> dict[str, str]:
        """Which model an evaluation of a bake-off measured."""
        b = bakeoffs.c
        with read(self._engine) as c:
            bodies = c.execute(select(b.body).where(b.project == project).order_by(b.id.desc()).limit(LATEST)).scalars().all()
        return {arm.evaluation: arm.model for body in bodies for arm in msgspec.json.decode(body, type=Bakeoff).arms}

    def _model(self, target: str, project: str) -> str | None:
        if target not in self._models:
            self._models[target] = self._only_model(target, project)
        return self._models[target]

    def _only_model(self, target: str, project: str) -> str | None:
        try:
            closure = self._versions.closure(parse_ref(target, project=project))
        except WindlassError:  # an application that is none of ours
            return None
        models = {written(msgspec.convert(v.body, ModelBody)) for v in closure if v.kind == "model"}
        return models.pop() if len(models) == 1 else None

    def _figures(self, model: str, e: Evaluation) -> Measured:
        line = Line(model)
        first = e.evaluators[0].name if e.evaluators else ""
        results = [r for r in self._outcomes.results(e.id) if r.outcome.error is None]
        costs = [r.outcome.cost for r in results]
        line.cost = None if any(c is None for c in costs) else sum(c for c in costs if c is not None)
        line.latencies = [r.outcome.latency_ns / 1e9 for r in results if r.draws]
        for number, r in enumerate(results):
            line.scores[str(number)] = {s.evaluator: s.value for s in r.outcome.scores}
        return Measured(
            model, e.suite, e.target, e.id, e.finished_ns or e.created_ns, e.done, e.rows, e.evaluators,
            line.per_row, line.per_success(first), line.latency, line.latency_95,
        )  # fmt: skip


def _score(m: Measured) -> float:
    """The first guard's mean."""
    return m.guards[0].mean or 0.0 if m.guards and m.guards[0].mean is not None else -1.0
