"""ClickHouse on a cluster: what is said to it can be read by its engine, and what the tables of a cluster answer is what one server's
do. No cluster runs here: `tests/clickhouse_cluster.py` says what stands for one, and what is left out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.clickhouse_cluster import cluster_spans
from tests.conftest import chdb_client, clickhouse_spans
from tests.store.test_spans_stores import NOW, SECOND, id_of, span
from tests.traces.test_points import NOW as METRICS_NOW
from tests.traces.test_points import gauge, sums

from windlass.core.errors import Invalid
from windlass.core.operations.calls import CallsShow
from windlass.core.operations.figures import FiguresQuery
from windlass.core.operations.logs import LogQuery
from windlass.core.operations.metrics import MetricQuery, MetricShow
from windlass.core.operations.sessions import SessionQuery
from windlass.core.operations.traces import FieldQuery, LiveQuery, TraceQuery, TraceShow
from windlass.core.operations.trees import TreeShow
from windlass.store.clickhouse_tables import PATH, REPLICA, Cluster, OnCluster, cluster_of, on_cluster
from windlass.store.points import PointRow
from windlass.store.segments import Position
from windlass.store.span_columns_clickhouse import SPANS, TABLES
from windlass.store.spans import ArrivalQuery, CommonQuery, Forget, MentionQuery, ScoreQuery, SpanRow, SpanStore, Standing, SubjectQuery
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
        "live": lambda: msgspec.structs.replace(store.live(LiveQuery(hours=8_000)), series=()),
        "figures": lambda: store.figures(FiguresQuery(measures=("calls",), **times)),
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
    assert spread.counts() == expected["counts"]


def test_what_is_taken_out_goes_from_every_shard(spread: ClickHouseSpans, plain: SpanStore) -> None:
    """Erased, read anew, and expired; opened again, it is there as it was."""
    for store in (plain, spread):
        filled(store)
        there = store.held_points("2027-01-16", "default", [r.digest for r in rows() if isinstance(r, PointRow)])
        gone = min(there, key=lambda point: point.digest)  # of both the same: they come in any order
        store.forget(Forget("default", (id_of("a"), id_of("e")), (), (Standing(gone.receipt_ns, ()),)))
        while not store.remap(lambda row: msgspec.structs.replace(row, name=row.name.upper()), 0.0).finished:
            pass
    asked = TraceShow(id_of("b"))
    assert spread.trace(asked) == plain.trace(asked) and spread.trace(asked).spans[0].name == "RUN 1"
    assert spread.traces(TraceQuery()) == plain.traces(TraceQuery()) and len(spread.traces(TraceQuery()).items) == 4
    assert spread.metrics(MetricQuery(hours=0)) == plain.metrics(MetricQuery(hours=0))
    for day in ("2027-01-15", "2027-01-16"):
        assert spread.expire(day) == plain.expire(day) > 0
    assert spread.days() == [] and spread.counts() == plain.counts() and spread.counts()["spans"] == 0
    assert sorted(map(repr, spread.ledger("default", 0))) == sorted(map(repr, plain.ledger("default", 0)))


def test_an_insert_that_comes_again_with_its_token_is_dropped(chdb_folder: Path) -> None:
    """Through the Distributed table, with the shard that it is for; as the server may go on with the first when it is sent again."""
    store = cluster_spans(chdb_folder, f"t{secrets.token_hex(6)}", "one")
    some = [r for r in rows() if isinstance(r, SpanRow)][:5]
    for _ in range(2):
        store._append("spans", "2027-01-15", some, "the same", 1)
        store._place = 0  # what had become of it was not known
    assert store.counts()["spans"] == 5
    store._append("spans", "2027-01-15", some, "another", 1)
    assert store.counts()["spans"] == 10, "by the token, not by what it holds"
    store.close()


def test_it_is_said_on_every_node_and_asked_of_all(chdb_folder: Path) -> None:
    said, database = list[str](), f"t{secrets.token_hex(6)}"
    for _ in range(2):  # also where tables are there already
        store = cluster_spans(chdb_folder, database, "one", said)
        filled(store)
        store.forget(Forget("default", (id_of("a"),)))
        store.close()
    assert said and all("ON CLUSTER 'one'" in sql for sql in said)
    assert all("_local" in sql for sql in said if sql.startswith("ALTER") and "ADD COLUMN" not in sql)


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (("a'b", PATH, REPLICA), "spans_cluster"), (("main", "/x/{shard}", REPLICA), "spans_replica_path"),
        (("main", "/x/{table}", REPLICA), "spans_replica_path"), (("main", PATH + "'", REPLICA), "spans_replica_path"),
        (("main", PATH, ""), "spans_replica_name"), (("main", PATH, "x y"), "spans_replica_name"),
    ],
)  # fmt: skip
def test_a_setting_that_would_not_do_is_refused(given: tuple[str, str, str], where: str) -> None:
    with pytest.raises(Invalid) as found:
        cluster_of(*given)
    assert found.value.where == where and found.value.remedy
    assert cluster_of("", PATH, REPLICA) is None and cluster_of("main", PATH, REPLICA) == Cluster("main")


def test_a_cluster_that_is_not_there_or_writes_to_every_replica_is_refused(chdb_folder: Path) -> None:
    with pytest.raises(Invalid, match="knows no such cluster"):
        cluster_spans(chdb_folder, f"t{secrets.token_hex(6)}", "other")
    answers = iter([[("windlass",)], [(2, 2, 0)]])
    with pytest.raises(Invalid, match="every replica"):
        on_cluster(lambda sql, values: next(answers), Cluster("main"))
