"""Which arm of a rollout answers a call: read anew twice a second by each process that serves, so that a step or a stop holds on every
worker within a second. A rollout counts only while its environment points to its base, which is read for each call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from sqlalchemy import Engine

from windlass.core.errors import StoreAway
from windlass.core.operations.rollouts import Rollout
from windlass.core.ref import Ref
from windlass.core.rollout import Arm, Assigned, arm_of, place_of, unit_of
from windlass.deploy.rollout_rows import running
from windlass.runtime.context import RunContext
from windlass.runtime.shadows import Chosen
from windlass.store.meta import read

KNOWN_SECONDS = 0.5


class RolloutArms:
    """`runtime.shadows.Arms`, of the store. `clock`: seconds, from any beginning."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._read: float | None = None
        self._running: dict[tuple[str, str, str], Rollout] = {}

    async def choose(self, release: Ref, environment: str, context: RunContext) -> Chosen | None:
        """Who answers, where a rollout of the release that stands in an environment is under way."""
        if self._read is None:
            await asyncio.to_thread(self._look)
        elif self._clock() - self._read > KNOWN_SECONDS:
            self._read = self._clock()  # one asks; who comes meanwhile goes by what is known
            try:
                await asyncio.to_thread(self._look)
            except StoreAway:
                pass  # what is known goes on
        rollout = self._running.get((release.project, release.name, environment))
        if rollout is None or rollout.base != release.digest:
            return None
        return chosen_of(rollout, context)

    def _look(self) -> None:
        with read(self._engine) as c:
            self._running = {(r.project, r.release, r.environment): r for r in running(c)}
        self._read = self._clock()


def chosen_of(rollout: Rollout, context: RunContext) -> Chosen:
    """Who answers a call while it runs. A shadow draws its lot for each call, since nobody sees it."""
    shadow = rollout.mode == "shadow"
    unit = f"trace:{context.trace}" if shadow else unit_of(rollout.by, context.user, context.session, context.trace)
    place = place_of(rollout.id, unit)
    drawn = arm_of(place, rollout.shares[-1])
    arm: Arm = "base" if shadow else drawn
    candidate = Ref("release", rollout.release, rollout.candidate, None, rollout.project)
    return Chosen(Assigned(rollout.id, rollout.stage, arm, place), candidate, beside=shadow and drawn == "candidate")
