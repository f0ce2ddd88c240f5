"""`grants` and `stops` in the terminal, and that a token opens nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.agentops.conftest import Shop
from tests.doors.cli.conftest import Shell
from tests.doors.server import Server

from windlass.core.operations import OPERATIONS
from windlass.govern.tokens import Tokens
from windlass.store.home import Home


@pytest.fixture
def desk(shell: Shell) -> Shell:
    """A data folder with an agent and two tools."""
    home = Home(shell.folder / "home").path
    Shop(f"sqlite:///{home / 'windlass.db'}").registered()
    return shell


def test_a_grant_is_made_asked_and_revoked(desk: Shell) -> None:
    assert "no grant lives now" in desk("grants", "list").stdout
    said = desk(
        "grants", "make", "agent/guide", "--task", "Refund [bold]7[/bold]", "--tool", "refund", "--tool", "tool/look", "--calls", "5",
        "--allow", 'refund.order="7"', "--allow", 'refund.amount={"maximum": 50}', "--uses", "refund=1", "--ask", "refund", "--for", "2h",
    ).stdout  # fmt: skip
    assert "Refund [bold]7[/bold]" in said and "0 of 5 calls" in said and "0 of 1 uses, else a person is asked" in said
    assert 'order  {"const": "7"}' in said and "any arguments it takes" in said and "in 1 h" in said
    (made,) = desk.json("grants", "list")["items"]
    id = made["grant"]["id"][-8:]
    assert made["grant"]["tools"][0]["arguments"]["additionalProperties"] is False
    assert "ALLOW" in desk("grants", "check", id, "refund", '{"order": "7", "amount": 5}').stdout
    assert "ASK" in desk("grants", "check", id, "refund", '{"order": "8", "amount": 5}', code=1).stdout
    assert desk.json("grants", "check", id, "look", '{"order": "8"}', "--agent", "agent/x", code=1)["code"] == "agent"
    assert desk("grants", "token", id, "--for", "10m").stdout.startswith("wlg_")
    assert "stopped  agent/guide  look into it" in desk("stops", "set", "agent/guide", "--why", "look into it").stdout
    assert "look into it" in desk("grants", "check", id, "look", '{"order": "8"}', code=1).stdout
    assert desk.json("stops", "list")["items"][0]["subject"] == "agent/guide"
    assert "goes on" in desk("stops", "lift", "agent/guide").stdout and "nothing is stopped" in desk("stops", "list").stdout
    assert "revoked" in desk("grants", "revoke", id).stdout
    assert "revoked by owner" in desk("grants", "show", id).stdout
    assert desk.json("grants", "list")["items"] == [] and len(desk.json("grants", "list", "--all")["items"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tool", "refund", "--allow", "refund.order=7x"), "is not JSON"),
        (("--tool", "refund", "--allow", "order=7"), "is not TOOL.ARGUMENT=VALUE"),
        (("--tool", "refund", "--allow", 'look.order="7"'), "add --tool look"),
        (("--tool", "refund", "--allow", 'refund.ordr="7"'), "it takes amount, note, order"),
        (("--tool", "refund", "--allow", 'refund.order={"fromat": "x"}'), "'fromat' would not be checked (did you mean 'format'"),
        (("--tool", "refund", "--uses", "refund"), "is not TOOL=NUMBER"),
        (("--tool", "refnd"), "tool/refnd"),
        (("--tool", "refund", "--for", "soon"), "no length of time"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_what_is_wrong_is_said(desk: Shell, arguments: tuple[str, ...], said: str) -> None:
    failed = desk("grants", "make", "agent/guide", "--task", "x", *arguments, code=1)
    assert said.split(" (did")[0] in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.fixture(scope="module")
def token_and_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Server, Path]]:
    home = tmp_path_factory.mktemp("granted") / "home"
    shop = Shop(f"sqlite:///{Home(home).path / 'windlass.db'}")
    shop.registered().time = 2_000_000_000 * 10**9  # the clock of the grant alone
    id = shop.grant().grant.id
    server = Server(home)
    with server.client() as client:
        token = client.grants.token(id, 600).token
    yield token, server, home
    server.stop()


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_grants_token_opens_no_operation(token_and_server: tuple[str, Server, Path], name: str) -> None:
    """Not one, whatever is asked: what it opens is the broker, which goes by the grant."""
    token, server, _ = token_and_server
    op = OPERATIONS[name]
    with server.http() as http:
        http.headers["authorization"] = f"Bearer {token}"
        answer = http.request(op.verb, op.path, content=b"{}" if op.verb == "POST" else None)
        assert answer.status_code in (400, 403), answer.text  # 400: what it lacks is said before anything is looked up
        assert "Traceback" not in answer.text


def test_a_grants_token_opens_no_door(token_and_server: tuple[str, Server, Path]) -> None:
    token, server, home = token_and_server
    forged = Tokens(os.urandom(32)).grant("0" * 36, "default", "agent/guide", 2**33)
    expired = Tokens(Home(home).signing_key()).grant("0" * 36, "default", "agent/guide", 1)
    chat = {"model": "baseline", "messages": [{"role": "user", "content": "x"}]}
    with server.http() as http:
        for secret, status in ((token, 403), (forged, 401), (expired, 401), ("wlg_", 401)):
            http.headers["authorization"] = f"Bearer {secret}"
            answers: list[httpx2.Response] = [
                http.get("/api/v1/grants/list"), http.get("/api/v1/artifacts/list"), http.post("/v1/chat/completions", json=chat),
                http.post("/v1/traces", json={"resourceSpans": []}), http.get("/grants"), http.put("/api/v1/blobs/sha256:" + "0" * 64),
                http.post("/api/v1/grants/token", json={"id": "0" * 36}),
            ]  # fmt: skip
            assert [a.status_code for a in answers] == [status] * len(answers), secret
