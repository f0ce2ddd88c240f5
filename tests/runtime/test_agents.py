"""The agent loop with real tools in runners: what the model is told, what counts, and where it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.application import ANSWER, Application, application

from windlass.core.artifacts import Code, ToolBody
from windlass.core.errors import Invalid, RunFailed, Unavailable
from windlass.core.message import ToolResultPart
from windlass.runtime.agents import SEARCH


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Application]:
    async with application(tmp_path) as made:
        yield made


def told(app: Application) -> list[tuple[str, bool]]:
    """What the last request tells the model of its tools."""
    return [(p.content, p.error) for m in app.script.requests[-1].messages for p in m.parts if isinstance(p, ToolResultPart)]


async def test_tools_are_run_and_their_results_told(app: Application) -> None:
    app.script.use(("add", {"a": 2, "b": 3}), ("search_docs", {"query": "split a string", "k": 1}))
    app.script.say("It is 5.")
    result = await app.run("agent/guide", "What is 2 + 3?")
    assert result.text == "It is 5."
    assert result.cost == 0.5
    (sum_told, _), (passages, _) = told(app)
    assert sum_told == "5"
    assert '"key":"split"' in passages
    assert [t.name for t in app.script.requests[0].tools] == ["add", "fails", "search_docs"]
    assert app.spans.tree() == [
        "request run agent/guide ok",
        "  agent agent/guide ok",
        "    span step 1 ok",
        "      model chat scripted/one ok",
        "      tool tool/add ok",
        "      retrieval search docs ok",
        "    span step 2 ok",
        "      model chat scripted/one ok",
    ]


async def test_an_index_is_a_tool_with_words_of_its_own(app: Application) -> None:
    code = Code("index:docs", {}, "3.11")
    body = ToolBody(code, "look_up", "Look a passage up.", SEARCH, "read", (app.docs.digest,))
    app.agent("reader", app.say_prompt, app.scripted, app.put("tool", "look-up", body, ("", app.docs)))
    app.push()
    app.script.use(("look_up", {"query": "split a string", "k": 1}))
    app.script.say("Found.")
    assert (await app.run("agent/reader", "x")).text == "Found."
    assert '"key":"split"' in told(app)[0][0]
    assert [(t.name, t.description) for t in app.script.requests[0].tools] == [("look_up", "Look a passage up.")]
    assert app.spans.tree()[4:6] == ["      tool tool/look-up ok", "        retrieval search docs ok"]
    assert app.runners.counts == {"busy": 0, "idle": 0}


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("nothing", {}, "there is no tool 'nothing' (the tools are add, fails, search_docs)"),
        ("add", {"a": 1}, "add needs 'b'"),
        ("add", {"a": 1, "b": 2, "c": 3}, "add takes no 'c'"),
        ("add", {"a": "one", "b": 2}, 'a: "one" is not of type "integer"'),
        ("fails", {}, "ValueError: the tool is broken"),
        ("search_docs", {"query": "x", "k": 99}, "k: 99 is greater than"),
    ],
)
async def test_what_goes_wrong_with_a_tool_is_told_to_the_model(app: Application, name: str, arguments: dict[str, Any], said: str) -> None:
    app.script.use((name, arguments))
    app.script.say("I see.")
    assert (await app.run("agent/guide", "x")).text == "I see."
    ((content, error),) = told(app)
    assert said in content
    assert error


async def test_steps_have_an_end(app: Application) -> None:
    for _ in range(4):
        app.script.use(("add", {"a": 1, "b": 1}))
    with pytest.raises(RunFailed, match="used up its 3 steps without an answer: 3 steps, 3 tool calls, 45 tokens") as failure:
        await app.run("agent/guide", "x")
    assert failure.value.details["cost"] == 0.75


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"tool_calls": 1}, "its 1 tool calls"),
        ({"tokens": 20}, "its 20 tokens"),
        ({"seconds": 0.2}, "its 0.2 s"),
        ({"steps": 0}, "its 0 steps"),
    ],
)
async def test_other_limits(app: Application, limits: dict[str, Any], said: str) -> None:
    app.agent("bounded", app.say_prompt, app.scripted, app.add_tool, limits=limits)
    app.push()
    for _ in range(9):
        app.script.use(("add", {"a": 1, "b": 1}), ("add", {"a": 1, "b": 1}))
    if "seconds" in limits:
        import asyncio

        app.script.gate = asyncio.Event()
    with pytest.raises(RunFailed, match=said):
        await app.run("agent/bounded", "x")


async def test_a_limit_that_is_none(app: Application) -> None:
    app.agent("bounded", app.say_prompt, app.scripted, limits={"minutes": 3})
    app.push()
    with pytest.raises(Invalid, match="'minutes' is not a limit"):
        await app.run("agent/bounded", "x")


async def test_an_answer_must_fit_the_schema(app: Application) -> None:
    app.agent("typed", app.say_prompt, app.scripted, app.add_tool, output=ANSWER)
    app.push()
    app.script.say('```json\n{"text": "five", "symbols": []}\n```', '{"text": 5, "symbols": []}', "no JSON at all")
    assert (await app.run("agent/typed", "x")).text == "five"
    with pytest.raises(RunFailed, match='does not fit its schema at text: 5 is not of type "string"'):
        await app.run("agent/typed", "x")
    with pytest.raises(RunFailed, match="is not JSON"):
        await app.run("agent/typed", "x")


async def test_the_baseline_is_an_agent(app: Application) -> None:
    app.agent("reader", app.say_prompt, app.baseline, app.docs, output=ANSWER)
    app.push()
    result = await app.run("agent/reader", "How do I split a string into words?")
    assert result.output["symbols"] == ["str.split"]
    assert "    span step 2 ok" in app.spans.tree()


async def test_a_chain_calls_an_agent_whose_tools_run_while_it_waits(app: Application) -> None:
    """Both runners are held by chains: the tools need places of their own."""
    import asyncio

    for _ in range(2):
        app.script.use(("add", {"a": 1, "b": 1}))
    app.script.say("two", "two")
    results = await asyncio.gather(*(app.run("chain/asks_guide", "x") for _ in range(2)))
    assert [r.text for r in results] == ["two", "two"]


async def test_what_is_wrong_with_us_is_not_told_to_the_model(app: Application) -> None:
    sum_up = app.tool("add", "Add two numbers.", {"type": "object", "properties": {"a": {}, "b": {}}}, packages={"nosuchpackage": "1"})
    app.agent("guide", app.say_prompt, app.scripted, sum_up)
    app.push()
    app.script.use(("add", {"a": 1, "b": 1}))
    with pytest.raises(Unavailable, match="nosuchpackage"):
        await app.run("agent/guide", "x")
