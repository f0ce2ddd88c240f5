"""What the gateway adds at a steady pace, to the first token of a stream, and what many slow streams at once cost.

    python -m bench.paced [--rate 500] [--seconds 5] [--rounds 3] [--streams 2000] [--ticks 10]

A whole server as `windlass up` starts it, one worker, tracing on. Three measurements, the first two beside the same load sent directly, in
turns: whole answers that are asked for at a fixed rate, each timed from when it was due (a slow answer delays none after it); streams,
timed to their first event; and slow streams, opened all at once, of one event a second: all must come whole, and the memory of the
server's processes is read at the height of it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import uvloop

from bench.gateway import Upstream, Way, free_port, percentile, serving, streamed_answer, wait_for

SHORT = [{"role": "user", "content": "What is the capital of France?"}]


# ── the upstream: as the other bench's, and slow where it is asked for ticks ──────────────────────────────────────────


class Paced(Upstream):
    """Answers at once; a body with `"seed":N` gets N events, one a second."""

    def data_received(self, data: bytes) -> None:
        whole = self.data + data
        _, found, body = whole.partition(b"\r\n\r\n")
        at = body.find(b'"seed":')
        if not found or at < 0 or not body.endswith(b"}"):
            super().data_received(data)
            return
        self.data = b""
        self.ticking = asyncio.ensure_future(self.tick(int(body[at + 7 :].split(b"}")[0].split(b",")[0])))

    async def tick(self, ticks: int) -> None:
        head, event, *_, last, end = streamed_answer()
        self.transport.write(head)
        for _ in range(ticks):
            await asyncio.sleep(1.0)
            self.transport.write(event)
        self.transport.write(last)
        self.transport.write(end)


def serve(port: int) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Paced, "127.0.0.1", port, backlog=4096)
        await server.serve_forever()

    more_files()
    uvloop.run(main())


def more_files() -> None:
    """As many open files as this user may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# ── the load ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Connection(asyncio.Protocol):
    """Asks one question at a time. `first` and `last` are when the first event and the end of its answer came."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        self.data, self.first = b"", 0.0
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answered

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.first and b"data: " in self.data:
            self.first = time.perf_counter()
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found or self.answered is None or self.answered.done():
            return
        at = head.lower().find(b"content-length:")
        whole = len(body) >= int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else body.endswith(b"0\r\n\r\n")
        if whole and not head.startswith(b"HTTP/1.1 200"):
            self.answered.set_exception(SystemExit(f"the answer was {head[:60]!r} {body[:300]!r}"))
        elif whole:
            self.answered.set_result(self.data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(ConnectionError("the server closed a connection"))


def request(way: Way, **more: Any) -> bytes:
    body = json.dumps({"model": way.model, "messages": SHORT, **more}, separators=(",", ":")).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{way.port}\r\nContent-Type: application/json\r\n"
    return (head + f"Authorization: Bearer {way.key}\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body


async def connections(way: Way, count: int) -> list[Connection]:
    loop, made = asyncio.get_running_loop(), []
    for _ in range(count):
        made.append((await loop.create_connection(Connection, "127.0.0.1", way.port))[1])
    return made


async def steady(way: Way, rate: float, seconds: float, stream: bool) -> list[float]:
    """Seconds to each answer, or to the first event of each stream, of questions that are due at a fixed rate."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    made = await connections(way, 64)
    for one in made:
        free.put_nowait(one)
    asked = request(way, **({"stream": True} if stream else {}))
    times: list[float] = []

    async def one(due: float) -> None:
        connection = await free.get()
        await connection.ask(asked)
        times.append((connection.first if stream else time.perf_counter()) - due)
        free.put_nowait(connection)

    began = time.perf_counter()
    tasks = []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.ensure_future(one(due)))
    await asyncio.gather(*tasks)
    for connection in made:
        connection.transport.close()
    return times


async def compared(ways: list[Way], rate: float, seconds: float, rounds: int, stream: bool) -> dict[str, float]:
    """Medians over rounds of p50 and p99, directly and through, in milliseconds."""
    seen: dict[str, list[tuple[float, float]]] = {way.name: [] for way in ways}
    for way in ways[1:]:
        await steady(way, rate, 1.0, stream)
    for _ in range(rounds):
        for way in ways:
            times = await steady(way, rate, seconds, stream)
            seen[way.name].append((percentile(times, 0.5), percentile(times, 0.99)))
    direct, through = ([statistics.median(r[i] for r in seen[way.name]) for i in (0, 1)] for way in ways)
    return {"p50": through[0], "p99": through[1], "added_p50": through[0] - direct[0], "added_p99": through[1] - direct[1]}


async def slow(way: Way, count: int, ticks: int) -> dict[str, Any]:
    """Many slow streams at once; megabytes of the server's processes before them and at their height."""
    before = memory(way)
    made = await connections(way, count)
    asked = request(way, stream=True, seed=ticks)
    began = time.perf_counter()
    answers = [connection.ask(asked) for connection in made]
    firsts: list[float] = []
    await asyncio.sleep(ticks * 0.75)
    height = memory(way)
    whole = await asyncio.gather(*answers, return_exceptions=True)
    events = [a.count(b"data: ") if isinstance(a, bytes) else 0 for a in whole]
    firsts = [c.first - began for c in made if c.first]
    for connection in made:
        connection.transport.close()
    return {
        "streams": count, "whole": sum(e == ticks + 2 for e in events), "seconds": time.perf_counter() - began,
        "first_event_p50_s": statistics.median(firsts), "first_event_p99_s": percentile(firsts, 0.99) / 1000,
        "doors_before_mb": before["doors"], "doors_mb": height["doors"], "all_mb": sum(height.values()),
    }  # fmt: skip


def memory(way: Way) -> dict[str, float]:
    """Megabytes that each of the server's processes holds."""
    parts = json.loads((Path(way.home) / "run" / "processes.json").read_bytes())
    return {name: psutil.Process(part["pid"]).memory_info().rss / 2**20 for name, part in parts.items() if "pid" in part}


def figures(rate: float, seconds: float, rounds: int, streams: int, ticks: int) -> dict[str, Any]:
    """Start the upstream and the server, and measure."""
    more_files()
    upstream = free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(upstream,))
    process.start()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ends:
        ends.callback(process.join, 5)
        ends.callback(process.terminate)
        wait_for(upstream)
        ours = serving(Path(folder), "windlass", ends, upstream=upstream)
        ways = [Way("direct", upstream, "echo", "none"), ours]
        whole = uvloop.run(compared(ways, rate, seconds, rounds, False))
        first = uvloop.run(compared(ways, min(rate, 100.0), seconds, rounds, True))
        return {"whole": whole, "first_event": first, "slow": uvloop.run(slow(ours, streams, ticks))}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rate", type=float, default=500.0, help="whole answers a second")
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--streams", type=int, default=2000)
    arguments.add_argument("--ticks", type=int, default=10, help="events of a slow stream, one a second")
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_args()
    loaded = os.getloadavg()[0]
    found = figures(asked.rate, asked.seconds, asked.rounds, asked.streams, asked.ticks)
    if asked.json:
        print(json.dumps({"load_before": loaded, "cpus": os.cpu_count(), "rate": asked.rate, **found}))
        return
    whole, first, many = found["whole"], found["first_event"], found["slow"]
    print(f"{os.cpu_count()} cores, load {loaded:.1f} before; milliseconds")
    print(f"whole answers, {asked.rate:g} a second: p50 {whole['p50']:.2f}, p99 {whole['p99']:.2f}", end="; ")
    print(f"added {whole['added_p50']:.2f} and {whole['added_p99']:.2f}")
    print(f"first event of a stream, {min(asked.rate, 100):g} a second: p50 {first['p50']:.2f}, p99 {first['p99']:.2f}", end="; ")
    print(f"added {first['added_p50']:.2f} and {first['added_p99']:.2f}")
    print(f"{many['whole']} of {many['streams']} slow streams at once came whole, in {many['seconds']:.1f} s", end="; ")
    print(f"first event after {many['first_event_p50_s']:.2f} s (p99 {many['first_event_p99_s']:.2f})")
    print(f"memory: doors {many['doors_before_mb']:.0f} → {many['doors_mb']:.0f} MB, all processes {many['all_mb']:.0f} MB")


if __name__ == "__main__":
    sys.exit(main())
