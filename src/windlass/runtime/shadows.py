"""Arms of a rollout as the executor knows them: who answers a call, and what runs beside the answer without answering.

A shadow begins once its answer is made. Only so many run at once in a process; where there is no room one is left out, and that call is
not compared. Its spans are a trace of their own, of the evaluation `shadow/<rollout>`, without user and session: no list, figure or cost
of users has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from windlass.core.errors import WindlassError
from windlass.core.ref import Ref
from windlass.core.rollout import SHADOW, Assigned
from windlass.runtime.context import RunContext

AT_ONCE = 4


class Chosen(NamedTuple):
    """Who answers one call; `beside`: the candidate runs beside it."""

    assigned: Assigned
    candidate: Ref
    beside: bool = False


# the release that stands in an environment, the environment, and whose call it is; None where no rollout is under way
Arms = Callable[[Ref, str, RunContext], Awaitable[Chosen | None]]


async def no_rollout(release: Ref, environment: str, context: RunContext) -> Chosen | None:
    """`Arms` where nobody keeps rollouts."""
    return None


class Shadows:
    """Runs beside answers. `run` is the executor's."""

    def __init__(self, run: Callable[[Ref, Any, RunContext], Awaitable[Any]]) -> None:
        self._run = run
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, candidate: Ref, given: Any, context: RunContext) -> bool:
        """Run the candidate on what the base was given. Returns whether there was room."""
        assert context.assigned is not None
        if len(self._tasks) >= AT_ONCE:
            return False
        beside = RunContext(
            actor=context.actor, project=context.project, environment=context.environment, evaluation=SHADOW + context.assigned.rollout,
            assigned=msgspec.structs.replace(context.assigned, arm="candidate", shadow=True),
        )  # fmt: skip
        task = asyncio.ensure_future(self._one(candidate, given, beside))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _one(self, candidate: Ref, given: Any, context: RunContext) -> None:
        try:
            await self._run(candidate, given, context)
        except WindlassError:
            pass  # its spans say so

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
