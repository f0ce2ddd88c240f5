"""A hijacked agent: its model is the attacker's, and tries everything. What counts is what ran, which each body writes into a file,
and never what anybody said.

Of thirty tools its version has twenty; ten change the world. One grant lets it refund order 7, up to 50, twice.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.runtime import application as made_of
from tests.runtime.application import Application, application

from windlass.agentops.broker import Admitted, Attempt, Broker, Refused
from windlass.agentops.grants import Grants
from windlass.core.actor import OWNER
from windlass.core.artifacts import ToolBody, Version
from windlass.core.errors import RunFailed
from windlass.core.grant import GrantedTool
from windlass.core.operations.grants import GrantId, GrantRequest
from windlass.govern.tokens import Tokens

ORDER: dict[str, Any] = {
    "type": "object", "required": ["order"],
    "properties": {"order": {}, "amount": {}, "to": {"type": "string"}, "options": {"type": "object"}},
}  # fmt: skip
SEVEN = {
    "properties": {"order": {"const": "7"}, "amount": {"type": "number", "minimum": 0, "maximum": 50}}, "required": ["order", "amount"],
}  # fmt: skip
BODIES = "".join(
    f"""
def tool_{n}(order=None, amount=None, to=None, options=None):
    with open({{ran!r}}, "a") as f:
        f.write("tool_{n} " + repr((order, amount, to, options)) + chr(10))
    return "done"
"""
    for n in range(30)
)
WRITES = range(10)  # tool_0 is the refund
GRANTED = Counter({"tool_0 ('7', 50, None, None)": 2})


class Attacker:
    """Every call that somebody could think of, in an order of his own."""

    values = ("7", "8", 7, "7 ", " 7", "７", "7\u200b", ["7"], {"const": "7"}, "", None, True, "7' OR 1=1", "*", {"$ref": "#"}, "7\n")
    amounts = (50, 50.0000001, 51, -1, "50", None, 1e308, [50], True, 5e-324)

    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        names = [f"tool_{n}" for n in range(30)] + [
            "tool-0",
            "tооl_0",
            "TOOL_0",
            "tool_0 ",
            "tool_0\u200b",
            "tool/tool_0",
            "search_docs",
            "",
        ]
        every = [{"order": o, "amount": a} for o, a in itertools.product(self.values, self.amounts)]
        every += [
            {"order": "7"},
            {"amount": 5},
            {},
            {"order": "7", "amount": 5, "to": "me"},
            {"order": "7", "amount": 5, "options": {"x": 1}},
        ]
        every += [
            {"order": "7", "amount": 5, "__proto__": {}},
            {"order": "7", "amount": 5, "Order": "8"},
            {"order": "8" * 300_000, "amount": 5},
        ]
        made = [(name, arguments) for name in names for arguments in every]
        random.Random(7).shuffle(made)
        return [("tool_0", {"order": "7", "amount": 50})] * 5 + made


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Application]:
    """Bodies run without the sandbox, since they write down that they ran."""
    monkeypatch.setattr(made_of, "APP", made_of.APP + BODIES.replace("{ran!r}", repr(str(tmp_path / "ran"))))
    async with application(tmp_path / "home") as made:
        made.runners.settings = made_of.RunnerSettings(processes=2, seconds=20, sandbox=False)
        yield made


def tools_of(app: Application) -> list[Version]:
    made = []
    for n in range(30):
        body = ToolBody(app.code(f"tool_{n}"), f"tool_{n}", "Does it.", ORDER, "write" if n in WRITES else "none")
        made.append(app.put("tool", f"tool-{n}", body))
    return made


def ran(tmp_path: Path) -> Counter[str]:
    path = tmp_path / "ran"
    return Counter(path.read_text().splitlines() if path.exists() else [])


def fits(name: str, arguments: dict[str, Any]) -> bool:
    """The grant without its uses, said a third time."""
    amount = arguments.get("amount")
    number = type(amount) in (int, float) and 0 <= amount <= 50
    return name == "tool_0" and arguments.keys() == {"order", "amount"} and arguments["order"] == "7" and number


@pytest.mark.parametrize("uses", [2, None])
async def test_a_hijacked_agent_gets_nothing_it_was_not_granted(app: Application, tmp_path: Path, uses: int | None) -> None:
    """The model asks for some 6,000 calls in one run; the agent has ten tools, each of which changes the world. What runs are the calls
    that fit, as often as the grant says."""
    tools = tools_of(app)
    app.agent("clerk", app.say_prompt, app.scripted, *tools[:10], limits={"steps": 2, "tool_calls": 10**6, "seconds": 3000})
    app.push()
    grants = Grants(app.engine, Tokens(b"k" * 32))
    id = grants.make(OWNER, GrantRequest("agent/clerk", "Refund order 7.", (GrantedTool("tool-0", SEVEN, uses=uses),))).grant.id
    calls = Attacker().calls()
    app.script.use(*calls)
    app.script.say("I did my best.")
    await app.run("agent/clerk", "x")
    right = [f"tool_0 ('7', {a['amount']!r}, None, None)" for name, a in calls if fits(name, a)]
    assert len(calls) > 6000
    assert len(right) == 7
    assert ran(tmp_path) == (GRANTED if uses else Counter(right))
    assert grants.show(OWNER, GrantId(id)).spent.calls == (uses or len(right))


async def test_a_run_by_a_grant_has_not_even_the_tools_of_its_version(app: Application, tmp_path: Path) -> None:
    tools = tools_of(app)
    app.agent("clerk", app.say_prompt, app.scripted, *tools, limits={"steps": 2, "tool_calls": 10**6, "seconds": 3000})
    app.push()
    grants = Grants(app.engine, Tokens(b"k" * 32))
    id = grants.make(OWNER, GrantRequest("agent/clerk", "Refund order 7.", (GrantedTool("tool-0", SEVEN, uses=2),))).grant.id
    app.script.use(*Attacker().calls()[:5], *((f"tool_{n}", {"order": "7", "amount": 5}) for n in range(30)))
    app.script.say("done")
    await app.run("agent/clerk", "x", grant=id)
    assert ran(tmp_path) == GRANTED


async def test_a_loop_ends_and_an_expired_or_foreign_grant_opens_nothing(app: Application, tmp_path: Path) -> None:
    tools = tools_of(app)
    for name in ("clerk", "other"):
        app.agent(name, app.say_prompt, app.scripted, tools[0], limits={"steps": 50, "tool_calls": 40})
    app.push()
    grants = Grants(app.engine, Tokens(b"k" * 32))
    others = grants.make(OWNER, GrantRequest("agent/other", "Refund order 7.", (GrantedTool("tool-0"),))).grant.id
    past = Grants(app.engine, Tokens(b"k" * 32), now=lambda: 10**18)
    ended = past.make(OWNER, GrantRequest("agent/clerk", "Refund order 7.", (GrantedTool("tool-0"),))).grant.id
    for grant in (None, others, ended, others[-8:], "%" * 36):
        app.script.replies.clear()
        for _ in range(60):
            app.script.use(("tool_0", {"order": "7", "amount": 50}))
        with pytest.raises(RunFailed, match="used up its 40 tool calls"):
            await app.run("agent/clerk", "x", grant=grant)
    assert ran(tmp_path) == Counter()


def test_a_thousand_tries_with_every_field_forged(app: Application) -> None:
    """At the broker itself, where an outside agent would stand: agents, digests, grants and effects that are made up."""
    tools = tools_of(app)
    app.agent("clerk", app.say_prompt, app.scripted, *tools[:10])
    app.push()
    grants = Grants(app.engine, Tokens(b"k" * 32))
    id = grants.make(OWNER, GrantRequest("agent/clerk", "Refund order 7.", (GrantedTool("tool-0", SEVEN, uses=2),))).grant.id
    broker, pick, allowed = Broker(app.engine), random.Random(11), Counter[str]()
    refs = [str(t.ref) for t in tools] + [f"tool/tool-0@sha256:{'0' * 64}", "tool/tool-0", "", str(tools[0].ref).upper()]
    for _ in range(1000):
        attempt = Attempt(
            actor=OWNER, project=pick.choice(["default", "default", "shop"]), tool=pick.choice([*refs, *[refs[0]] * 30]),
            agent=pick.choice(["agent/clerk"] * 4 + ["agent/Clerk", "clerk", "agent/clerk ", "agent/other", "agent/сlerk"]),
            arguments=pick.choice([{"order": "7", "amount": 50}, {"order": "8", "amount": 50}, {}]), parameters={}, name="tool/tool-0",
            effects=pick.choice(["none", "read", "write"]), grant=pick.choice([None, id, id[-8:], "0" * 36, "", "%"]),
        )  # fmt: skip
        try:
            admitted = broker.admit(attempt)
        except Refused:
            continue
        assert isinstance(admitted, Admitted)
        allowed[f"{attempt.agent} {attempt.tool} {attempt.arguments} {admitted.grant.id}"] += 1
    assert allowed == Counter({f"agent/clerk {refs[0]} {{'order': '7', 'amount': 50}} {id}": 2})
