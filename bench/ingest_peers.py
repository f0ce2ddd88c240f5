"""Phoenix and MLflow beside us, by the same requests: spans a second that lie in their tables.

    python -m bench.traces --peers

Each as its own documentation starts it on one machine: one process, SQLite. Four connections send for so many seconds; what is stored is
counted in its database until that stays the same for five seconds, and divided by all the time it took. An answer that is no success is
counted and sent again a moment later.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2

from bench import peers
from bench.gateway import free_port

STEADY, LONGEST = 5.0, 300.0
READY_SECONDS = 180


class Peer(NamedTuple):
    name: str
    start: Callable[[Path, int], subprocess.Popen[bytes]]
    database: str
    headers: dict[str, str]


PEERS = (
    Peer(peers.PHOENIX, lambda folder, port: peers.phoenix(folder, port, free_port()), "phoenix.db", {}),
    Peer(peers.MLFLOW, peers.mlflow, "mlflow.db", {"x-mlflow-experiment-id": "0"}),
)


class Told(NamedTuple):
    """Spans a second, acknowledged and stored, and how many requests were answered by no success."""

    acknowledged: float
    stored: float
    refused: int


def measure(peer: Peer, bodies: Iterator[bytes], spans: int, seconds: float) -> Told:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as ends:
        folder, port = Path(name), free_port()
        process = peer.start(folder, port)
        ends.callback(_stop, process)
        _ready(port, process)
        before, began = _count(folder / peer.database), time.perf_counter()
        acknowledged, refused = _send(port, peer.headers, bodies, seconds)
        sending = time.perf_counter() - began
        stored, steady = before, time.perf_counter()
        while (now := time.perf_counter()) - steady < STEADY and now - began < LONGEST:
            time.sleep(0.5)
            if (found := _count(folder / peer.database)) != stored:
                stored, steady = found, time.perf_counter()
    return Told(acknowledged * spans / sending, (stored - before) / max(sending, steady - began), refused)


def _send(port: int, headers: dict[str, str], bodies: Iterator[bytes], seconds: float) -> tuple[int, int]:
    lock, counts, until = threading.Lock(), [0, 0], time.perf_counter() + seconds

    def one() -> None:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as http:
            while time.perf_counter() < until:
                with lock:
                    body = next(bodies)
                try:
                    taken = http.post("/v1/traces", content=body, headers={"content-type": "application/x-protobuf", **headers}).is_success
                except httpx2.TransportError:
                    taken = False
                with lock:
                    counts[0 if taken else 1] += 1
                if not taken:
                    time.sleep(0.1)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts[0], counts[1]


def _count(database: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as c:
        return int(c.execute("SELECT count(*) FROM spans").fetchone()[0])


def _ready(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"http://127.0.0.1:{port}/", timeout=5).status_code < 500:
                return
        time.sleep(0.5)
    raise SystemExit("it did not start; see its log")


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
