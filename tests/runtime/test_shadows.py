"""Shadows: so many at once, nobody's, and nothing that changes the world."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from windlass.agentops.broker import Refused
from windlass.core.actor import OWNER
from windlass.core.errors import RunFailed
from windlass.core.message import ToolSpec
from windlass.core.ref import Ref
from windlass.core.rollout import Assigned, parse_assigned
from windlass.runtime.brokering import Brokering, Usable
from windlass.runtime.context import RunContext
from windlass.runtime.shadows import AT_ONCE, Shadows

CANDIDATE = Ref("release", "answer", "sha256:" + "b" * 64)
ASSIGNED = Assigned("r1", 1, "base", 255)


def context(**more: Any) -> RunContext:
    return RunContext(actor=OWNER, user="anna", session="talk", environment="production", assigned=ASSIGNED, **more)


def test_so_many_run_at_once_and_the_rest_are_left_out() -> None:
    began: list[tuple[Ref, Any, RunContext]] = []
    room = asyncio.Event()

    async def run(target: Ref, given: Any, beside: RunContext) -> None:
        began.append((target, given, beside))
        await room.wait()
        raise RunFailed("a failure is the shadow's own")

    async def all_of() -> list[bool]:
        shadows = Shadows(run)
        answers = [shadows.begin(CANDIDATE, n, context()) for n in range(AT_ONCE + 2)]
        await asyncio.sleep(0)
        room.set()
        while shadows._tasks:
            await asyncio.sleep(0)
        answers.append(shadows.begin(CANDIDATE, "again", context()))
        await shadows.close()
        assert not shadows._tasks
        return answers

    assert asyncio.run(all_of()) == [True] * AT_ONCE + [False, False, True]
    target, given, beside = began[0]
    assert (target, given, beside.user, beside.session, beside.evaluation) == (CANDIDATE, 0, None, None, "shadow/r1")
    assert beside.assigned == Assigned("r1", 1, "candidate", 255, shadow=True)
    assert beside.trace != context().trace and beside.ledger is not context().ledger


def test_the_end_of_a_process_ends_them() -> None:
    ended: list[str] = []

    async def run(*_: Any) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def all_of() -> None:
        shadows = Shadows(run)
        shadows.begin(CANDIDATE, None, context())
        await asyncio.sleep(0)
        await shadows.close()

    asyncio.run(all_of())
    assert ended == ["cancelled"]


@pytest.mark.parametrize("shadow", [True, False])
@pytest.mark.parametrize("effects", ["none", "read", "write"])
@pytest.mark.parametrize("way", ["a model", "code"])
def test_what_changes_the_world_is_refused_to_a_shadow_alone(shadow: bool, effects: Any, way: str) -> None:
    asked: list[Any] = []

    class Broker:
        def admit(self, attempt: Any) -> Any:
            asked.append(attempt)
            raise RunFailed("as far as the broker")

        pass_code = admit

    version: Any = SimpleNamespace(ref=Ref("tool", "refund", "sha256:" + "c" * 64), kind="tool", name="refund")
    tool = Usable(ToolSpec("refund", "", {}), version, effects)
    brokering = Brokering(Broker(), SimpleNamespace(record=lambda spans: None))  # type: ignore[arg-type]
    here = context()
    here = RunContext(actor=OWNER, assigned=Assigned("r1", 1, "candidate", 255, shadow=shadow), ledger=here.ledger)

    async def body(_: RunContext) -> Any:
        raise AssertionError("nobody let it through")

    def call() -> None:
        if way == "a model":
            asyncio.run(brokering.call("agent/desk", None, "refund", {"refund": tool}, {}, here, body))
        else:
            asyncio.run(brokering.code("chain/answer", tool, {}, here, body))

    if shadow and effects == "write":
        with pytest.raises(Refused, match="a shadow run does not") as refused:
            call()
        assert refused.value.decision.code == "shadow" and not asked and "tool/refund" in here.ledger.not_compared
    else:
        with pytest.raises(RunFailed, match="as far as the broker"):
            call()
        assert len(asked) == 1 and not here.ledger.not_compared


def test_an_arm_is_read_as_it_was_written() -> None:
    assert parse_assigned(str(ASSIGNED)) == ASSIGNED
    for odd in (None, "", "r1", "r1 x base ff", "r1 1 other ff", "r1 1 base zz", "r1 1 base ff more"):
        assert parse_assigned(odd) is None
