"""Traces in, until they can be asked for: spans a second acknowledged, spans a second in the tables, and how far the tables lag.

    python -m bench.traces [--seconds 10] [--masking off|secrets|personal] [--steady 10000] [--peers]
    python -m bench.traces --board 4          # the dashboard's questions over so many million spans: bench/board.py

A whole server as `windlass up` starts it, with one worker. Four connections send requests of 120 spans of about 2 kB, ten to a trace, with
text in ordinary words and ids that are new each time. Every half second one more connection asks how many spans there are: what was
acknowledged before it asked must be counted, so the time that takes is what somebody waits who asks for what was just sent. `--steady`:
lists of traces again and again, first while nothing comes, then while so many spans a second do. With peers
Phoenix and MLflow take the same requests afterwards (bench/ingest_peers.py).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import uvloop
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench import board, ingest_peers
from bench.gateway import MASKING, Client, percentile, serving

CONNECTIONS, SPANS, BODIES = 4, 120, 40
MARK = b"\xf1\xf2\xf3\xf4"  # in every id of a body; what stands for it makes the ids new
SYLLABLES = ["ka", "lo", "mi", "ter", "an", "du", "ver", "sen", "pro", "in", "el", "or", "ti", "na", "su", "ro"]


def words(rnd: random.Random, many: int, lexicon: list[str]) -> str:
    """Text whose words are as unevenly frequent as those of a language (Zipf)."""
    return " ".join(lexicon[min(int(rnd.paretovariate(0.9)), len(lexicon)) - 1] for _ in range(many))


def body(rnd: random.Random, lexicon: list[str]) -> bytes:
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope, now = resource.scope_spans.add(), time.time_ns()
    scope.scope.name = "opentelemetry.instrumentation.openai"
    for number in range(SPANS):
        if number % 10 == 0:
            trace, root = MARK + rnd.randbytes(12), MARK + rnd.randbytes(4)
        span = scope.spans.add(
            trace_id=trace, span_id=root if number % 10 == 0 else MARK + rnd.randbytes(4), name="answer" if number % 10 == 0 else "chat",
            start_time_unix_nano=now + number * 10**6, end_time_unix_nano=now + number * 10**6 + rnd.randrange(10**9),
            parent_span_id=b"" if number % 10 == 0 else root,
        )  # fmt: skip
        said = [{"role": "user", "parts": [{"type": "text", "content": words(rnd, 110, lexicon)}]}]
        answered = [{"role": "assistant", "parts": [{"type": "text", "content": words(rnd, 110, lexicon)}], "finish_reason": "stop"}]
        texts = {
            "gen_ai.operation.name": "invoke_agent" if number % 10 == 0 else "chat", "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-5-mini", "gen_ai.response.model": "gpt-5-mini-2025-08-07",
            "gen_ai.response.id": f"chatcmpl-{rnd.randbytes(12).hex()}", "gen_ai.conversation.id": f"s{rnd.randrange(500)}",
            "gen_ai.input.messages": json.dumps(said), "gen_ai.output.messages": json.dumps(answered), "user.id": f"u{rnd.randrange(90)}",
        }  # fmt: skip
        for key, text in texts.items():
            span.attributes.add(key=key).value.string_value = text
        for key, count in (("input_tokens", 900), ("output_tokens", 200), ("cache_read.input_tokens", 400)):
            span.attributes.add(key=f"gen_ai.usage.{key}").value.int_value = 100 + rnd.randrange(count)
    return made.SerializeToString()


class Sender(Client):
    """One connection that sends another body each time, with ids that nothing had before."""

    def __init__(self, requests: Iterator[bytes], numbers: Iterator[int], *rest: Any) -> None:
        super().__init__(b"", *rest)
        self.requests, self.numbers = requests, numbers

    def ask(self) -> None:
        self.request = next(self.requests).replace(MARK, next(self.numbers).to_bytes(4, "big"))
        super().ask()


async def load(port: int, key: str, owner: str, bodies: list[bytes], seconds: float) -> dict[str, float]:
    head = f"POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/x-protobuf\r\n"
    head += f"Authorization: Bearer {key}\r\nContent-Length: "
    requests = [f"{head}{len(b)}\r\n\r\n".encode() + b for b in bodies]
    loop, times, asked = asyncio.get_running_loop(), list[float](), list[float]()
    numbers, began = itertools.count(random.randrange(1 << 30)), time.perf_counter()
    dones = [loop.create_future() for _ in range(CONNECTIONS)]
    for n, done in enumerate(dones):
        mine = itertools.cycle(requests[n::CONNECTIONS])
        await loop.create_connection(
            lambda m=mine, d=done: Sender(m, numbers, began + seconds, times, d),
            "127.0.0.1",
            port,  # type: ignore[misc]
        )
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {owner}"}, timeout=120) as http:
        while not all(d.done() for d in dones):
            await asyncio.sleep(0.5)
            asked.append(await newest(http))
        await asyncio.gather(*dones)
        acknowledged = len(times) * SPANS
        sending = time.perf_counter() - began
        await newest(http)
        everything = time.perf_counter() - began
    return {
        "acknowledged": acknowledged / sending, "queryable": acknowledged / everything, "p50": percentile(times, 0.5),
        "p99": percentile(times, 0.99), "asked": max(asked), "asked50": sorted(asked)[len(asked) // 2], "spans": acknowledged,
    }  # fmt: skip


async def newest(http: Any) -> float:
    """Seconds until the newest traces were told, and with them everything that was acknowledged before."""
    began = time.perf_counter()
    (await http.get("/api/v1/traces/list", params={"limit": 20})).raise_for_status()
    return time.perf_counter() - began


LISTS = ({}, {"filter": "status:error"}, {"filter": "user:u7"}, {"filter": "has:session latency>500ms"})


async def steadily(
    port: int, key: str, owner: str, bodies: list[bytes], rate: float, seconds: float
) -> tuple[list[float], list[float], float]:
    """Seconds that lists took while nothing came, and while spans came at a rate; and how many did, a second."""
    numbers, sent = itertools.count(random.randrange(1 << 30)), 0
    head = {"content-type": "application/x-protobuf", "authorization": f"Bearer {key}"}
    limits = httpx2.Limits(max_connections=CONNECTIONS)
    async with (
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {owner}"}, timeout=120) as asking,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=head, timeout=120, limits=limits) as sending,
    ):

        async def lists(until: float) -> list[float]:
            took = list[float]()
            for query in itertools.cycle(LISTS):
                began = time.perf_counter()
                if began > until:
                    return took
                (await asking.get("/api/v1/traces/list", params={"limit": 50, **query})).raise_for_status()
                took.append(time.perf_counter() - began)
            raise AssertionError("lists go on until their time is over")

        async def send(first: float, until: float) -> None:
            """One of the connections: each request at its time, or at once where that has passed."""
            nonlocal sent
            for n, body in enumerate(itertools.cycle(bodies)):
                at = first + n * CONNECTIONS * SPANS / rate
                if at > until:
                    return
                await asyncio.sleep(max(0.0, at - time.perf_counter()))
                made = body.replace(MARK, next(numbers).to_bytes(4, "big"))
                (await sending.post("/v1/traces", content=made)).raise_for_status()
                sent += SPANS

        await newest(asking)
        quiet = await lists(time.perf_counter() + seconds)
        began = time.perf_counter()
        senders = [send(began + n * SPANS / rate, began + seconds) for n in range(CONNECTIONS)]
        busy, *_ = await asyncio.gather(lists(began + seconds), *senders)
        return quiet, busy, sent / (time.perf_counter() - began)


def processor(home: Path) -> dict[str, tuple[float, float]]:
    """Of each process of the server: seconds of processor, and MB that it holds."""
    found = {}
    for name, part in json.loads((home / "run" / "processes.json").read_bytes()).items():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(part["pid"])
            times = process.cpu_times()
            found[name] = (times.user + times.system, process.memory_info().rss / 1e6)
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=10.0)
    arguments.add_argument("--masking", choices=tuple(MASKING), default="secrets")
    arguments.add_argument("--steady", type=float, default=0.0, metavar="SPANS_A_SECOND")
    arguments.add_argument("--peers", action="store_true")
    arguments.add_argument("--board", type=float, default=0.0, metavar="MILLIONS")
    given = arguments.parse_args()
    if given.board:
        board.measure(given.board)
        return
    rnd, loaded = random.Random(1), os.getloadavg()[0]
    lexicon = ["".join(rnd.choices(SYLLABLES, k=rnd.randrange(1, 5))) for _ in range(20_000)]
    bodies = [body(rnd, lexicon) for _ in range(BODIES)]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ends:
        way = serving(Path(folder), given.masking, ends, MASKING[given.masking])
        home = Path(way.home)
        owner = (home / "token").read_text().strip()
        uvloop.run(load(way.port, way.key, owner, bodies, 0.5))
        before = processor(home)
        f = uvloop.run(load(way.port, way.key, owner, bodies, given.seconds))
        after = processor(home)
        steady = uvloop.run(steadily(way.port, way.key, owner, bodies, given.steady, given.seconds)) if given.steady else None
        stored = sum(p.stat().st_size for p in (home / "spans").rglob("*") if p.is_file())
    size = sum(map(len, bodies)) / BODIES / SPANS / 1000
    print(f"spans of {size:.2f} kB, masking {given.masking}; {os.cpu_count()} cores, load {loaded:.1f} before")
    print(f"acknowledged {f['acknowledged']:,.0f} spans/s (p50 {f['p50']:.0f} ms, p99 {f['p99']:.0f} ms a request)")
    print(f"in the tables {f['queryable']:,.0f} spans/s; a question for the newest waited {f['asked50']:.2f} s, at most {f['asked']:.2f} s")
    for name, (spent, held) in after.items():
        print(f"  {name}: {(spent - before[name][0]) / f['spans'] * 1e6:.1f} µs of processor a span, {held:.0f} MB")
    print(f"  files of spans {stored / 1e6:,.0f} MB")
    if steady:
        quiet, busy, rate = steady
        for what, took in (("while nothing comes", quiet), (f"while {rate:,.0f} spans/s come", busy)):
            print(f"lists {what}: p50 {percentile(took, 0.5):.0f} ms, p95 {percentile(took, 0.95):.0f} ms ({len(took)} of them)")
    if given.peers:
        numbers = itertools.count(1)
        requests = (b.replace(MARK, next(numbers).to_bytes(4, "big")) for b in itertools.cycle(bodies))
        for peer in ingest_peers.PEERS:
            told = ingest_peers.measure(peer, requests, SPANS, given.seconds)
            ratio = f"ours is {f['queryable'] / told.stored:,.0f} times that" if told.stored else "unmeasured"
            print(
                f"{peer.name}: acknowledged {told.acknowledged:,.0f} spans/s, stored {told.stored:,.0f} ({ratio}), {told.refused} refused"
            )


if __name__ == "__main__":
    sys.exit(main())
