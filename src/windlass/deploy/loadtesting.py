"""The work of a load test: calls begun at a rate whether or not those before them were answered (an open loop), each timed from when it
was to begin. So a server that falls behind is told by its times, and is not waited for.

Rows are asked in the order of their keys, over and over. A test that was cut off is begun anew: half of one shows nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import msgspec
from sqlalchemy import Engine

from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.digest import TAG
from windlass.core.errors import Invalid, RunFailed, StoreAway, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations.loadtests import LoadTest
from windlass.core.ref import Ref, parse_ref
from windlass.deploy.loadtests import OPEN, save, taken_up
from windlass.deploy.objectives import held_against
from windlass.evaluate.outcomes import sort_of
from windlass.evaluate.targets import Sessions, Target, Targets
from windlass.govern.tokens import Tokens
from windlass.registry.datasets import Datasets
from windlass.registry.versions import Versions
from windlass.runtime.context import RunContext
from windlass.store.meta import read, write

MOST_ROWS = 10_000  # that are asked over and over
MOST_IN_FLIGHT = 2_000
LATE_S = 1.0
LOOK_SECONDS = 1.0
GRACE_SECONDS = 60.0  # after the last call was begun
KINDS = 20  # of failures that are told
TOKEN_SECONDS = 600.0
COST = "windlass-cost"  # the header in which the gateway says what a run cost, where that is known
EDGES = tuple(round(0.001 * 10 ** (n / 5), 6) for n in range(31))  # 1 ms to 1,000 s

# one call of a target with a given input, in a context: what it cost, where that is known
Asked = Callable[[Ref, Any, RunContext], Awaitable[float | None]]


class LoadTesting:
    """Load tests at work. `gateway` asks as an application would, where a server runs; else they are asked in this process."""

    def __init__(self, engine: Engine, versions: Versions, datasets: Datasets, targets: Targets, gateway: Asked | None) -> None:
        self._engine = engine
        self._versions = versions
        self._datasets = datasets
        self._targets = targets
        self._gateway = gateway

    async def run(self, project: str, id: str) -> None:
        """Do a load test from its beginning to its end, or to an error that it keeps."""
        with read(self._engine) as c:
            test, actor = taken_up(c, id)
        if test.status not in OPEN:
            return
        way = "gateway" if self._gateway else "in process"
        test = LoadTest(
            id=test.id, project=project, request=test.request, status="running", created_ns=test.created_ns, target=test.target,
            data=test.data, way=way, actor=test.actor,
        )  # fmt: skip
        try:
            target = parse_ref(test.target, project=project)
            registered = await self._targets.registered(target)
            rows = await asyncio.to_thread(self._rows, test)
            given = [registered.given(row) for row in rows]
            await Drive(self, test, actor, given, self._gateway or _here(registered), target).go()
        except StoreAway:
            raise  # it is begun again
        except WindlassError as e:
            await asyncio.to_thread(self._fail, test, e)
        except Exception as e:
            defect = WindlassError(f"a defect in Windlass ended it: {type(e).__name__}", remedy="the log of `jobs` says more")
            await asyncio.to_thread(self._fail, test, defect)
            raise

    def _rows(self, test: LoadTest) -> list[dict[str, Any]]:
        ref = parse_ref(test.data, project=test.project)
        data: Version = self._versions.get(ref.project, ref.kind, ref.name, ref.digest or "")
        found = []
        for row in self._datasets.rows(data, test.request.split):
            found.append(row)
            if len(found) == MOST_ROWS:
                break
        if not found:
            of = f" of the split {test.request.split!r}" if test.request.split else ""
            raise Invalid(f"{ref.short} has no rows{of}", where="data")
        return found

    def _fail(self, test: LoadTest, error: WindlassError) -> None:
        self.keep(msgspec.structs.replace(test, status="failed", error=error.as_dict(), finished_ns=now_ns()))

    def keep(self, test: LoadTest) -> bool:
        """Keep what is known. Returns whether it is still wanted: nobody has cancelled it."""
        with write(self._engine) as c:
            now, _ = taken_up(c, test.id)
            wanted = now.status != "cancelled"
            save(c, test if wanted else msgspec.structs.replace(test, status="cancelled", finished_ns=now.finished_ns, held=()))
            return wanted


class ByGateway:
    """Calls as an application makes them: by HTTP, with a token that opens this test and ends with it."""

    def __init__(self, address: str, sessions: Sessions, tokens: Tokens) -> None:
        self._address = address
        self._sessions = sessions
        self._tokens = tokens

    async def ask(self, target: Ref, given: Any, context: RunContext) -> float | None:
        """Raises `RunFailed` with what the gateway says."""
        import aiohttp

        payer = context.actor.payer or context.actor.id
        token = self._tokens.run(context.run, context.project, TOKEN_SECONDS, context.evaluation, payer=payer)
        address = f"{self._address}/invoke/{quote(target.name)}@{(target.digest or '').removeprefix(TAG)}"
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        try:
            async with self._sessions.session().post(address, data=msgspec.json.encode(given), headers=headers) as answer:
                body = await answer.read()
        except aiohttp.ClientError as e:
            raise RunFailed(f"the gateway did not answer: {type(e).__name__}", where=self._address) from e
        if answer.status != 200:
            raise RunFailed(_said(answer.status, body), where=f"HTTP {answer.status}")
        cost = answer.headers.get(COST)
        return float(cost) if cost is not None else None


def _said(status: int, body: bytes) -> str:
    """The sentence of an error of ours."""
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"the gateway answered {status}"


def _here(target: Target) -> Asked:
    async def ask(_: Ref, given: Any, context: RunContext) -> float | None:
        await target.ask(given, context)
        return context.ledger.total

    return ask


class Drive:
    """One load test under way."""

    def __init__(self, owner: LoadTesting, test: LoadTest, actor: Actor, given: list[Any], ask: Asked, target: Ref) -> None:
        self._owner = owner
        self.test = test
        self._actor = actor
        self._given = given
        self._ask = ask
        self._target = target
        self._took_s: list[float] = []
        self._failed = 0
        self._late = 0
        self._first = self._last = 0.0  # answers
        self._cost: float | None = 0.0
        self._sorts: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def go(self) -> None:
        asked = self.test.request.objectives
        calls = max(1, round(asked.per_second * asked.seconds))
        began = time.monotonic()
        look, wanted, sent = began + LOOK_SECONDS, True, 0
        try:
            while sent < calls and wanted and not self._spent():
                at = began + sent / asked.per_second
                if (wait := at - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                self._begin(self._given[sent % len(self._given)], at)
                sent += 1
                if time.monotonic() > look:
                    look = time.monotonic() + LOOK_SECONDS
                    wanted = await asyncio.to_thread(self._owner.keep, self._said(sent))
            if self._tasks and wanted:
                await asyncio.wait(self._tasks, timeout=GRACE_SECONDS)
        finally:
            unanswered = [task for task in self._tasks if not task.done()]
            for task in unanswered:
                task.cancel()
            await asyncio.gather(*unanswered, return_exceptions=True)
        test = self._said(sent)
        if self._spent():
            error = WindlassError(f"the budget of ${self.test.request.budget:g} was spent after {sent:,} calls", remedy="give a larger one")
            test = msgspec.structs.replace(test, status="failed", error=error.as_dict(), finished_ns=now_ns())
        else:
            held = held_against(asked, self._took_s, self._failed, test.per_second)
            test = msgspec.structs.replace(test, status="done", held=held, finished_ns=now_ns())
        await asyncio.to_thread(self._owner.keep, test)

    def _begin(self, given: Any, at: float) -> None:
        """Begin a call that is to begin at a time; one too many under way fails."""
        self._late += time.monotonic() - at > LATE_S
        if len(self._tasks) >= MOST_IN_FLIGHT:
            self._failed += 1
            self._sorts[f"not begun: {MOST_IN_FLIGHT:,} calls were under way"] += 1
            return
        task = asyncio.create_task(self._call(given, at))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, given: Any, at: float) -> None:
        context = RunContext(actor=self._actor, project=self.test.project, evaluation=self.test.id)
        try:
            cost = await self._ask(self._target, given, context)
        except asyncio.CancelledError:
            self._failed += 1
            self._sorts[f"no answer within {GRACE_SECONDS:g} s of the end"] += 1
            raise
        except WindlassError as e:
            self._failed += 1
            self._sorts[sort_of(str(e))[:300]] += 1
            return
        now = time.monotonic()
        self._took_s.append(now - at)
        self._first, self._last = self._first or now, now
        self._cost = None if self._cost is None or cost is None else self._cost + cost

    def _spent(self) -> bool:
        budget = self.test.request.budget
        return budget is not None and (self._cost is None or self._cost >= budget)

    def _said(self, sent: int) -> LoadTest:
        ranked = sorted(self._took_s)
        edges = Counter(next((e for e in EDGES if t <= e), EDGES[-1]) for t in ranked)
        span = self._last - self._first
        quantiles = {f"p{of}_s": ranked[len(ranked) * of // 100] if ranked else None for of in (50, 95, 99)}
        self.test = msgspec.structs.replace(
            self.test, sent=sent, answered=len(ranked), failed=self._failed, late=self._late, in_flight=len(self._tasks),
            per_second=(len(ranked) - 1) / span if span > 0 else None, cost=self._cost,
            histogram=tuple(sorted(edges.items())), failures=dict(self._sorts.most_common(KINDS)), **quantiles,
        )  # fmt: skip
        return self.test
