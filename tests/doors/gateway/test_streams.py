"""Streams as providers send them, through the gateway: byte for byte where it passes them on, in meaning where it translates."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from tests.doors.gateway.conformance import CLIENTS, Case, Check, Gateway, Got, Player, ask, asked, cases, checks, judge, leave, run
from tests.doors.gateway.conftest import Live, serving
from tests.scripted_provider import ScriptedProvider

from windlass.core import span as names

CASES = cases()
COUNTS = {
    "input": names.INPUT_TOKENS, "output": names.OUTPUT_TOKENS, "cached": names.CACHED_TOKENS, "cache_write": names.WRITTEN_TOKENS,
    "reasoning": names.REASONING_TOKENS,
}  # fmt: skip


@contextlib.asynccontextmanager
async def between(folder: Path, player: Player) -> AsyncIterator[tuple[Live, Gateway, aiohttp.ClientSession]]:
    """A gateway that sends both dialects to the player."""
    url = f"http://127.0.0.1:{player.port}/v1"
    table = f'[openai]\nbase_url = "{url}"\nbase_env = ""\n\n[anthropic]\nbase_url = "{url}"\n'
    async with serving(folder, table, ScriptedProvider(), total_s=60, patience_s=30) as live, aiohttp.ClientSession() as session:
        yield live, Gateway(live.url, "wk-caller", {"openai": "openai/gpt-5-mini", "anthropic": "anthropic/claude-sonnet-4-5"}), session


async def wrong(folder: Path, chosen: list[Check]) -> dict[str, list[str]]:
    """What is wrong, by the name of the check."""
    async with Player() as player, between(folder, player) as (_, gateway, session):
        found = {check.name: await run(check, gateway, player, session) for check in chosen}
    return {name: told for name, told in found.items() if told}


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "responses"])
async def test_what_passes_through_is_the_providers_own(tmp_path: Path, dialect: str) -> None:
    chosen = [c for c in checks(CASES) if c.native and c.case.dialect == dialect]
    assert chosen and await wrong(tmp_path, chosen) == {}


@pytest.mark.parametrize("client", ["openai", "anthropic", "responses"])
async def test_what_is_translated_says_the_same(tmp_path: Path, client: str) -> None:
    chosen = [c for c in checks(CASES) if not c.native and c.client == client]
    assert chosen and await wrong(tmp_path, chosen) == {}


def test_a_judge_sees_what_is_wrong() -> None:
    """A suite that lets everything pass proves nothing: each kind of fault, made by hand, is seen."""
    case = next(c for c in CASES if c.name == "anthropic_tool_use")

    def faults(old: str, new: str, client: str = "anthropic", native: bool = True) -> list[str]:
        body = case.body.decode()
        assert old in body
        held = case if native else Case(**{**vars(case), "dialect": "openai"})
        return judge(held, client, Got(200, body.replace(old, new, 1).encode()), {})

    assert faults("Okay", "Okay") == [] and faults("Okay", "Okay", native=False) == []
    assert any("text is" in f for f in faults("Okay", "Okey"))
    assert any("others from byte" in f for f in faults('{"type": "ping"}', '{"type":"ping"}'))
    for old, new, told in (
        ("San", "Sam", "it calls"),
        ('"renheit\\"}"', '"renheit"', "are no JSON"),
        ('"output_tokens":89', '"output_tokens":88', "output should be 89"),
        ('"stop_reason":"tool_use"', '"stop_reason":"end_turn"', "it stopped by"),
        ('"index":1,"content_block"', '"index":2,"content_block"', "block 2 begins"),
        ('event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n', "", "begins while"),
        ('event: message_stop\ndata: {"type":"message_stop"}\n\n', "", "in this order"),
        ("event: message_delta", "event: message_end", "has the type"),
    ):
        assert any(told in f for f in faults(old, new, native=False)), told


def told(case: Case) -> dict[str, Any]:
    wanted = case.expect
    calls = [(c["name"], c["arguments"]) for c in wanted.get("calls", [])]
    return {"text": wanted.get("text", ""), "calls": calls, "stop": wanted["stop"]}


async def by_openai(client: openai.AsyncOpenAI, body: dict[str, Any]) -> dict[str, Any]:
    text, calls, stop = "", {}, None
    stream: Any = await client.chat.completions.create(
        model=body.pop("model"), messages=body.pop("messages"), stream=body.pop("stream"), extra_body=body
    )
    async for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            stop = choice.finish_reason or stop
            for call in choice.delta.tool_calls or []:
                known = calls.setdefault(call.index, ["", ""])
                known[0] += call.function.name or ""
                known[1] += call.function.arguments or ""
    return {"text": text, "calls": [(n, json.loads(a)) for n, a in calls.values()], "stop": {"content_filter": "refusal"}.get(stop, stop)}


async def by_anthropic(client: anthropic.AsyncAnthropic, body: dict[str, Any]) -> dict[str, Any]:
    body.pop("stream")
    fixed = {name: body.pop(name) for name in ("model", "messages", "max_tokens")}
    async with client.messages.stream(**fixed, extra_body=body) as stream:
        whole = await stream.get_final_message()
    stops = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "refusal"}
    calls = [(b.name, b.input) for b in whole.content if b.type == "tool_use"]
    return {"text": "".join(b.text for b in whole.content if b.type == "text"), "calls": calls, "stop": stops[whole.stop_reason or ""]}


async def by_responses(client: openai.AsyncOpenAI, body: dict[str, Any]) -> dict[str, Any]:
    body.pop("stream")
    async with client.responses.stream(model=body.pop("model"), input=body.pop("input"), extra_body=body) as stream:
        events = [event async for event in stream]
    whole: Any = next(e.response for e in events if e.type in ("response.completed", "response.incomplete"))
    calls = [(i.name, json.loads(i.arguments)) for i in whole.output if i.type == "function_call"]
    cut = whole.incomplete_details and {"max_output_tokens": "length", "content_filter": "refusal"}[whole.incomplete_details.reason]
    return {"text": whole.output_text, "calls": calls, "stop": cut or ("tool_calls" if calls else "stop")}


@pytest.mark.parametrize("client", ["openai", "anthropic", "responses"])
async def test_the_official_clients_read_what_is_translated(tmp_path: Path, client: str) -> None:
    chosen = [c for c in checks(CASES) if c.client == client and not c.native and not c.variant]
    chosen = [c for c in chosen if "stop" in c.case.expect and not c.case.cut_call]
    async with Player() as player, between(tmp_path, player) as (live, gateway, _), live.openai() as one, live.anthropic() as other:
        for check in chosen:
            player.answer(check.case)
            body = asked(check.case, client, gateway.models[check.case.dialect])
            how: Any = {"openai": by_openai, "anthropic": by_anthropic, "responses": by_responses}[client]
            assert await how(other if client == "anthropic" else one, body) == told(check.case), check.name
    assert len(chosen) > 15


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "responses"])
async def test_the_trace_of_what_passed_through_says_what_was_said(tmp_path: Path, dialect: str) -> None:
    async with Player() as player, between(tmp_path, player) as (live, gateway, session):
        for case in (c for c in CASES if c.dialect == dialect and c.streams and not c.cut_call):
            player.answer(case)
            await ask(
                session, gateway, dialect, asked(case, dialect, gateway.models["anthropic" if dialect == "anthropic" else "openai"]), Got()
            )
            span = await live.span()
            wanted = case.expect
            if "error" in wanted:
                assert span.status == "error" and wanted["error"] in span.status_message, (case.name, span.status_message)
                assert not wanted.get("text") or "error" in case.name or span.attributes[names.USAGE_ESTIMATED], case.name
                continue
            assert span.status == "ok", (case.name, span.status_message)
            assert span.attributes["gen_ai.response.finish_reasons"] == [wanted["stop"]], case.name
            if wanted.get("text"):
                assert span.attributes[names.OUTPUT] == wanted["text"], case.name
            for name, attribute in COUNTS.items():
                if name in wanted.get("usage", {}):
                    assert span.attributes.get(attribute, 0) == wanted["usage"][name], (case.name, name)
            assert names.USAGE_ESTIMATED not in span.attributes


@pytest.mark.parametrize(("dialect", "client"), [(d, c) for d, more in CLIENTS.items() if d != "responses" for c in (d, *more)])
async def test_a_client_that_leaves_is_billed_for_what_it_got(tmp_path: Path, dialect: str, client: str) -> None:
    async with Player() as player, between(tmp_path, player) as (live, gateway, session):
        assert await leave(client, dialect, gateway, player, session) == []
        span = await live.span()
    said = span.attributes
    assert "client left" in span.status_message and said[names.USAGE_ESTIMATED] and said[names.COST] > 0
    assert 0 < said[names.OUTPUT_TOKENS] < 100 and said[names.INPUT_TOKENS] > 0


async def test_streams_at_once_keep_to_themselves(tmp_path: Path) -> None:
    """Each of many clients gets its own answer, whichever comes first."""
    async with Player() as player, between(tmp_path, player) as (_, gateway, session):

        async def send(writer: asyncio.StreamWriter, request: Any) -> None:
            word = request["messages"][0]["content"]
            word = word if isinstance(word, str) else word[0]["text"]
            event = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"%s "},"finish_reason":%s}]}\n\n'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            for _ in range(5):
                writer.write(event % (word.encode(), b"null"))
                await writer.drain()
                await asyncio.sleep(0.005)
            writer.write(event % (b"", b'"stop"') + b"data: [DONE]\n\n")
            await writer.drain()

        player.send = send

        async def one(number: int, client: str) -> None:
            got, word = Got(), f"w{number}"
            body = {"model": gateway.models["openai"], "stream": True, "max_tokens": 9, "messages": [{"role": "user", "content": word}]}
            await ask(session, gateway, client, body, got)
            assert got.data.count(word.encode()) == 5 and got.data.count(b'"w') == 5, got.data

        await asyncio.gather(*(one(n, "openai" if n % 2 else "anthropic") for n in range(40)))
