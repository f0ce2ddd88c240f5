"""Runs an evaluation: every row × repeat of a suite's dataset through the target, every evaluator over what came out.

Rows run at once up to a limit; what is finished is kept in batches, and a run that was cut off goes on where it stopped. A row
whose run fails is unmeasured, with the reason. Knows no statistics and no gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from statistics import fmean
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from windlass.core.artifacts import EvaluatorBody, Guard, SuiteBody, Version
from windlass.core.digest import digest_json
from windlass.core.errors import Invalid, RunFailed, StoreAway, Unavailable, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations.evaluation import Evaluation, EvaluatorSummary, Outcome
from windlass.core.ref import Ref, parse_ref
from windlass.core.score import Score
from windlass.evaluate.hands import Hands, RowAsked
from windlass.evaluate.outcomes import Asked, Outcomes, Result, sort_of
from windlass.evaluate.stats import score_interval
from windlass.evaluate.targets import Answered, Target, Targets, foreign_name
from windlass.registry.datasets import Datasets
from windlass.registry.versions import Versions
from windlass.runtime.context import DrawPolicy, Ledger, Records, RunContext
from windlass.runtime.library import body_of

ALIKE = 20  # rows that fail alike, with none that succeeds, end an evaluation: the next thousand would too
BATCH_SECONDS = 0.4
BATCH_ROWS = 64

Progress = Callable[[int, int], None]  # done, total


class Judges(Protocol):
    """The part of `runtime.execute.Executor` that judges."""

    async def evaluate(self, evaluator: Ref, arguments: dict[str, Any], context: RunContext) -> Score: ...


class Suite(NamedTuple):
    """A suite version, read: its guards' evaluators by name with their ranges."""

    version: Version
    body: SuiteBody
    dataset: Version
    evaluators: dict[str, Version]

    @property
    def ref(self) -> str:
        return str(self.version.ref)

    def range(self, name: str) -> tuple[float, float]:
        body: EvaluatorBody = body_of(self.evaluators[name])
        return body.range


def read_suite(versions: Versions, ref: Ref) -> Suite:
    """A suite with what it uses. Raises `NotFound`."""
    ref = versions.resolve(ref)
    version = versions.get(ref.project, ref.kind, ref.name, ref.digest or "")
    body: SuiteBody = body_of(version)
    by_digest = {k.digest: versions.get(ref.project, k.kind, k.name, k.digest) for k in version.links if k.relation == "uses"}
    return Suite(version, body, by_digest[body.dataset], {g.name: by_digest[g.evaluator] for g in body.guards})


class Experiments:
    """Evaluations at work, in one process and on one event loop."""

    def __init__(
        self, *, outcomes: Outcomes, versions: Versions, datasets: Datasets, targets: Targets, judges: Judges, records: Records,
        concurrency: int, hands: Hands | None = None,
    ) -> None:  # fmt: skip
        self._outcomes = outcomes
        self._versions = versions
        self._datasets = datasets
        self._targets = targets
        self._judges = judges
        self._records = records
        self.concurrency = concurrency
        self.hands = hands

    async def run(self, project: str, id: str, progress: Progress | None = None) -> Evaluation:
        """Bring an evaluation to its end. Raises what ends it before; the evaluation then says so too."""
        running = await self.open(project, id)
        await running.go("record" if running.asked.fresh else "reuse", progress)
        return await running.close()

    async def open(self, project: str, id: str) -> Running:
        """An evaluation with what is done of it already. One that cannot be begun says why. Raises what it says."""
        evaluation = await asyncio.to_thread(self._outcomes.find, project, id)
        try:
            return await self._open(evaluation)
        except StoreAway:
            raise  # it is begun again
        except WindlassError as e:
            failed = msgspec.structs.replace(evaluation, status="failed", finished_ns=now_ns(), error=str(e))
            await asyncio.to_thread(self._outcomes.save, failed)
            raise

    async def beside(self, project: str, id: str) -> Running:
        """An evaluation that another process keeps, to do rows of it here. Changes nothing. Raises `NotFound`."""
        return await self._open(await asyncio.to_thread(self._outcomes.find, project, id))

    async def _open(self, evaluation: Evaluation) -> Running:
        project = evaluation.project
        asked = await asyncio.to_thread(self._outcomes.asked, evaluation.id)
        suite = await asyncio.to_thread(read_suite, self._versions, parse_ref(evaluation.suite, project=project))
        rows = await asyncio.to_thread(lambda: list(self._datasets.rows(suite.dataset, suite.body.split)))
        done = await asyncio.to_thread(self._outcomes.results, evaluation.id)
        target = await self._target(suite, evaluation.target, project)
        return Running(self, evaluation, asked, suite, rows, target, done)

    async def _target(self, suite: Suite, target: str, project: str) -> Target:
        if isinstance(suite.body.target, dict) and target == foreign_name(suite.body.target):
            return self._targets.foreign(suite.body, suite.version.neutral.get("folder"))
        return await self._targets.registered(parse_ref(target, project=project))


class Running:
    """One evaluation under way."""

    def __init__(
        self, owner: Experiments, evaluation: Evaluation, asked: Asked, suite: Suite, rows: list[dict[str, Any]], target: Target,
        done: list[Result],
    ) -> None:  # fmt: skip
        self._owner = owner
        self.asked = asked
        self.suite = suite
        self.target = target
        self.done: dict[tuple[str, int], Result] = {(r.outcome.row, r.outcome.repeat): r for r in done}
        self._rows = {row["key"]: row for row in rows}
        self._failures: list[str] = []
        self.alike = ALIKE
        self._succeeded = any(r.outcome.error is None for r in done)
        total = len(rows) * suite.body.repeats
        self.evaluation = msgspec.structs.replace(evaluation, rows=total, status="running")

    @property
    def rows(self) -> list[str]:
        """Keys of the suite's rows."""
        return list(self._rows)

    @property
    def every(self) -> list[tuple[str, int]]:
        """Rows and repeats."""
        return [(row, repeat) for row in self._rows for repeat in range(self.suite.body.repeats)]

    @property
    def left(self) -> list[tuple[str, int]]:
        """Rows and repeats that are not done."""
        return [one for one in self.every if one not in self.done]

    async def replay(self) -> None:
        """Do the rows that recorded draws answer wholly: no call is made."""
        if self.target.ours:
            await self._each(self.left, "replay", None)

    async def go(self, policy: DrawPolicy, progress: Progress | None = None) -> None:
        """Do the rows that are left. Raises `RunFailed` when rows fail all alike, and what the stores raise."""
        await self._each(self.left, policy, progress)

    async def some(self, rows: Sequence[str], progress: Progress | None = None, concurrency: int | None = None) -> None:
        """Do those of these rows that are left, re-using recorded answers. Raises as `go`."""
        wanted = set(rows)
        await self._each([one for one in self.left if one[0] in wanted], "reuse", progress, concurrency)

    async def close(self) -> Evaluation:
        """Sum up."""
        return await self._sum_up("done", None)

    async def stop(self, why: str) -> Evaluation:
        """Sum up what is done; the rest is not wanted."""
        return await self._sum_up("cancelled", why)

    async def _sum_up(self, status: Literal["done", "cancelled"], why: str | None) -> Evaluation:
        self.evaluation = msgspec.structs.replace(
            self._figures(), status=status, finished_ns=now_ns(), error=why,
            evaluators=tuple(summaries(self.suite, list(self.done.values()))),
        )  # fmt: skip
        await asyncio.to_thread(self._owner._outcomes.save, self.evaluation)
        return self.evaluation

    async def fail(self, why: str) -> None:
        """Say that it ended before its end."""
        self.evaluation = msgspec.structs.replace(self._figures(), status="failed", finished_ns=now_ns(), error=why)
        await asyncio.to_thread(self._owner._outcomes.save, self.evaluation)

    async def _each(
        self, todo: Sequence[tuple[str, int]], policy: DrawPolicy, progress: Progress | None, concurrency: int | None = None
    ) -> None:
        at_once = concurrency or self._owner.concurrency
        try:
            async for batch in _batches(todo, lambda row, repeat: self._have(row, repeat, policy), at_once):
                self.done.update({(r.outcome.row, r.outcome.repeat): r for r in batch})
                self.evaluation = self._figures()
                await asyncio.to_thread(self._owner._outcomes.add, self.evaluation, batch)
                if progress:
                    progress(self.evaluation.done, self.evaluation.rows)
                self._give_up(batch)
        except StoreAway:
            raise  # it is begun again
        except WindlassError as e:
            await self.fail(str(e))
            raise

    async def _have(self, key: str, repeat: int, policy: DrawPolicy) -> Result | None:
        """One row, done here or elsewhere. A foreign target is of this machine."""
        if self._owner.hands is None or not self.target.ours:
            return await self.one(key, repeat, policy)
        done = await self._owner.hands.row(RowAsked(self.evaluation.project, self.evaluation.id, key, repeat, policy))
        self._owner._records.record(done.spans)
        return done.result

    async def one(self, key: str, repeat: int, policy: DrawPolicy) -> Result | None:
        """One row, here; None when `replay` could not answer it."""
        e = self.evaluation
        ledger = Ledger()
        ledger.held = []
        context = RunContext(
            actor=self.asked.actor, project=e.project, evaluation=e.id, row=key, repeat=repeat, draws=policy, ledger=ledger
        )  # fmt: skip
        row = self._rows[key]
        given: Any = None
        answered, error = Answered(None, ""), None
        try:
            given = self.target.given(row)
            answered = await self.target.ask(given, context)
        except Unavailable:
            raise
        except WindlassError as problem:
            error = str(problem)
        waited, reused = ledger.waited_ns, bool(ledger.reused and not ledger.calls)
        if ledger.missed:
            return None
        scores, judged = await self._judge(row, given, answered, error, context)
        if context.ledger.missed:  # by a judge
            return None
        spans, ledger.held = ledger.held, None
        self._owner._records.record(spans)
        outcome = Outcome(
            row=key, repeat=repeat, input=given, output=answered.output, text=answered.text,
            scores=tuple(scores), trace=context.ledger.root.trace_id if context.ledger.root else None, error=error,
            reused=reused, latency_ns=waited, cost=ledger.total if self.target.ours else None,
        )  # fmt: skip
        return Result(outcome, ledger.calls, tuple(ledger.draws), tuple(judged))

    async def _judge(
        self, row: dict[str, Any], asked: Any, answered: Answered, error: str | None, context: RunContext
    ) -> tuple[list[Score], list[tuple[str, Score]]]:
        """The scores of a row by guard, and the judgements that are new. Draws of judges do not count as the target's."""
        draws = list(context.ledger.draws)
        given = {"output": answered.output, "row": row, "input": asked, "text": answered.text}
        given |= {"passages": context.ledger.passages, "trace": context.ledger.root.trace_id if context.ledger.root else None}
        if self.target.ours:  # of another's application nobody knows what it called
            given["calls"] = msgspec.to_builtins([*context.ledger.tool_calls])
        scores: list[Score] = []
        fresh: list[tuple[str, Score]] = []
        for guard in self.suite.body.guards:
            if error is not None:
                scores.append(Score(guard.name, unmeasured=error))
                continue
            score, key = await self._score(guard, given, context)
            scores.append(score)
            if key is not None:
                fresh.append((key, score))
        context.ledger.draws[:] = draws
        return scores, fresh

    async def _score(self, guard: Guard, given: dict[str, Any], context: RunContext) -> tuple[Score, str | None]:
        """One judgement; with its key when it was not kept before."""
        version = self.suite.evaluators[guard.name]
        body: EvaluatorBody = body_of(version)
        # a trace differs at every run: what looks at it is judged anew
        asked = None if "trace" in body.needs else {n: given[n] for n in body.needs if n in given}
        try:
            key = digest_json({"evaluator": version.digest, "given": asked, "repeat": context.repeat}) if asked is not None else None
        except Invalid:  # a model gave a number that has no canonical form: what it is judged by cannot be looked up
            key = None
        if key and (kept := await asyncio.to_thread(self._owner._outcomes.judgement, self.evaluation.project, key)):
            return msgspec.structs.replace(kept, evaluator=guard.name), None
        score = await self._owner._judges.evaluate(version.ref, given, context)
        score = msgspec.structs.replace(score, evaluator=guard.name)
        return score, key if score.value is not None else None

    def _figures(self) -> Evaluation:
        outcomes = [r.outcome for r in self.done.values()]
        costs = [o.cost for o in outcomes]
        return msgspec.structs.replace(
            self.evaluation,
            done=len(outcomes),
            failed=sum(o.error is not None for o in outcomes),
            reused=sum(o.reused for o in outcomes),
            calls=sum(r.calls for r in self.done.values()),
            cost=sum(c for c in costs if c is not None) if all(c is not None for c in costs) else None,
        )

    def _give_up(self, batch: Iterable[Result]) -> None:
        """Raises `RunFailed` when nothing ever succeeded and the last rows all failed alike."""
        for result in batch:
            self._succeeded = self._succeeded or result.outcome.error is None
            self._failures.append(result.outcome.error or "")
        last = self._failures[-self.alike :]
        if not self._succeeded and len(last) == self.alike and len(set(map(sort_of, last))) == 1:
            target = self.evaluation.target
            where = parse_ref(target).short if self.target.ours else target
            raise RunFailed(f"the first {self.alike} rows all failed alike: {last[0]}", where=where)


async def _batches(
    todo: Sequence[tuple[str, int]], work: Callable[[str, int], Any], concurrency: int
) -> AsyncIterator[list[Result]]:  # fmt: skip
    """Results as they come, in batches small enough to lose little. When it is closed or fails, what is under way is cancelled."""
    waiting = iter(todo)
    tasks: set[asyncio.Task[Result | None]] = set()
    batch: list[Result] = []
    loop = asyncio.get_running_loop()
    since = loop.time()
    try:
        while True:
            while len(tasks) < concurrency and (one := next(waiting, None)) is not None:
                tasks.add(asyncio.create_task(work(*one)))
            if not tasks:
                break
            done, tasks = await asyncio.wait(tasks, timeout=BATCH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            batch += [result for task in done if (result := task.result()) is not None]
            if batch and (len(batch) >= BATCH_ROWS or loop.time() - since > BATCH_SECONDS):
                yield batch
                batch, since = [], loop.time()
        if batch:
            yield batch
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def summaries(suite: Suite, results: Sequence[Result]) -> list[EvaluatorSummary]:
    """One entry for each guard: the mean over rows (each the mean of its repeats), and its interval."""
    found = []
    for guard in suite.body.guards:
        by_row: dict[str, list[float]] = {}
        measured = 0
        for result in results:
            for score in result.outcome.scores:
                if score.evaluator == guard.name and score.value is not None:
                    by_row.setdefault(result.outcome.row, []).append(score.value)
                    measured += 1
        means = [fmean(v) for v in by_row.values()]
        low, high = suite.range(guard.name)
        found.append(
            EvaluatorSummary(
                guard.name, str(suite.evaluators[guard.name].ref), measured, len(results) - measured,
                fmean(means) if means else None, score_interval(means, low, high),
            )
        )  # fmt: skip
    return found
