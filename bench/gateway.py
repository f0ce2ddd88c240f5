"""What the gateway adds: requests per second and latency at 1, 16 and 64 connections, beside the same load sent directly.

    python -m bench.gateway [--seconds 3] [--rounds 3] [--stream] [--alone] [--masking]

A whole server as `windlass up` starts it, with one worker, in front of a local upstream that answers at once: keys are checked,
tracing is on, every call's span goes through the journal to the tables. Beside it LiteLLM's proxy, with one worker and one key, which
keeps nothing of a call. With --masking three of ours stand in its place: masking off, as it is unless told (secrets), and with personal
data too. Direct and through the gateways alternate, and what is added is the difference of their medians and of their 99th percentiles.
Says how loaded the machine was before it began.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import uvloop
from tests.doors.server import Server

from bench.peers import litellm
from windlass.store.home import Home

MESSAGES = [{"role": "system", "content": "You answer briefly."}, {"role": "user", "content": "What is the capital of France? " * 8}]
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "echo",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris. " * 20}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 70, "completion_tokens": 40, "total_tokens": 110},
}  # fmt: skip
CHUNKS = 30
MASKING = {"off": "[default]\nsecrets = false\n", "secrets": "", "personal": "[default]\npersonal = true\n"}  # what `masking.toml` says


# ── the upstream ──────────────────────────────────────────────────────────────────────────────────────────────────────


def whole_answer() -> bytes:
    body = json.dumps(ANSWER).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def streamed_answer() -> list[bytes]:
    """The head, the chunks, the end: written one by one."""

    def chunk(data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data)

    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "echo"}
    event = b"data: %s\n\n" % json.dumps({**base, "choices": [{"index": 0, "delta": {"content": "Paris "}}]}).encode()
    last = b"data: %s\n\n" % json.dumps({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [head, *[chunk(event)] * CHUNKS, chunk(last), chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"]


class Upstream(asyncio.Protocol):
    whole, stream = whole_answer(), streamed_answer()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found:
            return
        length = next((int(h[15:]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")), 0)
        if len(body) < length:
            return
        self.data = body[length:]
        if b'"stream":true' in body.replace(b" ", b""):
            for piece in self.stream:
                self.transport.write(piece)
        else:
            self.transport.write(self.whole)


def serve_upstream(port: int) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(main())


# ── the load ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it was answered."""

    def __init__(self, request: bytes, until: float, times: list[float], done: asyncio.Future[None]) -> None:
        self.request, self.until, self.times, self.done = request, until, times, done
        self.data = b""
        self.errors = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.began = time.perf_counter()
        if self.began > self.until:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.data = b""
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        if at >= 0:
            whole = len(body) >= int(lower[at + 15 :].split(b"\r\n", 1)[0])
        else:
            whole = body.endswith(b"0\r\n\r\n")
        if whole:
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"the answer was {head[:60]!r} {body[:300]!r}")
            self.times.append(time.perf_counter() - self.began)
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server closed a connection"))


async def load(port: int, model: str, key: str, connections: int, seconds: float, stream: bool) -> tuple[float, list[float]]:
    """Requests per second and the latency of each, in seconds."""
    body = json.dumps({"model": model, "messages": MESSAGES, **({"stream": True} if stream else {})}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    loop = asyncio.get_running_loop()
    times: list[float] = []
    began = time.perf_counter()
    dones = [loop.create_future() for _ in range(connections)]
    for done in dones:
        await loop.create_connection(lambda d=done: Client(head.encode() + body, began + seconds, times, d), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*dones)
    return len(times) / (time.perf_counter() - began), times


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1000


class Way(msgspec.Struct, frozen=True):
    """One way to the upstream; `home` is the data folder of a server of ours."""

    name: str
    port: int
    model: str
    key: str
    home: str = ""

    def spent(self) -> float:
        """Processor seconds that its doors have taken: what a loaded machine does not change."""
        if not self.home:
            return 0.0
        parts = json.loads((Path(self.home) / "run" / "processes.json").read_bytes())
        times = psutil.Process(parts["doors"]["pid"]).cpu_times()
        return float(times.user + times.system)


async def measure(ways: list[Way], seconds: float, rounds: int, stream: bool) -> list[dict[str, Any]]:
    """Figures of each way at each number of connections; the first way is what the others are compared with."""
    rows = []
    for way in ways[1:]:
        await load(way.port, way.model, way.key, 8, 1.0, stream)
    for connections in (1, 16, 64):
        seen: dict[str, list[tuple[float, ...]]] = {way.name: [] for way in ways}
        for _ in range(rounds):
            for way in ways:
                before = way.spent()
                rate, times = await load(way.port, way.model, way.key, connections, seconds, stream)
                cpu = (way.spent() - before) / len(times) * 1e6
                seen[way.name].append((rate, percentile(times, 0.5), percentile(times, 0.99), cpu))
        figures = {name: [statistics.median(r[i] for r in found) for i in range(4)] for name, found in seen.items()}
        direct = figures[ways[0].name]
        for name, (rate, p50, p99, cpu) in figures.items():
            row = {"way": name, "connections": connections, "rps": rate, "p50": p50, "p99": p99, "cpu": cpu}
            rows.append(row | {"added_p50": p50 - direct[1], "added_p99": p99 - direct[2]})
    return rows


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def wait_for(port: int, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing came up on port {port}")


def serving(folder: Path, name: str, ends: contextlib.ExitStack, masking: str = "", upstream: int = 9) -> Way:
    """A server of ours, which `ends` stops; `masking` is what its `masking.toml` says."""
    home = Home(folder / name)
    if masking:
        (home.path / "masking.toml").write_text(masking)
    server = Server(home.path, env={"OPENAI_API_KEY": "sk-bench", "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}/v1"})
    ends.callback(server.stop)
    with server.client() as client:
        key = client.keys.create("bench").secret or ""
    return Way(name, int(server.address.rpartition(":")[2]), "openai/echo", key, str(home.path))


def figures(seconds: float, rounds: int, stream: bool, alone: bool, masking: bool = False) -> list[dict[str, Any]]:
    """Start the upstream and the gateways, and measure."""
    upstream = free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve_upstream, args=(upstream,))
    process.start()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ends:
        ends.callback(process.join, 5)
        ends.callback(process.terminate)
        wait_for(upstream)
        direct = Way("direct", upstream, "echo", "none")
        if masking:
            ways = [direct, *(serving(Path(folder), name, ends, text, upstream) for name, text in MASKING.items())]
            return uvloop.run(measure(ways, seconds, rounds, stream))
        ways = [direct, serving(Path(folder), "windlass", ends, upstream=upstream)]
        if not alone:
            port = free_port()
            peer = litellm(Path(folder), port, upstream, "sk-peer")
            ends.callback(peer.wait)
            ends.callback(peer.terminate)
            wait_for(port)
            ways.append(Way("litellm", port, "openai/echo", "sk-peer"))
        return uvloop.run(measure(ways, seconds, rounds, stream))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=3.0)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--stream", action="store_true")
    arguments.add_argument("--alone", action="store_true", help="without the peer")
    arguments.add_argument("--masking", action="store_true", help="off, on and with personal data, instead of the peer")
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_args()
    loaded = os.getloadavg()[0]
    rows = figures(asked.seconds, asked.rounds, asked.stream, asked.alone, asked.masking)
    if asked.json:
        print(json.dumps({"load_before": loaded, "cpus": os.cpu_count(), "stream": asked.stream, "rows": rows}))
        return
    first = "off" if asked.masking else "windlass"
    print(f"one worker each, {'streams of ' + str(CHUNKS + 2) + ' events' if asked.stream else 'whole answers'}; ", end="")
    print(f"{os.cpu_count()} cores, load {loaded:.1f} before; milliseconds")
    print(f"{'connections':>11} {'way':>9} {'per s':>8} {'p50':>8} {'added':>8} {'p99':>8} {'added':>8} {'CPU µs':>7}   {first} to it")
    rates = {r["connections"]: r["rps"] for r in rows if r["way"] == first}
    for r in rows:
        ratio = f"{rates[r['connections']] / r['rps']:.2f} ×" if r["way"] not in ("direct", first) else ""
        print(
            f"{r['connections']:>11} {r['way']:>9} {r['rps']:>8.0f} {r['p50']:>8.2f} {r['added_p50']:>8.2f}"
            f" {r['p99']:>8.2f} {r['added_p99']:>8.2f} {r['cpu']:>7.0f}   {ratio}".rstrip()
        )


if __name__ == "__main__":
    sys.exit(main())
