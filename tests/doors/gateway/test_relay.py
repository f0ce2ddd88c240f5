"""What the wire carries: bytes that pass through untouched, paths that only pass through, traces, limits, leaving clients."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import msgspec
import pytest
from tests.doors.gateway.conftest import Live
from tests.scripted_provider import Say

from windlass.core import span as names

HEADERS = {"Authorization": "Bearer wk-caller", "Content-Type": "application/json"}
ODD = b'{"zebra":[1.10,1e3,"\\u00fc"],"messages":[{"role":"user","content":"Hi","x_new":{"a":null}}],"model":"openai/gpt-x","top_k":  7 }'


async def post(live: Live, path: str, body: bytes | dict[str, Any], **headers: str) -> tuple[int, bytes, dict[str, str]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with aiohttp.ClientSession() as session, session.post(live.url + path, data=data, headers={**HEADERS, **headers}) as response:
        return response.status, await response.read(), dict(response.headers)


async def test_unknown_fields_survive_both_ways_byte_for_byte(live: Live) -> None:
    answer = b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hey"},"finish_reason":"stop"}],\n "novel": 1.50e2}'
    live.provider.then(Say(raw=answer))
    status, data, headers = await post(live, "/v1/chat/completions", ODD)
    assert (status, data) == (200, answer)
    before, after = (msgspec.json.decode(b, type=dict[str, msgspec.Raw]) for b in (ODD, live.provider.requests[0].raw))
    assert bytes(after.pop("model")) == b'"gpt-x"' and before.pop("model")
    assert {k: bytes(v) for k, v in after.items()} == {k: bytes(v) for k, v in before.items()}
    span = await live.span()
    assert headers["windlass-trace"] == span.trace_id and span.attributes[names.OUTPUT] == "hey"


@pytest.mark.parametrize("split", [None, 1, 37])
async def test_a_stream_passes_through_byte_for_byte(live: Live, split: int | None) -> None:
    events = (
        b': note\r\n\r\nevent: odd\r\ndata: {"choices":[{"index":0,"delta":{"content":"\xc3\xbc"},"new":1}]}\r\n\r\ndata: [DONE]\r\n\r\n'
    )
    live.provider.then(Say(raw=events, split=split))
    status, data, _ = await post(
        live, "/v1/chat/completions", {"model": "openai/x", "stream": True, "messages": [{"role": "user", "content": "a"}]}
    )
    assert (status, data) == (200, events)
    assert (await live.span()).attributes[names.OUTPUT] == "ü"


@pytest.mark.parametrize(
    ("path", "model", "tokens", "others"),
    [
        ("/v1/embeddings", "openai/e", 3, 400),
        ("/v1/responses", "openai/r", 3, 200),
        ("/v1/messages/count_tokens", "anthropic/c", 3, 400),
    ],
)
async def test_paths_that_pass_through(live: Live, path: str, model: str, tokens: int, others: int) -> None:
    """Responses are translated for other models; the others only pass through."""
    status, data, _ = await post(live, path, {"model": model, "input": "text", "deep": {"x": [1]}})
    assert status == 200 and json.loads(data)["sent"] == {"model": model.split("/")[1], "input": "text", "deep": {"x": [1]}}
    assert (await live.span()).attributes[names.INPUT_TOKENS] == tokens
    for other in ("baseline", "answer"):
        status, data, _ = await post(live, path, {"model": other, "input": "text"})
        assert status == others, data


async def test_a_callers_trace_is_continued_and_sessions_are_kept(live: Live) -> None:
    parent = "00-" + "12" * 16 + "-" + "34" * 8 + "-01"
    for model in ("openai/x", "baseline", "anthropic/x"):
        _, _, headers = await post(
            live, "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "Hi"}]},
            traceparent=parent, **{"windlass-session": "s1", "windlass-user": "u1"},
        )  # fmt: skip
        span = await live.span()
        assert (span.trace_id, span.parent) == ("12" * 16, "34" * 8) and headers["windlass-trace"] == "12" * 16
        assert (span.attributes[names.SESSION], span.attributes[names.USER]) == ("s1", "u1")
    await post(live, "/v1/chat/completions", {"model": "answer", "messages": [{"role": "user", "content": "Hi"}]}, traceparent=parent)
    context = live.runs.seen[0][2]
    assert context.parent is not None and context.parent.span_id == "34" * 8


async def test_a_runs_own_calls_hang_in_its_trace(live: Live) -> None:
    body = {"model": "baseline", "messages": [{"role": "user", "content": "Hi"}]}
    await post(live, "/v1/chat/completions", body, Authorization="Bearer wk-run")
    span = await live.span()
    assert span.trace_id == "ab" * 16 and span.attributes[names.EVALUATION] == "ev-1"


async def test_invoke_takes_and_returns_typed_json(live: Live) -> None:
    status, data, headers = await post(live, "/invoke/answer:staging", {"question": "why?"})
    assert (status, json.loads(data)) == (200, {"text": "staging: why?"})
    assert headers["windlass-target"].startswith("release/answer@") and len(headers["windlass-trace"]) == 32
    assert json.loads((await post(live, "/invoke/answer", b'"bare"'))[1]) == {"text": "production: bare"}
    status, data, _ = await post(live, "/invoke/nothing", {"question": "why?"})
    assert status == 404 and json.loads(data)["error"]["code"] == "not_found"
    status, data, _ = await post(live, "/invoke/answer", b"{")
    assert status == 400 and json.loads(data)["error"]["code"] == "invalid"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"model": 3}', b'{"model":"\xff"}', b'{"model":"baseline"}', b'{"model":"A B"}']
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_nonsense_is_refused_in_the_dialects_shape(live: Live, path: str, body: bytes) -> None:
    status, data, _ = await post(live, path, body)
    error = json.loads(data)
    assert status == 400 and error["error"]["type"] == "invalid_request_error" and error["error"]["message"]
    assert (error.get("type") == "error") == (path == "/v1/messages")


async def test_a_body_over_the_limit_is_refused(live: Live) -> None:
    big = b'{"model":"baseline","messages":[{"role":"user","content":"' + b"x" * 2**20 + b'"}]}'
    status, data, _ = await post(live, "/v1/chat/completions", big)
    assert status == 413 and "1 MiB" in json.loads(data)["error"]["message"]

    async def chunks() -> Any:
        for _ in range(40):
            yield b" " * 2**15

    async with (
        aiohttp.ClientSession() as session,
        session.post(live.url + "/v1/chat/completions", data=chunks(), headers=HEADERS) as response,
    ):
        assert response.status == 413


async def test_paths_that_are_not_there(live: Live) -> None:
    status, _, _ = await post(live, "/v1/nothing", b"{}")
    assert status == 404


@pytest.mark.parametrize("model", ["openai/x", "anthropic/x"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_the_call_upstream(live: Live, model: str, stream: bool) -> None:
    live.provider.then(Say("word " * 500, pause_s=0.02) if stream else Say(hang=True))
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        request = asyncio.create_task(session.post(live.url + "/v1/chat/completions", json=body))
        if stream:
            response = await request
            while b"word" not in await response.content.readany():
                pass
            response.close()
        else:
            while not live.provider.requests:
                await asyncio.sleep(0.01)
            request.cancel()
    async with asyncio.timeout(5):
        while live.provider.requests[0].gone_s is None:
            await asyncio.sleep(0.01)
    span = await live.span()
    assert span.status == "error" and "client left" in span.status_message
    if stream:
        assert span.attributes[names.OUTPUT].startswith("word") and span.attributes[names.USAGE_ESTIMATED]
        assert 0 < span.attributes[names.OUTPUT_TOKENS] < 500 and names.COST not in span.attributes


async def test_a_client_that_leaves_cancels_the_run(live: Live) -> None:
    body = {"model": "answer", "messages": [{"role": "user", "content": "wait"}]}
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        request = asyncio.create_task(session.post(live.url + "/v1/chat/completions", json=body))
        while not live.runs.seen:
            await asyncio.sleep(0.01)
        request.cancel()
    async with asyncio.timeout(5):
        await live.runs.cancelled.wait()


async def test_many_at_once_keep_to_themselves(live: Live) -> None:
    async def one(n: int) -> None:
        _, data, _ = await post(live, "/v1/embeddings", {"model": "openai/e", "input": str(n)})
        assert json.loads(data)["sent"]["input"] == str(n)

    await asyncio.gather(*(one(n) for n in range(100)))
    async with asyncio.timeout(5):
        while len(live.spans) < 100:
            await asyncio.sleep(0.01)
    assert len({s.trace_id for s in live.spans}) == 100
