"""Engines of the stores beside each other: audited writes to the relational store, from one process and from eight that race; blobs
in a folder and in a bucket (moto's, on this machine: what is ours, and no network); spans in DuckDB and in ClickHouse's engine.

SERIALIZABLE with retries, which we do not use, is measured beside the advisory lock, which we do (`docs/decisions/0014`).
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError
from tests.conftest import clickhouse_spans
from tests.registry.sources.postgresql_server import PASSWORD, PostgreSqlServer, binaries
from tests.s3_server import ENVIRONMENT, S3Server

from windlass.core.actor import OWNER
from windlass.core.operations.traces import LiveQuery, TraceQuery
from windlass.govern import audit
from windlass.store import meta_postgres
from windlass.store.blobs import open_blobs
from windlass.store.home import Home
from windlass.store.meta import open_meta, read, write
from windlass.store.segments import Position
from windlass.store.spans import SpanRow
from windlass.store.spans_duckdb import DuckSpans

SECONDS = 4.0
RACERS = 8


def locked(engine: Engine, subject: str) -> int:
    with write(engine) as c:
        audit.record(c, OWNER, "bench", "p", subject)
    return 0


def serializable(engine: Engine, subject: str) -> int:
    """How often it was tried again."""
    tries = 0
    while True:
        try:
            with engine.connect().execution_options(isolation_level="SERIALIZABLE") as c, c.begin():
                audit.record(c, OWNER, "bench", "p", subject)
            return tries
        except DBAPIError as e:
            if getattr(e.orig, "sqlstate", None) not in ("40001", "40P01", "23505"):
                raise
            tries += 1


def _work(store: str, how: Callable[[Engine, str], int], who: int, gate: Any, said: Any) -> None:
    engine = open_meta(store) if how is locked else meta_postgres.unopened(store)
    took, tries = [], 0
    gate.wait()
    until = time.monotonic() + SECONDS
    while (began := time.monotonic()) < until:
        tries += how(engine, f"{who}-{len(took)}")
        took.append(time.monotonic() - began)
    said.put((took, tries))


def measure(store: str, how: Callable[[Engine, str], int], racers: int) -> dict[str, Any]:
    engine = open_meta(store)
    context = multiprocessing.get_context("spawn")
    gate, said = context.Barrier(racers), context.Queue()
    working = [context.Process(target=_work, args=(store, how, who, gate, said)) for who in range(racers)]
    for process in working:
        process.start()
    answers = [said.get(timeout=120) for _ in working]
    for process in working:
        process.join()
    took = sorted(t for some, _ in answers for t in some)
    with read(engine) as c:
        assert audit.verify(c) is None
        began = time.monotonic()
    for _ in range(200):
        with read(engine) as c:
            c.execute(select(audit.audit).where(audit.audit.c.seq == 1)).one()
    reading = (time.monotonic() - began) / 200
    engine.dispose()
    return {
        "writes_per_s": round(len(took) / SECONDS), "p50_ms": round(took[len(took) // 2] * 1e3, 2),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1e3, 1), "tried_again": sum(tries for _, tries in answers),
        "read_ms": round(reading * 1e3, 2),
    }  # fmt: skip


def relational() -> None:
    with TemporaryDirectory() as folder:
        for racers in (1, RACERS):
            print("SQLite", racers, measure(f"sqlite:///{Path(folder) / f'{racers}.db'}", locked, racers), flush=True)
    if (found := binaries()) is None:
        print("PostgreSQL: there is none here")
        return
    os.environ[meta_postgres.PASSWORD] = PASSWORD
    server = PostgreSqlServer(found, "-c fsync=on -c max_connections=80")
    try:
        for how in (locked, serializable):
            for racers in (1, RACERS):
                store = server.store_url(server.empty_store())
                print("PostgreSQL", how.__name__, racers, measure(store, how, racers), flush=True)
    finally:
        server.close()


def blobs() -> None:
    server = S3Server()
    os.environ |= ENVIRONMENT
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        with TemporaryDirectory() as folder:
            for name, setting in (("folder", ""), ("S3", f"s3://{server.bucket('bench')}?endpoint={server.endpoint}")):
                store = open_blobs(Home(Path(folder) / name), setting)
                took: dict[str, list[float]] = {"put": [], "read": []}
                for size, count in ((10_000, 100), (20_000_000, 3)):
                    for _ in range(count):
                        data = os.urandom(size)
                        began = time.monotonic()
                        digest = store.put(data)
                        put = time.monotonic()
                        for _piece in store.pieces(digest):
                            pass
                        took["put"].append(put - began)
                        took["read"].append(time.monotonic() - put)
                    said = {f"{what}_ms": round(sorted(times[-count:])[count // 2] * 1e3, 1) for what, times in took.items()}
                    print("blobs in", name, f"{size:,} bytes", said, flush=True)
    finally:
        server.close()


def spans() -> None:
    """40,000 spans of 1.2 kB in batches as the projector makes them, and a page of traces."""
    try:
        import chdb  # noqa: F401
    except ImportError:
        print("ClickHouse: there is no chDB here")
        return
    with TemporaryDirectory() as folder:
        stores = {"DuckDB": DuckSpans(Path(folder) / "spans"), "ClickHouse (chDB)": clickhouse_spans(Path(folder) / "chdb", "bench")}
        now = time.time_ns()
        for name, store in stores.items():
            took = []
            for n in range(0, 40_000, 2_000):
                rows = [_span(now, k) for k in range(n, n + 2_000)]
                began = time.monotonic()
                assert store.write("2027-01-01", rows, "w", Position(1, n)) == 2_000
                took.append(time.monotonic() - began)
            asked = []
            for ask in (lambda s=store: s.traces(TraceQuery()), lambda s=store: s.live(LiveQuery()), lambda s=store: s.counts()):
                times = []
                for _ in range(9):
                    began = time.monotonic()
                    ask()
                    times.append(time.monotonic() - began)
                asked.append(round(sorted(times)[4] * 1e3, 1))
            said = dict(zip(("page_ms", "live_ms", "counts_ms"), asked, strict=True))
            print(
                "spans in",
                name,
                {"rows_per_s": round(40_000 / sum(took)), "batch_p50_ms": round(sorted(took)[10] * 1e3), **said},
                flush=True,
            )
            store.close()


def _span(now: int, n: int) -> SpanRow:
    trace = f"{n // 4:032x}"
    return SpanRow(
        project="default", trace_id=trace, span_id=f"{n:016x}", parent=None if n % 4 == 0 else f"{n - n % 4:016x}", name="answer",
        kind="request" if n % 4 == 0 else "model", start_ns=now - 10**12 + n * 10**6, end_ns=now - 10**12 + n * 10**6 + 10**8,
        receipt_ns=now + n, status="ok", status_message="", service="s", digest=str(n), model="a", tokens_in=7, tokens_out=3, cost=0.001,
        input="x" * 500, output="y" * 500, release="release/answer@sha256:aa", versions=["prompt/p@sha256:aa"],
    )  # fmt: skip


if __name__ == "__main__":
    relational()
    blobs()
    spans()
