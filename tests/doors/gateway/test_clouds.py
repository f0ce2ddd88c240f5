"""Anthropic's and OpenAI's own clients through a whole server to models that a cloud hosts, with keys that were given here."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import anthropic
import openai
import pytest
from aiohttp import web
from tests.doors.server import Server, until
from tests.runtime.models.test_clouds import CLAUDE, PEM, SECRET, Cloud
from tests.runtime.models.test_event_stream import chunk
from tests.scripted_provider import Say, _anthropic

pytestmark = pytest.mark.slow


@pytest.fixture
def cloud() -> Cloud:
    made, begun = Cloud(), threading.Event()

    def serve() -> None:
        loop = asyncio.new_event_loop()

        async def start() -> None:
            app = web.Application()
            app.router.add_route("*", "/{tail:.*}", made.handle)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            begun.set()

        loop.run_until_complete(start())
        loop.run_forever()

    threading.Thread(target=serve, daemon=True).start()
    assert begun.wait(10)
    made.stream = b"".join(
        chunk(json.loads(block.partition(b"data: ")[2])) for block in _anthropic.stream({}, Say("hello there, grüß dich"))
    )
    return made


@pytest.fixture
def served(cloud: Cloud, tmp_path: Path) -> Iterator[Server]:
    env = {
        "BEDROCK_ANTHROPIC_BASE_URL": cloud.url, "BEDROCK_OPENAI_BASE_URL": f"{cloud.url}/aws/openai/v1",
        "VERTEX_ANTHROPIC_BASE_URL": cloud.url, "AZURE_OPENAI_ENDPOINT": cloud.url, "WINDLASS_WORKERS": "2",
    }  # fmt: skip
    made = Server(tmp_path / "home", env=env)
    yield made
    made.stop()


def test_official_clients_through_the_gateway(cloud: Cloud, served: Server) -> None:
    with served.client() as client:
        client.providers.give("bedrock", SECRET, fields={"access_key_id": "AKIDEXAMPLE", "region": "eu-central-1"})
        file = {"type": "service_account", "project_id": "p-1", "private_key_id": "k", "private_key": PEM, "client_email": "sa@p-1.iam"}
        client.providers.give("vertex", json.dumps({**file, "token_uri": f"{cloud.url}/token"}))
        client.providers.give("azure", "azure-key")
    theirs = anthropic.Anthropic(base_url=served.address, api_key=served.token, max_retries=0)
    asked = {"max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    for _ in range(4):  # by either worker
        with theirs.messages.stream(model=f"bedrock/{CLAUDE}", **asked) as stream:  # type: ignore[arg-type]
            assert "".join(stream.text_stream) == "hello there, grüß dich"
    beta = theirs.beta.messages.create(model=f"bedrock/{CLAUDE}", betas=["context-1m-2025-08-07"], **asked)  # type: ignore[arg-type]
    assert beta.content[0].text == "hello" and cloud.calls[-1][2]["anthropic_beta"] == ["context-1m-2025-08-07"]  # type: ignore[union-attr]
    assert theirs.messages.create(model="vertex/claude-sonnet-4-5@20250929", **asked).content[0].text == "hello"  # type: ignore[arg-type,union-attr]
    with pytest.raises(anthropic.BadRequestError, match="bedrock has no /messages/count_tokens"):
        theirs.messages.count_tokens(model=f"bedrock/{CLAUDE}", messages=asked["messages"])  # type: ignore[arg-type]
    ours = openai.OpenAI(base_url=f"{served.address}/v1", api_key=served.token, max_retries=0)
    for model in ("azure/my-deployment", "azure-deployments/my-deployment", "bedrock/openai.gpt-oss-20b-1:0", f"bedrock/{CLAUDE}"):
        said = ours.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
        assert said.choices[0].message.content == "hello", model  # the last one translated
    pieces = ours.chat.completions.create(model=f"bedrock/{CLAUDE}", messages=[{"role": "user", "content": "hi"}], stream=True)
    assert "".join(p.choices[0].delta.content or "" for p in pieces if p.choices) == "hello there, grüß dich"
    with served.client() as client:
        traces = until(lambda: [t for t in client.traces.list(limit=50).items if CLAUDE in t.name and t.output])
        assert any("grüß dich" in (t.output or "") for t in traces)
        client.providers.remove(client.providers.list().items[[p.name for p in client.providers.list().items].index("azure")].keys[0].id)
        gone = until(lambda: _refused(ours), 5)
        assert "AZURE_OPENAI_API_KEY is not set" in gone


def _refused(client: openai.OpenAI) -> str:
    """What the last of a row of calls was told, once none goes through any more."""
    said = ""
    for _ in range(4):
        try:
            client.chat.completions.create(model="azure/my-deployment", messages=[{"role": "user", "content": "hi"}])
        except openai.APIStatusError as e:
            said = e.message
        else:
            return ""
    return said
