"""The service of gates: works out what to compare, has both arms evaluated, lets `gate` decide, keeps the verdict.

What production runs is evaluated once for each suite and then looked up. The candidate is first answered from recorded draws: rows
whose requests are byte for byte production's keep production's answers, so a difference of zero there is a fact and no call is made.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from sqlalchemy import Engine, insert, select, update

from windlass.core.actor import Actor
from windlass.core.errors import Conflict, Invalid, StoreAway, WindlassError
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.evaluation import Evaluation, GateJob, GatePlan, GateRequest, IdQuery
from windlass.core.ref import ENVIRONMENTS, Ref, parse_ref
from windlass.core.score import Failure, RowChange, Verdict
from windlass.evaluate.evaluations import Evaluations
from windlass.evaluate.experiments import Experiments, Running, Suite, read_suite
from windlass.evaluate.gate import Judged, decide, judge, order
from windlass.evaluate.leakage import Leakage
from windlass.evaluate.outcomes import Outcomes, Result, sort_of, whole_id
from windlass.evaluate.stats import METHOD
from windlass.evaluate.targets import foreign_name
from windlass.evaluate.verdicts import keep_verdict
from windlass.govern.permissions import guard
from windlass.jobs.work import Jobs
from windlass.registry.labels import current
from windlass.registry.lineage import release_of
from windlass.registry.versions import Versions, newest, resolve
from windlass.store.meta import read, write
from windlass.store.tables import gates, verdicts

CHANGES_KEPT = 500
FAILURES_KEPT = 5


class Gate(msgspec.Struct, frozen=True):
    """What a gate was asked, with every ref exact. `base_evaluation` is set where the base cannot be asked again."""

    actor: Actor
    suite: str
    candidate: str
    base: str | None
    environment: str
    base_evaluation: str | None = None


class Gates:
    """Service of gates. Starting one is quick; `run` does the work, in the process that works."""

    def __init__(
        self, engine: Engine, versions: Versions, evaluations: Evaluations, outcomes: Outcomes, jobs: Jobs,
        experiments: Experiments, leakage: Leakage,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._versions = versions
        self._evaluations = evaluations
        self._outcomes = outcomes
        self._jobs = jobs
        self._experiments = experiments
        self._leakage = leakage

    def start(self, actor: Actor, request: GateRequest) -> GateJob:
        """Operation `gate.start`. Raises `NotFound`, `Invalid`, `Conflict` when the candidate is what is there already."""
        ref = parse_ref(request.suite, project=request.project, kind="suite")
        guard(actor, "run", ref.project)
        if request.environment not in ENVIRONMENTS:
            raise Invalid(f"{request.environment!r} is no environment", remedy="environments: " + ", ".join(ENVIRONMENTS))
        suite = read_suite(self._versions, ref)
        asked = self._asked(actor, suite, request, ref.project)
        rows = self._evaluations.count(suite)
        plan = GatePlan(suite.ref, asked.candidate, asked.base, rows, None)
        job = GateJob(uuid7(), plan, "queued", 0, rows * suite.body.repeats)
        with write(self._engine) as c:
            c.execute(
                insert(gates).values(
                    id=job.id, project=ref.project, request=_text(asked), plan=_text(plan), status=job.status, done=0, total=job.total,
                    created_ns=now_ns(), actor=actor.id,
                )
            )  # fmt: skip
            self._jobs.hand_over(c, "gate", ref.project, job.id)
        self._jobs.begin("gate", ref.project, job.id)
        return job

    def show(self, actor: Actor, query: IdQuery) -> GateJob:
        """Operation `gate.show`."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            row = c.execute(select(gates).where(gates.c.id == whole_id(c, gates, query.project, query.id, "gate"))).one()
            found = c.execute(select(verdicts.c.body).where(verdicts.c.id == row.verdict)).scalar() if row.verdict else None
        return GateJob(
            row.id, msgspec.json.decode(row.plan, type=GatePlan), row.status, row.done, row.total,
            msgspec.json.decode(found, type=Verdict) if found else None, msgspec.json.decode(row.error) if row.error else None,
        )  # fmt: skip

    def _asked(self, actor: Actor, suite: Suite, request: GateRequest, project: str) -> Gate:
        """Which candidate against which base."""
        if isinstance(suite.body.target, dict):
            candidate = foreign_name(suite.body.target)
            if request.candidate not in (None, candidate):
                raise Invalid(f"this suite gates {candidate}", remedy="push a suite that declares the other version")
            base, evaluation = self._foreign_base(suite, project, request.environment)
            if base == candidate:
                raise _nothing_new(candidate, request.environment)
            return Gate(actor, suite.ref, candidate, base, request.environment, evaluation)
        with read(self._engine) as c:
            if request.candidate:
                ref = resolve(c, parse_ref(request.candidate, project=project, kind="release"))
            else:
                name = release_of(c, project, suite.body.target)
                ref = Ref("release", name, newest(c, Ref("release", name, None, None, project)), None, project)
            if ref.kind != "release":
                raise Invalid(f"{ref.short} is a {ref.kind}; what is gated is a release", remedy="leave it out, or name release/…")
            digest = current(c, ref, request.environment)
        if digest == ref.digest:
            raise _nothing_new(ref.short, request.environment)
        base = str(Ref("release", ref.name, digest, None, project)) if digest else None
        return Gate(actor, suite.ref, str(ref), base, request.environment)

    def _foreign_base(self, suite: Suite, project: str, environment: str) -> tuple[str | None, str | None]:
        """The version of a foreign application that was let through last, and its evaluation."""
        v = verdicts.c
        like = f"suite/{suite.version.name}@"
        with read(self._engine) as c:
            row = c.execute(
                select(v.body)
                .where(v.project == project, v.decision == "promote", v.environment == environment, v.suite.contains(like, autoescape=True))
                .order_by(v.id.desc())
                .limit(1)
            ).scalar()
        if row is None:
            return None, None
        verdict = msgspec.json.decode(row, type=Verdict)
        return verdict.candidate, verdict.candidate_evaluation

    async def run(self, project: str, id: str) -> None:
        """Bring a gate to its verdict, or to an error that it keeps. Begins where a run that was cut off stopped."""
        with read(self._engine) as c:
            row = c.execute(select(gates.c.request, gates.c.plan, gates.c.status).where(gates.c.id == id)).one()
        if row.status in ("done", "failed", "cancelled"):
            return
        asked = msgspec.json.decode(row.request, type=Gate)
        work = _Work(self, project, id, asked, msgspec.json.decode(row.plan, type=GatePlan))
        try:
            verdict = await work.verdict()
        except StoreAway:
            raise  # it is begun again
        except WindlassError as e:
            await asyncio.to_thread(self._set, id, status="failed", error=_text(e.as_dict()))
            return
        except Exception as e:
            defect = WindlassError(f"a defect in Windlass ended the gate: {type(e).__name__}", remedy="the log of `jobs` says more")
            await asyncio.to_thread(self._set, id, status="failed", error=_text(defect.as_dict()))
            raise
        await asyncio.to_thread(self._finish, id, asked.actor, verdict)

    def _finish(self, id: str, actor: Actor, verdict: Verdict) -> None:
        with write(self._engine) as c:
            keep_verdict(c, actor, verdict)
            c.execute(update(gates).where(gates.c.id == id).values(status="done", verdict=verdict.id))

    def _set(self, id: str, **values: Any) -> None:
        with write(self._engine) as c:
            c.execute(update(gates).where(gates.c.id == id).values(**values))


class _Work:
    """One gate at work."""

    def __init__(self, owner: Gates, project: str, id: str, asked: Gate, plan: GatePlan) -> None:
        self._owner = owner
        self._project = project
        self._id = id
        self._asked = asked
        self._plan = plan
        self._said = 0.0

    async def verdict(self) -> Verdict:
        suite = await asyncio.to_thread(read_suite, self._owner._versions, parse_ref(self._asked.suite, project=self._project))
        await asyncio.to_thread(self._owner._set, self._id, status="running")
        base = await self._base(suite)
        candidate = await self._arm(suite, self._asked.candidate)
        await candidate.replay()
        await self._tell_plan(suite, base, candidate)
        await candidate.go("reuse", self._progress)
        evaluation = await candidate.close()
        return await asyncio.to_thread(self._judged, suite, base, evaluation, list(candidate.done.values()))

    async def _base(self, suite: Suite) -> Evaluation | None:
        """What is there now, evaluated with this suite: before, or now."""
        asked = self._asked
        if asked.base is None:
            return None
        if asked.base_evaluation:
            found = await asyncio.to_thread(self._owner._outcomes.find, self._project, asked.base_evaluation)
            if found.suite != suite.ref and not await asyncio.to_thread(self._same_judges, found.suite, suite):
                raise Conflict(
                    f"the suite's evaluators or rows changed since {asked.base} was gated, and it cannot be asked again",
                    where=suite.version.ref.short, remedy="gate that version once more with this suite, then the new one",
                )  # fmt: skip
            return found
        known = await asyncio.to_thread(self._owner._outcomes.latest, self._project, suite.ref, asked.base)
        if known:
            return known
        running = await self._arm(suite, asked.base)
        await running.go("reuse", self._progress)
        return await running.close()

    def _same_judges(self, before: str, now: Suite) -> bool:
        """Whether scores of an earlier suite mean what this one's do."""
        then = read_suite(self._owner._versions, parse_ref(before, project=self._project))
        return then.dataset.digest == now.dataset.digest and {g.name: g.evaluator for g in then.body.guards} == {
            g.name: g.evaluator for g in now.body.guards
        }

    async def _arm(self, suite: Suite, target: str) -> Running:
        """One arm's evaluation: that of this gate which was cut off, or a new one."""
        plan = await asyncio.to_thread(self._begun)
        id = plan.get(target)
        if id is None:
            made = await asyncio.to_thread(self._owner._evaluations.make, self._asked.actor, suite, target, self._project)
            plan[target] = id = made.id
            await asyncio.to_thread(self._owner._set, self._id, arms=_text(plan))
        return await self._owner._experiments.open(self._project, id)

    def _begun(self) -> dict[str, str]:
        with read(self._owner._engine) as c:
            found = c.execute(select(gates.c.arms).where(gates.c.id == self._id)).scalar()
        return msgspec.json.decode(found) if found else {}

    async def _tell_plan(self, suite: Suite, base: Evaluation | None, candidate: Running) -> None:
        """Say what is left to do, before anything is spent on it: as many calls as production's answers to those rows took."""
        total = candidate.evaluation.rows
        plan = self._plan
        if base and candidate.target.ours:
            known = {(r.outcome.row, r.outcome.repeat): r for r in await asyncio.to_thread(self._owner._outcomes.results, base.id)}
            same = {at for at, r in candidate.done.items() if r.draws and at in known and r.draws == known[at].draws}
            met = [known[at] for at in candidate.left if at in known]
            costs = [r.outcome.cost for r in met]
            spent = sum(c for c in costs if c is not None) if all(c is not None for c in costs) else None
            calls = sum(len(r.draws) for r in met)
            can_differ = len({row for row, repeat in candidate.every if (row, repeat) not in same})
            plan = msgspec.structs.replace(plan, can_differ=can_differ, calls=calls, cost=spent)
        await asyncio.to_thread(self._owner._set, self._id, plan=_text(plan), done=total - len(candidate.left), total=total)

    def _progress(self, done: int, total: int) -> None:
        self._owner._set(self._id, done=done, total=total)

    def _judged(self, suite: Suite, base: Evaluation | None, evaluation: Evaluation, results: list[Result]) -> Verdict:
        """The verdict on what came of both arms."""
        body, first = suite.body, self._asked.base is None
        before = _arm({}) if base is None else _arm_of(self._owner._outcomes.results(base.id))
        after = _arm_of(results)
        left_out = self._owner._leakage.of(suite, [self._asked.candidate, *([self._asked.base] if self._asked.base else [])])
        counted = after.rows.keys() - {r.row for r in left_out}
        rows = order(sorted(counted), suite.dataset.digest, self._asked.candidate, body.seed)
        deciding = [g for g in body.guards if (g.floor if first else g.margin) is not None]
        judged = {g.name: [_row(after, before, r, g.name, suite.range(g.name)[0], body.repeats) for r in rows] for g in body.guards}
        results_of = tuple(
            judge(g, judged[g.name], suite.range(g.name), first=first, error=body.error, guards=max(1, len(deciding))) for g in body.guards
        )
        arms = self._begun().values()
        base_calls = base.calls if base and base.id in arms else 0
        return Verdict(
            id=uuid7(), project=self._project, suite=suite.ref, candidate=self._asked.candidate, base=self._asked.base,
            decision=decide(results_of, first), error=body.error, guards=results_of, rows=len(rows),
            identical=sum(bool(after.draws.get(r)) and after.draws.get(r) == before.draws.get(r) for r in rows),
            calls=evaluation.calls + base_calls, cost=_spent(results), created_ns=now_ns(),
            changes=tuple(_changes(judged, after)), failures=_failures(results), left_out=left_out,
            candidate_evaluation=evaluation.id, base_evaluation=base.id if base else None, environment=self._asked.environment,
            manifest={
                "method": METHOD, "dataset": suite.dataset.digest, "split": body.split, "seed": body.seed, "repeats": body.repeats,
                "evaluators": {name: str(v.ref) for name, v in suite.evaluators.items()}, "by": self._asked.actor.id,
            },
        )  # fmt: skip


class _Arm(msgspec.Struct):
    """One arm by row: values of each guard's repeats (None where unmeasured), draws, the question for people."""

    rows: dict[str, dict[str, list[float | None]]]
    draws: dict[str, tuple[str, ...]]
    labels: dict[str, str]
    inputs: dict[str, Any]


def _arm(rows: dict[str, dict[str, list[float | None]]]) -> _Arm:
    return _Arm(rows, {}, {}, {})


def _arm_of(results: list[Result]) -> _Arm:
    arm = _arm({})
    for result in sorted(results, key=lambda r: (r.outcome.row, r.outcome.repeat)):
        o = result.outcome
        guards = arm.rows.setdefault(o.row, {})
        for score in o.scores:
            guards.setdefault(score.evaluator, []).append(score.value)
        arm.draws[o.row] = arm.draws.get(o.row, ()) + result.draws
        arm.labels.setdefault(o.row, _label(o.input))
        arm.inputs.setdefault(o.row, o.input)
    return arm


def _row(after: _Arm, before: _Arm, row: str, name: str, worst: float, repeats: int) -> Judged:
    """One guard on one row. What was asked must be the same in both arms; else there is no pair."""
    values = after.rows[row].get(name, [])
    known = [v for v in values if v is not None]
    pessimistic = (sum(known) + worst * (repeats - len(known))) / repeats
    paired = row in before.rows and before.inputs.get(row) == after.inputs.get(row)
    old = [v for v in before.rows[row].get(name, []) if v is not None] if paired else []
    return Judged(row, sum(known) / len(known) if known else None, pessimistic, sum(old) / len(old) if old else None)


def _spent(results: list[Result]) -> float | None:
    """What the calls of this evaluation cost; None when one has no price. Recorded answers cost nothing again."""
    costs = [r.outcome.cost for r in results if r.calls]
    return None if any(c is None for c in costs) else sum(c for c in costs if c is not None)


def _changes(judged: dict[str, list[Judged]], after: _Arm) -> list[RowChange]:
    """Rows whose score differs between the arms, the worst first."""
    found = [
        RowChange(r.row, name, r.base, r.candidate, after.labels.get(r.row, ""))
        for name, rows in judged.items()
        for r in rows
        if r.base is not None and r.candidate is not None and r.base != r.candidate
    ]
    return sorted(found, key=lambda c: (c.candidate - c.base, c.guard, c.row))[:CHANGES_KEPT]


def _failures(results: list[Result]) -> tuple[Failure, ...]:
    """Why rows are unmeasured, by what is alike."""
    found: dict[str, tuple[str, set[str]]] = {}
    for o in (r.outcome for r in results):
        for error in {s.unmeasured for s in o.scores if s.unmeasured} | ({o.error} if o.error else set()):
            found.setdefault(sort_of(error), (error, set()))[1].add(o.row)
    ranked = sorted(found.values(), key=lambda f: (-len(f[1]), f[0]))
    return tuple(Failure(error, len(rows), min(rows)) for error, rows in ranked[:FAILURES_KEPT])


def _label(given: Any) -> str:
    """An input as a person recognises it."""
    if isinstance(given, dict) and len(given) == 1:
        given = next(iter(given.values()))
    text = given if isinstance(given, str) else _text(given)
    return text if len(text) <= 120 else text[:119] + "…"


def _nothing_new(candidate: str, environment: str) -> Conflict:
    return Conflict(f"{candidate} is what {environment} runs already", remedy="push a change, then gate it")


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
