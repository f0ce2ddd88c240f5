"""One bake-off at work: rounds of rows, all arms at once, those that are out ended after each round."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from statistics import fmean
from typing import Any

import msgspec

from windlass.core.errors import StoreAway, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations.bakeoffs import Arm, Bakeoff
from windlass.evaluate.advice import advise
from windlass.evaluate.experiments import Experiments, Running, Suite, summaries
from windlass.evaluate.gate import order
from windlass.evaluate.outcomes import Result
from windlass.evaluate.race import Line, Race, choose, frontier

ROUNDS = (2, 6, 8, 8, 8, 16, 16, 32)  # rows of each; the last for ever. The first tells what a row costs
ALIKE = 6  # rows that fail alike, with none that succeeds, end an arm
SAVE_SECONDS = 0.5


class Baking:
    """Brings a bake-off to its end.

    Args:
        experiments: what evaluates.
        suite: by which.
        bakeoff: as it was kept.
        save: keeps it.
        shown: rows that stand among the target's examples: they would test its memory.
    """

    def __init__(
        self, experiments: Experiments, suite: Suite, bakeoff: Bakeoff, save: Callable[[Bakeoff], None], shown: Collection[str] = ()
    ) -> None:
        self._experiments = experiments
        self._suite = suite
        self._bakeoff = bakeoff
        self._save = save
        self._shown = frozenset(shown)
        self._arms: dict[str, Arm] = {a.model: a for a in bakeoff.arms}
        self._running: dict[str, Running] = {}
        self._saved_at = 0.0

    async def run(self) -> None:
        body = self._suite.body
        for model, arm in self._arms.items():
            self._running[model] = await self._experiments.open(self._bakeoff.project, arm.evaluation)
            self._running[model].alike = ALIKE
        some = next(iter(self._running.values()))
        rows = order(sorted(set(some.rows) - self._shown), self._suite.dataset.digest, "bakeoff", body.seed)[: self._bakeoff.rows]
        ranges = {g.name: self._suite.range(g.name) for g in body.guards}
        race = Race(body.guards, ranges, body.error, len(self._arms))
        self._bakeoff = msgspec.structs.replace(self._bakeoff, status="running")
        for upto in _bounds(len(rows)):
            live = self._affordable(upto)
            if len(live) < 2 and upto > ROUNDS[0]:
                break  # nobody is left to be compared with
            await self._round(live, rows[:upto])
            lines = [self._line(m) for m in live if self._arms[m].status == "running"]
            for model, why in race.out(lines, rows[:upto]).items():
                await self._end(model, "eliminated", why)
            await asyncio.to_thread(self._keep)
        await self._finish(len(rows))

    def _live(self) -> list[str]:
        return [m for m, a in self._arms.items() if a.status in ("waiting", "running")]

    def _affordable(self, upto: int) -> list[str]:
        """The arms that may go on: when the budget would not hold the next round, the dearest is stopped, until it does."""
        live = self._live()
        cost = {m: self._next_cost(m, upto) for m in live}
        while self._spent() + sum(cost[m] for m in live) > self._bakeoff.budget and any(cost[m] > 0 for m in live):
            dearest = max(live, key=lambda m: cost[m])
            live.remove(dearest)
            self._set(dearest, status="stopped", why=f"the budget of ${self._bakeoff.budget:g} would not hold its next rows")
        return live

    def _next_cost(self, model: str, upto: int) -> float:
        """What its next rows would cost, by those it has answered. 0 before it answered any, and where its price is not known."""
        line = self._line(model)
        done = len(line.scores)
        return (line.per_row or 0.0) * max(0, upto - done)

    async def _round(self, live: Sequence[str], rows: Sequence[str]) -> None:
        each = max(1, self._experiments.concurrency // max(1, len(live)))

        async def one(model: str) -> None:
            self._set(model, status="running")
            try:
                await self._running[model].some(rows, self._progress, each)
            except StoreAway:
                raise
            except WindlassError as e:  # the others go on
                self._set(model, status="failed", why=str(e))

        for ended in await asyncio.gather(*(one(m) for m in live), return_exceptions=True):
            if ended is not None:
                raise ended  # after all have ended, since it may be begun again

    async def _end(self, model: str, status: str, why: str) -> None:
        self._set(model, status=status, why=why)
        await self._running[model].stop(f"{status} by a bake-off: {why}")

    async def _finish(self, rows: int) -> None:
        """Close the arms that are left, and say what to take."""
        left = [m for m in self._live() if self._arms[m].status == "running"]
        for model in left:
            running = self._running[model]
            if running.left:
                await running.stop("a bake-off needed no more rows of it")
            else:
                await running.close()
            self._set(model, status="done")
        for model, arm in self._arms.items():
            if arm.status == "stopped":
                await self._running[model].stop(arm.why)
        lines = [self._line(m) for m in left]
        guards = self._suite.body.guards
        choice = choose(lines, guards)
        self._figures()
        edge = frontier(lines, guards[0].name)
        for model in self._arms:
            self._set(model, frontier=model in edge)
        advice = advise(choice, list(self._arms.values()), guards, self._bakeoff.part, rows * self._suite.body.repeats)
        self._bakeoff = msgspec.structs.replace(self._bakeoff, status="done", finished_ns=now_ns(), recommendation=advice)
        await asyncio.to_thread(self._keep)

    def _line(self, model: str) -> Line:
        """An arm as the race sees it."""
        repeats = self._suite.body.repeats
        line = Line(model, reference=self._arms[model].reference)
        results = list(self._running[model].done.values())
        values: dict[str, dict[str, list[float | None]]] = {}
        for r in results:
            for score in r.outcome.scores:
                values.setdefault(r.outcome.row, {}).setdefault(score.evaluator, []).append(score.value)
        for row, guards in values.items():
            known = {g: [v for v in vs if v is not None] for g, vs in guards.items()}
            line.scores[row] = {g: fmean(vs) if vs else None for g, vs in known.items()}
            line.worst[row] = {g: (sum(vs) + self._suite.range(g)[0] * (repeats - len(vs))) / repeats for g, vs in known.items()}
        costs = [r.outcome.cost for r in results if r.outcome.error is None]
        line.cost = None if any(c is None for c in costs) else sum(c for c in costs if c is not None)
        line.latencies = [r.outcome.latency_ns / 1e9 for r in results if r.outcome.error is None and r.draws]
        return line

    def _spent(self) -> float:
        """What was paid in this bake-off: recorded answers cost nothing again."""
        return sum(r.outcome.cost or 0.0 for running in self._running.values() for r in running.done.values() if r.calls)

    def _figures(self) -> None:
        """Bring the arms' figures up to date."""
        first = self._suite.body.guards[0].name
        for model in self._arms:
            line, results = self._line(model), list(self._running[model].done.values())
            self._set(
                model, rows=len(results), failed=sum(r.outcome.error is not None for r in results),
                guards=tuple(summaries(self._suite, results)), cost=line.cost, per_row=line.per_row, per_success=line.per_success(first),
                latency=line.latency, latency_95=line.latency_95, calls=sum(r.calls for r in results),
                reused=sum(r.outcome.reused for r in results),
            )  # fmt: skip
        arms = self._arms.values()
        total = self._bakeoff.rows * self._suite.body.repeats
        self._bakeoff = msgspec.structs.replace(
            self._bakeoff, done=sum(a.rows for a in arms), calls=sum(a.calls for a in arms), spent=self._spent(),
            saved=sum(_spared(list(self._running[m].done.values()), total) for m in self._arms),
        )  # fmt: skip

    def _set(self, model: str, **fields: Any) -> None:
        self._arms[model] = msgspec.structs.replace(self._arms[model], **fields)

    def _keep(self) -> None:
        self._figures()
        self._save(msgspec.structs.replace(self._bakeoff, arms=tuple(self._arms.values())))

    def _progress(self, done: int, total: int) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._saved_at > SAVE_SECONDS:
            self._saved_at = now
            arms = tuple(msgspec.structs.replace(a, rows=len(self._running[m].done)) for m, a in self._arms.items())
            self._save(msgspec.structs.replace(self._bakeoff, arms=arms, done=sum(a.rows for a in arms)))


def _bounds(rows: int) -> Iterator[int]:
    """How many rows have been asked after each round."""
    sizes = itertools.chain(ROUNDS, itertools.repeat(ROUNDS[-1]))
    done = 0
    while done < rows:
        done = min(rows, done + next(sizes))
        yield done


def _spared(results: Sequence[Result], total: int) -> int:
    """How many calls an arm did not make, by what its answers took."""
    return round((total - len(results)) * fmean(len(r.draws) for r in results)) if results else 0
