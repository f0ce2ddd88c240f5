"""Calls of tools that no model chose: by the code of chains, tools and evaluators, and by hand. They need no grant; switches and the
record hold for them, and no way goes around."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select
from tests.agentops import test_brokering
from tests.agentops.test_brokering import ORDER, Shop
from tests.runtime import application as made_of
from tests.runtime.application import QUESTION, application

from windlass.agentops.tools import Tools
from windlass.core.actor import OWNER, Actor
from windlass.core.artifacts import SEARCH_ENTRY, ChainBody, Code, EvaluatorBody, ToolBody, Version
from windlass.core.errors import Forbidden, RunFailed
from windlass.core.grant import GrantedTool
from windlass.core.message import ToolResultPart
from windlass.core.operations.grants import StopRequest
from windlass.core.operations.runs import RunRequest
from windlass.core.operations.tools import ToolName
from windlass.core.ref import Ref
from windlass.runtime.context import RunContext
from windlass.store.meta import read
from windlass.store.tables import audit

CODE = """
def calls(question: str) -> str:
    return current_host("calls").call("tool", "refund", {"order": question})

def searches(question: str) -> str:
    return current_host("searches").call("tool", "search_docs", {"query": question})

def harmless(order: str) -> str:
    return current_host("harmless").call("tool", "refund", {"order": order})

def innocent(order: str) -> str:
    return current_host("innocent").call("tool", "harmless", {"order": order})

def judges(output) -> float:
    return float(len(current_host("judges").call("tool", "refund", {"order": "9"})))

def slow(order: str) -> str:
    time.sleep(1.5)
    return current_host("slow").call("tool", "orders", {})
"""

QUERY = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    monkeypatch.setattr(made_of, "APP", made_of.APP + test_brokering.TOOLS + CODE)
    async with application(tmp_path) as made:
        yield Shop(made)


def entries(shop: Shop, action: str) -> list[dict[str, Any]]:
    shop.recorded()  # verifies the chain
    with read(shop.app.engine) as c:
        return [msgspec.json.decode(d) for d in c.execute(select(audit.c.details).where(audit.c.action == action)).scalars()]


def calling(shop: Shop, name: str, *uses: Version, effects: Any = "read") -> Version:
    body = ToolBody(shop.app.code(name), name, f"It {name}.", ORDER, effects, tuple(sorted(v.digest for v in uses)))
    return shop.app.put("tool", name, body, *(("tool", v) for v in uses))


def chain(shop: Shop, name: str, *uses: Version) -> None:
    body = ChainBody(shop.app.code(name), tuple(v.digest for v in uses), QUESTION, {}, "sync")
    shop.app.put("chain", name, body, *(("tool", v) for v in uses))
    shop.app.push()


async def test_a_chains_code_needs_no_grant_and_what_it_changes_is_recorded(shop: Shop) -> None:
    chain(shop, "calls", shop.tool("refund", "write", parameters=ORDER))
    assert (await shop.app.run("chain/calls", "7")).output == "refunded 7"
    span = shop.app.spans.one("tool/refund").attributes
    assert span["windlass.decision"] == "allow"
    assert span["windlass.decision.why"] == "chain/calls calls it in its code: no model chose"
    (allowed,), (ended,) = entries(shop, "tools.allowed"), entries(shop, "tools.ended")
    assert (allowed["agent"], allowed["tool"].partition("@")[0]) == ("chain/calls", "tool/refund")
    assert (ended["outcome"], ended["arguments"]) == ("ok", allowed["arguments"])


async def test_a_call_by_hand_is_recorded_and_for_those_who_may_grant_it(shop: Shop) -> None:
    shop.tool("refund", "write", parameters=ORDER)
    shop.tool("orders")
    shop.app.push()
    assert (await shop.app.executor.run(Actor("ann", "developer"), RunRequest("tool/refund", {"order": "7"}))).output == "refunded 7"
    assert entries(shop, "tools.allowed")[0]["agent"] == "ann"
    for role in ("caller", "run"):  # what a key of an application, and the code of a run, can ask of the gateway
        caller = RunContext(actor=Actor(f"key:{role}", role))  # type: ignore[arg-type]
        with pytest.raises(Forbidden, match=f"tool/refund changes the world, and key:{role} could not grant it"):
            await shop.app.executor.execute(Ref("tool", "refund"), {"order": "7"}, caller)
        assert "Order 7." in (await shop.app.executor.execute(Ref("tool", "orders"), {}, msgspec.structs.replace(caller, run="x"))).output
    assert len(entries(shop, "tools.ended")) == 1
    assert len(entries(shop, "tools.denied")) == 2


@pytest.mark.parametrize("what", ["tool/refund", "all"])
async def test_a_stopped_tool_runs_by_no_way(shop: Shop, what: str) -> None:
    refund = shop.tool("refund", "write", parameters=ORDER)
    chain(shop, "calls", refund)
    harmless = calling(shop, "harmless", refund, effects="write")
    judge = EvaluatorBody(shop.app.code("judges"), ("output",), (0, 100), (refund.digest,))
    shop.app.put("evaluator", "judges", judge, ("tool", refund))
    shop.agent(refund, harmless, steps=20)
    shop.grant(GrantedTool("refund"), GrantedTool("harmless"))
    assert await shop.says(("refund", {"order": "7"}), ("harmless", {"order": "7"})) == ["refunded 7"] * 2
    before = [s.name for s in shop.app.spans.all].count("tool/refund")

    shop.stops.set(OWNER, StopRequest(what, "look first"))
    for target, given in (("tool/refund", {"order": "7"}), ("chain/calls", "7"), ("tool/harmless", {"order": "7"})):
        with pytest.raises(Forbidden, match="was stopped by owner: look first"):
            await shop.app.run(target, given)
    score = await shop.app.executor.evaluate(Ref("evaluator", "judges"), {"output": "x"}, shop.app.context())
    assert score.value is None
    assert "was stopped by owner" in (score.unmeasured or "")
    if what == "all":
        shop.app.script.use(("refund", {"order": "7"}))
        with pytest.raises(Forbidden, match="everything was stopped"):
            await shop.app.run("agent/clerk", "x")
    else:
        told = await shop.says(("refund", {"order": "7"}), ("harmless", {"order": "7"}))
        assert all("tool/refund was stopped by owner: look first" in t for t in told)
    assert [s.name for s in shop.app.spans.all].count("tool/refund") == before
    assert {e["agent"] for e in entries(shop, "tools.denied")} >= {"owner", "chain/calls", "evaluator/judges", "agent/clerk"}


async def test_a_stopped_index_is_not_searched_through_a_tool_made_of_it(shop: Shop) -> None:
    docs = shop.app.docs
    body = ToolBody(Code(f"{SEARCH_ENTRY}docs", {}, "any"), "search_docs", "Search.", QUERY, "read", (docs.digest,))  # fmt: skip
    search = shop.app.put("tool", "search_docs", body, ("index", docs))
    chain(shop, "searches", search)
    shop.agent(search)
    assert "asyncio.timeout" in (await shop.says(("search_docs", {"query": "limit waiting"})))[0]
    shop.stops.set(OWNER, StopRequest("index/docs", "it is stale"))
    assert "index/docs was stopped by owner: it is stale" in (await shop.says(("search_docs", {"query": "limit waiting"})))[0]
    for target, given in (
        ("chain/searches", "x"),
        ("tool/search_docs", {"query": "x"}),
        ("index/docs", {"query": "x"}),
        ("chain/answer", "x"),
    ):
        with pytest.raises(Forbidden, match="index/docs was stopped"):
            await shop.app.run(target, given)


async def test_a_tool_does_what_it_calls_does(shop: Shop) -> None:
    """`innocent` says it only reads, and calls one that says so too, which refunds."""
    refund = shop.tool("refund", "write", parameters=ORDER)
    innocent = calling(shop, "innocent", calling(shop, "harmless", refund))
    shop.agent(innocent)
    (told,) = await shop.says(("innocent", {"order": "7"}))
    assert "agent/clerk has no grant for tool/innocent, which changes the world by tool/refund, which it calls" in told
    assert "tool/refund" not in [s.name for s in shop.app.spans.all]
    shown = Tools(shop.app.engine).show(OWNER, ToolName("innocent")).tool
    assert (shown.effects, shown.by) == ("write", "tool/refund")
    shop.grant(GrantedTool("innocent"))
    assert await shop.says(("innocent", {"order": "7"})) == ["refunded 7"]
    assert [e["agent"] for e in entries(shop, "tools.allowed")] == ["agent/clerk", "tool/innocent", "tool/harmless"]
    with pytest.raises(Forbidden, match="tool/innocent changes the world"):
        await shop.app.executor.execute(Ref("tool", "innocent"), {"order": "7"}, RunContext(actor=Actor("key:app", "caller")))


async def test_a_stop_of_an_agent_reaches_the_code_inside_its_tools(shop: Shop) -> None:
    slow = calling(shop, "slow", shop.tool("orders"))
    shop.agent(slow)
    shop.app.script.use(("slow", {"order": "7"}))
    shop.app.script.use(("slow", {"order": "7"}))
    run = asyncio.create_task(shop.app.run("agent/clerk", "x"))
    async with asyncio.timeout(30):
        while shop.app.runners.counts["busy"] == 0:
            await asyncio.sleep(0.02)
    shop.stops.set(OWNER, StopRequest("agent/clerk", "it loops"))
    with pytest.raises(Forbidden, match="agent/clerk was stopped"):
        await run
    assert "tool/orders" not in [s.name for s in shop.app.spans.all]
    told = [p for p in shop.app.script.requests[-1].messages[-1].parts if isinstance(p, ToolResultPart)]
    assert "agent/clerk was stopped by owner: it loops" in told[0].content


async def test_nothing_begins_after_a_stop(shop: Shop) -> None:
    chain(shop, "calls", shop.tool("refund", "write", parameters=ORDER))
    stopped = asyncio.Event()

    async def one(n: int) -> str:
        try:
            return str((await shop.app.run("chain/calls", str(n))).output)
        except (Forbidden, RunFailed) as e:
            return e.message

    async def caller(first: int) -> list[str]:
        """Calls until the stop was made, and once more."""
        said = []
        while not stopped.is_set():
            said.append(await one(first + len(said)))
        return [*said, await one(first + len(said))]

    callers = [asyncio.create_task(caller(n * 10_000)) for n in range(4)]
    async with asyncio.timeout(60):
        while len(entries(shop, "tools.ended")) < 3:
            await asyncio.sleep(0.01)
    stop = await asyncio.to_thread(shop.stops.set, OWNER, StopRequest("tool/refund", "enough"))
    stopped.set()
    said = [answer for told in await asyncio.gather(*callers) for answer in told]
    done = [s for s in shop.app.spans.all if s.name == "tool/refund"]
    assert len(done) == sum(s.startswith("refunded") for s in said) == len(entries(shop, "tools.ended"))
    assert 3 <= len(done) <= len(said) - 4, "what was asked after the stop was refused"
    with read(shop.app.engine) as c:
        at = [r.at_ns for r in c.execute(select(audit.c.at_ns).where(audit.c.action == "tools.allowed"))]
    assert all(t <= stop.at_ns + 50_000_000 for t in at)
    assert all("was stopped" in s for s in said if not s.startswith("refunded"))
