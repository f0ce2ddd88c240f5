"""Suites that guard the way taken: calls reach evaluators as they were, by a chain's code and by an agent's model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.agentops import test_brokering
from tests.agentops.test_brokering import ORDER, Shop
from tests.evaluate.application import App
from tests.runtime import application as made_of
from tests.runtime.application import application

from windlass.core.artifacts import Code, EvaluatorBody
from windlass.core.grant import GrantedTool
from windlass.core.ref import Ref
from windlass.core.score import Score
from windlass.core.trajectory import CallMade, Metric, entry_of
from windlass.monitor.online import can_judge
from windlass.traces.timeline import calls_of, timeline

APP = '''
import windlass as w


@w.tool(effects="read")
def look(order: str) -> str:
    """Look an order up."""
    return "an order"


@w.tool(effects="read")
def price(order: str) -> str:
    """What it cost."""
    look(order=order)
    return "12"


@w.chain
def answer(question: str) -> str:
    """Answer."""
    number = int(question.rsplit(" ", 1)[1])
    if number % 4 == 3:
        return "nothing to do"
    look(order=str(number))
    if number % 4 == 2:
        price(order=str(number))
    return "done"


@w.evaluator
def few(calls) -> float:
    """No call but those it should make."""
    return float(all(c["executed"] and c["outcome"] == "ok" for c in calls))


exact = w.trajectory("exact")
recall = w.trajectory("recall")
relevance = w.trajectory("relevance")
looked = w.trajectory("uses", tool="look")

w.suite("answers", target=answer, data=w.data("data/rows.jsonl"),
        guards={e: w.not_worse(by=0.08) for e in (few, exact, recall, relevance, looked)})
w.suite("theirs", target=w.url("http://127.0.0.1:9/", version="1", input="question"), data=w.data("data/rows.jsonl"),
        guards={looked: w.not_worse(by=0.1)})
'''


def test_a_suite_guards_the_way(tmp_path: Path) -> None:
    app = App(tmp_path)
    try:
        app.write("app.py", APP)
        rows = []
        for n in range(8):
            wanted = [[], ["look"], ["look", "price"], []][n % 4] if n != 0 else ["look"]
            rows.append(
                {
                    "key": f"r{n}",
                    "question": f"question {n}",
                    "trajectory": [{"name": name, "arguments": {"order": str(n)}} for name in wanted],
                }
            )
        app.write("data/rows.jsonl", "".join(json.dumps(r) + "\n" for r in rows))
        app.push()
        evaluation = app.evaluate()
        found = {o.row: {s.evaluator: s for s in o.scores} for o in app.client.evaluations.outcomes(evaluation.id, limit=20).items}
        values = {row: {n: s.value for n, s in scores.items()} for row, scores in found.items()}
        whole = {"few": 1.0, "trajectory_exact": 1.0, "trajectory_recall": 1.0, "trajectory_relevance": 1.0, "trajectory_uses": 1.0}
        assert values["r0"] == values["r1"] == values["r2"] == values["r6"] == whole
        assert values["r3"] == whole | {"trajectory_recall": None, "trajectory_uses": 0.0}  # rightly nothing was called
        assert values["r4"] == whole | {"trajectory_exact": 0.0, "trajectory_recall": None, "trajectory_relevance": 0.0}
        assert found["r4"]["trajectory_exact"].explanation == "too much: look"
        assert found["r3"]["trajectory_recall"].unmeasured == "the reference names no call: there is nothing to recall"
        report = app.client.versions.verify()
        assert not report.problems
        assert evaluation.evaluators[2].unmeasured == 3
        assert app.evaluate(fresh=True).evaluators == evaluation.evaluators
    finally:
        app.close()


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    monkeypatch.setattr(made_of, "APP", made_of.APP + test_brokering.TOOLS)
    async with application(tmp_path) as made:
        yield Shop(made)


async def test_an_agents_calls_are_judged_by_what_ran(shop: Shop) -> None:
    shop.agent(shop.tool("refund", "write", parameters=ORDER), shop.tool("orders"), shop.tool("breaks"), steps=20)
    shop.grant(GrantedTool("refund", {"properties": {"order": {"const": "7"}}}))
    context = shop.app.context()
    shop.app.script.use(("orders", {}), ("refund", {"order": "8"}), ("refund", {"order": "7"}), ("breaks", {}), ("nowhere", {}))
    shop.app.script.say("done")
    await shop.app.executor.execute(Ref("agent", "clerk"), "x", context)
    calls = context.ledger.tool_calls
    clerk = "agent/clerk"
    assert calls == [
        CallMade("orders", {}, clerk, True, "ok"), CallMade("refund", {"order": "8"}, clerk, False, "refused"),
        CallMade("refund", {"order": "7"}, clerk, True, "ok"), CallMade("breaks", {}, clerk, True, "failed"),
        CallMade("nowhere", {}, clerk, False, "wrong"),
    ]  # fmt: skip
    from_spans = timeline(context_summary(), shop.app.spans.all, ())
    assert calls_of(from_spans) == calls  # what is recorded gives a judge in production the same

    async def score(metric: Metric, row: Any = None) -> Score:
        shop.app.put("evaluator", "way", EvaluatorBody(Code(entry_of(metric), {}, "any"), metric.needs))
        shop.app.push()
        given = {
            "calls": [
                {"name": c.name, "arguments": c.arguments, "caller": c.caller, "executed": c.executed, "outcome": c.outcome} for c in calls
            ]
        }
        return await shop.app.executor.evaluate(Ref("evaluator", "way"), given | ({"row": row} if row else {}), shop.app.context())

    wanted = {"trajectory": [{"name": "orders"}, {"name": "refund", "arguments": {"order": "7"}}, {"name": "breaks"}]}
    assert (await score(Metric("exact"), wanted)).value == 1.0
    assert (await score(Metric("exact", of="attempted"), wanted)).value == 0.0
    assert (await score(Metric("recall", of="succeeded"), wanted)).value == pytest.approx(2 / 3)
    assert (await score(Metric("uses", tool="nowhere"))).value == 0.0
    assert (await score(Metric("uses", tool="nowhere", of="attempted"))).value == 1.0
    assert (await score(Metric("exact"))).unmeasured == "'row' is not there to be judged"
    assert (
        can_judge(shop.app.versions.get("default", "evaluator", "way", shop.app.versions.resolve(Ref("evaluator", "way")).digest or ""))
        is False
    )


def context_summary() -> Any:
    from windlass.core.operations.traces import TraceSummary

    return TraceSummary("t", "run", "request", 0, 0, "ok", 0)
