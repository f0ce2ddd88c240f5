"""Limits of a whole server: two workers, one of them killed, and what is counted held against what traces say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.doors.server import Server, until
from tests.doors.test_store_away import workspace

pytestmark = pytest.mark.slow
HELLO = [{"role": "user", "content": "hi"}]
SAID: list[dict[str, Any]] = [
    {"text": "Hello there, and so on"},
    {"text": "Hello there, and so on"},
    {"text": "Hello there, and so on"},
    {"text": "Hello there, and so on", "cut": 400},
    {"status": 500},
    {"text": "Hello there, and so on"},
    {"text": "Hello there, and so on"},
    {"hang": True},
    {"text": "Hello there, and so on"},
]


@pytest.fixture
def provider() -> Iterator[str]:
    child = subprocess.Popen([sys.executable, "-m", "tests.scripted_provider", json.dumps(SAID)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    yield child.stdout.readline().strip()
    child.kill()
    child.wait()


def test_what_is_counted_is_what_traces_say_and_a_killed_worker_holds_nothing(provider: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    table = f'[openai]\nbase_url = "{provider}"\nbase_env = ""\n\n[anthropic]\nbase_url = "{provider}"\n'
    (home / "providers.toml").write_text(table)
    up = Server(home, env={"OPENAI_API_KEY": "sk-x", "ANTHROPIC_API_KEY": "sk-y"}, workers=2)
    with up.client() as client:
        client.push(workspace(tmp_path / "shop"))
        client.releases.promote("answer", override="to try")
        client.limits.set("project", "dollars", 50, "month")
        client.limits.set("project", "concurrency", 1)
        client.limits.set("project", "requests", 1000, "day")
        until(lambda: all(_knows(up) for _ in range(8)))
        key = client.keys.create("app")
        http = up.http(authorization=f"Bearer {key.secret}")

        def ask(model: str = "openai/gpt-4o", path: str = "/v1/chat/completions", **more: Any) -> httpx2.Response:
            return http.post(path, json={"model": model, "messages": HELLO, **more})

        assert ask().status_code == 200
        assert ask(stream=True, stream_options={"include_usage": True}).status_code == 200
        assert ask(stream=True).status_code == 200  # tells no usage
        assert "broke" in ask(stream=True).text  # cut off
        assert ask().status_code == 500
        assert ask("anthropic/claude-sonnet-4-6").status_code == 200  # translated
        assert ask("answer").status_code == 200

        until(lambda: _calls(client) == 7)  # their traces are on the disk: a killed process loses those of its last moments

        hanging = threading.Thread(target=lambda: _quietly(lambda: ask()))
        hanging.start()
        until(lambda: _reserved(client) == 1.0)
        assert ask().status_code == 429  # one at once, whichever worker
        workers = [up.parts()[name]["pid"] for name in ("doors-1", "doors-2")]
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        hanging.join()
        until(lambda: all(up.parts()[n]["pid"] not in workers and up.parts()[n]["state"] == "running" for n in ("doors-1", "doors-2")))
        assert until(lambda: (r := ask()).status_code == 200 and r)
        assert _reserved(client) == 0.0

        until(lambda: _calls(client) == 8)
        spend = client.limits.spend("model")
        used = {x.measured: x.uses[0].used for x in client.limits.list().items}
        assert used["dollars"] == pytest.approx(spend.whole.cost, abs=1e-8) and spend.whole.cost > 0
        assert spend.whole.unpriced == 1  # the one that failed
        assert spend.whole.cost == pytest.approx(sum(r.cost for r in spend.rows), abs=1e-9)
    assert up.stop() == 0


def _knows(up: Server) -> bool:
    with up.owner() as http:
        return "x-ratelimit-limit-requests" in http.post("/v1/chat/completions", json={"model": "baseline", "messages": HELLO}).headers


def _calls(client: Any) -> int:
    return sum(r.calls for r in client.limits.spend("key").rows if r.name == "app")


def _reserved(client: Any) -> float:
    return sum(u.reserved for x in client.limits.list().items if x.measured == "concurrency" for u in x.uses)


def _quietly(do: Any) -> None:
    try:
        do()
    except httpx2.TransportError:
        pass
