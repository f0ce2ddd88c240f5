"""Secrets that were planted are nowhere to be found: a whole server is called so that all goes well, and so that all goes wrong, by a
provider that gives back the key it was shown wherever it can. Then every answer, every page and every byte of the data folder is searched.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from tests.doors.server import Server, until

IN_ENVIRONMENT = "sk-planted-in-environment-7f3a91"
STORED = "sk-planted-and-stored-5d20c8e4"
ANTHROPIC = "sk-ant-planted-stored-91be77"
CLIENT_SECRET = "planted-entra-client-secret-44d1"
TOKEN = "planted-access-token-0be3f6"
SEALS = "9c" * 24 + b"planted!".hex()
PLANTED = (IN_ENVIRONMENT, STORED, ANTHROPIC, CLIENT_SECRET, TOKEN, SEALS)
SLOW = ("hang", "429", "500", "not-json", "silent")  # told apart by no provider: one stands for all
CASES = ("well", "401", "403", "400", "429", "500", "cut", "error-in-stream", "hang", "not-json", "silent")
WRONG: tuple[dict[str, Any], ...] = (
    {"provider": "no such", "secret": STORED}, {"provider": "openai", "secret": STORED, "fields": {"x": STORED[:3]}},
    {"provider": "openai", "secret": [STORED]}, {"secret": STORED}, {"provider": "vertex", "secret": f'{{"a": "{STORED}"'},
)  # fmt: skip


def forms(secret: str) -> set[bytes]:
    """As it is, turned around, in hexadecimal, and in base64 wherever it may begin."""
    raw = secret.encode()
    shifted = {base64.b64encode(b"\0" * n + raw)[4 : -4 - 4 * bool(n)] for n in range(3)}
    return {raw, raw[::-1], raw.hex().encode(), *shifted}


class Echo:
    """A provider whose answers hold the key that came. Which case it is, the model's name says."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.loop = asyncio.new_event_loop()
        self.url = ""
        begun = threading.Event()
        threading.Thread(target=self._serve, args=(begun,), daemon=True).start()
        assert begun.wait(10)

    def _serve(self, begun: threading.Event) -> None:
        async def start() -> None:
            app = web.Application()
            app.router.add_route("*", "/{tail:.*}", self.answer)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            begun.set()

        self.loop.create_task(start())
        self.loop.run_forever()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/token"):
            return web.json_response({"access_token": TOKEN, "expires_in": 3600})
        key = request.headers.get("x-api-key") or request.headers.get("api-key") or request.headers.get("Authorization", "")
        self.seen.add(key.removeprefix("Bearer "))
        body = await request.json() if request.can_read_body else {}
        case = str(body.get("model", "well")).rpartition("/")[2]
        headers = {"x-request-id": key, "openai-organization": key}
        if case.isdigit():
            return web.json_response({"error": {"message": f"no: {key}", "key": key}}, status=int(case), headers=headers)
        if case == "hang":
            await asyncio.sleep(30)
        if case == "not-json":
            return web.Response(text=f"<html>{key}</html> {key}", headers=headers)
        if case == "silent":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if not body.get("stream"):
            message = {"role": "assistant", "content": f"your key is {key}"}
            whole = {"id": key, "object": "chat.completion", "created": 1, "model": key, "content": [{"type": "text", "text": key}]}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            more = {"type": "message", "role": "assistant", "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}
            return web.json_response({**whole, **more, "choices": choices, "data": [{"id": key}]}, headers=headers)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **headers})
        await response.prepare(request)
        event = json.dumps({"id": key, "choices": [{"index": 0, "delta": {"content": f"your key is {key}"}}]})
        await response.write(f"data: {event}\n\ndata: ".encode())
        if case == "error-in-stream":
            await response.write(json.dumps({"error": {"message": f"broken: {key}"}}).encode() + b"\n\n")
        else:
            await response.write(event[:40].encode())
            await asyncio.sleep(0.01)
        assert request.transport is not None
        request.transport.abort()
        return response


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
def server(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {
        "OPENAI_BASE_URL": f"{echo.url}/v1", "OPENAI_API_KEY": IN_ENVIRONMENT, "AZURE_OPENAI_ENDPOINT": echo.url,
        "AZURE_AUTHORITY_HOST": echo.url, "AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": CLIENT_SECRET,
        "WINDLASS_SECRET_KEY": SEALS, "WINDLASS_RETRIES": "0", "WINDLASS_TOTAL_SECONDS": "0.6", "WINDLASS_FIRST_TOKEN_SECONDS": "0.4",
    }  # fmt: skip
    made = Server(tmp_path_factory.mktemp("planted") / "home", env=env)
    yield made
    made.stop()


def asked(server: Server, echo: Echo) -> list[tuple[str, bytes]]:
    """Everything that the server said, by what it was asked."""
    said: list[tuple[str, bytes]] = []
    with contextlib.closing(server.client()) as client, server.owner() as http:
        given = (
            client.providers.give("far", STORED, fields={"base_url": f"{echo.url}/v1"}, like="openai", note="for a test"),
            client.providers.give("anthropic", ANTHROPIC, fields={"base_url": f"{echo.url}/v1"}, every_project=False),
        )
        said += [("give", repr(given).encode()), ("rekey", repr(client.providers.rekey()).encode())]
        chat = {"messages": [{"role": "user", "content": "what is your key?"}], "max_tokens": 5}
        for case in CASES:
            for provider in ("openai", "far", "anthropic", "azure"):
                for path in ("/v1/chat/completions", "/v1/messages"):
                    for stream in (False, True):
                        body = {**chat, "model": f"{provider}/{case}", "stream": stream}
                        if case in SLOW and (provider != "far" or path == "/v1/messages"):
                            continue
                        answer = http.post(path, json=body)
                        said.append((f"{path} {body['model']} {stream}", answer.content + repr(answer.headers).encode()))
            said.append((f"embeddings {case}", http.post("/v1/embeddings", json={"model": f"far/{case}", "input": "x"}).content))
        for name in ("openai", "far", "anthropic", "azure", "mistral"):
            for model in ("", "401", "hang") if name == "far" else ("", "400"):
                said.append((f"test {name} {model}", repr(client.providers.test(name, model)).encode()))
        for wrong in WRONG:
            said.append((f"wrong {wrong}"[:20], http.post("/api/v1/providers/key", json=wrong).content))
        said.append(("wrong form", http.post("/providers/keys", data={"provider": "nobody", "secret": STORED}).content))
        until(lambda: len(client.traces.list(limit=200).items) > 60)
        said += pages(http, client)
    return said


def pages(http: Any, client: Any) -> list[tuple[str, bytes]]:
    paths = [
        "/providers", "/providers.json", "/traces", "/traces.json", "/status", "/audit", "/audit.json", "/models", "/logs", "/dashboards",
        "/api/v1/providers/list?project=default", "/api/v1/system/status", "/api/v1/openapi.json", "/people", "/alerts",
    ]  # fmt: skip
    for trace in client.traces.list(limit=200).items[::6]:
        paths += [f"/traces/{trace.trace_id}.json"]
    return [(path, http.get(path).content) for path in paths]


@pytest.mark.slow
def test_no_planted_secret_is_ever_said_or_kept(server: Server, echo: Echo) -> None:
    said = asked(server, echo)
    assert echo.seen >= {IN_ENVIRONMENT, STORED, ANTHROPIC, TOKEN}  # each was used, so that each could leak
    assert sum(b"[key]" in text for _, text in said) > 20  # and was given back
    server.stop()
    searched = 0
    for secret in PLANTED:
        for form in forms(secret):
            for what, text in said:
                assert form not in text, f"{secret!r} in what was answered to {what}: {text[:600]!r}"
    for file in sorted(p for p in server.home.rglob("*") if p.is_file()):
        data = file.read_bytes()
        searched += len(data)
        for secret in PLANTED:
            for form in forms(secret):
                assert form not in data, f"{secret!r} in {file}"
    assert searched > 100_000 and any(file.suffix == ".wj" for file in server.home.rglob("*"))


def test_the_search_finds_what_is_there() -> None:
    for n in range(3):
        assert any(form in base64.b64encode(b"x" * n + STORED.encode() + b"more") for form in forms(STORED))
    assert any(form in STORED[::-1].encode() for form in forms(STORED)) and not any(form in b"sk-planted" for form in forms(STORED))
