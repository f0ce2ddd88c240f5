"""Models at providers, against a scripted server over real HTTP: both dialects, and every way a provider can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.scripted_provider import Say, ScriptedProvider

from windlass.core.errors import Invalid, ModelFailed, NotFound, Unavailable
from windlass.core.message import (
    Delta,
    FilePart,
    ImagePart,
    Message,
    ModelReply,
    ModelRequest,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    Usage,
    assistant,
    system,
    user,
)  # fmt: skip
from windlass.discover.providers import load_providers
from windlass.govern.prices import Prices
from windlass.runtime.models import Http, Model, Models, Retries, Timeouts

KEY = "sk-scripted-secret-key"
BOTH = pytest.mark.parametrize("name", ["openai/gpt-5-mini", "anthropic/claude-sonnet-4-5"])
WEATHER = ToolSpec("weather", "The weather in a city", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})


def ask(text: str = "Hi", **fields: object) -> ModelRequest:
    return ModelRequest("any", (system("Be brief."), user(text)), **fields)  # type: ignore[arg-type]


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as served:
        yield served


@pytest.fixture
async def models(provider: ScriptedProvider, tmp_path: Path) -> AsyncIterator[Models]:
    table = tmp_path / "providers.toml"
    table.write_text(provider.table())
    providers = load_providers(table, {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY})
    http = Http(Timeouts(connect_s=2, first_token_s=0.5, between_tokens_s=0.5, total_s=5), Retries(attempts=3, budget_s=1.0, base_s=0.01))
    made = Models(providers, Prices().price, http, blobs={"sha256:aa": b"\x89PNG"}.__getitem__)
    yield made
    await made.close()


async def streamed(model: Model, request: ModelRequest) -> tuple[list[str], ModelReply]:
    deltas = [delta async for delta in model.stream(request)]
    assert deltas[-1].reply is not None and all(d.reply is None for d in deltas[:-1])
    return [d.text for d in deltas[:-1]], deltas[-1].reply


@BOTH
async def test_an_answer_whole_and_streamed_is_the_same(models: Models, provider: ScriptedProvider, name: str) -> None:
    provider.say("Grüße aus Köln: 日本語 🚀.")
    model = models.find(name)
    whole = await model.complete(ask())
    pieces, reply = await streamed(model, ask())
    assert whole.message == reply.message == assistant("Grüße aus Köln: 日本語 🚀.")
    assert "".join(pieces) == whole.message.text and len(pieces) > 3
    assert whole.usage == reply.usage == Usage(input=20, output=6, cached=4, cache_write=0 if "claude" in name else None)
    assert whole.stop == "stop" and whole.model == "scripted-1" and whole.response_id
    assert whole.cost == reply.cost and whole.cost is not None and whole.cost > 0
    assert whole.latency_ns > 0 and reply.first_token_ns is not None and reply.first_token_ns <= reply.latency_ns


@BOTH
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_a_stream_may_be_cut_anywhere_even_inside_a_character(
    models: Models, provider: ScriptedProvider, name: str, size: int
) -> None:
    provider.say("日本語 🚀 und Umlaute äöü", tools=[("weather", {"city": "Zürich"})], split=size)
    _, reply = await streamed(models.find(name), ask(tools=(WEATHER,)))
    assert reply.message.text == "日本語 🚀 und Umlaute äöü"
    assert [(c.name, c.arguments) for c in reply.message.tool_calls] == [("weather", {"city": "Zürich"})]


@BOTH
async def test_tool_calls_and_results_go_both_ways(models: Models, provider: ScriptedProvider, name: str) -> None:
    provider.say("", tools=[("weather", {"city": "Bern"}), ("weather", {"city": "Basel"})])
    model = models.find(name)
    for reply in (await model.complete(ask(tools=(WEATHER,))), (await streamed(model, ask(tools=(WEATHER,))))[1]):
        assert reply.stop == "tool_calls"
        assert [c.arguments for c in reply.message.tool_calls] == [{"city": "Bern"}, {"city": "Basel"}]
    called = reply.message
    results = Message("tool", tuple(ToolResultPart(c.id, "sunny") for c in called.tool_calls))
    await model.complete(ModelRequest("any", (user("Weather?"), called, results), tools=(WEATHER,)))
    sent = provider.requests[-1].body["messages"]
    if "claude" in name:
        assert [m["role"] for m in sent] == ["user", "assistant", "user"]
        assert [b["type"] for b in sent[2]["content"]] == ["tool_result", "tool_result"]
    else:
        assert [m["role"] for m in sent] == ["user", "assistant", "tool", "tool"]
        assert sent[1]["content"] is None and sent[2]["tool_call_id"] == called.tool_calls[0].id


async def test_openai_requests_carry_everything(models: Models, provider: ScriptedProvider) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
    parts = (TextPart("look"), ImagePart(digest="sha256:aa", media_type="image/png"), FilePart("sha256:aa", "x.pdf", "application/pdf"))
    request = ModelRequest(
        "any", (system("s"), Message("user", parts)), {"max_tokens": 5, "seed": 1, "extra_knob": True}, (WEATHER,), schema
    )
    await models.find("openai/gpt-5-mini").complete(request)
    body = provider.requests[0].body
    assert body["model"] == "gpt-5-mini" and body["max_completion_tokens"] == 5 and body["seed"] == 1 and body["extra_knob"] is True
    assert body["messages"][1]["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw=="
    assert body["messages"][1]["content"][2]["file"]["filename"] == "x.pdf"
    assert body["response_format"]["json_schema"]["strict"] is True and body["response_format"]["json_schema"]["schema"] == schema
    assert body["tools"][0]["function"]["name"] == "weather"
    assert provider.requests[0].headers["Authorization"] == f"Bearer {KEY}"


async def test_anthropic_requests_carry_everything(models: Models, provider: ScriptedProvider) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    parts = (TextPart("look"), ImagePart(digest="sha256:aa", media_type="image/png"), ImagePart(url="https://example.org/x.png"))
    parameters = {"temperature": 0.5, "stop": "END", "tool_choice": "required", "reasoning_effort": "low"}
    await models.find("anthropic/claude-sonnet-4-5").complete(
        ModelRequest("any", (system("s"), Message("user", parts), user("more")), parameters, (WEATHER,), schema)
    )
    seen = provider.requests[0]
    body = seen.body
    assert body["system"] == "s" and body["max_tokens"] > 0 and body["stop_sequences"] == ["END"] and body["temperature"] == 0.5
    assert body["tool_choice"] == {"type": "any"} and body["tools"][0]["input_schema"] == WEATHER.parameters
    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": schema}}
    assert len(body["messages"]) == 1 and [b["type"] for b in body["messages"][0]["content"]] == ["text", "image", "image", "text"]
    assert seen.headers["x-api-key"] == KEY and seen.headers["anthropic-version"] == "2023-06-01"


async def test_what_a_dialect_cannot_say_is_refused_not_dropped(models: Models, provider: ScriptedProvider) -> None:
    with pytest.raises(Invalid, match="seed"):
        await models.find("anthropic/claude-x").complete(ask(parameters={"seed": 1}))
    with pytest.raises(Invalid, match="messages"):
        await models.find("openai/x").complete(ask(parameters={"messages": []}))
    assert not provider.requests


@BOTH
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_failure_is_tried_again(models: Models, provider: ScriptedProvider, name: str, status: int) -> None:
    provider.then(Say(status=status), Say(status=status, headers={"Retry-After": "0"}), Say("at last"))
    assert (await models.find(name).complete(ask())).message.text == "at last"
    provider.then(Say(status=status), Say("at last"))
    assert (await streamed(models.find(name), ask()))[1].message.text == "at last"
    assert len(provider.requests) == 5


async def test_retry_after_beyond_the_budget_fails_at_once_and_says_when(models: Models, provider: ScriptedProvider) -> None:
    provider.then(Say("slow down", status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(ModelFailed, match="openai answered 429: slow down") as e:
        await models.find("openai/gpt-5-mini").complete(ask())
    assert e.value.details["retry_after_s"] == 3600 and "3600 s" in str(e.value) and len(provider.requests) == 1


FAULTS = {
    "a bad request": (Say("no such model", status=404), "answered 404: no such model"),
    "a wrong key": (Say("bad key " + KEY, status=401), r"answered 401: bad key \[key\]"),
    "a failure that stays": (Say("broken", status=500), "answered 500: broken"),
    "an error page": (Say(status=502, raw=b"<html>Bad gateway</html>"), "answered 502"),
    "nonsense": (Say(raw=b"data: {not json\n\n"), "sent something that is not"),
    "half a body": (Say("a rather long answer " * 20, cut=60), "broke"),
    "silence": (Say(silent=True), "could not be reached"),
    "a hang": (Say(hang=True), "sent nothing for|did not answer within"),
}


@BOTH
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_failure_is_a_sentence_without_the_key(
    models: Models, provider: ScriptedProvider, name: str, stream: bool, fault: str
) -> None:
    say, sentence = FAULTS[fault]
    provider.then(say)
    with pytest.raises(ModelFailed, match=sentence) as e:
        if stream:
            await streamed(models.find(name), ask())
        else:
            await models.find(name).complete(ask(), timeout_s=0.5)
    assert KEY not in str(e.value) + repr(e.value.as_dict()) + repr(e.value.__cause__)
    assert name.split("/")[0] in e.value.message


@BOTH
@pytest.mark.parametrize("stream", [False, True])
async def test_an_empty_answer_is_a_failure(models: Models, provider: ScriptedProvider, name: str, stream: bool) -> None:
    provider.then(Say(raw=b""))
    with pytest.raises(ModelFailed, match="answered with nothing"):
        await (streamed(models.find(name), ask()) if stream else models.find(name).complete(ask()))


@BOTH
async def test_half_a_stream_gives_its_text_and_then_fails(models: Models, provider: ScriptedProvider, name: str) -> None:
    words = "one two three four five six seven eight nine ten"
    provider.then(Say(words, cut=1000))
    got: list[Delta] = []
    with pytest.raises(ModelFailed, match="broke the stream off"):
        async for delta in models.find(name).stream(ask()):
            got.append(delta)
    assert got and words.startswith("".join(d.text for d in got))


@BOTH
async def test_an_error_inside_a_stream_is_told(models: Models, provider: ScriptedProvider, name: str) -> None:
    provider.then(Say("some words first", error_in_stream="overloaded just now"))
    with pytest.raises(ModelFailed, match="overloaded just now"):
        await streamed(models.find(name), ask())


@BOTH
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_an_answer(models: Models, provider: ScriptedProvider, name: str, stream: bool) -> None:
    provider.then(Say(refuse="I will not."))
    model = models.find(name)
    reply = (await streamed(model, ask()))[1] if stream else await model.complete(ask())
    assert reply.stop == "refusal" and reply.message.text == "I will not."


@BOTH
async def test_a_reply_cut_by_its_limit_says_so(models: Models, provider: ScriptedProvider, name: str) -> None:
    provider.say("and then", stop="max_tokens" if "claude" in name else "length")
    assert (await models.find(name).complete(ask())).stop == "length"


@BOTH
async def test_cancelling_cancels_the_call_upstream(models: Models, provider: ScriptedProvider, name: str) -> None:
    provider.then(Say(hang=True))
    task = asyncio.create_task(models.find(name).complete(ask()))
    while not provider.requests:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_gone(provider)


@BOTH
async def test_leaving_a_stream_early_closes_it_upstream(models: Models, provider: ScriptedProvider, name: str) -> None:
    provider.say("word " * 200, pause_s=0.02)
    stream = models.find(name).stream(ask())
    async for _ in stream:
        break
    await stream.aclose()  # type: ignore[attr-defined]
    await until_gone(provider)


async def until_gone(provider: ScriptedProvider) -> None:
    async with asyncio.timeout(5):
        while provider.requests[-1].gone_s is None:
            await asyncio.sleep(0.01)


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    providers = load_providers(None, {"OLLAMA_BASE_URL": "http://127.0.0.1:1/v1"})
    models = Models(providers, Prices().price, Http(retries=Retries(attempts=2, base_s=0.01)))
    with pytest.raises(ModelFailed, match="ollama could not be reached"):
        await models.find("ollama/llama3").complete(ask())
    await models.close()


def test_names_that_are_no_models() -> None:
    models = Models(load_providers(None, {}), Prices().price, Http())
    with pytest.raises(NotFound, match="did you mean 'openai'"):
        models.find("opnai/gpt-5")
    with pytest.raises(Unavailable, match="OPENAI_API_KEY"):
        models.find("openai/gpt-5-mini")
    with pytest.raises(Invalid, match="names a provider and no model"):
        models.find("openai")
    assert models.find("baseline").provider == "baseline"


def test_arguments_that_are_no_object_are_a_failure(models: Models) -> None:
    from windlass.runtime.models import dialect_openai

    call = b'{"choices":[{"message":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"[1"}}]},"finish_reason":"tool_calls"}]}'
    with pytest.raises(ModelFailed, match="arguments that are not a JSON object"):
        dialect_openai.decode(call, models.providers.get("openai"))
    fine = call.replace(b'"[1"', b'""')
    assert dialect_openai.decode(fine, models.providers.get("openai")).message.parts == (ToolCallPart("a", "f", {}),)


async def test_the_environments_proxy_is_used(provider: ScriptedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "providers.toml"
    table.write_text(
        '[far]\nbase_url = "http://models.invalid/v1"\nauth = "none"\n\n[near]\nbase_url = "http://direct.invalid/v1"\nauth = "none"\n'
    )
    monkeypatch.setenv("http_proxy", provider.url.removesuffix("/v1"))
    monkeypatch.setenv("no_proxy", "direct.invalid")
    models = Models(load_providers(table, {}), Prices().price, Http(retries=Retries(attempts=1)))
    await models.find("far/m").complete(ask())
    assert provider.requests[0].headers["Host"] == "models.invalid"
    with pytest.raises(ModelFailed, match="near could not be reached"):
        await models.find("near/m").complete(ask())
    await models.close()
