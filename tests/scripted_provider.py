"""A model server that does what a script says: real HTTP on loopback, OpenAI's and Anthropic's dialects, streaming and not.

    async with ScriptedProvider() as provider:
        provider.say("Hello there")                     # the next answer; the last one is repeated
        provider.then(Say(status=429, headers={"Retry-After": "0"}), Say("at last"))
        environ = provider.environ("openai")            # for windlass.discover.providers
        provider.requests[0].body["messages"]

In another process: `python -m tests.scripted_provider '<json list of scripts>'` prints its address as the first line.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import sys
import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

USAGE = {"input": 20, "cached": 4, "output": 6}


@dataclass
class Say:
    """One answer. `tools` are (name, arguments) pairs. `latency_s` passes before the headers, `pause_s` between chunks.

    Faults: `status` with an error body; `raw` sent as the whole body instead; `cut` the connection after that many bytes;
    `split` the stream in chunks of that many bytes (through characters); `hang` never answers; `silent` closes at once.
    """

    text: str = ""
    tools: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refuse: str = ""
    stop: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    latency_s: float = 0.0
    pause_s: float = 0.0
    raw: bytes | None = None
    cut: int | None = None
    split: int | None = None
    hang: bool = False
    silent: bool = False
    error_in_stream: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class Seen:
    """One request as it arrived. `gone_s` is when the client went away before its answer was whole, on `time.monotonic`."""

    path: str
    headers: dict[str, str]
    raw: bytes
    gone_s: float | None = None
    finished: bool = False

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.raw)


class ScriptedProvider:
    """Serves on an ephemeral loopback port while entered."""

    def __init__(self, *script: Say) -> None:
        self.script: list[Say] = list(script) or [Say("Hello from the scripted model.")]
        self.requests: list[Seen] = []
        self.embeds: int | None = None  # with a number, /v1/embeddings answers with vectors of so many dimensions
        self.url = ""
        self._runner: web.AppRunner | None = None

    def say(self, text: str, **how: Any) -> None:
        """From now on answer so."""
        self.script = [Say(text, **how)]

    def then(self, *script: Say) -> None:
        """From now on answer these in turn; the last one for ever."""
        self.script = list(script)

    def environ(self, provider: str = "openai", key: str = "sk-scripted-secret-key") -> dict[str, str]:
        """The environment in which this provider of the shipped table is this server (for `anthropic` see `table`)."""
        return {f"{provider.upper()}_BASE_URL": self.url, f"{provider.upper()}_API_KEY": key}

    def table(self) -> str:
        """A providers.toml that sends `openai` and `anthropic` here."""
        return f'[openai]\nbase_url = "{self.url}"\nbase_env = ""\n\n[anthropic]\nbase_url = "{self.url}"\n'

    async def __aenter__(self) -> ScriptedProvider:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_get("/v1/models", self._models)
        for path, dialect in (("chat/completions", _openai), ("messages", _anthropic)):
            app.router.add_post(f"/v1/{path}", self._answer(dialect))
        if self.embeds:
            app.router.add_post("/v1/embeddings", self._answer(_embeddings(self)))
        app.router.add_post("/v1/{tail:.*}", self._echo)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "scripted-small", "object": "model"}]})

    async def _echo(self, request: web.Request) -> web.Response:
        """Any other path answers with what it was sent."""
        seen = Seen(request.path, dict(request.headers), await request.read(), finished=True)
        self.requests.append(seen)
        return web.json_response(
            {"object": "echo", "path": request.path, "model": "scripted-1", "usage": {"prompt_tokens": 3}, "sent": seen.body}
        )

    def _answer(self, dialect: Any) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            seen = Seen(request.path, dict(request.headers), await request.read())
            self.requests.append(seen)
            say = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            try:
                response = await _respond(request, seen.body, say, dialect)
            except (asyncio.CancelledError, ConnectionResetError):
                seen.gone_s = time.monotonic()
                raise
            seen.finished = True
            return response

        return handle


async def _respond(request: web.Request, body: dict[str, Any], say: Say, dialect: Any) -> web.StreamResponse:
    await asyncio.sleep(say.latency_s)
    if say.hang:
        await asyncio.sleep(3600)
    assert request.transport is not None
    if say.silent:
        request.transport.abort()
        return web.Response()
    if say.status != 200:
        return web.Response(body=say.raw or dialect.error(say), status=say.status, headers=say.headers, content_type="application/json")
    if not body.get("stream"):
        data = say.raw if say.raw is not None else json.dumps(dialect.whole(body, say)).encode()
        if say.cut is None:
            return web.Response(body=data, content_type="application/json", headers=say.headers)
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(data)), **say.headers})
        await response.prepare(request)
        await response.write(data[: say.cut])
        await asyncio.sleep(0.01)
        request.transport.abort()
        return response
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **say.headers})
    await response.prepare(request)
    sent = 0
    async for chunk in _chunks(say.raw, dialect.stream(body, say), say):
        if say.cut is not None and sent + len(chunk) > say.cut:
            await response.write(chunk[: say.cut - sent])
            await asyncio.sleep(0.01)
            request.transport.abort()
            return response
        sent += len(chunk)
        await response.write(chunk)
        await asyncio.sleep(say.pause_s)
    return response


async def _chunks(raw: bytes | None, events: list[bytes], say: Say) -> AsyncIterator[bytes]:
    pieces = [raw] if raw is not None else events
    if say.split:
        whole = b"".join(pieces)
        pieces = [whole[i : i + say.split] for i in range(0, len(whole), say.split)]
    for piece in pieces:
        yield piece


def _words(text: str) -> list[str]:
    words = text.split(" ")
    return [w + (" " if i < len(words) - 1 else "") for i, w in enumerate(words)] if text else []


class _openai:
    @staticmethod
    def error(say: Say) -> bytes:
        return json.dumps({"error": {"message": say.text or "scripted failure", "type": "scripted", "code": None}}).encode()

    @staticmethod
    def usage() -> dict[str, Any]:
        u = USAGE
        return {
            "prompt_tokens": u["input"], "completion_tokens": u["output"], "total_tokens": u["input"] + u["output"],
            "prompt_tokens_details": {"cached_tokens": u["cached"]},
        }  # fmt: skip

    @staticmethod
    def finish(say: Say) -> str:
        return say.stop or ("tool_calls" if say.tools else "stop")

    @classmethod
    def calls(cls, say: Say) -> list[dict[str, Any]]:
        return [
            {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for i, (name, arguments) in enumerate(say.tools)
        ]

    @classmethod
    def whole(cls, body: dict[str, Any], say: Say) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": say.text or None}
        if say.refuse:
            message["refusal"] = say.refuse
        if say.tools:
            message["tool_calls"] = cls.calls(say)
        return {
            "id": "chatcmpl-scripted", "object": "chat.completion", "created": 1, "model": "scripted-1",
            "choices": [{"index": 0, "message": message, "finish_reason": cls.finish(say), "logprobs": None}],
            "usage": cls.usage(), **say.extra,
        }  # fmt: skip

    @classmethod
    def stream(cls, body: dict[str, Any], say: Say) -> list[bytes]:
        base = {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1, "model": "scripted-1", **say.extra}

        def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
            event = {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
            return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"

        events = [chunk({"role": "assistant", "content": ""})]
        events += [chunk({"content": w}) for w in _words(say.text)]
        if say.refuse:
            events.append(chunk({"refusal": say.refuse}))
        for i, call in enumerate(cls.calls(say)):
            arguments = call["function"]["arguments"]
            head = {**call, "index": i, "function": {**call["function"], "arguments": ""}}
            events.append(chunk({"tool_calls": [head]}))
            for piece in (arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]):
                events.append(chunk({"tool_calls": [{"index": i, "function": {"arguments": piece}}]}))
        if say.error_in_stream:
            return [*events, b"data: " + cls.error(Say(say.error_in_stream)) + b"\n\n"]
        events.append(chunk({}, cls.finish(say)))
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append(b"data: " + json.dumps({**base, "choices": [], "usage": cls.usage()}).encode() + b"\n\n")
        return [*events, b"data: [DONE]\n\n"]


class _embeddings:
    """Vectors, counted from the words of a text; as base64 where the client or `extra` wants it. Not of length 1."""

    def __init__(self, provider: ScriptedProvider) -> None:
        self._provider = provider

    @staticmethod
    def error(say: Say) -> bytes:
        return _openai.error(say)

    def whole(self, body: dict[str, Any], say: Say) -> dict[str, Any]:
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        packed = body.get("encoding_format") == "base64" or say.extra.get("base64")
        rows = [{"object": "embedding", "index": i, "embedding": self.vector(text, packed)} for i, text in enumerate(texts)]
        rows = rows[::-1] if say.extra.get("backwards") else rows
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        told = {} if say.extra.get("untold") else {"usage": usage}
        return {"object": "list", "model": body["model"], "data": rows[: say.extra.get("only")], **told}

    def vector(self, text: str, packed: bool) -> list[float] | str:
        assert self._provider.embeds
        numbers = [0.0] * self._provider.embeds
        for word in text.lower().split():
            numbers[zlib.crc32(word.encode()) % len(numbers)] += 2.5
        return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode() if packed else numbers


class _anthropic:
    @staticmethod
    def error(say: Say) -> bytes:
        return json.dumps({"type": "error", "error": {"type": "api_error", "message": say.text or "scripted failure"}}).encode()

    @staticmethod
    def usage() -> dict[str, int]:
        return {
            "input_tokens": USAGE["input"] - USAGE["cached"],
            "cache_read_input_tokens": USAGE["cached"],
            "cache_creation_input_tokens": 0,
        }

    @staticmethod
    def finish(say: Say) -> str:
        return say.stop or ("refusal" if say.refuse else "tool_use" if say.tools else "end_turn")

    @classmethod
    def whole(cls, body: dict[str, Any], say: Say) -> dict[str, Any]:
        text = say.text or say.refuse
        content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
        content += [{"type": "tool_use", "id": f"toolu_{i}", "name": n, "input": a} for i, (n, a) in enumerate(say.tools)]
        return {
            "id": "msg_scripted", "type": "message", "role": "assistant", "model": "scripted-1", "content": content,
            "stop_reason": cls.finish(say), "stop_sequence": None, "usage": {**cls.usage(), "output_tokens": USAGE["output"]}, **say.extra,
        }  # fmt: skip

    @classmethod
    def stream(cls, body: dict[str, Any], say: Say) -> list[bytes]:
        def event(name: str, **fields: Any) -> bytes:
            return f"event: {name}\ndata: ".encode() + json.dumps({"type": name, **fields}, ensure_ascii=False).encode() + b"\n\n"

        empty = {**cls.whole(body, Say(extra=say.extra)), "content": [], "stop_reason": None, "usage": {**cls.usage(), "output_tokens": 1}}
        events = [event("message_start", message=empty), event("ping")]
        index = 0
        if text := say.text or say.refuse:
            events.append(event("content_block_start", index=0, content_block={"type": "text", "text": ""}))
            events += [event("content_block_delta", index=0, delta={"type": "text_delta", "text": w}) for w in _words(text)]
            events.append(event("content_block_stop", index=0))
            index = 1
        for name, arguments in say.tools:
            events.append(
                event(
                    "content_block_start",
                    index=index,
                    content_block={"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}},
                )
            )
            text = json.dumps(arguments)
            for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
                events.append(event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": piece}))
            events.append(event("content_block_stop", index=index))
            index += 1
        if say.error_in_stream:
            return [*events, event("error", error={"type": "overloaded_error", "message": say.error_in_stream})]
        delta = {"stop_reason": cls.finish(say), "stop_sequence": None}
        events.append(event("message_delta", delta=delta, usage={"output_tokens": USAGE["output"]}))
        return [*events, event("message_stop")]


async def _serve(script: list[Say]) -> None:
    async with ScriptedProvider(*script) as provider:
        print(provider.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve([Say(**s) for s in json.loads(sys.argv[1] if len(sys.argv) > 1 else "[]")]))
