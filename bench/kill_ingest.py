"""`kill -9` of the whole server during OTLP loads: what was acknowledged and is missing, what is there twice, and how
many lines of the ledger do not balance.

    python -m bench.kill_ingest [ROUNDS] [SPANS]       20 rounds of 20,000 spans by default

In each round four connections send batches of 100 spans; at a random moment every process of the server is killed and the server
started again, and the senders send again whatever was not acknowledged. Prints one JSON line.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import duckdb
import httpx2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.doors.server import Server

CONNECTIONS, BATCH = 4, 100


class Load:
    """One round's spans. `acknowledged` are the ids of those the server said it has."""

    def __init__(self, spans: int) -> None:
        ids = [os.urandom(8) for _ in range(spans)]
        # made once: who sends again sends the same bytes, as exporters do
        self.batches = [(ids[n : n + BATCH], request(ids[n : n + BATCH])) for n in range(0, spans, BATCH)]
        self.acknowledged: set[str] = set()
        self.address = ""
        self.token = ""
        self._lock = threading.Lock()

    def send(self) -> None:
        with httpx2.Client(timeout=10) as http:
            while True:
                with self._lock:
                    if not self.batches:
                        return
                    batch, body = self.batches.pop()
                try:
                    headers = {"authorization": f"Bearer {self.token}", "content-type": "application/x-protobuf"}
                    answer = http.post(f"{self.address}/v1/traces", content=body, headers=headers)
                    sent = answer.status_code == 200
                except httpx2.HTTPError:
                    sent = False
                    time.sleep(0.05)
                with self._lock:
                    if sent:
                        self.acknowledged |= {i.hex() for i in batch}
                    else:
                        self.batches.append((batch, body))


def request(ids: list[bytes]) -> bytes:
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add().scope_spans.add()
    now = time.time_ns()
    for number, i in enumerate(ids):
        scope.spans.add(trace_id=i + i, span_id=i, name=f"span {number}", start_time_unix_nano=now, end_time_unix_nano=now + 10**6)
    return made.SerializeToString()


def run(rounds: int, spans: int, home: Path, seed: int = 1) -> dict[str, float]:
    """The figures. Every acknowledged span must be there once."""
    chance = random.Random(seed)
    server = Server(home)
    acknowledged: set[str] = set()
    began, restarts = time.monotonic(), []
    for _ in range(rounds):
        load = Load(spans)
        load.address, load.token = server.address, server.token
        threads = [threading.Thread(target=load.send) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0.05, 0.6))
        for pid in (server.process.pid, *(p["pid"] for p in server.parts().values())):
            os.kill(pid, signal.SIGKILL)
        server.process.communicate()
        again = time.monotonic()
        server = Server(home)
        restarts.append(time.monotonic() - again)
        load.address = server.address
        for thread in threads:
            thread.join()
        acknowledged |= load.acknowledged
    with server.client() as client:
        told = list(client.traces.audit())[-1]  # answered after everything that was synced is projected
    server.stop()
    stored = counted(home)
    return {
        "rounds": rounds, "spans": rounds * spans, "acknowledged": len(acknowledged), "missing": len(acknowledged - stored.keys()),
        "doubled": sum(n > 1 for n in stored.values()), "seconds": round(time.monotonic() - began, 1),
        "lines": told.lines, "off": told.lines - told.balanced, "restart_s_worst": round(max(restarts), 2),
    }  # fmt: skip


def counted(home: Path) -> dict[str, int]:
    """How often each span id is in the tables. A batch that was synced but not acknowledged was sent twice with the same
    content, and must still be there once."""
    found: dict[str, int] = {}
    for path in (home / "spans").glob("*.duckdb"):
        with duckdb.connect(str(path), read_only=True) as db:
            for span, count in db.execute(
                "SELECT lpad(lower(to_hex(span_id)), 16, '0'), count(*) FROM spans WHERE name LIKE 'span %' GROUP BY 1"
            ).fetchall():
                found[span] = found.get(span, 0) + count
    return found


if __name__ == "__main__":
    rounds, spans = (int(x) for x in (sys.argv[1:3] + ["20", "20000"][len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(rounds, spans, Path(folder) / "home")))
