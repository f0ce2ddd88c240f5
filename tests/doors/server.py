"""A server as `windlass up` starts it: its own processes, data folder and port."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2

from windlass.sdk.client import Client
from windlass.sdk.transport import HttpTransport


class Server:
    """Started at once; `stop` ends it. `told` is what it printed when it was ready."""

    def __init__(self, home: Path, *, env: dict[str, str] | None = None, ready: bool = True, **wanted: Any) -> None:
        self.home = home
        given = {"home": str(home), "port": 0, "tour": False, "json": True, **wanted}
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("WINDLASS", "OPENAI", "ANTHROPIC"))}
        environment |= {"WINDLASS_GRPC_PORT": "0", **(env or {})}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "windlass.doors.serve", json.dumps(given)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
        )  # fmt: skip
        atexit.register(self.kill)  # also when its test fails before it stops it
        if ready:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            self.told = json.loads(line)
            self.address: str = self.told["address"].replace("0.0.0.0", "127.0.0.1")

    @property
    def token(self) -> str:
        return (self.home / "token").read_text().strip()

    def client(self) -> Client:
        return Client(transport=HttpTransport(self.address, self.token))

    def http(self, **headers: str) -> httpx2.Client:
        return httpx2.Client(base_url=self.address, headers=headers, timeout=30)

    def owner(self) -> httpx2.Client:
        return self.http(authorization=f"Bearer {self.token}")

    def parts(self) -> dict[str, dict[str, Any]]:
        return json.loads((self.home / "run" / "processes.json").read_bytes())

    def stop(self, how: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.communicate(timeout=30)
        return self.process.returncode

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def until(what: Any, seconds: float = 20.0) -> Any:
    """Wait for something to become true; what it became."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)
    return found
