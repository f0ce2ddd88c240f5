"""Bodies that were sound and then were not: cut, flipped, spliced, nested and told to be huge. Whatever comes, the answer is one that the
protocol knows, it comes at once, and what is kept can be read.

    python -m pytest -m soak tests/doors/otlp/test_mutations.py -s        a million of them, counted
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from tests.doors.otlp.sent import FORMATS, a_log, a_metric, good, request, zstd

from windlass.core.actor import Actor
from windlass.core.errors import Invalid
from windlass.doors.otlp import Intake, Otlp
from windlass.doors.otlp.wire import JSON, PROTOBUF, SIGNALS
from windlass.govern.masking import Masking
from windlass.store.journal import Journal, JournalReader
from windlass.store.segments import Position
from windlass.traces.envelope import REFUSED, refusals_of, unseal
from windlass.traces.mapping import rows

SLOWEST = 5.0  # seconds; most take less than a millisecond
LIMIT = 300_000
PACKERS: dict[str, Any] = {"": lambda b: b, "gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress}


IDS = re.compile(r'(?<="traceId": ")[^"]+|(?<="spanId": ")[^"]+')


def as_hex(id: re.Match[str]) -> str:
    return base64.b64decode(id[0]).hex()


def seeds() -> list[tuple[str, str, bytes]]:
    """Signal, content type and body of sound requests that have a bit of everything."""
    spans = request(good("one"), good("zwei é"), good("three"))
    span = spans.resource_spans[0].scope_spans[0].spans[0]
    spans.resource_spans[0].resource.attributes.add(key="service.name").value.string_value = "x"
    span.attributes.add(key="n").value.int_value = 5
    span.attributes.add(key="list").value.array_value.values.add().kvlist_value.values.add(key="k").value.double_value = 1.5
    span.events.add(name="e", time_unix_nano=5).attributes.add(key="b").value.bytes_value = b"\0\xff"
    span.links.add(trace_id=b"x" * 16, span_id=b"y" * 8)
    logs = a_log("said sk-ant-api03-Zx81Qw62Er43Ty24Ui05Op96As87Df")
    logs.resource_logs[0].scope_logs[0].log_records.add(trace_id=b"x" * 16, span_id=b"y" * 8).body.kvlist_value.values.add(key="k")
    metrics = a_metric("m")
    scope = metrics.resource_metrics[0].scope_metrics[0]
    point = scope.metrics.add(name="h").histogram.data_points.add(count=3, bucket_counts=[1, 2], explicit_bounds=[5])
    point.exemplars.add(as_int=1, trace_id=b"x" * 16)
    scope.metrics.add(name="s").summary.data_points.add(count=1).quantile_values.add(quantile=0.5, value=1)
    scope.metrics.add(name="e").exponential_histogram.data_points.add(scale=2).positive.bucket_counts.extend([1, 2])
    found = []
    for name, made in (("traces", spans), ("logs", logs), ("metrics", metrics)):
        found.append((name, PROTOBUF, made.SerializeToString()))
        found.append((name, JSON, IDS.sub(as_hex, json_format.MessageToJson(made, indent=None)).encode()))
    return found


def nested(kind: str, deep: int) -> bytes:
    """Lists in lists in an attribute."""
    if kind == JSON:
        value = '{"arrayValue":{"values":[' * deep + "{}" + "]}}" * deep
        span = f'{{"traceId":"{"ab" * 16}","spanId":"{"cd" * 8}","attributes":[{{"key":"x","value":{value}}}]}}'
        return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}'.encode()
    value = b""
    for _ in range(deep):  # AnyValue.array_value of ArrayValue.values
        value = b"\x2a" + _length(b"\x0a" + _length(value))
    span = b"\x0a\x10" + b"x" * 16 + b"\x12\x08" + b"y" * 8 + b"\x4a" + _length(b"\x0a\x01x\x12" + _length(value))
    return b"\x0a" + _length(b"\x12" + _length(b"\x12" + _length(span)))


def _length(data: bytes) -> bytes:
    number, found = len(data), bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number]) + data


WORDS = [
    b"\xff\xff\xff\xff\x0f",
    b"\xff" * 9 + b"\x01",
    b"\x80" * 12,
    b"null",
    b"[[[[",
    b'{"a":',
    b"\\ud800",
    b"1e999",
    b"-1",
    b'"',
    b"\0" * 40,
    b"\xc3",
]


def mutated(random_: random.Random, body: bytes, others: list[bytes], kind: str) -> bytes:
    for _ in range(random_.choice((1, 1, 1, 2, 4))):
        at = random_.randrange(len(body) + 1)
        way = random_.randrange(9)
        if way == 0:
            body = body[:at]
        elif way == 1 and body:
            flipped = bytearray(body)
            for _ in range(random_.randint(1, 6)):
                flipped[random_.randrange(len(flipped))] ^= 1 << random_.randrange(8)
            body = bytes(flipped)
        elif way == 2:
            body = body[:at] + random_.choice(WORDS) + body[at:]
        elif way == 3:
            body = body[:at] + body[at + random_.randint(1, 20) :]
        elif way == 4:
            end = min(len(body), at + random_.randint(1, 60))
            body = body[:end] + body[at:end] * random_.choice((1, 2, 50)) + body[end:]
        elif way == 5:
            other = random_.choice(others)
            body = body[:at] + other[random_.randrange(len(other)) :]
        elif way == 6:
            body = body[:at] + random_.randbytes(random_.randint(1, 30)) + body[at:]
        elif way == 7 and random_.random() < 0.1:
            body = nested(kind, random_.choice((5, 49, 50, 99, 101, 400, 3000)))
        elif way == 8 and len(body) > at:
            body = body[:at] + bytes([random_.choice((0, 1, 0x7F, 0x80, 0xFF))]) + body[at + 1 :]
    return body


class World:
    """The door in this process, on a journal of its own, with masking as it is unless told."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder / "journal" / "doors")
        self.folder = folder / "journal"
        self.intake = Intake(
            self.journal, lambda headers: Actor("key:x", "owner", "shop"), lambda *_: None, LIMIT, LIMIT, Masking(folder / "masking.toml")
        )
        self.door = Otlp(self.intake)
        self.refused: Counter[tuple[str, str]] = Counter()  # what the journal says, by signal and reason

    async def post(self, name: str, kind: str, body: bytes, encoding: str = "", pieces: int = 1) -> tuple[int, str, bytes]:
        scope = {
            "path": f"/v1/{name}",
            "method": "POST",
            "headers": [(b"content-type", kind.encode()), (b"content-encoding", encoding.encode())],
        }
        step = len(body) // pieces + 1
        waiting = [body[i : i + step] for i in range(0, len(body), step)] or [b""]
        told: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

        async def send(message: Any) -> None:
            told.append(message)

        await self.door(scope, receive, send)
        return told[0]["status"], dict(told[0]["headers"])[b"content-type"].decode(), told[1]["body"]

    def check(self) -> Counter[int]:
        """Read everything that was kept; how many records of each format."""
        self.intake.close()
        self.journal.close()
        reader, found, at = JournalReader(self.folder), Counter[int](), Position(0, 0)
        while records := reader.read("doors", at):
            at = records[-1].position
            for record in records:
                kind, project, data = unseal(record.payload)
                if kind == REFUSED:
                    for r in refusals_of(data):
                        self.refused[r.signal, r.what] += r.items
                    continue
                FORMATS[kind].FromString(data)
                list(rows(kind, project, record.receipt_ns, data))
                assert b"sk-ant-api03-Zx81Qw62Er43Ty24Ui05Op96As87Df" not in data
                found[kind] += 1
        assert (at, reader.damages) == (reader.end("doors"), {})
        return found


async def test_thousands_of_mutated_bodies_harm_nothing(tmp_path: Path) -> None:
    world, random_, sound = World(tmp_path), random.Random(20), seeds()
    others = [body for _, _, body in sound]
    for name, kind, body in sound:
        for encoding, pack in PACKERS.items():
            code, shape, said = await world.post(name, kind, pack(body), encoding, 3)
            assert (code, shape, said) == (200, kind, b"{}" if kind == JSON else b""), said
    codes = Counter[int]()
    for number in range(2_500):
        name, kind, body = random_.choice(sound)
        encoding = random_.choice(("", "", "", *PACKERS))
        body = mutated(random_, body, others, kind)
        if encoding and random_.random() < 0.5:
            body = mutated(random_, PACKERS[encoding](body), others, PROTOBUF)
        elif encoding:
            body = PACKERS[encoding](body)
        began = time.perf_counter()
        code, shape, said = await world.post(name, kind, body, encoding, random_.randint(1, 3))
        assert time.perf_counter() - began < SLOWEST, (number, body[:500])
        assert (code in (200, 400, 413), shape) == (True, kind), (number, code, said[:300], body[:500])
        if code != 200:
            assert (json.loads(said)["code"] if kind == JSON else Status.FromString(said).code) in (3, 8)
        codes[code] += 1
    counts = world.intake.counts
    for name in SIGNALS:
        refused = sum(n for what, n in counts.items() if what.startswith(f"{name}.refused."))
        assert counts[f"{name}.received"] == counts[f"{name}.accepted"] + refused
    assert counts["traces.requests"] + counts["logs.requests"] + counts["metrics.requests"] == 2_500 + len(sound) * len(PACKERS)
    kept = world.check()
    said = {tuple(what.split(".", 2)): n for what, n in counts.items() if ".refused." in what or ".turned_away." in what}
    assert world.refused == {(signal, f"{what}:{reason}"): n for (signal, what, reason), n in said.items()}
    print(dict(codes), dict(kept))
    assert min(codes[200], codes[400]) > 200 and min(kept.values()) > 100


@pytest.mark.soak
async def test_a_million_mutated_bodies(tmp_path: Path) -> None:
    """Without a network and a disk: what would be kept is read at once."""
    world, random_, sound = World(tmp_path), random.Random(21), seeds()
    others = [body for _, _, body in sound]
    seen, began, slowest = Counter[str](), time.perf_counter(), 0.0
    for _ in range(1_000_000):
        name, kind, body = random_.choice(sound)
        body = mutated(random_, body, others, kind)
        start = time.perf_counter()
        try:
            payload, outcome = world.intake._made(SIGNALS[name], "shop", body, kind, "", True)
        except Invalid:
            seen["refused whole"] += 1
        else:
            seen["in part" if outcome.refused else "whole"] += 1
            if payload:
                format_, project, data = unseal(payload)
                FORMATS[format_].FromString(data)
                list(rows(format_, project, 7, data))
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < SLOWEST
    world.journal.close()
    print(f"{sum(seen.values()):,} mutated bodies in {time.perf_counter() - began:.0f} s, the slowest {slowest * 1e3:.0f} ms: {dict(seen)}")
