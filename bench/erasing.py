"""One person erased from a data folder full of others: how long it takes, and how long nobody else is answered.

`--traces N` (of three spans each, of about 1 kB; 200 people), `--rows N` of a dataset.
"""

from __future__ import annotations

import argparse
import json
import secrets
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from windlass.core import span as names
from windlass.core.span import Span
from windlass.doors.app import Application
from windlass.platform import Platform
from windlass.sdk.client import Client
from windlass.sdk.transport import InProcessTransport
from windlass.settings import load_settings
from windlass.store.home import Home

PEOPLE = 200
BATCH = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=30_000)
    parser.add_argument("--rows", type=int, default=20_000)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), asked.traces, asked.rows)))


def measure(folder: Path, traces: int, rows: int) -> dict[str, Any]:
    home = Home(folder / "home")
    home.lock()
    platform = Platform(home, load_settings(home.path))
    transport = InProcessTransport(Application(platform), headers={"authorization": f"Bearer {home.token()}"})
    client = Client(transport=transport)
    for start in range(0, traces, BATCH):
        for n in range(start, min(start + BATCH, traces)):
            platform.records.record(_trace(n))
        transport.run(platform.journal.settle())
    client.datasets.edit(
        "rows", [{"key": f"r{n}", "question": f"what about {n}", "customer": f"user-{n % PEOPLE:04}"} for n in range(rows)]
    )
    client.traces.list()  # projected
    waits: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            begun = time.monotonic()
            client.traces.list()
            waits.append(time.monotonic() - begun)
            time.sleep(0.05)

    asking = threading.Thread(target=ask)
    asking.start()
    begun = time.monotonic()
    made = client.erasures.make("user-0007")
    while (made := client.erasures.show(made.id)).status in ("queued", "running"):
        time.sleep(0.05)
    took = time.monotonic() - begun
    stop.set()
    asking.join()
    found = {
        "bench": "erasing", "spans": traces * 3, "rows": rows, "seconds": round(took, 1), "longest_wait_s": round(max(waits), 2),
        "erased": {p.place: p.count for p in made.erased}, "left": len(made.left), "status": made.status,
    }  # fmt: skip
    transport.run(platform.close())
    transport.close()
    return found


def _trace(n: int) -> list[Span]:
    trace, at, text = secrets.token_hex(16), time.time_ns(), f"what about {n}? " + "words " * 100
    user = {names.USER: f"user-{n % PEOPLE:04}", names.SESSION: f"s{n}", names.INPUT: json.dumps({"question": text}), names.KIND: "request"}
    root = Span(trace, secrets.token_hex(8), "request", at, at + 1000, status="ok", attributes=user)
    inner = {names.KIND: "model", names.INPUT: json.dumps(text), names.OUTPUT: json.dumps(text)}
    return [root, *(Span(trace, secrets.token_hex(8), "call", at, at + 10, parent=root.span_id, attributes=inner) for _ in range(2))]


if __name__ == "__main__":
    main()
