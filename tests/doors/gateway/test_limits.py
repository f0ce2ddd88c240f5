"""Calls under limits, by the official clients: the errors they raise, the headers they read; what is settled is what traces say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from tests.doors.gateway.conftest import Live
from tests.govern.limit_world import Node
from tests.scripted_provider import Say

from windlass.core import span as names
from windlass.govern.reservations import Reservations
from windlass.store.home import Home
from windlass.store.meta import open_meta

HELLO: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    engine = open_meta(Home(tmp_path / "home").database_url)
    node = Node(engine, tmp_path / "a")
    yield node
    await asyncio.to_thread(node.close)
    engine.dispose()


@pytest.fixture
def limits(node: Node) -> Reservations:
    return node.reservations


async def test_a_reached_rate_is_what_both_clients_call_one(live: Live, node: Node) -> None:
    node.set("requests", 1, "minute", subject="user:*")
    told = {"windlass-user": "ann"}
    raw = await live.openai().chat.completions.with_raw_response.create(
        model="openai/gpt-4o", messages=HELLO, max_tokens=10, extra_headers=told
    )
    assert raw.headers["x-ratelimit-limit-requests"] == "1" and raw.headers["x-ratelimit-remaining-requests"] == "0"
    with pytest.raises(openai.RateLimitError) as o:
        await live.openai().chat.completions.create(model="openai/gpt-4o", messages=HELLO, extra_headers=told)
    assert (o.value.code, o.value.type) == ("rate_limit_exceeded", "requests")
    assert 0 < int(o.value.response.headers["retry-after"]) <= 60 and "x-should-retry" not in o.value.response.headers
    with pytest.raises(anthropic.RateLimitError) as a:
        await live.anthropic().messages.create(model="anthropic/claude-sonnet-4-6", messages=HELLO, max_tokens=10, extra_headers=told)
    assert a.value.body["error"]["type"] == "rate_limit_error"  # type: ignore[index]
    assert len(live.provider.requests) == 1
    await live.openai().chat.completions.create(model="openai/gpt-4o", messages=HELLO, extra_headers={"windlass-user": "bob"})


async def test_money_that_is_spent_is_told_as_a_quota(live: Live, node: Node) -> None:
    node.set("dollars", 0.000001, "ever")
    with pytest.raises(openai.RateLimitError) as o:
        await live.openai().chat.completions.create(model="openai/gpt-4o", messages=HELLO, max_tokens=1)
    assert o.value.type == "requests" and "more than the whole limit" in o.value.message
    node.set("dollars", 0, "ever")
    node.set("requests", 0, "ever")
    with pytest.raises(openai.RateLimitError) as o:
        await live.openai().chat.completions.create(model="baseline", messages=HELLO, max_tokens=1)
    assert (o.value.code, o.value.type) == ("insufficient_quota", "insufficient_quota")
    assert o.value.response.headers["x-should-retry"] == "false"
    with pytest.raises(anthropic.APIStatusError) as a:
        await live.anthropic().messages.create(model="baseline", messages=HELLO, max_tokens=1)
    assert a.value.status_code == 402 and a.value.body["error"]["type"] == "billing_error"  # type: ignore[index]
    with pytest.raises(openai.RateLimitError):  # a release is refused before it begins
        await live.openai().chat.completions.create(model="answer", messages=HELLO)
    assert not live.provider.requests and not live.runs.seen


async def test_a_provider_s_own_headers_give_way_to_ours(live: Live, node: Node) -> None:
    live.provider.say("Hello", headers={"x-ratelimit-limit-requests": "9999", "x-ratelimit-limit-tokens": "77"})
    node.set("requests", 5, "minute")
    raw = await live.openai().chat.completions.with_raw_response.create(model="openai/gpt-4o", messages=HELLO)
    assert raw.headers["x-ratelimit-limit-requests"] == "5" and raw.headers["x-ratelimit-limit-tokens"] == "77"


async def test_what_is_settled_is_what_traces_say(live: Live, node: Node) -> None:
    """Whole and streamed, with usage and without, cached, translated, cut off, failed, left: to the nanodollar."""
    node.set("dollars", 100, "ever")
    node.set("tokens", 10_000_000, "ever")
    o, a = live.openai(), live.anthropic()

    async def stream(**more: Any) -> None:
        answer = await o.chat.completions.create(model="openai/gpt-4o", messages=HELLO, stream=True, **more)
        async for _ in answer:
            pass

    live.provider.say("Hello there, and so on")
    await o.chat.completions.create(model="openai/gpt-4o", messages=HELLO)
    await stream(stream_options={"include_usage": True})
    await stream()  # no usage is told
    await a.messages.create(model="anthropic/claude-sonnet-4-6", messages=HELLO, max_tokens=100)
    async with a.messages.stream(model="openai/gpt-4o", messages=HELLO, max_tokens=100) as translated:
        await translated.get_final_message()
    await o.chat.completions.create(model="anthropic/claude-sonnet-4-6", messages=HELLO)
    live.provider.then(Say("Hello there, and so on", cut=400), Say(status=500), Say("a b c d e f", pause_s=0.2), Say("x"))
    with pytest.raises(openai.APIError):
        await stream()
    with pytest.raises(openai.APIStatusError):
        await o.chat.completions.create(model="openai/gpt-4o", messages=HELLO)
    leaving = await o.chat.completions.create(model="openai/gpt-4o", messages=HELLO, stream=True)
    await leaving.__anext__()
    await leaving.close()
    async with asyncio.timeout(5):
        while len(live.spans) < 9:
            await asyncio.sleep(0.01)
    costs = [s.attributes.get(names.COST) for s in live.spans]
    assert costs.count(None) == 1, "what failed at once cost nothing; all else has a price"
    tokens = sum(s.attributes.get(names.INPUT_TOKENS, 0) + s.attributes.get(names.OUTPUT_TOKENS, 0) for s in live.spans)
    (spent, aside), (counted, none) = sorted(node.uses())
    assert (aside, none) == (0.0, 0.0)
    assert spent == pytest.approx(sum(c or 0.0 for c in costs), abs=1e-8) and spent > 0
    assert counted == tokens
    assert sum(bool(s.attributes.get(names.USAGE_ESTIMATED)) for s in live.spans) == 3  # untold, cut off, left


async def test_calls_of_a_run_count_for_whoever_began_it(live: Live, node: Node) -> None:
    node.set("requests", 1, subject="user:ann")
    live.runs.user = "ann"
    await live.openai("wk-run").chat.completions.create(model="openai/gpt-4o", messages=HELLO)
    with pytest.raises(openai.RateLimitError):
        await live.openai("wk-run").chat.completions.create(model="openai/gpt-4o", messages=HELLO)
