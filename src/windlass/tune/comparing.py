"""A tuned model held against the one it was made of and the one tuned before it, in a suite's own target, by the gate's bets.

The figures of training have no say here. Against the frozen model the first guard must be shown better, for a tuning that does not
help is a cost with nothing for it; the other guards must be shown not worse. Against the model before, all must be shown not worse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import msgspec
from sqlalchemy import Engine, insert, select, update

from windlass.core.actor import Actor
from windlass.core.artifacts import Guard
from windlass.core.errors import Conflict, Invalid, StoreAway, WindlassError
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.evaluation import IdQuery
from windlass.core.operations.tuning import CompareTune, Comparisons, ComparisonsQuery, GuardDifference, Tune, TuneComparison, Versus
from windlass.core.ref import parse_ref
from windlass.core.score import Decision
from windlass.core.weights import LOCAL, local_identity
from windlass.evaluate.evaluations import Evaluations
from windlass.evaluate.experiments import Experiments, Running, Suite, read_suite
from windlass.evaluate.gate import Judged, decide, judge, order
from windlass.evaluate.leakage import Leakage
from windlass.evaluate.variants import Variants
from windlass.govern.permissions import guard
from windlass.jobs.work import Jobs
from windlass.registry.versions import Versions
from windlass.registry.weights import PREFIX, WeightsStore, manifest_of
from windlass.store.meta import read, write
from windlass.store.tables import tune_comparisons, tunes
from windlass.tune.tunes import Tunes

Rows = dict[str, dict[str, list[float | None]]]


class _Asked(msgspec.Struct):
    """`arms`: tuned, frozen and where there is one previous, each the evaluation of a variant."""

    request: CompareTune
    suite: str
    models: dict[str, str]
    targets: dict[str, str]
    evaluations: dict[str, str]


class Comparing:
    """Service of comparisons."""

    def __init__(
        self, engine: Engine, versions: Versions, weights: WeightsStore, served: Tunes, evaluations: Evaluations, experiments: Experiments,
        leakage: Leakage, jobs: Jobs,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._versions = versions
        self._weights = weights
        self._tunes = served
        self._evaluations = evaluations
        self._experiments = experiments
        self._leakage = leakage
        self._jobs = jobs

    def start(self, actor: Actor, request: CompareTune) -> TuneComparison:
        """Operation `tune.compare`. Raises `NotFound`; `Conflict` for a tuning that is not done; `Invalid` for what answers nobody."""
        guard(actor, "run", request.project)
        tune = self._tunes.show(actor, IdQuery(request.id, request.project))
        if tune.status != "done":
            raise Conflict(f"this tuning is {tune.status}", where=tune.id[-8:], remedy="compare it when it is done")
        if not tune.id_of_model:
            raise Invalid("a reward model answers nobody", where=tune.id[-8:], remedy="its held-out pairs are its measure")
        suite = read_suite(self._versions, parse_ref(request.suite, project=request.project, kind="suite"))
        if isinstance(suite.body.target, dict):
            raise Invalid("this suite's target is no version of ours, so its model cannot be changed", where=suite.version.ref.short)
        target = self._versions.resolve(parse_ref(suite.body.target, project=request.project))
        variants = Variants(self._versions, self._engine, self._versions.closure(target)[0], request.part)
        models = {"tuned": tune.id_of_model, "frozen": self._frozen(tune)}
        if previous := request.previous or self._previous(tune):
            models["previous"] = previous
        id = uuid7()
        made = {arm: variants.make(actor, model, f"tune/{tune.id}") for arm, model in models.items()}
        begun = {arm: self._evaluations.make(actor, suite, str(v.ref), request.project).id for arm, v in made.items()}
        asked = _Asked(request, suite.ref, models, {arm: str(v.ref) for arm, v in made.items()}, begun)
        rows = self._evaluations.count(suite) * suite.body.repeats
        comparison = TuneComparison(id, tune.id, suite.ref, "queued", 0, rows * len(models), evaluation=begun["tuned"], created_ns=now_ns())
        with write(self._engine) as c:
            c.execute(
                insert(tune_comparisons).values(
                    id=id, project=request.project, tune=tune.id, request=_text(asked), body=_text(comparison),
                    created_ns=comparison.created_ns,
                )
            )  # fmt: skip
            self._jobs.hand_over(c, "tune comparison", request.project, id)
        self._jobs.begin("tune comparison", request.project, id)
        return comparison

    def _frozen(self, tune: Tune) -> str:
        ref = parse_ref(tune.base)
        base = self._versions.get(ref.project, ref.kind, ref.name, ref.digest or "")
        return f"{LOCAL}/{local_identity(base.name.removeprefix(PREFIX), manifest_of(base) or '')}"

    def _previous(self, tune: Tune) -> str | None:
        """What was tuned under this name before."""
        with read(self._engine) as c:
            t = tunes.c
            earlier = select(t.body).where(t.project == tune.project, t.name == tune.request.name, t.status == "done", t.id < tune.id)
            bodies = c.execute(earlier.order_by(t.id.desc())).scalars()
            found = (msgspec.json.decode(b, type=Tune).id_of_model for b in bodies)
            return next((m for m in found if m and m != tune.id_of_model), None)

    def list(self, actor: Actor, query: ComparisonsQuery) -> Comparisons:
        """Operation `tune.compared`: of one tuning, newest first."""
        guard(actor, "read", query.project)
        tune = self._tunes.show(actor, IdQuery(query.tune, query.project))
        t = tune_comparisons.c
        with read(self._engine) as c:
            bodies = c.execute(
                select(t.body).where(t.project == query.project, t.tune == tune.id).order_by(t.id.desc()).limit(50)
            ).scalars()
            return Comparisons(tuple(msgspec.json.decode(b, type=TuneComparison) for b in bodies))

    async def run(self, project: str, id: str) -> None:
        """Bring a comparison to its decision, or to an error that it keeps."""
        with read(self._engine) as c:
            row = c.execute(select(tune_comparisons.c.request, tune_comparisons.c.body).where(tune_comparisons.c.id == id)).one()
        asked = msgspec.json.decode(row.request, type=_Asked)
        found = msgspec.json.decode(row.body, type=TuneComparison)
        if found.status in ("done", "failed"):
            return
        try:
            suite = await asyncio.to_thread(read_suite, self._versions, parse_ref(asked.suite, project=project))
            running: dict[str, Running] = {}
            for arm, evaluation in asked.evaluations.items():
                running[arm] = await self._experiments.open(project, evaluation)
                before = sum(len(r.done) for r in running.values())

                def progress(done: int, total: int, before: int = before) -> None:
                    self._save(msgspec.structs.replace(found, status="running", done=min(before + done, found.total)))

                await running[arm].go("reuse", progress)
                await running[arm].close()
            await asyncio.to_thread(self._finish, asked, found, suite, running)
        except StoreAway:
            raise  # it is begun again
        except WindlassError as e:
            self._save(msgspec.structs.replace(found, status="failed", error=e.as_dict()))
        except Exception as e:
            defect = WindlassError(f"a defect in Windlass ended it: {type(e).__name__}", remedy="the log of `jobs` says more")
            self._save(msgspec.structs.replace(found, status="failed", error=defect.as_dict()))
            raise

    def _finish(self, asked: _Asked, found: TuneComparison, suite: Suite, running: dict[str, Running]) -> None:
        left_out = {r.row for r in self._leakage.of(suite, list(asked.targets.values()))}
        arms = {arm: _scores(r) for arm, r in running.items()}
        against = tuple(
            self._versus(asked, suite, arm, arms["tuned"], arms[arm], left_out) for arm in ("frozen", "previous") if arm in arms
        )
        decisions = [v.decision for v in against]
        worst: Decision = next((d for d in ("block", "inconclusive") if d in decisions), "promote")
        self._save(msgspec.structs.replace(found, status="done", done=found.total, decision=worst, against=against, left_out=len(left_out)))

    def _versus(self, asked: _Asked, suite: Suite, arm: str, after: Rows, before: Rows, left_out: set[str]) -> Versus:
        rows = order(sorted(after.keys() - left_out), suite.dataset.digest, asked.targets["tuned"], suite.body.seed)
        first = suite.body.guards[0].name
        results = []
        for g in suite.body.guards:
            better = arm == "frozen" and g.name == first
            asking = msgspec.structs.replace(g, margin=0.0) if better else g
            results.append(self._judge(suite, asking, rows, after, before))
        decision, why = decide([r for r, _ in results], first=False), ""
        if arm == "frozen" and decision != "promote":
            held = results[0][0]
            if decision == "inconclusive" and held.decision == "inconclusive" and rows:
                # whatever is not shown to help is not let through
                decision, why = "block", f"{first} is not shown to be better than that of the frozen model: {held.sentence}"
        why = why or "; ".join(f"{r.name} {r.sentence}" for r, _ in results)
        return Versus(asked.models[arm], arm, decision, why, tuple(d for _, d in results), asked.evaluations[arm])  # type: ignore[arg-type]

    def _judge(self, suite: Suite, g: Guard, rows: Sequence[str], after: Rows, before: Rows) -> tuple[Any, GuardDifference]:
        low, _ = suite.range(g.name)
        judged = []
        for row in rows:
            mine, theirs = after.get(row, {}).get(g.name, []), before.get(row, {}).get(g.name, [])
            worst = [low if v is None else v for v in mine] or [low]
            judged.append(Judged(row, _mean(mine), fmean(worst), _mean(theirs)))
        found = judge(g, judged, suite.range(g.name), first=False, error=suite.body.error, guards=len(suite.body.guards))
        sentence = found.sentence.replace("not worse", "better") if g.margin == 0.0 and found.decision == "promote" else found.sentence
        found = msgspec.structs.replace(found, sentence=sentence)
        return found, GuardDifference(
            g.name, found.base, found.candidate, found.difference, found.interval, found.decision, found.measured, sentence
        )

    def _save(self, found: TuneComparison) -> None:
        with write(self._engine) as c:
            c.execute(update(tune_comparisons).where(tune_comparisons.c.id == found.id).values(body=_text(found)))


def _scores(running: Running) -> Rows:
    rows: Rows = {}
    for result in sorted(running.done.values(), key=lambda r: (r.outcome.row, r.outcome.repeat)):
        guards = rows.setdefault(result.outcome.row, {})
        for score in result.outcome.scores:
            guards.setdefault(score.evaluator, []).append(score.value)
    return rows


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if known else None


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
