"""LangChain through the gateway, to models of both dialects: text, streams, tools and structured output."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest
from tests.doors.gateway.conftest import Live
from tests.scripted_provider import Say

langchain = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")

CLAUDE = "anthropic/claude-sonnet-4-5"
BOTH = pytest.mark.parametrize("model", ["openai/gpt-5-mini", CLAUDE])


class Weather(pydantic.BaseModel):
    """The weather in a city."""

    city: str


def chat(live: Live, model: str, **more: Any) -> Any:
    return langchain.ChatOpenAI(model=model, base_url=live.url + "/v1", api_key="wk-caller", max_retries=0, **more)


@BOTH
async def test_text_whole_and_streamed(live: Live, model: str) -> None:
    live.provider.say("Grüße: 日本語 🚀", split=5)
    assert (await chat(live, model).ainvoke("Hi")).content == "Grüße: 日本語 🚀"
    pieces = [chunk async for chunk in chat(live, model, stream_usage=True).astream([("system", "Be brief."), ("user", "Hi")])]
    assert "".join(p.content for p in pieces) == "Grüße: 日本語 🚀" and len(pieces) > 3
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert whole.usage_metadata["input_tokens"] == 20 and whole.usage_metadata["output_tokens"] == 6


@BOTH
async def test_tools_are_called_and_answered(live: Live, model: str) -> None:
    live.provider.say("I look.", tools=[("Weather", {"city": "Bern"}), ("Weather", {"city": "Basel"})])
    bound = chat(live, model).bind_tools([Weather], parallel_tool_calls=False)
    asked: list[Any] = [("user", "Weather?")]
    whole = await bound.ainvoke(asked)
    streamed = None
    async for chunk in bound.astream(asked):
        streamed = chunk if streamed is None else streamed + chunk
    for message in (whole, streamed):
        assert [(c["name"], c["args"]) for c in message.tool_calls] == [("Weather", {"city": "Bern"}), ("Weather", {"city": "Basel"})]
    live.provider.say("Sunny.")
    results = [("tool", "sunny", call["id"]) for call in whole.tool_calls]
    from langchain_core.messages import ToolMessage

    answered = await bound.ainvoke([*asked, whole, *(ToolMessage(text, tool_call_id=i) for _, text, i in results)])
    assert answered.content == "Sunny."
    sent = live.provider.requests[-1].body
    assert [m["role"] for m in sent["messages"]][:2] == ["user", "assistant"]
    one_at_a_time = sent["tool_choice"]["disable_parallel_tool_use"] if model == CLAUDE else not sent["parallel_tool_calls"]
    assert one_at_a_time is True


@BOTH
async def test_structured_output(live: Live, model: str) -> None:
    live.provider.then(Say('{"city": "Bern"}'))
    assert await chat(live, model).with_structured_output(Weather, method="json_schema").ainvoke("Where?") == Weather(city="Bern")


async def test_its_responses_too(live: Live) -> None:
    live.provider.say("I look.", tools=[("Weather", {"city": "Bern"})])
    bound = chat(live, CLAUDE, use_responses_api=True).bind_tools([Weather])
    whole = await bound.ainvoke("Weather?")
    streamed = None
    async for chunk in bound.astream("Weather?"):
        streamed = chunk if streamed is None else streamed + chunk
    for message in (whole, streamed):
        assert message.text == "I look." and [c["args"] for c in message.tool_calls] == [{"city": "Bern"}]


async def test_a_release_answers_it(live: Live) -> None:
    assert (await chat(live, "answer").ainvoke("Hi")).content == "production: Hi"
