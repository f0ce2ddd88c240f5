"""The dashboard's questions over millions of spans: how long each takes, while more comes in.

    python -m bench.traces --board 4          # million spans, over four days

A store as the projector has it, one thread and the memory of `span_memory`. Traces have ten spans: one in ten also has what the gateway
tells of its calls, one in fifty a span that came again with another content, one in ten a score. Each question is asked five times, each
time after 2,000 more spans came, as on a server that works.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from windlass.core import span as names
from windlass.core.operations.figures import FiguresQuery
from windlass.store.segments import Position
from windlass.store.spans import SpanRow
from windlass.store.spans_duckdb import DuckSpans

SECOND, DAY = 10**9, 86_400 * 10**9
DAYS, EACH, WRITTEN, MORE = 4, 10, 20_000, 2_000  # EACH: spans of a trace
MODELS = (("gpt-5-mini", "openai"), ("gpt-5", "openai"), ("claude-sonnet-4-5", "anthropic"), ("gemini-2.5-flash", "google"))
QUESTIONS: dict[str, dict[str, Any]] = {
    "24 h, everything": {},
    "24 h, by model": {"by": "model"},
    "24 h, by release": {"by": "release"},
    "24 h, by user": {"by": "user"},
    "24 h, of one user": {"user": "u1"},
    "24 h, failed": {"status": "error"},
    "24 h, with time to first token": {"measures": ("traces", "calls", "scores", "first_token")},
    "4 days, everything": {"days": DAYS},
}


def trace_of(rnd: random.Random, began: int) -> list[SpanRow]:
    trace, root, end = rnd.randbytes(16).hex(), rnd.randbytes(8).hex(), began + rnd.randrange(SECOND, 6 * SECOND)
    common = {
        "project": "default", "trace_id": trace, "service": rnd.choice(["shop", "desk"]), "session": f"s{rnd.randrange(10**6)}",
        "user": f"u{int(rnd.paretovariate(0.8)) % 5000}", "release": f"release/answer@sha256:{rnd.randrange(4):064x}",
        "environment": "production", "receipt_ns": end, "status_message": "",
    }  # fmt: skip

    def made(span: str, parent: str | None, kind: str, start: int, end: int, **more: Any) -> SpanRow:
        given = common | {"status": "ok", "digest": rnd.randbytes(8).hex(), "input": '"how is this done "' * 8, "output": '"so "' * 40}
        attributes = f'{{"{names.FIRST_TOKEN}":{rnd.random():.3f},"http.route":"/ask","some.text":"{rnd.randbytes(60).hex()}"}}'
        given |= {"attributes": attributes} | more
        return SpanRow(span_id=span, parent=parent, name=kind, kind=kind, start_ns=start, end_ns=end, **given)

    rows = [made(root, None, "request", began, end, status="error" if rnd.random() < 0.02 else "ok")]
    gateway = rnd.random() < 0.1
    for number in range(EACH - 1):
        start, kind = began + number * SECOND // 10, rnd.choice(["model", "model", "retrieval", "tool", "component"])
        more: dict[str, Any] = {"tool": rnd.choice(["search", "mail", "open"])} if kind == "tool" else {}
        if kind == "model":
            model, provider = rnd.choice(MODELS)
            more = {"model": model, "provider": provider, "tokens_in": rnd.randrange(4000), "tokens_out": rnd.randrange(800)}
            more |= {"cost": rnd.random() / 100 if rnd.random() < 0.95 else None, "response": f"chatcmpl-{rnd.randbytes(12).hex()}"}
        rows.append(made(rnd.randbytes(8).hex(), root, kind, start, start + rnd.randrange(2 * SECOND), **more))
        if gateway and kind == "model":
            rows.append(made(rnd.randbytes(8).hex(), rows[-1].span_id, kind, start, start + SECOND // 100, **more))
    if rnd.random() < 0.02:
        rows.append(msgspec.structs.replace(rows[-1], digest=rnd.randbytes(8).hex(), receipt_ns=end + SECOND))
    if rnd.random() < 0.1:
        said = {names.SCORED: "helpful", names.SCORE: float(rnd.random() < 0.8), names.GIVEN: "boolean", names.GIVEN_TO: "trace"}
        rows.append(made(rnd.randbytes(8).hex(), root, "evaluator", end, end, attributes=msgspec.json.encode(said).decode()))
    return rows


def traces(rnd: random.Random, many: int, since: int, until: int) -> Iterator[list[SpanRow]]:
    """Rows of so many spans in all, evenly over a time, as they are written: of one day each."""
    batch, day = list[SpanRow](), ""
    for number in range(many // EACH):
        began = since + (until - since) * number * EACH // many
        if len(batch) >= WRITTEN or (batch and day_of(began) != day):
            yield batch
            batch = []
        day = day_of(began)
        batch += trace_of(rnd, began)
    yield batch


def day_of(at_ns: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at_ns / 1e9))


def measure(millions: float) -> None:
    rnd, now = random.Random(1), time.time_ns()
    with tempfile.TemporaryDirectory() as folder:
        store, number = DuckSpans(Path(folder)), 0
        for batch in traces(rnd, int(millions * 1e6), now - DAYS * DAY, now):
            number += 1
            store.write(day_of(batch[0].start_ns), batch, "w", Position(1, number))
        print(f"{store.counts()['spans']:,} spans over {DAYS} days, {store.size() / 1e6:,.0f} MB")
        began = time.perf_counter()
        store.figures(FiguresQuery(since_ns=now - DAY, until_ns=now))
        print(f"{(time.perf_counter() - began) * 1000:7,.0f} ms  the first question of all, 24 h")
        for name, asked in QUESTIONS.items():
            given = {**asked}
            since = now - given.pop("days", 1) * DAY
            store.figures(FiguresQuery(since_ns=since, until_ns=now, **given))
            took, spent = list[float](), list[float]()
            for _ in range(5):
                new = next(traces(rnd, MORE, now - SECOND, now))
                number += 1
                store.write(day_of(now), new, "w", Position(1, number))
                began, before = time.perf_counter(), time.process_time()
                found = store.figures(FiguresQuery(since_ns=since, until_ns=now, **given))
                took.append(time.perf_counter() - began)
                spent.append(time.process_time() - before)
            whole = found.whole
            most = f"at most {max(took) * 1000:,.0f} ms, of processor {statistics.median(spent) * 1000:,.0f}"
            print(f"{statistics.median(took) * 1000:7,.0f} ms  {name}, {most}: {whole.traces:,} traces, {whole.spans:,} spans", flush=True)
        store.close()
