"""A server whose PostgreSQL is killed under load: calls go on by the local copy, and what they used is counted when it is back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.doors.server import Server, until
from tests.registry.sources.postgresql_server import PASSWORD, PostgreSqlServer, binaries

from windlass.core.errors import Unavailable
from windlass.store.meta_postgres import PASSWORD as VARIABLE

pytestmark = pytest.mark.slow
APP = """
import windlass as w

w.component("reply", prompt="reply.md", model="openai/gpt-4o-mini", parameters={"max_tokens": 50})"""


@pytest.fixture
def provider() -> Iterator[str]:
    child = subprocess.Popen([sys.executable, "-m", "tests.scripted_provider", "[]"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    yield child.stdout.readline().strip()
    child.kill()
    child.wait()


@pytest.fixture
def database() -> Iterator[PostgreSqlServer]:
    folder = binaries()
    if folder is None:
        pytest.skip("there is no PostgreSQL server here: sh scripts/postgresql.sh installs one")
    made = PostgreSqlServer(folder)
    try:
        yield made
    finally:
        made.close()


def workspace(folder: Path) -> Path:
    folder.mkdir()
    (folder / "windlass.toml").write_text('name = "shop"\napp = "app.py"\n\n[releases]\nanswer = "component/reply"\n')
    (folder / "reply.md").write_text("---\ninputs: {question: string}\n---\nuser: {{ question }}\n")
    (folder / "app.py").write_text(APP)
    return folder


class Load:
    """Asks a model and a release by turns until it is told to stop; what did not succeed is in `failed`."""

    def __init__(self, address: str, key: str) -> None:
        self.made, self.failed = 0, list[str]()
        self._stop = threading.Event()
        self._http = httpx2.Client(base_url=address, headers={"authorization": f"Bearer {key}"}, timeout=20)
        self._thread = threading.Thread(target=self._go)
        self._thread.start()

    def ask(self, model: str) -> httpx2.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}
        return self._http.post("/v1/chat/completions", json=body if model != "answer" else {k: body[k] for k in ("model", "messages")})

    def _go(self) -> None:
        while not self._stop.is_set():
            for model in ("openai/gpt-4o-mini", "answer"):
                answer = self.ask(model)
                self.made += 1
                if answer.status_code != 200:
                    self.failed.append(f"{model}: {answer.status_code} {answer.text}")
            time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def test_postgresql_is_killed_under_load(database: PostgreSqlServer, provider: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "providers.toml").write_text(f'[openai]\nbase_url = "{provider}"\nbase_env = ""\n')
    env = {"WINDLASS_DATABASE": database.store_url(database.empty_store(migrated=False)), VARIABLE: PASSWORD}
    up = Server(home, env=env, workers=2)
    with up.client() as client:
        client.providers.give("openai", "sk-given-0123456789-here")
        client.routes.set("fast", {"upstreams": [{"model": "openai/gpt-4o-mini"}]})
        client.push(workspace(tmp_path / "shop"))
        client.releases.promote("answer", override="to try")
        key, gone = client.keys.create("app"), client.keys.create("gone")
        client.limits.set(f"key:{key.id}", "requests", 100_000, "ever")
        client.limits.set(f"key:{key.id}", "dollars", 50, "ever")
        client.keys.revoke(gone.id)
        probe = client.keys.create("probe")
        client.limits.set(f"key:{probe.id}", "requests", 1000, "month")
        until(lambda: all(_knows(up, str(probe.secret)) for _ in range(8)))  # both workers
        load = Load(up.address, str(key.secret))
        until(lambda: load.made > 30)
        database.stop("immediate")
        since = load.made
        until(lambda: load.made > since + 60, 60)
        told = until(lambda: json.loads(up.owner().get("/api/v1/system/status").text).get("serving"))
        assert "calls go on by the local copy" in told
        with pytest.raises(Unavailable):
            client.limits.set("project", "requests", 5)
        assert up.http(authorization=f"Bearer {gone.secret}").get("/v1/models").status_code == 401
        unknown = up.http(authorization="Bearer wl_aaaaaaaaaaaa_x").get("/v1/models")
        assert unknown.status_code == 503 and "not in the local copy" in unknown.text
        load.stop()
        assert load.failed == []
        until(lambda: _row(client, f"key:{key.id}", load.made), 30)  # traces are on the disk, and are told without the store

        before = up.parts()["doors-1"]["pid"], up.parts()["doors-2"]["pid"]  # both begin anew without the store
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        until(lambda: all((p := up.parts()[d])["pid"] not in before and p["state"] == "running" for d in ("doors-1", "doors-2")), 60)
        load.made += 3 * (n := 5)
        for _ in range(n):
            assert load.ask("fast").status_code == 200
            assert load.ask("openai/gpt-4o-mini").status_code == 200
            assert load.ask("answer").status_code == 200

        database.start()
        used = until(lambda: _used(client, f"key:{key.id}", load.made), 30)
        assert used["requests"] == load.made, "each call counted once, by whichever worker, and whether the store was there or not"
        spent = until(lambda: _row(client, f"key:{key.id}", load.made), 30)
        assert spent.calls == load.made and spent.unpriced == 0 and spent.name == "app"
        assert used["dollars"] == pytest.approx(spent.cost, abs=1e-6)
    assert up.stop() == 0


def _knows(up: Server, key: str) -> bool:
    """Whether a worker knows the newest limit, and so all before it."""
    with up.http(authorization=f"Bearer {key}") as http:
        body = {"model": "baseline", "messages": [{"role": "user", "content": "hi"}]}
        return "x-ratelimit-limit-requests" in http.post("/v1/chat/completions", json=body).headers


def _used(client: Any, key: str, made: int) -> dict[str, float] | None:
    try:
        found = {x.measured: x.uses[0].used for x in client.limits.list(key).items}
    except Unavailable:
        return None
    return found if found["requests"] >= made else None


def _row(client: Any, key: str, made: int) -> Any:
    return next((r for r in client.limits.spend("key").rows if r.value == key and r.calls >= made), None)
