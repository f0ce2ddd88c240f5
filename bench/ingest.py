"""OTLP in: spans a second until all of them are on disk and acknowledged, with masking off, as it is unless told
(secrets), and with personal data too.

    python -m bench.ingest [--seconds 3] [--rounds 3]

One worker; eight connections send batches of 100 spans of 2 kB, each an exchange with a model in which one text in ten holds an e-mail
address. The three servers take turns. Says how loaded the machine was before it began.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.gateway import MASKING, Client, percentile, serving

CONNECTIONS, BATCH = 8, 100
TEXT = "The customer asks what became of order 7 and whether the invoice was paid in full; see the note of last week. "


def batch() -> bytes:
    """A request of spans of 2 kB; its ids are its own, as an exporter's are."""
    made = ExportTraceServiceRequest()
    scope, now = made.resource_spans.add().scope_spans.add(), time.time_ns()
    for number in range(BATCH):
        span = scope.spans.add(
            trace_id=os.urandom(16), span_id=os.urandom(8), name="chat", start_time_unix_nano=now, end_time_unix_nano=now + 10**6
        )
        said = TEXT * 8 + (f"Write to customer.{number}@example.com." if number % 10 == 0 else "")
        for key, value in (
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.request.model", "gpt-5-mini"),
            ("gen_ai.input.messages", json.dumps([{"role": "user", "parts": [{"type": "text", "content": said}]}])),
            ("gen_ai.output.messages", json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": TEXT * 8}]}])),
        ):
            span.attributes.add(key=key).value.string_value = value
    return made.SerializeToString()


async def load(port: int, key: str, body: bytes, seconds: float) -> tuple[float, list[float]]:
    """Spans per second, and how long each batch took."""
    head = f"POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/x-protobuf\r\n"
    head += f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    loop, times, began = asyncio.get_running_loop(), list[float](), time.perf_counter()
    dones = [loop.create_future() for _ in range(CONNECTIONS)]
    for done in dones:
        await loop.create_connection(lambda d=done: Client(head.encode() + body, began + seconds, times, d), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*dones)
    return len(times) * BATCH / (time.perf_counter() - began), times


def figures(seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """By what is masked: spans a second, milliseconds of a batch at the middle and at 99 of 100, and processor µs of a span. Medians of
    the rounds."""
    seen: dict[str, list[tuple[float, ...]]] = {name: [] for name in MASKING}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ends:
        ways = [serving(Path(folder), name, ends, text) for name, text in MASKING.items()]
        for way in ways:
            uvloop.run(load(way.port, way.key, batch(), 0.5))
        for _ in range(rounds):
            for way in ways:
                before = way.spent()
                rate, times = uvloop.run(load(way.port, way.key, batch(), seconds))
                cpu = (way.spent() - before) / (len(times) * BATCH) * 1e6
                seen[way.name].append((rate, percentile(times, 0.5), percentile(times, 0.99), cpu))
    return {
        name: dict(zip(("spans", "p50", "p99", "cpu"), (statistics.median(f[i] for f in found) for i in range(4)), strict=True))
        for name, found in seen.items()
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=3.0)
    arguments.add_argument("--rounds", type=int, default=3)
    asked = arguments.parse_args()
    loaded = os.getloadavg()[0]
    found: dict[str, Any] = figures(asked.seconds, asked.rounds)
    print(
        f"one worker, spans of {len(batch()) / BATCH / 1000:.1f} kB in batches of {BATCH}; {os.cpu_count()} cores, load {loaded:.1f} before"
    )
    print(f"{'masking':>9} {'spans/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'CPU µs':>7}   off to it")
    for name, f in found.items():
        print(
            f"{name:>9} {f['spans']:>9,.0f} {f['p50']:>8.1f} {f['p99']:>8.1f} {f['cpu']:>7.1f}   {found['off']['spans'] / f['spans']:.2f} ×"
        )


if __name__ == "__main__":
    sys.exit(main())
