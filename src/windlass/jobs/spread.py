"""Pieces of work on the machines of a Ray cluster. Knows nothing of what a piece does: bytes go out, bytes come back.

On each machine as many hands as it has processors, each a process that makes what works once and keeps it. A hand that dies with work in
it is started again by Ray, and the work is given to another; who gave it gets one answer. The cluster is somebody else's: none is started
here, and nothing is reported to anybody.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from windlass.core.errors import Invalid, Unavailable

TRIES = 6  # hands that may die over one piece
PAUSE_SECONDS = 0.5
ANSWER_SECONDS = 10.0
WAIT_SECONDS = 180.0  # how long a piece waits for hands that are started again
NAMESPACE = "windlass"


class Hand(Protocol):
    """What works, on another machine."""

    async def do(self, work: bytes) -> bytes: ...


class Spread:
    """Work done by the cluster at `address`.

    Args:
        made_by: `module:function` that makes a `Hand` of `given` on each machine.
        most: hands at most.
    """

    def __init__(self, address: str, made_by: str, given: Callable[[], bytes], most: int) -> None:
        self._address = address
        self._made_by = made_by
        self._given = given
        self._most = most
        self._hands: list[Any] = []
        self._busy: Counter[int] = Counter()
        self._away: defaultdict[int, float] = defaultdict(float)  # until when a hand that died is asked only if no other is there
        self._begins = asyncio.Lock()
        self.nodes: Counter[str] = Counter()  # pieces done, by machine
        self.again = 0  # pieces that were given to another hand

    async def do(self, work: bytes) -> bytes:
        """One piece, done once. Raises `Unavailable` where the cluster is away or hands die over it again and again."""
        async with self._begins:
            if not self._hands:
                self._hands = await asyncio.to_thread(self._begin)
        from ray.exceptions import ActorUnavailableError, RayActorError, RayError

        deaths, said, until = 0, "", time.monotonic() + WAIT_SECONDS
        while deaths < TRIES and time.monotonic() < until:
            at = min(range(len(self._hands)), key=lambda n: (self._away[n] > time.monotonic(), self._busy[n]))
            self._busy[at] += 1
            began = time.monotonic()
            try:
                node, answer = await _of(self._hands[at].do.remote(work))
                self.nodes[node] += 1
                return bytes(answer)
            except RayActorError as e:
                self.again += 1
                said = _last(e)
                if e.actor_init_failed:  # it is not started again
                    raise Unavailable(f"a worker of Ray cannot work: {said}", where=self._address) from e
                started = isinstance(e, ActorUnavailableError) or time.monotonic() - began < PAUSE_SECONDS
                deaths += not started  # else it was being started again when it was asked, which takes long where much else runs
                self._away[at] = time.monotonic() + 4 * PAUSE_SECONDS
            except RayError as e:
                raise Unavailable(f"the Ray cluster failed: {_last(e)}", where=self._address) from e
            finally:
                self._busy[at] -= 1
            await asyncio.sleep(PAUSE_SECONDS)
        why = f"{deaths} workers ended over one piece of work" if deaths == TRIES else f"no worker was there for {WAIT_SECONDS:g} s"
        raise Unavailable(f"{why} ({said})", where=self._address, remedy="the logs of the Ray workers say more")

    def _begin(self) -> list[Any]:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            import ray
        except ModuleNotFoundError as e:
            raise Invalid("Ray is not installed", where="ray", remedy='pip install "windlass[ray]"') from e
        host, _, port = self._address.removeprefix("ray://").rpartition(":")
        try:
            if host and port.isdigit():  # Ray would try for minutes, and say what an address is in many lines
                socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
            if not ray.is_initialized():
                ray.init(address=self._address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
            count = max(1, min(self._most, int(ray.cluster_resources().get("CPU", 1))))
        except (OSError, RuntimeError, ValueError) as e:
            raise Unavailable("the Ray cluster does not answer", where=self._address, remedy="check the setting ray") from e
        made = ray.remote(num_cpus=1, max_restarts=-1, max_concurrency=100, scheduling_strategy="SPREAD")(_Hand)
        given = self._given()
        return [made.remote(self._made_by, given) for _ in range(count)]

    async def close(self) -> None:
        """End the hands."""
        if self._hands:
            import ray

            for hand in self._hands:
                ray.kill(hand)
            self._hands = []


async def _of(answer: Awaitable[Any]) -> Any:
    return await answer


def _last(e: Exception) -> str:
    return (str(e).strip().splitlines() or [type(e).__name__])[-1]


class _Hand:
    """In a process of a Ray worker."""

    def __init__(self, made_by: str, given: bytes) -> None:
        module, _, name = made_by.partition(":")
        self._hand: Hand = getattr(importlib.import_module(module), name)(given)

    async def do(self, work: bytes) -> tuple[str, bytes]:
        import ray

        return ray.get_runtime_context().get_node_id(), await self._hand.do(work)
