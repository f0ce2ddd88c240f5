"""Which arm of a rollout answers a call: each process that serves goes by what it read less than a second ago, so that a step or a stop
holds on every worker within that. A rollout counts only while its environment points to its base, which is read for each call."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from sqlalchemy import Engine

from windlass.core.errors import StoreAway
from windlass.core.operations.rollouts import Rollout
from windlass.core.ref import Ref
from windlass.core.rollout import Assigned, arm_of, place_of, unit_of
from windlass.deploy.rollout_rows import running
from windlass.runtime.context import RunContext
from windlass.runtime.shadows import Chosen
from windlass.store.meta import read

KNOWN_SECONDS = 0.5  # after which what is known is read anew, while calls go by it
LONGEST_SECONDS = 1.0  # after which no call goes by it any more


class RolloutArms:
    """`runtime.shadows.Arms`, of the store. `clock`: seconds, from any beginning. While the store is known to be `away` calls go by what
    was read last; where nothing was, the base answers."""

    def __init__(
        self, engine: Engine, clock: Callable[[], float] = time.monotonic, away: Callable[[], bool] = lambda: False
    ) -> None:  # fmt: skip
        self._engine = engine
        self._away = away
        self._clock = clock
        self._read: float | None = None
        self._asking = False
        self._running: dict[tuple[str, str, str], Rollout] = {}

    async def choose(self, release: Ref, environment: str, context: RunContext) -> Chosen | None:
        """Who answers, where a rollout of the release that stands in an environment is under way."""
        age = math.inf if self._read is None else self._clock() - self._read
        if not self._away() and (age > LONGEST_SECONDS or (age > KNOWN_SECONDS and not self._asking)):
            self._asking = True
            try:
                await asyncio.to_thread(self._look)
            except StoreAway:
                if self._read is None:
                    raise
            finally:
                self._asking = False
        rollout = self._running.get((release.project, release.name, environment))
        if rollout is None or rollout.base != release.digest:
            return None
        return chosen_of(rollout, context)

    def _look(self) -> None:
        began = self._clock()
        with read(self._engine) as c:
            self._running = {(r.project, r.release, r.environment): r for r in running(c)}
        self._read = began


def chosen_of(rollout: Rollout, context: RunContext) -> Chosen | None:
    """Who answers a call while it runs. A shadow draws its lot for each call; None for one that nothing runs beside."""
    candidate = Ref("release", rollout.release, rollout.candidate, None, rollout.project)
    shadow = rollout.mode == "shadow"
    unit = f"trace:{context.trace}" if shadow else unit_of(rollout.by, context.user, context.session, context.trace)
    place = place_of(rollout.id, unit)
    arm = arm_of(place, rollout.shares[-1])
    if not shadow:
        return Chosen(Assigned(rollout.id, rollout.stage, arm, place), candidate)
    return Chosen(Assigned(rollout.id, rollout.stage, "base", place), candidate, beside=True) if arm == "candidate" else None
