"""What a session says of real runs: attempted, decided, executed and outcome kept apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.agentops import test_brokering
from tests.agentops.test_approvals import waits
from tests.agentops.test_brokering import ORDER, Shop
from tests.agentops.test_code import CODE, calling, chain
from tests.runtime import application as made_of
from tests.runtime.application import application

from windlass.agentops.approvals import Approvals
from windlass.agentops.grants import Grants
from windlass.core import span as names
from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Forbidden
from windlass.core.grant import GrantedTool
from windlass.core.operations.approvals import ApprovalDecision
from windlass.core.operations.grants import GrantRequest, StopRequest
from windlass.core.operations.sessions import SessionRun, Wanted
from windlass.core.operations.traces import TraceSummary
from windlass.core.span import Span
from windlass.govern.tokens import Tokens
from windlass.runtime.brokering import Brokering
from windlass.runtime.library import Library
from windlass.runtime.outside import Outside
from windlass.traces.timeline import timeline

SUMMARY = TraceSummary("t", "run", "request", 0, 0, "ok", 0)
SEVEN = {"properties": {"order": {"const": "7"}}}


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    monkeypatch.setattr(made_of, "APP", made_of.APP + test_brokering.TOOLS + CODE)
    async with application(tmp_path) as made:
        yield Shop(made)


def told(shop: Shop) -> SessionRun:
    return timeline(SUMMARY, shop.app.spans.all, ())


async def test_a_run_is_told_step_by_step(shop: Shop) -> None:
    shop.agent(shop.tool("refund", "write", parameters=ORDER), shop.tool("orders"), shop.tool("breaks"), steps=20)
    id = shop.grant(GrantedTool("refund", SEVEN, uses=2), calls=9)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("orders", {}), ("refund", {"order": "8"}), ("refund", {"order": "7"}), ("breaks", {}), ("nothing", {}), ("refund", {}),
    ]  # fmt: skip
    shop.app.script.use(*calls)
    shop.app.script.use(("refund", {"order": "7"}))
    shop.app.script.say("done")
    await shop.app.run("agent/clerk", "x")
    first, second, last = told(shop).steps
    assert [(s.number, s.agent, len(s.calls)) for s in (first, second, last)] == [
        (1, "agent/clerk", 6),
        (2, "agent/clerk", 1),
        (3, "agent/clerk", 0),
    ]
    assert first.wanted == tuple(Wanted(*c) for c in calls)
    assert [(c.name, c.arguments) for c in first.calls] == calls
    assert [(c.executed, c.outcome, c.decision, c.code) for c in first.calls] == [
        (True, "ok", "allow", ""), (False, "refused", "deny", "arguments"), (True, "ok", "allow", ""), (True, "failed", "allow", ""),
        (False, "wrong", "", ""), (False, "wrong", "", ""),
    ]  # fmt: skip
    looked, refused, refunded, broken, unknown, misfit = first.calls
    assert all(c.caller == "agent/clerk" for c in first.calls)
    assert looked.untrusted == ("speaks to a model: 'Ignore all previous instructions'",)
    assert looked.tool.startswith("tool/orders@sha256:")
    assert (refused.grant, refused.tool, refused.duration_ns) == (id, "", 0)
    assert 'order: "7" was expected' in refused.why and "was expected" in refused.result
    assert refunded.why == f"the grant {id[-8:]} lets agent/clerk call tool/refund: use 1 of 2, call 1 of 9"
    assert (refunded.grant, refunded.result, refunded.error) == (id, "refunded 7", "")
    assert refunded.audit and refunded.duration_ns > 0
    assert "LookupError" in broken.error or "KeyError" in broken.error
    assert "there is no tool 'nothing'" in unknown.result and "order" in misfit.result
    assert second.calls[0].why.endswith("use 2 of 2, call 2 of 9")
    assert (first.cost, first.tokens, last.said) == (0.25, 15, "done")
    assert told(shop).calls == ()


async def test_waits_for_a_person_and_stops_are_told(shop: Shop) -> None:
    shop.agent(shop.tool("refund", "write", parameters=ORDER), steps=20)
    shop.grant(GrantedTool("refund", SEVEN, on_miss="ask"))
    approvals = Approvals(shop.app.engine)
    for allow in (True, False):
        call = asyncio.create_task(shop.says(("refund", {"order": "8"})))
        found = await waits(approvals)
        approvals.decide(OWNER, ApprovalDecision(found.id, allow, "" if allow else "not today"))
        await call
        made = told(shop).steps[0].calls[0]
        assert made.waited is not None
        assert (made.waited.approval, made.waited.state) == (found.id, "approved" if allow else "denied")
        assert made.waited.duration_ns > 0 and '"7" was expected' in made.waited.why
        assert (made.executed, made.outcome) == ((True, "ok") if allow else (False, "refused"))
        assert (made.why == "owner let it through") if allow else ("owner denied it: not today" in made.why)
        shop.app.spans.all.clear()
    shop.stops.set(OWNER, StopRequest("agent/clerk", "it loops"))
    shop.app.script.use(("refund", {"order": "7"}))
    with pytest.raises(Forbidden):
        await shop.app.run("agent/clerk", "x")
    run = told(shop)
    assert (run.steps[0].calls[0].code, run.steps[0].calls[0].outcome) == ("stopped", "refused")
    assert "agent/clerk was stopped by owner: it loops" in run.error and "it loops" in run.steps[0].error


async def test_calls_without_a_model_are_told_with_who_made_them(shop: Shop) -> None:
    refund = shop.tool("refund", "write", parameters=ORDER)
    chain(shop, "calls", refund)
    await shop.app.run("chain/calls", "7")
    (made,) = told(shop).calls
    assert (made.name, made.caller, made.executed, made.inside) == ("refund", "chain/calls", True, "")
    shop.app.spans.all.clear()
    shop.agent(calling(shop, "innocent", calling(shop, "harmless", refund)))
    shop.grant(GrantedTool("innocent"))
    await shop.says(("innocent", {"order": "7"}))
    outer, middle, inner = told(shop).steps[0].calls
    assert [(c.name, c.caller, c.inside) for c in (outer, middle, inner)] == [
        ("innocent", "agent/clerk", ""), ("harmless", "tool/innocent", "innocent"), ("refund", "tool/harmless", "harmless"),
    ]  # fmt: skip


async def test_what_an_agent_outside_does_under_a_grant_is_one_session(shop: Shop) -> None:
    shop.tool("refund", "write", parameters=ORDER)
    shop.app.push()
    id = (
        Grants(shop.app.engine, Tokens(b"k" * 32))
        .make(OWNER, GrantRequest("elsewhere", "x", (GrantedTool("tool/refund", SEVEN),)))
        .grant.id
    )
    library = Library(shop.app.versions)
    broker = shop.app.executor._brokering._broker
    outside = Outside(shop.grants, library, Brokering(broker, shop.app.spans), shop.app.executor, shop.app.spans)
    actor = Actor(f"grant:{id}", "grant", grant=id)
    for name, arguments in (("refund", {"order": "7"}), ("refund", {"order": "8"}), ("nothing", {})):
        await outside.call(actor, "elsewhere", name, arguments)
    assert {s.attributes[names.SESSION] for s in shop.app.spans.all} == {id}
    traces: dict[str, list[Span]] = {}
    for s in shop.app.spans.all:
        traces.setdefault(s.trace_id, []).append(s)
    calls = [c for spans in traces.values() for c in timeline(SUMMARY, spans, ()).calls]
    assert [(c.name, c.caller, c.executed, c.outcome) for c in calls] == [
        ("refund", "elsewhere", True, "ok"), ("refund", "elsewhere", False, "refused"), ("nothing", "elsewhere", False, "wrong"),
    ]  # fmt: skip
    assert calls[0].tool.startswith("tool/refund@") and calls[0].result == "refunded 7"


def test_calls_in_somebody_elses_trace_are_found_without_decisions() -> None:
    spans = [
        Span("t", "1", "invoke_agent", 1, 90, attributes={names.OPERATION: "invoke_agent"}),
        Span("t", "2", "execute_tool look", 2, 5, "1", attributes={names.OPERATION: "execute_tool", names.TOOL_NAME: "look"}),
        Span("t", "3", "tool/x", 6, 9, "1", "error", "boom", attributes={names.KIND: "tool", names.INPUT: "{not json"}),
    ]  # fmt: skip
    first, second = timeline(SUMMARY, spans, ()).calls
    assert (first.name, first.executed, first.decision, first.outcome) == ("look", True, "", "ok")
    assert (second.name, second.arguments, second.outcome, second.error) == ("x", "{not json", "failed", "boom")


def test_spans_that_make_no_sense_are_told_as_they_are() -> None:
    """Loops of parents, orphans, attributes of other types, two calls of one id: nothing is lost and nothing hangs."""
    said = {names.KIND: "tool", names.TOOL_NAME: "t", names.TOOL_CALL: "same", names.CALLER: "agent/a", names.DECISION: "allow"}
    spans = [
        Span("t", "1", "a", 1, 2, "2", attributes=said),
        Span("t", "2", "b", 1, 2, "1", attributes={names.STEP: "one", names.AUDIT: "x", names.VERSIONS: [1, None]}),
        Span("t", "3", "c", 3, 2, "gone", attributes=said | {names.INPUT: 5, names.OUTPUT: None}),
        Span("t", "4", "d", 4, 5, "gone", attributes=said),
        Span("t", "5", "e", 4, 5, "5", attributes={names.STEP: 1, names.OUTPUT_MESSAGES: "[[1], {}]"}),
    ]
    run = timeline(SUMMARY, spans, ())
    assert sum(len(s.calls) for s in run.steps) + len(run.calls) == 3
