"""Calls that wait for a person: the first answer counts, for one call, in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.agentops import test_brokering
from tests.agentops.conftest import Shop
from tests.agentops.test_brokering import ORDER
from tests.runtime import application as made_of
from tests.runtime.application import application

from windlass.agentops.approvals import MOST_WAITING, Approvals
from windlass.agentops.broker import Admitted, Asked, Broker, Refused
from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Conflict, Forbidden, NotFound
from windlass.core.grant import GrantedTool
from windlass.core.operations.approvals import Approval, ApprovalDecision, ApprovalQuery
from windlass.core.operations.grants import GrantId, StopRequest

SEVEN = {"properties": {"order": {"const": "7"}, "amount": {"maximum": 50}}, "required": ["order"]}
EIGHT = {"order": "8", "amount": 5}
ANN = Actor("key:ann", "developer")


@pytest.fixture
def asked(shop: Shop) -> Asked:
    shop.grant(GrantedTool("refund", SEVEN, on_miss="ask"))
    found = shop.broker.admit(shop.attempt(arguments=EIGHT))
    assert isinstance(found, Asked)
    return found


def decide(shop: Shop, asked: Asked, allow: bool = True, note: str = "", actor: Actor = ANN) -> Approval:
    return shop.broker.approvals.decide(actor, ApprovalDecision(asked.approval, allow, note))


def resumed(shop: Shop, asked: Asked, **more: Any) -> str:
    try:
        return shop.broker.resume(shop.attempt(**{"arguments": EIGHT, **more}), asked).decision.why
    except Refused as e:
        return f"refused: {e.message}"


def test_what_waits_says_what_it_is_and_why(shop: Shop, asked: Asked) -> None:
    (found,) = shop.broker.approvals.list(OWNER, ApprovalQuery()).items
    assert (found.agent, found.arguments, found.state, found.task) == ("agent/guide", EIGHT, "waiting", "Refund order 7.")
    assert 'order: "7" was expected' in found.why
    assert found.tool == f"tool/refund@{shop.refund.digest}"
    assert shop.grants.show(OWNER, GrantId(asked.grant)).spent.calls == 0


def test_a_person_lets_one_call_through_once(shop: Shop, asked: Asked) -> None:
    decide(shop, asked, note="the customer is right")
    assert resumed(shop, asked) == "key:ann let it through: the customer is right"
    assert shop.grants.show(OWNER, GrantId(asked.grant)).spent.calls == 1
    assert resumed(shop, asked).startswith("refused")
    assert shop.grants.show(OWNER, GrantId(asked.grant)).spent.calls == 1
    assert shop.broker.approvals.list(OWNER, ApprovalQuery(state="all")).items[0].state == "used"


def test_an_approval_is_for_no_other_call(shop: Shop, asked: Asked) -> None:
    decide(shop, asked)
    assert "nobody let it through" in resumed(shop, asked, arguments={"order": "9", "amount": 5})
    assert "nobody let it through" in resumed(shop, asked, tool=f"tool/refund@sha256:{'0' * 64}")
    other = shop.grant(GrantedTool("refund", SEVEN)).grant.id
    assert "nobody let it through" in resumed(shop, msgspec.structs.replace(asked, grant=other))
    assert "not for agent/other" in resumed(shop, asked, agent="agent/other")


@pytest.mark.parametrize(
    ("before", "said"), [("stop", "was stopped"), ("revoke", "was revoked"), ("expire", "in time"), ("budget", "used up")]
)
def test_an_approval_overrules_nothing_else(shop: Shop, before: str, said: str) -> None:
    id = shop.grant(GrantedTool("refund", SEVEN, on_miss="ask"), calls=1, expires_ns=shop.time + 100 * 10**9).grant.id
    asked = shop.broker.admit(shop.attempt(arguments=EIGHT))
    assert isinstance(asked, Asked)
    decide(shop, asked)
    if before == "stop":
        shop.stops.set(OWNER, StopRequest("tool/refund", "x"))
    elif before == "revoke":
        shop.grants.revoke(OWNER, GrantId(id))
    elif before == "budget":
        shop.broker.admit(shop.attempt(arguments={"order": "7", "amount": 5}))
    else:
        shop.time += 101 * 10**9
    told = resumed(shop, asked)
    assert told.startswith("refused")
    assert said in told


def test_a_denial_is_told_with_its_reason(shop: Shop, asked: Asked) -> None:
    decide(shop, asked, allow=False, note="not this one")
    assert resumed(shop, asked).endswith("; key:ann denied it: not this one")
    assert resumed(shop, asked).startswith("refused: grant")


def test_the_first_answer_counts(shop: Shop, asked: Asked) -> None:
    def answer(n: int) -> str:  # each with connections of its own
        try:
            return decide(Shop(shop.store), asked, allow=n % 2 == 0, actor=Actor(f"key:{n}", "developer")).decided_by
        except Conflict as e:
            return e.message

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(answer, range(12)))
    (first,) = [s for s in said if s.startswith("key:")]
    assert all(first in s for s in said)
    number = int(first.removeprefix("key:"))
    assert resumed(shop, asked).startswith("refused") == (number % 2 == 1)


def test_racing_calls_use_an_approval_once(shop: Shop, asked: Asked) -> None:
    decide(shop, asked)
    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(lambda _: resumed(shop, asked), range(12)))
    assert sum(not s.startswith("refused") for s in said) == 1
    assert shop.grants.show(OWNER, GrantId(asked.grant)).spent.calls == 1


@pytest.mark.parametrize("decided", [False, True])
def test_a_request_ends(shop: Shop, asked: Asked, decided: bool) -> None:
    """Nobody decides what is over; and an approval that the call comes too late for opens nothing."""
    if decided:
        decide(shop, asked)
    shop.time += 301 * 10**9
    assert shop.broker.approvals.state(asked.approval) == "expired"
    assert not shop.broker.approvals.list(OWNER, ApprovalQuery()).items
    with pytest.raises(Conflict, match="is expired"):
        decide(shop, asked)
    assert "nobody let it through in time" in resumed(shop, asked)


def test_an_agent_cannot_bury_those_who_decide(shop: Shop, asked: Asked) -> None:
    more = [shop.broker.admit(shop.attempt(arguments={"order": str(n), "amount": 5})) for n in range(100, 100 + MOST_WAITING - 1)]
    assert all(isinstance(m, Asked) for m in more)
    with pytest.raises(Refused, match="too many such calls wait"):
        shop.broker.admit(shop.attempt(arguments=EIGHT))
    assert shop.broker.approvals.list(OWNER, ApprovalQuery()).waiting == MOST_WAITING
    decide(shop, asked, allow=False)
    with pytest.raises(Refused, match="nobody can read so much"):
        shop.broker.admit(shop.attempt(arguments={"order": "8" * 20_000, "amount": 5}))
    assert isinstance(shop.broker.admit(shop.attempt(arguments=EIGHT)), Asked)
    assert isinstance(shop.broker.admit(shop.attempt(arguments={"order": "7", "amount": 5})), Admitted)


def test_only_those_who_may_let_out_decide(shop: Shop, asked: Asked) -> None:
    for role in ("viewer", "caller", "run", "grant"):
        with pytest.raises(Forbidden):
            decide(shop, asked, actor=Actor(f"key:{role}", role))  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        shop.broker.approvals.decide(OWNER, ApprovalDecision(asked.approval, True, project="another"))
    with pytest.raises(NotFound):
        shop.broker.approvals.decide(OWNER, ApprovalDecision("nobody", True))


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[test_brokering.Shop]:
    monkeypatch.setattr(made_of, "APP", made_of.APP + test_brokering.TOOLS)
    async with application(tmp_path) as made:
        yield test_brokering.Shop(made)


async def waits(approvals: Approvals) -> Approval:
    async with asyncio.timeout(30):
        while not (items := approvals.list(OWNER, ApprovalQuery()).items):
            await asyncio.sleep(0.02)
    return items[0]


async def test_an_agents_call_waits_and_goes_on_or_is_told(running: test_brokering.Shop) -> None:
    running.agent(running.tool("refund", "write", parameters=ORDER), steps=20)
    running.grant(GrantedTool("refund", {"properties": {"order": {"const": "7"}}}, on_miss="ask"))
    approvals = Approvals(running.app.engine)
    for allow, said in ((True, "refunded 8"), (False, "owner denied it: no")):
        call = asyncio.create_task(running.says(("refund", {"order": "8"})))
        found = await waits(approvals)
        assert not call.done()
        approvals.decide(OWNER, ApprovalDecision(found.id, allow, "" if allow else "no"))
        assert said in (await call)[0]
    assert running.app.spans.one("tool/refund").attributes["windlass.decision.why"] == "owner let it through"
    assert [a.state for a in approvals.list(OWNER, ApprovalQuery(state="all")).items] == ["denied", "used"]


async def test_a_call_that_nobody_waits_for_any_more_is_given_up(running: test_brokering.Shop) -> None:
    running.agent(running.tool("refund", "write", parameters=ORDER), seconds=3)
    running.grant(GrantedTool("refund", {"properties": {}}, on_miss="ask"))
    approvals = Approvals(running.app.engine)
    call = asyncio.create_task(running.says(("refund", {"order": "8"})))
    found = await waits(approvals)
    with pytest.raises(Exception, match="used up its 3 s"):
        await call
    async with asyncio.timeout(20):
        while approvals.state(found.id) != "given-up":
            await asyncio.sleep(0.02)
    with pytest.raises(Conflict, match="given-up"):
        approvals.decide(OWNER, ApprovalDecision(found.id, True))


async def test_a_call_that_nobody_answers_is_refused_in_time(running: test_brokering.Shop) -> None:
    running.agent(running.tool("refund", "write", parameters=ORDER))
    running.grant(GrantedTool("refund", {"properties": {}}, on_miss="ask"))
    running.app.executor._agents._brokering._broker = Broker(running.app.engine, approval_seconds=0.5)
    assert "nobody let it through in time" in (await running.says(("refund", {"order": "8"})))[0]
