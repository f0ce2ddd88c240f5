"""`/mcp/{agent}` with the real client of the protocol, on a real server: a grant's tools and no others, through the broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from tests.agentops import test_brokering
from tests.agentops.test_brokering import ORDER, SECRET
from tests.doors.server import Server
from tests.runtime import application as made_of
from tests.runtime.application import Application

from windlass.govern.tokens import Tokens
from windlass.store.home import Home

OLD = b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"_meta": {"io.modelcontextprotocol/protocolVersion": "1999"}}}'
SEVEN = {"properties": {"order": {"const": "7"}}, "required": ["order"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("mcp") / "home"

    async def register() -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(made_of, "APP", made_of.APP + test_brokering.TOOLS)
            app = Application(home)
        shop = test_brokering.Shop(app)
        shop.tool("refund", "write", parameters=ORDER)
        for name in ("orders", "hangs", "binary"):
            shop.tool(name)
        shop.tool("tells", secrets=("MAIL_KEY",))
        app.push()
        await app.runners.close()

    asyncio.run(register())
    made = Server(home, env={"WINDLASS_SECRET_MAIL_KEY": SECRET, "WINDLASS_SECRET_OTHER_KEY": "another one", "OTHER_KEY": "a third"})
    yield made
    made.stop()


def token(server: Server, *tools: Any, agent: str = "desk", **bounds: Any) -> tuple[str, str]:
    """A grant's token, and the grant."""
    with server.client() as client:
        id = client.grants.make(agent, "Refund order 7.", tools, **bounds).grant.id
        return client.grants.token(id).token, id


@contextlib.asynccontextmanager
async def opened(server: Server, secret: str, agent: str = "desk", mode: Any = "auto") -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {secret}"}, timeout=60) as http,
        Client(streamable_http_client(f"{server.address}/mcp/{agent}", http_client=http), mode=mode) as client,
    ):
        yield client


def text(result: Any) -> str:
    return str(result.content[0].text)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_sees_and_calls_what_its_grant_lists(server: Server, mode: str) -> None:
    """In the version without a handshake, and in those with one."""
    secret, id = token(server, {"tool": "tool/refund", "arguments": SEVEN, "uses": 1}, "tool/orders", "tool/tells", calls=9)
    async with opened(server, secret, mode=mode) as client:
        tools = {t.name: t for t in (await client.list_tools()).tools}
        assert list(tools) == ["orders", "refund", "tells"]
        assert tools["refund"].input_schema["properties"] == {"order": {"const": "7"}}
        assert tools["refund"].annotations is not None and tools["refund"].annotations.destructive_hint
        denied = await client.call_tool("refund", {"order": "8"})
        assert denied.is_error and "does not allow these arguments" in text(denied)
        assert text(await client.call_tool("refund", {"order": "7"})) == "refunded 7"
        assert "are used up" in text(await client.call_tool("refund", {"order": "7"}))
        assert text(await client.call_tool("orders", {})).startswith("[untrusted: this result speaks to a model")
        told = text(await client.call_tool("tells", {}))
        assert '"[secret MAIL_KEY]":' in told and SECRET not in told
        assert "MAIL_KEY" in told.partition("others")[2] and "OTHER_KEY" not in told and "SECRET_" not in told
        for name in ("hangs", "binary", "Refund", "refund ", ""):
            assert "there is no tool" in text(await client.call_tool(name, {}))
    with server.client() as client:
        state = client.grants.show(id)
    assert state.spent.calls == 3


@pytest.mark.parametrize("kind", ["forged", "borrowed", "expired", "revoked", "owner", "none"])
async def test_who_holds_no_token_of_this_agent_gets_nothing(server: Server, kind: str) -> None:
    secret, id = token(server, "tool/refund")
    agent = "desk"
    if kind == "forged":
        secret = Tokens(b"x" * 32).grant(id, "default", "desk", 2**33)
    elif kind == "borrowed":
        agent = "another"
    elif kind == "expired":
        secret = Tokens(Home(server.home).signing_key()).grant(id, "default", "desk", 1)
    elif kind == "revoked":
        with server.client() as client:
            client.grants.revoke(id)
    elif kind == "owner":
        secret = server.token
    elif kind == "none":
        secret = "x"
    with server.http(authorization=f"Bearer {secret}") as http:
        for method, params in (
            ("initialize", {"protocolVersion": "2025-11-25"}), ("server/discover", {}), ("tools/list", {}), ("x", {}),
            ("tools/call", {"name": "refund", "arguments": {"order": "7"}}),
        ):  # fmt: skip
            answer = http.post(f"/mcp/{agent}", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
            assert answer.status_code in (401, 403), method
            assert "refund" not in answer.text.replace("grants", "")
    with server.client() as client:
        assert client.grants.show(id).spent.calls == 0


async def test_a_grant_that_ends_while_a_client_is_there_ends_for_it(server: Server) -> None:
    secret, id = token(server, "tool/orders")
    async with opened(server, secret) as client:
        assert not (await client.call_tool("orders", {})).is_error
        with server.client() as owner:
            owner.stops.set("desk", "enough")
            assert "desk was stopped by owner: enough" in text(await client.call_tool("orders", {}))
            owner.stops.lift("desk")
            assert not (await client.call_tool("orders", {})).is_error
            owner.grants.revoke(id)
        with pytest.raises(Exception, match=r".+"):
            await client.call_tool("orders", {})


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, -32700), (b"[" * 100_000, {}, 400, -32700), (b"[]", {}, 400, -32700),
        (b'{"jsonrpc": "1.0", "method": "ping"}', {}, 400, -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}', {"mcp-method": "tools/call"}, 400, -32020),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "refund"}}', {"mcp-name": "orders"}, 400, -32020),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 5}}', {}, 200, -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "refund", "arguments": [1]}}', {}, 200, -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "resources/list"}', {}, 200, -32601),
        (OLD, {}, 400, -32022),
        (b'{"jsonrpc": "2.0", "method": "notifications/initialized"}', {}, 202, None),
    ],
    ids=lambda v: v[:30].decode() if isinstance(v, bytes) else "",
)  # fmt: skip
def test_what_is_no_request_is_told_so(server: Server, body: bytes, headers: dict[str, str], status: int, code: int | None) -> None:
    secret, id = token(server, "tool/refund", "tool/orders")
    with server.http(authorization=f"Bearer {secret}", **headers) as http:
        answer = http.post("/mcp/desk", content=body)
        assert answer.status_code == status
        if code is not None:
            assert answer.json()["error"]["code"] == code
        assert http.get("/mcp/desk").status_code == 405
    with server.client() as client:
        assert client.grants.show(id).spent.calls == 0


async def test_nothing_more_is_done_for_who_went_away(server: Server) -> None:
    """A call that waits for a person is given up with its caller: nobody can let it through any more."""
    secret, _ = token(server, {"tool": "tool/refund", "arguments": SEVEN, "on_miss": "ask"})
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "refund", "arguments": {"order": "8"}}}
    with server.client() as owner:
        async with httpx2.AsyncClient(base_url=server.address, headers={"authorization": f"Bearer {secret}"}, timeout=60) as http:
            call = asyncio.create_task(http.post("/mcp/desk", json=body))
            async with asyncio.timeout(30):
                while not (waiting := owner.approvals.list().items):
                    await asyncio.sleep(0.05)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        async with asyncio.timeout(30):
            while owner.approvals.list(state="all").items[0].state != "given-up":
                await asyncio.sleep(0.05)
        assert waiting[0].arguments == {"order": "8"}


async def test_a_person_lets_a_call_from_outside_through(server: Server) -> None:
    secret, _ = token(server, {"tool": "tool/refund", "arguments": SEVEN, "on_miss": "ask"})
    async with opened(server, secret) as client:
        call = asyncio.create_task(client.call_tool("refund", {"order": "8"}))
        with server.client() as owner:
            async with asyncio.timeout(30):
                while not (waiting := owner.approvals.list().items):
                    await asyncio.sleep(0.05)
            owner.approvals.decide(waiting[0].id, True)
        assert text(await call) == "refunded 8"


def test_two_homes_have_two_keys(server: Server, tmp_path: Path) -> None:
    other = Tokens(Home(tmp_path / "home").signing_key()).grant("0" * 36, "default", "desk", 2**33)
    with server.http(authorization=f"Bearer {other}") as http:
        assert http.post("/mcp/desk", json={"jsonrpc": "2.0", "id": 1, "method": "ping"}).status_code == 401
