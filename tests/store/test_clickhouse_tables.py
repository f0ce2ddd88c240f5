"""ClickHouse on a cluster: what is said to it can be read by its engine, and what the tables of a cluster answer is what one server's
do. No cluster runs here: `tests/clickhouse_cluster.py` says what stands for one, and what is left out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clickhouse_cluster import cluster_spans
from tests.conftest import chdb_client, clickhouse_spans
from tests.store.test_spans_stores import NOW, SECOND, id_of, span
from tests.traces.test_points import NOW as METRICS_NOW
from tests.traces.test_points import gauge, sums

from windlass.store.clickhouse_tables import Cluster, OnCluster
from windlass.store.segments import Position
from windlass.store.span_columns_clickhouse import SPANS, TABLES
from windlass.store.spans import SpanStore
from windlass.store.spans_clickhouse import ClickHouseSpans
from windlass.traces.points import points

LIES = OnCluster(Cluster("main"), "windlass", 3)


@pytest.fixture
def engine(chdb_folder: Path) -> Iterator[Any]:
    made = chdb_client(chdb_folder)
    yield made
    made.close()


def statements() -> list[str]:
    """All that is said to a cluster."""
    made = [sql for table in TABLES for sql in LIES.created(table)]
    made += [*LIES.beside("spans_again", SPANS), *LIES.dropped("spans_again"), LIES.emptied("spans_again")]
    made += [LIES.altered("spans", f"REPLACE PARTITION '2026-01-01' FROM {LIES.holds('spans_again')}")]
    return [
        *made,
        LIES.altered("points", "DELETE WHERE project = 'p' SETTINGS mutations_sync = 2"),
        LIES.altered("spans", "DROP PARTITION '2026-01-01'"),
    ]


def test_the_engine_reads_what_is_said_to_a_cluster(engine: Any) -> None:
    for sql in statements():
        again = str(engine.command("SELECT formatQuery({sql:String})", parameters={"sql": sql}))
        assert "ON CLUSTER main" in again.replace("\\n", " "), sql


def test_it_asks_for_keeper_and_knows_the_rest(engine: Any) -> None:
    """Engine, arguments, macros and settings are read before it finds that it has no Keeper."""
    for table in TABLES:
        with pytest.raises(Exception, match=r"without ZooKeeper|NO_ZOOKEEPER"):
            engine.command(LIES.created(table)[0].replace("ON CLUSTER 'main'", ""))


def test_a_row_is_given_to_the_shard_that_the_tables_key_says(engine: Any) -> None:
    rows = [f"{n:032x}" for n in (0, 1, 2, 2**64, 2**127)] + [f"{n * 977:016x}" for n in range(40)]
    there = {row: shard for shard, some in LIES.apart(rows, str) for row in some}
    assert there.keys() == set(rows) and set(there.values()) == {1, 2, 3}
    for row in rows:
        assert engine.query("SELECT CRC32({row:String}) % 3 + 1", parameters={"row": row}).result_rows == [(there[row],)]
    assert "Distributed('main', 'windlass', 'spans_local', CRC32(trace_id))" in " ".join(LIES.created(SPANS))


def rows() -> list[Any]:
    made = []
    for n, letter in enumerate("abcdef"):
        asked = {"kind": "model", "model": "gpt-5", "cost": 0.25, "tokens_in": 3, "user": "ann" if n % 2 else "bob", "session": f"s{n % 3}"}
        start = NOW + n * SECOND
        made += [
            span(
                letter, 10 * n + 1, None, start, name=f"run {n}", kind="agent", digest=f"{n}1", input='"hi there, you"', session=f"s{n % 3}"
            ),
            span(letter, 10 * n + 2, f"{10 * n + 1:016x}", start, digest=f"{n}2", response="r", **asked),
            span(letter, 10 * n + 3, f"{10 * n + 2:016x}", start, digest=f"{n}3", response="r", **asked),  # the same call, told twice
            span(letter, 10 * n + 4, f"{10 * n + 1:016x}", start, kind="tool", tool="search", status="error", digest=f"{n}4", tags=["x"]),
            span(letter, 10 * n + 4, f"{10 * n + 1:016x}", start, kind="tool", tool="look", digest=f"{n}5", receipt_ns=start + SECOND),
        ]
    told = [*points("default", 1, sums((0, 1, 1), (0, 2, 5), room="a")), *points("default", 2, gauge((1, 0.5), (2, 3.0), room="b"))]
    return [*made, *told, *points("default", 3, sums((0, 2, 7), room="a"))]


def filled(store: SpanStore) -> None:
    all = rows()
    for n in range(0, len(all), 9):
        store.write("2027-01-15" if n < 20 else "2027-01-16", all[n : n + 9], "w", Position(1, n + 1))


def answers(store: SpanStore) -> dict[str, Any]:
    from windlass.core.operations.calls import CallsShow
    from windlass.core.operations.figures import FiguresQuery
    from windlass.core.operations.logs import LogQuery
    from windlass.core.operations.metrics import MetricQuery, MetricShow
    from windlass.core.operations.sessions import SessionQuery
    from windlass.core.operations.traces import FieldQuery, LiveQuery, TraceQuery, TraceShow
    from windlass.core.operations.trees import TreeShow
    from windlass.store.spans import ArrivalQuery, CommonQuery, MentionQuery, ScoreQuery, SubjectQuery

    times = {"since_ns": NOW - SECOND, "until_ns": NOW + 100 * SECOND}
    measured = {"since_ns": METRICS_NOW - 3600 * SECOND, "until_ns": METRICS_NOW + 3600 * SECOND}
    asked: dict[str, Callable[[], Any]] = {
        "traces": lambda: store.traces(TraceQuery()),
        "found": lambda: store.traces(TraceQuery(filter="tool:look -user:bob cost>0 hi spans>2")),
        "errors": lambda: store.traces(TraceQuery(filter="status:error or (has:error model:gpt*)")),
        "fields": lambda: store.fields(FieldQuery()),
        "some": lambda: store.fields(FieldQuery(filter="user:ann")),
        "trace": lambda: store.trace(TraceShow(id_of("a"))),
        "tree": lambda: store.tree(TreeShow(id_of("b"))),
        "calls": lambda: store.calls(CallsShow(id_of("b"))),
        "live": lambda: store.live(LiveQuery(hours=87_000)).runs,
        "figures": lambda: [store.figures(FiguresQuery(by=by, **times)) for by in (None, "model", "user", "tool", "session", "tag")],
        "steps": lambda: store.figures(FiguresQuery(by="tool", steps=True, **times)),
        "sessions": lambda: store.sessions(SessionQuery()),
        "logs": lambda: store.logs(LogQuery()),
        "metrics": lambda: store.metrics(MetricQuery(hours=0)),
        "metric": lambda: [store.metric(MetricShow(name, by="room", **measured)) for name in ("n", "g")],
        "arrivals": lambda: store.arrivals(ArrivalQuery("default", service="shop")).items,
        "scores": lambda: store.scores(ScoreQuery("default", None)),
        "theirs": lambda: store.theirs(SubjectQuery("default", ("ann",))),
        "common": lambda: store.common(CommonQuery("default", (id_of("a"),), ("hi there, you",))),
        "mentions": lambda: store.mentions(MentionQuery("default", "look")),
        "ledger": lambda: sorted(map(repr, store.ledger("default", 0))),
        "by hour": lambda: sorted(store.rows_by_hour("default")),
        "counts": lambda: store.counts(),
        "positions": lambda: store.positions(),
        "days": lambda: store.days(),
        "held": lambda: sorted(r.digest for r in store.held("2027-01-15", "default", [id_of("a"), id_of("b")])),
    }
    return {name: ask() for name, ask in asked.items()}


@pytest.fixture
def plain(chdb_folder: Path) -> Iterator[SpanStore]:
    made = clickhouse_spans(chdb_folder, f"t{secrets.token_hex(6)}")
    yield made
    made.close()


@pytest.fixture(params=["one", "two"])
def spread(chdb_folder: Path, request: pytest.FixtureRequest) -> Iterator[ClickHouseSpans]:
    made = cluster_spans(chdb_folder, f"t{secrets.token_hex(6)}", request.param)
    yield made
    made.close()


def test_a_cluster_answers_what_one_server_does(plain: SpanStore, spread: ClickHouseSpans) -> None:
    filled(plain)
    filled(spread)
    expected, told = answers(plain), answers(spread)
    for name, answer in expected.items():
        assert told[name] == answer, name
    filled(spread)  # again: nothing is there twice
    assert answers(spread)["counts"] == expected["counts"]
