"""The official clients against a live gateway: raw models of either dialect, the baseline, releases; whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest
from tests.doors.gateway.conftest import KEY, Live
from tests.scripted_provider import Say

from windlass.core import span as names

CONTEXT = "How can I split a shell command line?\n[shlex.split] Split the string using shell-like syntax.\n[os.sep] The separator."
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


async def openai_chat(live: Live, model: str, *, stream: bool, key: str = "wk-caller", **more: Any) -> tuple[str, Any]:
    """The text and the tool calls of an answer."""
    fields = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **more}
    async with live.openai(key) as client:
        if not stream:
            whole = await client.chat.completions.create(**fields)
            calls = whole.choices[0].message.tool_calls or []
            return whole.choices[0].message.content or "", [(c.function.name, json.loads(c.function.arguments)) for c in calls]
        text, calls_by_index = "", {}
        async for chunk in await client.chat.completions.create(**fields, stream=True, stream_options={"include_usage": True}):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                for call in choice.delta.tool_calls or []:
                    known = calls_by_index.setdefault(call.index, ["", ""])
                    known[0] += call.function.name or ""
                    known[1] += call.function.arguments or ""
        return text, [(name, json.loads(arguments)) for name, arguments in calls_by_index.values()]


async def anthropic_chat(live: Live, model: str, *, stream: bool, key: str = "wk-caller", **more: Any) -> tuple[str, Any]:
    fields = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **more}
    async with live.anthropic(key) as client:
        if stream:
            async with client.messages.stream(**fields) as events:
                whole = await events.get_final_message()
        else:
            whole = await client.messages.create(**fields)
    text = "".join(b.text for b in whole.content if b.type == "text")
    return text, [(b.name, b.input) for b in whole.content if b.type == "tool_use"]


STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
MODEL = pytest.mark.parametrize("model", ["openai/gpt-5-mini", "anthropic/claude-sonnet-4-5"])


@STREAM
@MODEL
async def test_the_openai_client_calls_a_raw_model(live: Live, model: str, stream: bool) -> None:
    live.provider.say("Grüße: 日本語 🚀", tools=[("weather", {"city": "Zürich"})], split=5)
    text, calls = await openai_chat(live, model, stream=stream, tools=[WEATHER])
    assert text == "Grüße: 日本語 🚀" and calls == [("weather", {"city": "Zürich"})]
    seen = live.provider.requests[0]
    assert seen.body["model"] == model.split("/")[1] and "wk-caller" not in str(seen.headers)
    assert KEY in str(seen.headers)
    await check_span(live, model, text)


@STREAM
@MODEL
async def test_the_anthropic_client_calls_a_raw_model(live: Live, model: str, stream: bool) -> None:
    live.provider.say("Grüße: 日本語 🚀", tools=[("weather", {"city": "Zürich"})], split=5)
    tools = [{"name": "weather", "input_schema": WEATHER["function"]["parameters"]}]
    text, calls = await anthropic_chat(live, model, stream=stream, tools=tools, system="Be brief.")
    assert text == "Grüße: 日本語 🚀" and calls == [("weather", {"city": "Zürich"})]
    await check_span(live, model, text)


async def check_span(live: Live, model: str, text: str) -> None:
    span = await live.span()
    said = span.attributes
    assert span.status == "ok", span.status_message
    assert said[names.REQUEST_MODEL] == model and said[names.PROVIDER] == model.split("/")[0]
    assert said[names.INPUT] == "Hi" and said[names.OUTPUT] == text and said[names.ACTOR] == "someone"
    assert (said[names.INPUT_TOKENS], said[names.OUTPUT_TOKENS], said[names.CACHED_TOKENS]) == (20, 6, 4)
    assert said[names.COST] > 0 and said[names.FIRST_TOKEN] > 0 and span.end_ns > span.start_ns
    assert KEY not in str(span)


@STREAM
async def test_both_clients_call_the_baseline(live: Live, stream: bool) -> None:
    messages = [{"role": "user", "content": CONTEXT}]
    expected = "Split the string using shell-like syntax. [shlex.split]"
    assert (await openai_chat(live, "baseline", stream=stream, messages=messages))[0] == expected
    assert (await anthropic_chat(live, "baseline", stream=stream, messages=messages))[0] == expected
    span = await live.span()
    assert span.attributes[names.COST] == 0 and span.attributes[names.RESPONSE_MODEL] == "baseline@1" and span.status == "ok"


async def test_the_baseline_honours_the_clients_schema(live: Live) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}, "symbols": {"type": "array", "items": {"type": "string"}}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {**schema, "required": ["text", "symbols"]}}}
    text, _ = await openai_chat(live, "baseline", stream=False, messages=[{"role": "user", "content": CONTEXT}], response_format=wanted)
    assert json.loads(text) == {"text": "Split the string using shell-like syntax.", "symbols": ["shlex.split"]}


async def test_a_refusal_of_another_dialect_is_an_answer(live: Live) -> None:
    live.provider.say("", refuse="I will not.")
    async with live.openai() as client:
        whole = await client.chat.completions.create(model="anthropic/claude-x", messages=[{"role": "user", "content": "Hi"}])
    assert whole.choices[0].message.refusal == "I will not." and whole.choices[0].finish_reason == "content_filter"


@STREAM
async def test_a_release_answers_both_clients(live: Live, stream: bool) -> None:
    assert (await openai_chat(live, "answer", stream=stream))[0].strip() == "production: Hi"
    assert (await openai_chat(live, "answer:staging", stream=stream))[0].strip() == "staging: Hi"
    assert (await anthropic_chat(live, "answer", stream=stream))[0].strip() == "production: Hi"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert (await openai_chat(live, "chat", stream=stream, messages=turns))[0].strip() == "production: 3"
    target, _, context = live.runs.seen[0]
    assert (str(target), context.environment, context.actor.id) == ("release/answer:production", "production", "someone")


@STREAM
async def test_a_second_turn_is_refused_with_a_sentence(live: Live, stream: bool) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    with pytest.raises(openai.BadRequestError, match="would forget the turns before it"):
        await openai_chat(live, "answer", stream=stream, messages=turns)
    with pytest.raises(anthropic.BadRequestError, match="would forget the turns before it"):
        await anthropic_chat(live, "answer", stream=stream, messages=turns)


@STREAM
async def test_a_release_that_fails_says_so_by_its_status(live: Live, stream: bool) -> None:
    with pytest.raises(openai.RateLimitError, match="the model failed") as e:
        await openai_chat(live, "broken", stream=stream)
    assert e.value.response.headers["retry-after"] == "7"


async def test_what_clients_send_survives_the_translation(live: Live) -> None:
    image = "data:image/png;base64,iVBORw=="
    parts = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": image}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
    ]
    called = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": parts},
        {"role": "assistant", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    choice = {"type": "function", "function": {"name": "weather"}}
    more: Any = {"max_completion_tokens": 9, "stop": ["END"], "tools": [WEATHER], "tool_choice": choice, "frequency_penalty": 0}
    await openai_chat(live, "anthropic/claude-x", stream=False, messages=turns, **more)
    body = live.provider.requests[0].body
    assert body["system"] == "Be brief." and body["max_tokens"] == 9 and body["stop_sequences"] == ["END"]
    blocks = body["messages"][0]["content"]
    assert [b["type"] for b in blocks] == ["text", "image", "document"]
    assert (
        blocks[1]["source"] == {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}
        and blocks[2]["source"]["data"] == "JVBERg=="
    )
    assert body["messages"][1]["content"] == [{"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Bern"}}]
    assert body["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "c1", "content": "sunny"}]
    assert body["tool_choice"] == {"type": "tool", "name": "weather"}


async def test_what_cannot_be_translated_is_refused(live: Live) -> None:
    with pytest.raises(openai.BadRequestError, match="'seed'"):
        await openai_chat(live, "anthropic/claude-x", stream=False, seed=1)
    with pytest.raises(openai.BadRequestError, match="one choice"):
        await openai_chat(live, "anthropic/claude-x", stream=False, n=2)
    with pytest.raises(anthropic.BadRequestError, match="thinking"):
        await anthropic_chat(live, "openai/x", stream=False, thinking={"type": "enabled", "budget_tokens": 1024})
    assert not live.provider.requests


async def test_a_wrong_key_and_a_narrow_key(live: Live) -> None:
    with pytest.raises(openai.AuthenticationError, match="this key is not known"):
        await openai_chat(live, "baseline", stream=False, key="wrong")
    with pytest.raises(anthropic.AuthenticationError, match="this key is not known"):
        await anthropic_chat(live, "baseline", stream=False, key="wrong")
    with pytest.raises(openai.PermissionDeniedError, match="may not call"):
        await openai_chat(live, "baseline", stream=False, key="wk-viewer")
    with pytest.raises(openai.PermissionDeniedError, match="does not open model/baseline"):
        await openai_chat(live, "baseline", stream=False, key="wk-scoped")
    assert (await openai_chat(live, "answer", stream=False, key="wk-scoped"))[0] == "production: Hi"


async def test_models_that_are_not_there(live: Live) -> None:
    with pytest.raises(openai.NotFoundError, match="did you mean 'openai'"):
        await openai_chat(live, "opnai/x", stream=False)
    with pytest.raises(openai.APIStatusError, match="GROQ_API_KEY is not set") as e:
        await openai_chat(live, "groq/x", stream=False)
    assert e.value.status_code == 503
    with pytest.raises(anthropic.NotFoundError, match="no release 'nothing'"):
        await anthropic_chat(live, "nothing", stream=False)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_name_alone_is_a_model_of_the_provider_whose_dialect_is_spoken(live: Live, stream: bool) -> None:
    """As applications call it that were written for the provider; what no table knows is never sent there."""
    live.provider.say("Hello")
    assert (await openai_chat(live, "gpt-5-mini", stream=stream))[0] == "Hello"
    assert live.provider.requests[-1].body["model"] == "gpt-5-mini"
    assert (await live.span()).attributes["gen_ai.request.model"] == "openai/gpt-5-mini"
    assert (await anthropic_chat(live, "claude-sonnet-4-5", stream=stream))[0] == "Hello"
    asked = len(live.provider.requests)
    for name in ("gpt-5-minni", "gpt-5-nano"):  # misspelt; and one that a release is called by
        with pytest.raises(openai.NotFoundError, match=f"no release '{name}'"):
            await openai_chat(live, name, stream=False)
    with pytest.raises(openai.NotFoundError, match="no release 'claude-sonnet-4-5'"):
        await openai_chat(live, "claude-sonnet-4-5", stream=False)
    assert len(live.provider.requests) == asked


async def test_the_list_of_models_suits_both_clients(live: Live) -> None:
    async with live.openai() as client:
        assert [m.id async for m in client.models.list()] == ["answer", "baseline"]
        assert (await client.models.retrieve("baseline")).id == "baseline"
    async with live.anthropic() as other:
        assert [m.id async for m in other.models.list()] == ["answer", "baseline"]


@STREAM
async def test_the_providers_own_errors_come_through(live: Live, stream: bool) -> None:
    live.provider.say("slow down", status=429, headers={"Retry-After": "3"})
    with pytest.raises(openai.RateLimitError, match="slow down") as e:
        await openai_chat(live, "openai/x", stream=stream)
    assert e.value.response.headers["retry-after"] == "3" and len(live.provider.requests) == 1
    assert (await live.span()).status == "error"
    live.provider.say("your key is " + KEY, status=401)
    with pytest.raises(openai.InternalServerError, match="check the key in OPENAI_API_KEY") as f:
        await openai_chat(live, "openai/x", stream=stream)
    assert KEY not in str(f.value) and f.value.status_code == 502


@pytest.mark.parametrize("model", ["openai/x", "anthropic/x"])
async def test_a_stream_that_breaks_is_an_error_to_the_client(live: Live, model: str) -> None:
    live.provider.then(Say("one two three four five six seven eight nine ten", cut=900))
    with pytest.raises(openai.APIError, match="broke"):
        await openai_chat(live, model, stream=True)
    span = await live.span()
    assert span.status == "error" and span.attributes[names.OUTPUT].startswith("one two") and span.attributes[names.USAGE_ESTIMATED]
    with pytest.raises(anthropic.APIError, match="broke"):
        await anthropic_chat(live, model, stream=True)


@STREAM
async def test_a_provider_that_hangs_is_a_timeout(live: Live, stream: bool) -> None:
    live.provider.then(Say(hang=True))
    with pytest.raises(openai.InternalServerError, match="sent nothing for") as e:
        await openai_chat(live, "openai/x", stream=stream)
    assert e.value.status_code == 504
