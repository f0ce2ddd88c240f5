"""What tracing costs an application: a function that returns what it is given, traced by Windlass's SDK and by others.

    python -m bench.tracing [--calls 5000]

Each in a process of its own, with its own virtual environment, against a server of the bench that takes whatever it is sent at once.
Said are: what starting it takes in a fresh process (imports and set-up), wall time of a call in a loop (so with all that its threads take
from the loop, median of five), processor time of a call all in all until everything is sent, and how many bytes were sent.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.peers import environment

ROUNDS = 5
MEASURE = """
import json, os, sys, time
began = time.perf_counter()
{setup}
ready = time.perf_counter()

{decorator}
def answer(question, limit=3):
    return question

answer("warm")
calls, cpu, walls = {calls}, time.process_time(), []
for _ in range(5):
    start = time.perf_counter()
    for n in range(calls // 5):
        answer("What does a refund cost after thirty days?")
    walls.append((time.perf_counter() - start) / (calls // 5) * 1e6)
{flush}
walls.sort()
print(json.dumps({{"start_ms": (ready - began) * 1e3, "call_us": walls[2], "cpu_us": (time.process_time() - cpu) / calls * 1e6}}))
sys.stdout.flush()
os._exit(0)
"""
OTEL = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(os.environ["SINK"] + "/v1/traces"), max_queue_size=100_000))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("bench")
def traced(function):
    def call(*args):
        with tracer.start_as_current_span(function.__name__) as span:
            span.set_attribute("input", json.dumps(args))
            result = function(*args)
            span.set_attribute("output", json.dumps(result))
            return result
    return call
"""
LANGFUSE = """
import langfuse
client = langfuse.Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url=os.environ["SINK"])
"""
MLFLOW = """
os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = os.environ["SINK"] + "/v1/traces"
import mlflow
"""
# name: requirements of its environment, how it is set up, what traces a function, and what waits until all is sent
PEERS = {
    "OpenTelemetry SDK": (
        ("opentelemetry-sdk>=1.40,<2", "opentelemetry-exporter-otlp-proto-http>=1.40,<2"), OTEL, "@traced", "provider.force_flush()",
    ),
    "Langfuse": (("langfuse>=5,<6",), LANGFUSE, "@langfuse.observe()", "client.flush()"),
    "MLflow": (
        ("mlflow-tracing>=3,<4", "opentelemetry-exporter-otlp-proto-http>=1.40,<2"), MLFLOW, "@mlflow.trace",
        "mlflow.flush_trace_async_logging()",
    ),
}  # fmt: skip
OURS = ("import windlass\nwindlass.init(os.environ['SINK'], key='k')", "@windlass.trace", "assert windlass.flush(60)")


class Sink:
    """Takes everything."""

    def __init__(self) -> None:
        self.bytes = 0
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sink.bytes += len(self.rfile.read(int(self.headers.get("content-length") or 0)))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def measured(python: Path, setup: str, decorator: str, flush: str, calls: int) -> dict[str, float]:
    """Medians of some processes."""
    found: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        sink = Sink()
        code = MEASURE.format(setup=setup, decorator=decorator, flush=flush, calls=calls)
        with tempfile.TemporaryDirectory() as home:
            env = {**os.environ, "SINK": sink.url, "HOME": home, "PYTHONPATH": ""}
            done = subprocess.run([python, "-c", code], env=env, capture_output=True, text=True, timeout=300, cwd=home)
        if done.returncode or not done.stdout.strip():
            sys.exit(f"{decorator} failed:\n{done.stderr[-2000:]}")
        found.append({**json.loads(done.stdout.strip().splitlines()[-1]), "sent_bytes": sink.bytes / calls})
        sink.server.shutdown()
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    given = parser.parse_args()
    table: dict[str, Any] = {"Windlass": measured(Path(sys.executable), *OURS, given.calls)}
    for name, (requirements, *how) in PEERS.items():
        python = environment(name.lower().replace(" ", "-"), *requirements) / "python"
        table[name] = measured(python, *how, given.calls)
    ours = table["Windlass"]
    for name, figures in table.items():
        if not figures["sent_bytes"]:  # it found no way to this server, so what it took says nothing
            print(json.dumps({"bench": "tracing", "sdk": name, "unmeasured": "it sent nothing"}))
            continue
        ratios = {f"{f}_ratio": round(figures[f] / ours[f], 1) for f in ("start_ms", "call_us", "cpu_us")} if name != "Windlass" else {}
        print(json.dumps({"bench": "tracing", "sdk": name, **{n: round(v, 1) for n, v in figures.items()}, **ratios}))


if __name__ == "__main__":
    main()
