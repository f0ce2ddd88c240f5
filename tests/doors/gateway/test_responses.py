"""OpenAI's Responses for models that speak another dialect, for the baseline and for releases, by the official client."""

from __future__ import annotations

import json
from typing import Any

import openai
import pydantic
import pytest
from tests.doors.gateway.conftest import KEY, Live
from tests.doors.gateway.stream_readers import read
from tests.doors.gateway.test_relay import post
from tests.scripted_provider import Say

from windlass.core import span as names

CLAUDE = "anthropic/claude-sonnet-4-5"
WEATHER = {
    "type": "function", "name": "weather", "description": "The weather", "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}  # fmt: skip
THOUGHT = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "stop_reason": "tool_use", "stop_sequence": None,
    "content": [
        {"type": "thinking", "thinking": "Weather is asked.", "signature": "sig-1"},
        {"type": "redacted_thinking", "data": "hidden-1"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Zürich"}},
    ],
    "usage": {"input_tokens": 5, "cache_read_input_tokens": 20, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}},
}  # fmt: skip


async def test_a_turn_with_reasoning_and_a_tool_goes_back_as_it_came(live: Live) -> None:
    live.provider.then(Say(raw=json.dumps(THOUGHT).encode()), Say("Sunny."))
    async with live.openai() as client:
        first = await client.responses.create(model=CLAUDE, input="Weather?", tools=[WEATHER], reasoning={"effort": "low"})  # type: ignore[list-item]
        assert [item.type for item in first.output] == ["reasoning", "reasoning", "message", "function_call"]
        assert first.output_text == "I look." and first.status == "completed" and first.error is None
        call = first.output[3]
        assert call.type == "function_call" and json.loads(call.arguments) == {"city": "Zürich"}
        assert first.usage is not None and first.usage.model_dump()["input_tokens_details"]["cached_tokens"] == 20
        assert (first.usage.input_tokens, first.usage.output_tokens, first.usage.output_tokens_details.reasoning_tokens) == (25, 9, 4)
        items: list[Any] = [item.model_dump(exclude_none=True) for item in first.output]
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        second = await client.responses.create(model=CLAUDE, input=[{"role": "user", "content": "Weather?"}, *items, result])
    assert second.output_text == "Sunny."
    asked = live.provider.requests[1].body["messages"]
    assert [m["role"] for m in asked] == ["user", "assistant", "user"]
    assert asked[1]["content"] == THOUGHT["content"]
    assert asked[2]["content"] == [{"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}]
    assert live.provider.requests[0].body["output_config"] == {"effort": "low"}
    span = await live.span()
    assert span.attributes[names.INPUT] == "Weather?" and span.attributes[names.OUTPUT] == "I look." and KEY not in str(span)


async def test_chat_completions_give_reasoning_back_too(live: Live) -> None:
    live.provider.then(Say(raw=json.dumps(THOUGHT).encode()), Say("Sunny."))
    async with live.openai() as client:
        first = await client.chat.completions.create(model=CLAUDE, messages=[{"role": "user", "content": "Weather?"}])
        message: Any = first.choices[0].message.model_dump(exclude_none=True)
        assert message["reasoning_content"] == "Weather is asked."
        result: Any = {"role": "tool", "tool_call_id": "t1", "content": "sunny"}
        await client.chat.completions.create(model=CLAUDE, messages=[{"role": "user", "content": "Weather?"}, message, result])
    assert live.provider.requests[1].body["messages"][1]["content"] == THOUGHT["content"]


@pytest.mark.parametrize("model", [CLAUDE, "baseline", "answer", "answer:staging"])
async def test_text_whole_and_streamed(live: Live, model: str) -> None:
    live.provider.say("Grüße: 日本語 🚀", split=3)
    wanted = {CLAUDE: "Grüße: 日本語 🚀", "answer": "production: Hi", "answer:staging": "staging: Hi"}.get(model)
    async with live.openai() as client:
        whole = await client.responses.create(model=model, input="Hi")
        async with client.responses.stream(model=model, input="Hi") as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()
    assert whole.output_text and (wanted is None or whole.output_text == wanted)
    assert final.output_text.strip() == whole.output_text.strip() and final.status == whole.status == "completed"
    assert [getattr(e, "sequence_number", -1) for e in events if e.type.startswith("response.")] == list(range(len(events)))
    told = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert told.strip() == whole.output_text.strip() and whole.id.startswith("resp_") and whole.model == model


async def test_a_host_that_has_chat_completions_only_is_asked_by_them(live: Live) -> None:
    live.provider.say("I look.", tools=[("weather", {"city": "Bern"})])
    async with live.openai() as client:
        whole = await client.responses.create(model="mistral/m", input="Weather?", instructions="Be brief.", tools=[WEATHER])  # type: ignore[list-item]
    assert whole.output_text == "I look." and whole.output[1].type == "function_call"
    seen = live.provider.requests[0]
    assert seen.path == "/v1/chat/completions" and [m["role"] for m in seen.body["messages"]] == ["system", "user"]


class Answer(pydantic.BaseModel):
    n: int


async def test_a_schema_is_passed_on_and_parsed(live: Live) -> None:
    live.provider.say('{"n": 4}')
    async with live.openai() as client:
        found = await client.responses.parse(model=CLAUDE, input="2 + 2?", text_format=Answer)
    assert found.output_parsed == Answer(n=4)
    assert live.provider.requests[0].body["output_config"]["format"]["schema"]["required"] == ["n"]


async def test_a_limit_and_a_refusal_are_incomplete(live: Live) -> None:
    async with live.openai() as client:
        for how, reason in (({"stop": "max_tokens"}, "max_output_tokens"), ({"refuse": "No."}, "content_filter")):
            live.provider.say("" if "refuse" in how else "Once", **how)
            whole = await client.responses.create(model=CLAUDE, input="Hi")
            assert whole.status == "incomplete" and whole.incomplete_details and whole.incomplete_details.reason == reason
    assert whole.output[0].content[0].refusal == "No."  # type: ignore[union-attr]


REFUSED = [
    ({"previous_response_id": "resp_1"}, "previous_response_id", "send the items of the earlier turns"),
    ({"conversation": "conv_1"}, "conversation", "not kept here"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt", "not kept here"),
    ({"background": True}, "background", "while its caller waits"),
    ({"truncation": "auto"}, "truncation", "not cut"),
    ({"include": ["file_search_call.results"]}, "include", "cannot be included"),
    ({"text": {"verbosity": "low"}}, "text.verbosity", "cannot be passed on"),
    ({"text": {"format": {"type": "grammar"}}}, "text.format", "json_schema with a schema"),
    ({"tools": [{"type": "web_search"}]}, "tools[0]", "own tools work only on its own models"),
    ({"tool_choice": {"type": "mcp"}}, "tool_choice", "function by its name"),
    ({"input": []}, "input", "at least one item"),
    ({"input": 5}, "input", "at least one item"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]", "item_reference"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0]", "input_image with image_url"),
    ({"input": [{"role": "user", "content": 5}]}, "input[0]", "text or a list of parts"),
    ({"input": [{"type": "function_call", "name": "f", "arguments": "[1]"}]}, "input[0]", "JSON object"),
    ({"max_tool_calls": 3}, "parameters.max_tool_calls", "no parameter"),
]


@pytest.mark.parametrize(("more", "where", "told"), REFUSED, ids=[f"{w}{i}" for i, (_, w, _) in enumerate(REFUSED)])
async def test_what_cannot_be_said_is_refused_by_its_name(live: Live, more: dict[str, Any], where: str, told: str) -> None:
    status, data, _ = await post(live, "/v1/responses", {"model": CLAUDE, "input": "Hi", **more})
    error = json.loads(data)["error"]
    assert status == 400 and error["param"] == where and told in error["message"]
    assert not live.provider.requests


async def test_a_release_brings_its_own_tools(live: Live) -> None:
    status, data, _ = await post(live, "/v1/responses", {"model": "answer", "input": "Hi", "tools": [WEATHER]})
    assert status == 400 and "brings its own tools" in json.loads(data)["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_is_told_as_the_client_reads_it(live: Live, stream: bool) -> None:
    async with live.openai() as client:
        live.provider.say("slow down", status=429)
        with pytest.raises(openai.RateLimitError, match="slow down"):
            await client.responses.create(model=CLAUDE, input="Hi", stream=stream)
        if stream:
            live.provider.say("one two three", error_in_stream="Overloaded")
            with pytest.raises(openai.APIError, match="Overloaded"):
                async for _ in await client.responses.create(model=CLAUDE, input="Hi", stream=True):
                    pass


async def test_an_error_in_mid_stream_has_the_next_number(live: Live) -> None:
    live.provider.say("one two three", error_in_stream="Overloaded")
    _, data, _ = await post(live, "/v1/responses", {"model": CLAUDE, "input": "Hi", "stream": True})
    lines = [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: ")]
    assert [line["sequence_number"] for line in lines] == list(range(len(lines)))
    assert lines[-1]["type"] == "error" and "Overloaded" in lines[-1]["message"] and read("responses", data).error


async def test_tokens_are_not_guessed_at(live: Live) -> None:
    for model in ("openai/gpt-5-mini", "baseline"):
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        status, data, _ = await post(live, "/v1/messages/count_tokens", body)
        told = json.loads(data)
        assert status == 400 and told["type"] == "error" and "before it is asked" in told["error"]["message"]
