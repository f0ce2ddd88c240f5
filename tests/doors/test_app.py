"""All doors of one application: what everybody is told, and what goes out with every answer."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from typing import Any

import pytest
from tests.doors.server import Server, until

from windlass.doors.app import Application
from windlass.platform import Platform
from windlass.settings import load_settings
from windlass.store.home import Home


def test_health_is_for_everybody_and_tells_no_more_than_it_must(server: Server) -> None:
    with server.http() as http:
        answer = http.get("/healthz")
    assert answer.status_code == 200
    assert set(answer.json()) == {"status", "version", "parts"}
    assert answer.json()["parts"] == {"doors": "running", "projector": "running", "jobs": "running"}
    assert str(server.home) not in answer.text


def test_health_tells_of_a_part_that_is_gone(home: Any) -> None:
    server = Server(home)
    (home / "settings.toml").write_text("nonsense = 1\n")
    os.kill(server.parts()["projector"]["pid"], signal.SIGKILL)
    with server.http() as http:
        until(lambda: http.get("/healthz").json()["parts"]["projector"] == "waiting")
        assert http.get("/healthz").status_code == 200
    assert server.stop() == 0


@pytest.mark.parametrize("path", ["/", "/artifacts", "/nothing", "/api/v1/system/status", "/api/v1/nothing", "/status.json"])
def test_answers_are_sealed(server: Server, path: str) -> None:
    for http in (server.owner(), server.http()):
        with http:
            headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert ("content-security-policy" in headers) == (not path.startswith("/api/"))


def test_a_defect_is_told_by_number_and_kept_in_the_log(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With a real application in which one service has a mistake."""
    home = Home(tmp_path / "home")
    platform = Platform(home, load_settings(home.path))

    def broken(actor: Any, params: Any) -> Any:
        raise ZeroDivisionError("secret-of-the-service")

    platform.handlers["system.status"] = broken
    sent: list[dict[str, Any]] = []

    async def ask() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {home.token()}".encode())]
        scope = {
            "type": "http", "method": "GET", "scheme": "http", "path": "/api/v1/system/status", "query_string": b"", "headers": headers,
            "root_path": "", "http_version": "1.1", "server": ("localhost", 80), "client": ("127.0.0.1", 0), "state": {},
        }  # fmt: skip
        await Application(platform)(scope, receive, send)
        await platform.close()

    asyncio.run(ask())
    body = sent[1]["body"].decode()
    assert sent[0]["status"] == 500
    assert "secret-of-the-service" not in body
    number = re.search(r'"id":"([^"]+)"', body)
    assert number
    assert number[1] in caplog.text
    assert "secret-of-the-service" in caplog.text
