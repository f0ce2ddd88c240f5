"""The work of a batch: rows asked at once up to a limit and at a rate, kept a part at a time, so that one that was cut off goes on with
the rows that have no answer. At its end, however it ends, what was answered is one version of a dataset.

A row that fails says why, in place of an answer. Between two parts lie at most `PART_SECONDS`: so much is asked again after a kill.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Engine

from windlass.core.actor import Actor
from windlass.core.artifacts import Link, Version
from windlass.core.digest import canonical
from windlass.core.errors import Invalid, NotFound, RunFailed, StoreAway, Unavailable, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations.batches import ANSWERED, Batch, BatchStatus
from windlass.core.operations.datasets import EditRequest
from windlass.core.ref import MAIN, Ref, parse_ref
from windlass.deploy.batches import OPEN, Part, add_part, environment_of, parts_of, save, taken_up
from windlass.evaluate.outcomes import sort_of
from windlass.evaluate.targets import Target, Targets
from windlass.registry.datasets import Datasets
from windlass.registry.edits import Edits
from windlass.registry.rows import Rows
from windlass.registry.uploads import packs_of
from windlass.registry.versions import Versions
from windlass.runtime.context import RunContext
from windlass.store.meta import read, write

PART_ROWS, PART_SECONDS = 500, 2.0
READ = 256  # rows at once
ALIKE = 20  # rows that fail alike, with none that succeeds, end a batch: the next thousand would too
KINDS = 20  # of failures that are told
RECENT = 5000  # rows whose times are told while it is under way; at its end, those of all


class Overtaken(Exception):
    """Somebody went on with the batch in another piece of work."""


class Answer(msgspec.Struct):
    """One row: the line that is kept of it, or why there is none."""

    key: str
    line: bytes | None
    error: str = ""
    took_s: float = 0.0
    cost: float | None = 0.0


class Batching:
    """Batches at work, on one event loop."""

    def __init__(self, engine: Engine, versions: Versions, datasets: Datasets, rows: Rows, edits: Edits, targets: Targets) -> None:
        self._engine = engine
        self._versions = versions
        self.datasets = datasets
        self.rows = rows
        self.edits = edits
        self._targets = targets

    async def run(self, project: str, id: str) -> None:
        """Bring a batch, with whose id `id` begins, to its end, or to an error that it keeps. Goes on where it was cut off."""
        id, _, number = id.partition(" ")
        batch, actor = await asyncio.to_thread(self._taken_up, id)
        if batch.status not in OPEN or batch.resumed != int(number or 0):  # whoever goes on with it is another piece of work
            return
        under_way = UnderWay(self, msgspec.structs.replace(batch, status="running"), actor)
        try:
            await under_way.go(await self._targets.registered(parse_ref(batch.target, project=project)))
        except StoreAway:
            raise  # it is begun again
        except Overtaken:
            return
        except WindlassError as e:
            await asyncio.to_thread(under_way.end, "failed", e)
        except Exception as e:
            defect = WindlassError(f"a defect in Windlass ended it: {type(e).__name__}", remedy="the log of `jobs` says more")
            await asyncio.to_thread(under_way.end, "failed", defect)
            raise

    def _taken_up(self, id: str) -> tuple[Batch, Actor]:
        with read(self._engine) as c:
            return taken_up(c, id)

    def keys(self, ref: Ref) -> Iterator[str]:
        """Of the rows that a dataset has now; of one that is not there, none."""
        try:
            found = self._versions.resolve(msgspec.structs.replace(ref, label=MAIN))
        except NotFound:
            return iter(())
        tree = self.datasets.tree(self._versions.get(found.project, found.kind, found.name, found.digest or ""))
        return (key for key, _ in tree)

    def parts(self, id: str) -> list[Part]:
        with read(self._engine) as c:
            return parts_of(c, id)

    def version(self, text: str, project: str) -> Version:
        ref = parse_ref(text, project=project)
        return self._versions.get(ref.project, ref.kind, ref.name, ref.digest or "")

    def keep(self, batch: Batch, number: int = 0, part: Part | None = None) -> BatchStatus:
        """Keep what is known of a batch. Returns its status, which one who cancels it may have changed. Raises `Overtaken`."""
        with write(self._engine) as c:
            now, _ = taken_up(c, batch.id)
            if now.resumed != batch.resumed:
                raise Overtaken
            cancelled = now.status == "cancelled"
            if part is not None:
                add_part(c, batch, number, part)
            save(c, msgspec.structs.replace(batch, status="cancelled", finished_ns=now.finished_ns) if cancelled else batch)
            return "cancelled" if cancelled else batch.status


class UnderWay:
    """One batch, its rows, and what came of them so far."""

    def __init__(self, owner: Batching, batch: Batch, actor: Actor) -> None:
        self._owner = owner
        self.batch = batch
        self._actor = actor
        self._wanted = batch.request
        self._parts = 0
        self._packs: list[tuple[str, int]] = []
        self._failures: dict[str, str] = {}
        self._last: list[str] = []
        self._took_s: list[float] = []
        self._sorts: Counter[str] = Counter()  # of failures
        self._waiting: list[Answer] = []
        self._since = time.monotonic()

    async def go(self, target: Target) -> None:
        """Do the rows that are left. Raises what ends it before."""
        data, left = await asyncio.to_thread(self._open)
        ended: tuple[BatchStatus, WindlassError | None] = ("done", None)
        tasks: set[asyncio.Task[Answer]] = set()
        begun = 0
        try:
            while True:
                some = await asyncio.to_thread(lambda: list(itertools.islice(left, READ)))
                for row in some:
                    await self._turn(begun)
                    begun += 1
                    tasks.add(asyncio.create_task(self._ask(target, row)))
                    while len(tasks) >= self._wanted.concurrency:
                        tasks = await self._some_done(tasks)
                    if (why := self._spent()) is not None:
                        ended = ("stopped", why)
                    if ended[1] or self.batch.status != "running":
                        some = []
                        break
                if not some:
                    break
            while tasks:
                tasks = await self._some_done(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self.end, *ended, data)

    def _open(self) -> tuple[Version, Iterator[dict[str, Any]]]:
        """What was done before, and the rows that are left."""
        owner, batch = self._owner, self.batch
        data = owner.version(batch.data, batch.project)
        for part in owner.parts(batch.id):
            self._parts += 1
            self._packs += part.packs
            self._failures |= part.failures
            self._took_s += part.took_s
        done = set(owner.rows.read(packs_of(self._packs)).digests) if self._packs else set[str]()
        self._failures = {key: why for key, why in self._failures.items() if key not in done}
        self._sorts.update(map(sort_of, self._failures.values()))
        rows, split, most = owner.datasets.rows, self._wanted.split, self._wanted.rows
        count = data.body["count"] if split is None else sum(1 for _ in rows(data, split))
        if not count:
            of = f" of the split {split!r}" if split else ""
            raise Invalid(f"{data.ref.short} has no rows{of}", where="split" if split else "data")
        self.batch = msgspec.structs.replace(
            batch, rows=min(count, most or count), done=len(done) + len(self._failures), failed=len(self._failures)
        )  # fmt: skip
        self.batch.status = owner.keep(self.batch)
        left = (row for row in itertools.islice(rows(data, split), most) if row["key"] not in done and row["key"] not in self._failures)
        return data, left

    async def _turn(self, begun: int) -> None:
        """Wait until the next row may be begun."""
        if not self._wanted.per_minute:
            return
        loop = asyncio.get_running_loop()
        if begun == 0:
            self._next = loop.time()
        self._next = max(self._next + (60 / self._wanted.per_minute if begun else 0), loop.time() - 1)
        await asyncio.sleep(max(0.0, self._next - loop.time()))

    def _spent(self) -> WindlassError | None:
        """Why no further row is begun: the budget."""
        if (budget := self._wanted.budget) is None:
            return None
        if self.batch.cost is None:
            return RunFailed("what a row costs is not known, so the budget cannot be kept", remedy="write the price into prices.toml")
        if self._cost() >= budget:
            return RunFailed(f"the budget of ${budget:g} is spent", remedy="go on with a larger one: batch resume --budget")
        return None

    def _cost(self) -> float:
        return (self.batch.cost or 0.0) + sum(a.cost or 0.0 for a in self._waiting)

    async def _ask(self, target: Target, row: dict[str, Any]) -> Answer:
        key, batch = str(row["key"]), self.batch
        context = RunContext(actor=self._actor, project=batch.project, environment=environment_of(batch), batch=batch.id, row=key)
        began, given, said = time.monotonic(), None, dict[str, Any]()
        try:
            given = target.given(row)
            said["output"] = (await target.ask(given, context)).output
        except Unavailable:
            raise
        except WindlassError as e:
            said["error"] = str(e)
        trace = context.ledger.root.trace_id if context.ledger.root else None
        kept = {"key": key, "input": given, **said, **({"trace": trace} if trace else {})}
        took, cost, error = time.monotonic() - began, context.ledger.total, said.get("error", "")
        try:
            return Answer(key, canonical(kept) if not error else None, error, took, cost)
        except Invalid as e:
            return Answer(key, None, f"its output cannot be kept: {e.message}", took, cost)

    async def _some_done(self, tasks: set[asyncio.Task[Answer]]) -> set[asyncio.Task[Answer]]:
        """Wait for one row at least. Raises `RunFailed` when rows fail all alike, and what the stores raise."""
        done, left = await asyncio.wait(tasks, timeout=PART_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        self._waiting += [task.result() for task in done]
        if len(self._waiting) >= PART_ROWS or time.monotonic() - self._since > PART_SECONDS:
            await asyncio.to_thread(self._keep_part)
        self._last += [a.error for a in self._waiting[-len(done) :]] if done else []
        last = self._last = self._last[-ALIKE:]
        nothing = not self._took_s and not any(a.line for a in self._waiting)
        if nothing and len(last) == ALIKE and len(set(map(sort_of, last))) == 1:
            raise RunFailed(f"the first {ALIKE} rows all failed alike: {last[0]}", where=parse_ref(self.batch.target).short)
        return left

    def _keep_part(self) -> None:
        """Make durable what came since the last part."""
        some, self._waiting = self._waiting, []
        passed, self._since = time.monotonic() - self._since, time.monotonic()
        if not some:
            self.batch.status = self._owner.keep(self.batch)
            return
        lines = [(a.key, a.line) for a in some if a.line is not None]
        failures = {a.key: a.error for a in some if a.line is None}
        part = Part(
            packs=tuple((p.digest, p.rows) for p in self._owner.rows.write(lines)), failures=failures,
            took_s=tuple(round(a.took_s, 4) for a in some if a.line is not None), cost=_sum([a.cost for a in some]), seconds=passed,
        )  # fmt: skip
        self._packs += part.packs
        self._failures |= part.failures
        self._sorts.update(map(sort_of, part.failures.values()))
        self._took_s += part.took_s
        cost = None if self.batch.cost is None or part.cost is None else self.batch.cost + part.cost
        self.batch = msgspec.structs.replace(
            self.batch, done=self.batch.done + len(some), failed=len(self._failures), cost=cost, seconds=self.batch.seconds + passed,
            failures=dict(self._sorts.most_common(KINDS)), **_quantiles(self._took_s[-RECENT:]),
        )  # fmt: skip
        self.batch.status = self._owner.keep(self.batch, self._parts, part)
        self._parts += 1

    def end(self, status: BatchStatus, error: WindlassError | None, data: Version | None = None) -> None:
        """Keep what is left to keep, make the version, and say how it ended."""
        self._keep_part()
        cancelled = self.batch.status == "cancelled"
        data = data or self._owner.version(self.batch.data, self.batch.project)
        result = self._result(data) if self._packs or self._failures else self.batch.result
        self.batch = msgspec.structs.replace(
            self.batch, status="cancelled" if cancelled else status, result=result, error=error.as_dict() if error else None,
            finished_ns=now_ns(),
            **_quantiles(self._took_s),
        )  # fmt: skip
        self._owner.keep(self.batch)

    def _result(self, data: Version) -> str:
        """The version that the answers are: nothing of an earlier batch stays in it."""
        batch, owner = self.batch, self._owner
        failed = [(key, canonical({"key": key, "error": why})) for key, why in sorted(self._failures.items())]
        packs = [*self._packs, *((p.digest, p.rows) for p in owner.rows.write(failed))]
        here = set(owner.rows.read(packs_of(packs)).digests)
        ref = parse_ref(batch.into, project=batch.project)
        gone = tuple(key for key in owner.keys(ref) if key not in here)
        message = f"batch {batch.id}: {parse_ref(batch.target).short} over {data.ref.short}"
        request = EditRequest(ref=batch.into, project=batch.project, packs=tuple(packs), remove=gone, message=message, drift=True)
        target = parse_ref(batch.target)
        links = (
            Link("derived-from", data.kind, data.name, data.digest, "asked"),
            Link("derived-from", target.kind, target.name, target.digest or "", ANSWERED),
        )
        return owner.edits.edit_with(self._actor, request, None, links).ref


def _sum(costs: list[float | None]) -> float | None:
    known = [c for c in costs if c is not None]
    return sum(known) if len(known) == len(costs) else None


def _quantiles(values: list[float]) -> dict[str, float | None]:
    """`p50_s` and `p95_s`: of the values in order, the one at that share."""
    ranked = sorted(values)
    return {f"p{of}_s": ranked[len(ranked) * of // 100] if ranked else None for of in (50, 95)}
