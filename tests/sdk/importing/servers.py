"""Real servers of others with a history in them, from virtual environments of their own under `.bench/` (see `bench/peers.py`), and the
recordings made of what they answered:

    python -m tests.sdk.importing.servers mlflow|phoenix        seeds one, walks the story through a proxy, writes captured/
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from bench import peers
from tests.sdk.importing import story
from tests.sdk.importing.served import seen

from windlass.doors.local import open_local

HERE = Path(__file__).parent
VERSIONS = {"mlflow": peers.MLFLOW, "phoenix": peers.PHOENIX}
CAPTURED = {name: HERE / "captured" / f"{name}-{said.partition('==')[2]}.jsonl" for name, said in VERSIONS.items()}
SPANS = {"mlflow": 20, "phoenix": 21}  # of the seeds
SCORES = {"mlflow": 4, "phoenix": 5}
_VARIABLE = {"mlflow": "MLFLOW_TRACKING_URI", "phoenix": "PHOENIX_COLLECTOR_ENDPOINT"}
_ALIVE = {"mlflow": "/health", "phoenix": "/arize_phoenix_version"}
PATIENCE = 120.0  # seconds until one answers


def _free() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def server(product: str, folder: Path) -> Iterator[str]:
    """One that runs, with its history; its address."""
    port = _free()
    address = f"http://127.0.0.1:{port}"
    process = peers.mlflow(folder, port) if product == "mlflow" else peers.phoenix(folder, port, _free())
    try:
        end = time.monotonic() + PATIENCE
        while not _answers(address + _ALIVE[product]):
            assert process.poll() is None and time.monotonic() < end, (folder / f"{product}.log").read_text()[-2000:]
            time.sleep(0.2)
        python = peers.environment(product, VERSIONS[product]) / "python"
        env = {**os.environ, _VARIABLE[product]: address, "MLFLOW_DISABLE_TELEMETRY": "true"}
        script = shutil.copy(HERE / f"seed_{product}.py", folder / "shop.py")  # MLflow tells where it lies
        subprocess.run([python, script], env=env, check=True, capture_output=True, timeout=300, cwd=folder)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


def main(product: str) -> None:
    for module, name, size in story.SMALL:
        setattr(module, name, size)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with server(product, folder) as real, seen(real, CAPTURED[product]) as address, open_local(folder / "home") as client:
            story.walk(client, product, address, folder / "imports", SCORES[product], SPANS[product])
    text = CAPTURED[product].read_text()  # a stack tells where a library lies
    CAPTURED[product].write_text(text.replace(str(peers.FOLDER), "/peers"))


if __name__ == "__main__":
    main(sys.argv[1])
