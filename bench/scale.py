"""Ten million spans on disk: how long lists, traces, a dashboard and searches take, and how much disk a span takes.

    python -m bench.scale [--millions 10] [--days 14] [--home FOLDER]

The store as the projector has it, one thread and the memory of `span_memory`. Spans are of about 2 kB, ten to a trace, evenly over so many
days; their texts are in words as unevenly frequent as those of a language, one word in fifty is a number of its own. With a folder the
spans stay there, and are used again. Each question is asked twenty times with other values each time; after each come 2,000 more spans.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.board import DAY, EACH, MODELS, SECOND, day_of
from bench.gateway import percentile
from bench.traces import SYLLABLES, words
from windlass.core.operations.figures import FiguresQuery
from windlass.core.operations.traces import TracePage, TraceQuery, TraceShow
from windlass.store.segments import Position
from windlass.store.spans import SpanRow
from windlass.store.spans_duckdb import DuckSpans

WRITTEN, MORE, ASKED = 10_000, 2_000, 20
TEXT = 850  # characters of an input and of an output
CORPUS = 3_000_000  # words that texts are cut from


class World:
    """Makes spans."""

    def __init__(self, seed: int = 1) -> None:
        self.rnd = rnd = random.Random(seed)
        self.lexicon = sorted({"".join(rnd.choices(SYLLABLES, k=rnd.randrange(2, 6))) for _ in range(60_000)}, key=lambda w: rnd.random())
        self.corpus = words(rnd, CORPUS, self.lexicon)
        self.made = 0

    def text(self, role: str) -> str:
        """A conversation's JSON, with one number that is nowhere else."""
        at = self.rnd.randrange(len(self.corpus) - TEXT)
        self.made += 1
        content = f"{self.corpus[at : at + TEXT]} order {self.rnd.randrange(10**9)}"
        return f'[{{"role":"{role}","parts":[{{"type":"text","content":"{content}"}}]}}]'

    def trace(self, began: int, planted: str = "") -> list[SpanRow]:
        rnd = self.rnd
        trace, root, end = rnd.randbytes(16).hex(), rnd.randbytes(8).hex(), began + rnd.randrange(SECOND, 6 * SECOND)
        common = {
            "project": "default", "trace_id": trace, "service": rnd.choice(["shop", "desk"]), "session": f"s{rnd.randrange(10**6)}",
            "user": f"u{int(rnd.paretovariate(0.8)) % 5000}", "release": f"release/answer@sha256:{rnd.randrange(4):064x}",
            "environment": "production", "receipt_ns": end, "status_message": "",
        }  # fmt: skip
        rows = list[SpanRow]()
        for number in range(EACH):
            start = began + number * SECOND // 10
            kind = "request" if number == 0 else rnd.choice(["model", "model", "retrieval", "tool", "component"])
            more: dict[str, Any] = {"tool": rnd.choice(["search", "mail", "open"])} if kind == "tool" else {}
            if kind == "model":
                model, provider = rnd.choice(MODELS)
                more = {"model": model, "provider": provider, "tokens_in": rnd.randrange(4000), "tokens_out": rnd.randrange(800)}
                more |= {"cost": rnd.random() / 100, "response": f"chatcmpl-{rnd.randbytes(12).hex()}"}
            attributes = (
                f'{{"gen_ai.operation.name":"chat","http.route":"/ask","gen_ai.response.finish_reasons":["stop"],"n":{rnd.random()}}}'
            )
            row = SpanRow(
                **common, span_id=root if number == 0 else rnd.randbytes(8).hex(), parent=None if number == 0 else root, name=kind,
                kind=kind, start_ns=start, end_ns=end if number == 0 else start + rnd.randrange(2 * SECOND), attributes=attributes,
                digest=rnd.randbytes(8).hex(), status="error" if rnd.random() < 0.01 else "ok", input=self.text("user"),
                output=self.text("assistant") + planted, **more,
            )  # fmt: skip
            rows.append(row)
            planted = ""
        return rows

    def batches(self, many: int, since: int, until: int) -> Iterator[list[SpanRow]]:
        """Rows of so many spans, evenly over a time, as they are written: of one day each."""
        batch, day = list[SpanRow](), ""
        for number in range(many // EACH):
            began = since + (until - since) * number * EACH // many
            if batch and (len(batch) >= WRITTEN or day_of(began) != day):
                yield batch
                batch = []
            day = day_of(began)
            rare = "zanzibar" if number % 3_000 == 7 else "once-upon-a-needle" if number == many // EACH // 5 else ""
            batch += self.trace(began, rare and f" {rare}")
        yield batch


def questions(world: World, now: int, days: int) -> dict[str, Callable[[], TraceQuery | FiguresQuery]]:
    rnd, day = world.rnd, {"since_ns": now - DAY, "until_ns": now}
    word = lambda frequent, rare: world.lexicon[rnd.randrange(frequent, rare)]  # noqa: E731
    many = len(world.lexicon)
    return {
        "list, newest": lambda: TraceQuery(limit=50),
        "list, failed": lambda: TraceQuery(filter="status:error", limit=50),
        "list, one user": lambda: TraceQuery(filter=f"user:u{rnd.randrange(1, 400)}", limit=50),
        "list, a model, failed, slow": lambda: TraceQuery(filter=f"model:{rnd.choice(MODELS)[0]} has:error latency>4s", limit=50),
        "list, one user, any day": lambda: TraceQuery(filter=f"user:u{rnd.randrange(400, 5000)}", limit=50),
        "dashboard of 24 h": lambda: FiguresQuery(**day),
        "dashboard of 24 h, by model": lambda: FiguresQuery(by="model", **day),
        "search, a frequent word, a day": lambda: TraceQuery(search=word(50, 300), limit=100, **day),
        "search, a rare word, a day": lambda: TraceQuery(search=word(many // 2, many), limit=100, **day),
        "search, one in 30,000, a day": lambda: TraceQuery(search="zanzibar", limit=100, **day),
        "search, one in 30,000, all": lambda: TraceQuery(search="zanzibar", limit=100),
        "search, a phrase there is once, all": lambda: TraceQuery(search="upon-a-needle", limit=100),
        "search, what is nowhere, all": lambda: TraceQuery(search=f"order {rnd.randrange(10**9, 10**10)}x", limit=100),
    }


def fill(store: DuckSpans, world: World, many: int, since: int, until: int) -> None:
    began, done = time.perf_counter(), 0
    for number, batch in enumerate(world.batches(many, since, until), 1):
        store.write(day_of(batch[0].start_ns), batch, "w", Position(1, number))
        done += len(batch)
        if number % 20 == 0 and sys.stderr.isatty():
            print(f"\r{done:,} spans, {time.perf_counter() - began:,.0f} s", end="", file=sys.stderr)
    print(f"written in {time.perf_counter() - began:,.0f} s", flush=True)


def measure(folder: Path, millions: float, days: int) -> None:
    store, world, now = DuckSpans(folder), World(), time.time_ns()
    if not store.counts()["spans"]:
        fill(store, world, int(millions * 1e6), now - days * DAY, now)
        store.rest()
    spans = store.counts()["spans"]
    print(f"{spans:,} spans over {days} days, {store.size() / spans:,.0f} bytes a span on disk")
    number = 10**9
    for name, ask in questions(world, now, days).items():
        took, found = list[float](), 0
        for _ in range(ASKED):
            number += 1
            batch = [row for _ in range(MORE // EACH) for row in world.trace(time.time_ns())]
            store.write(day_of(time.time_ns()), batch, "w", Position(1, number))
            while store.index(1.0):  # as it is while nobody asks
                pass
            query, began = ask(), time.perf_counter()
            answer = store.figures(query) if isinstance(query, FiguresQuery) else store.traces(query)
            took.append(time.perf_counter() - began)
            found = len(answer.items) if isinstance(answer, TracePage) else answer.whole.traces
        print(f"p50 {percentile(took, 0.5):7,.0f} ms  p95 {percentile(took, 0.95):7,.0f} ms  {name} ({found:,})", flush=True)
    ids = [t.trace_id for t in store.traces(TraceQuery(until_ns=now - DAY * days // 2, limit=ASKED)).items]
    took = []
    for id in ids:
        began = time.perf_counter()
        store.trace(TraceShow(id))
        took.append(time.perf_counter() - began)
    print(f"p50 {percentile(took, 0.5):7,.0f} ms  p95 {percentile(took, 0.95):7,.0f} ms  one trace by id")
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:,.0f} MB resident")
    store.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--millions", type=float, default=10.0)
    arguments.add_argument("--days", type=int, default=14)
    arguments.add_argument("--home", type=Path)
    given = arguments.parse_args()
    if given.home:
        measure(given.home, given.millions, given.days)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given.millions, given.days)


if __name__ == "__main__":
    main()
