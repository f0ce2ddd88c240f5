"""SQL of one project: what it says is what lists say, and there is no way out of it. On both engines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from tests.store.test_spans_stores import NOW, SECOND, id_of, span
from tests.traces.test_points import NOW as METRICS_NOW
from tests.traces.test_points import gauge, sums

from windlass.core import span as names
from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Forbidden, Invalid, TooLarge
from windlass.core.operations.sql import SqlAnswer, SqlQuery
from windlass.core.operations.traces import TraceQuery, TraceShow
from windlass.store import span_portions, span_portions_clickhouse
from windlass.store.segments import Position
from windlass.store.spans import Portion, PortionQuery, SpanStore
from windlass.store.spans_duckdb import DuckSpans
from windlass.traces import sql, sql_process
from windlass.traces.points import points
from windlass.traces.sql import Sql
from windlass.traces.sql_views import ALWAYS, VIEWS

pytestmark = pytest.mark.slow
DAYS = ("2027-01-15", "2027-01-16")
SECRET = "of another project"


class Journal:
    async def settle(self) -> None:
        pass


class Direct:
    """`Spans` of a store, one question after the other, as a projector's thread has them. `between` is called after each."""

    def __init__(self, store: SpanStore) -> None:
        self.store = store
        self.asked: list[PortionQuery] = []

    async def portion(self, query: PortionQuery) -> Portion:
        self.asked.append(query)
        return self.store.portion(query)


def rows() -> list[Any]:
    asked = {"kind": "model", "model": "gpt-5", "cost": 0.25, "tokens_in": 3}
    score = {names.SCORED: "helpful", names.SCORE: 1.0, names.GIVEN: "boolean", names.GIVEN_TO: "trace", names.ACTOR: "ada"}
    withdrawn = score | {names.GIVEN: "withdrawn", names.SCORED: "gone"}
    made = [
        span("a", 1, None, NOW, name="run", kind="agent", digest="1", session="s", user="ada", input='"hi"', tags=["x", "y"]),
        span("a", 2, f"{1:016x}", NOW + SECOND, digest="2", **asked),
        span("a", 3, f"{2:016x}", NOW + SECOND, digest="3", **(asked | {"cost": 0.5})),  # the same call, as the gateway tells it
        span("b", 4, None, NOW + 2 * SECOND, status="error", digest="4", receipt_ns=1, attributes='{"http.route": "/chat"}'),
        span(
            "b", 4, None, NOW + 2 * SECOND, name="renamed", status="error", digest="5", receipt_ns=2, attributes='{"http.route": "/chat"}'
        ),
        span("a", 6, f"{1:016x}", NOW, kind="evaluator", end_ns=NOW, digest="6", attributes=msgspec.json.encode(score).decode()),
        span("a", 7, f"{1:016x}", NOW, kind="evaluator", end_ns=NOW, digest="7", attributes=msgspec.json.encode(withdrawn).decode()),
        span("a", 8, f"{1:016x}", NOW, kind="log", name="said", digest="8"),
        span("d", 9, f"{9:016x}", NOW, kind="log", name="alone", severity=17, attributes=f'{{"{names.LOG_BODY}":"no trace"}}', digest="10"),
    ]
    theirs = [span("c", 90 + n, None, NOW, project="theirs", name=SECRET, input=SECRET, digest=f"9{n}") for n in range(3)]
    return [theirs[0], *made, *theirs[1:]]


@pytest.fixture
def asking(spans: Callable[[], SpanStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SqlAnswer]]:
    yield from _asking(spans(), tmp_path, monkeypatch)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SqlAnswer]]:
    """On one engine, where it says nothing which it is."""
    yield from _asking(DuckSpans(tmp_path / "spans"), tmp_path, monkeypatch)


def _asking(store: SpanStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SqlAnswer]]:
    monkeypatch.setattr(span_portions, "WIDE", 4)  # so that there are several pieces
    monkeypatch.setattr(span_portions, "PIECE", 5)
    monkeypatch.setattr(span_portions_clickhouse, "WIDE", 4)
    monkeypatch.setattr(span_portions_clickhouse, "PIECE", 5)
    monkeypatch.setenv("WINDLASS_SECRET_TOKEN", SECRET)
    all = rows()
    store.write(DAYS[0], all[:6], "w", Position(0, 1))
    store.write(DAYS[1], all[6:], "w", Position(0, 2))
    direct = Direct(store)

    def ask(text: str, actor: Actor = OWNER, **more: Any) -> SqlAnswer:
        service = Sql(direct, Journal(), tmp_path / "sql")
        return asyncio.run(service.sql(actor, SqlQuery(text, **more)))

    ask.store, ask.direct, ask.folder = store, direct, tmp_path / "sql"
    yield ask
    assert list((tmp_path / "sql").iterdir() if (tmp_path / "sql").exists() else ()) == [], "nothing is left behind"
    store.close()


def test_it_says_what_lists_say(asking: Callable[..., SqlAnswer]) -> None:
    listed = asking.store.traces(TraceQuery()).items
    found = asking(
        "SELECT trace_id, name, status, cost, spans, tokens_in, session, user_id, took_ms FROM traces ORDER BY started DESC"
    ).rows
    assert found == tuple((t.trace_id, t.name, t.status, t.cost, t.spans, t.tokens, t.session, t.user, t.duration_ns / 1e6) for t in listed)
    assert asking("SELECT name, kind FROM spans ORDER BY started, kind").rows == (
        ("run", "agent"), ("run", "model"), ("run", "model"), ("renamed", "request"),
    )  # fmt: skip
    assert asking("SELECT name, value, given_by, given, span_id FROM scores").rows == (("helpful", 1.0, "ada", True, None),)
    assert asking("SELECT attributes->>'http.route' AS route FROM spans WHERE status = 'error'").rows == (("/chat",),)
    assert asking("SELECT name, trace_id, parent, severity, body FROM logs ORDER BY name").rows == (
        ("alone", None, None, 17, "no trace"), ("said", id_of("a"), f"{1:016x}", None, None),
    )  # fmt: skip
    assert asking("SELECT tags FROM spans WHERE kind = 'agent'").rows == ((["x", "y"],),)
    assert asking("SELECT count(*) FROM spans JOIN traces USING (trace_id)").rows == ((4,),)
    assert asking("SELECT count(*) FROM spans", since_ns=NOW + SECOND, until_ns=NOW + 2 * SECOND).rows == ((2,),)
    assert asking("SELECT started FROM traces WHERE kind = 'agent'").rows == (("2027-01-15T08:00:00Z",),)


def test_what_is_of_a_run_of_a_dataset_as_a_whole_is_in_no_list_of_traces(asking: Callable[..., SqlAnswer]) -> None:
    """Its record and its scores; on both engines."""
    before = {view: asking(f"SELECT count(*) FROM {view}").rows for view in ("spans", "traces")}
    said = {names.SCORED: "share", names.SCORE: 0.5, names.GIVEN: "number", names.GIVEN_TO: "run"}
    of_run = {"evaluation": names.DATASET_RUN + "r1", "end_ns": NOW}
    new = [
        span("e", 20, None, NOW, digest="20", **of_run),
        span("e", 21, f"{20:016x}", NOW, kind="evaluator", digest="21", attributes=msgspec.json.encode(said).decode(), **of_run),
    ]
    asking.store.write(DAYS[0], new, "of runs", Position(1, 0))
    assert {view: asking(f"SELECT count(*) FROM {view}").rows for view in before} == before
    assert asking("SELECT value FROM scores WHERE name = 'share'").rows == ((0.5,),)
    for evaluation in (None, "*"):
        assert id_of("e") not in {t.trace_id for t in asking.store.traces(TraceQuery(evaluation=evaluation)).items}
    assert [t.trace_id for t in asking.store.traces(TraceQuery(evaluation=names.DATASET_RUN)).items] == [id_of("e")], "asked for alone"
    assert [s.value for s in asking.store.trace(TraceShow(id_of("e"))).scores] == [0.5]


@pytest.mark.parametrize("view", ["spans", "traces", "scores", "logs"])
def test_every_column_is_there_alone_and_with_all(asking: Callable[..., SqlAnswer], view: str) -> None:
    """Columns that are not needed are not read: none may be missed, and none may be empty for it."""
    whole = asking(f"FROM {view} ORDER BY ALL")
    assert [c.name for c in whole.columns] == list(VIEWS[view].columns)
    alike = {c.name: c.type for c in whole.columns}
    assert alike == {c: x.type for c, x in VIEWS[view].columns.items()}
    picked = [name for n, name in enumerate(alike) if n % 4 == 0]
    one = asking(f"SELECT {', '.join(picked)} FROM {view} ORDER BY ALL").rows
    at = [list(alike).index(name) for name in picked]
    assert sorted(map(repr, one)) == sorted(repr(tuple(row[n] for n in at)) for row in whole.rows)
    assert len(asking(f"SELECT s FROM {view} AS s").rows) == len(whole.rows), "a row as one value"


def test_points_are_told_each_once_as_it_is_now(asking: Callable[..., SqlAnswer]) -> None:
    told = [list(points("default", n, data)) for n, data in enumerate(
        (sums((0, 1, 1), (0, 2, 3), room="a"), sums((0, 1, 7), room="a"), gauge((1, 0.5), (2, None), room="b")), 1)
    ]  # fmt: skip
    theirs = list(points("theirs", 1, sums((0, 1, 99), room=SECRET)))
    asking.store.write(DAYS[0], [*theirs, *told[0]], "w", Position(1, 1))
    asking.store.write(DAYS[1], [*told[1], *told[2]], "w", Position(1, 2))
    found = asking("SELECT metric, value, attributes->>'room' AS room, started FROM points ORDER BY ALL")
    began = datetime.fromtimestamp(METRICS_NOW / SECOND, UTC).isoformat().replace("+00:00", "Z")
    assert found.rows == (("g", 0.5, "b", None), ("g", None, "b", None), ("n", 3.0, "a", began), ("n", 7.0, "a", began))
    assert (found.read, found.measured) == (0, 5)  # with the one that was revised
    both = asking("SELECT count(DISTINCT trace_id), (SELECT count(*) FROM points) FROM spans")
    assert both.rows == ((2, 4),) and both.read == 9 and both.measured == 5
    later = METRICS_NOW + 2 * 60 * SECOND
    assert sorted(map(repr, asking("SELECT value FROM points", since_ns=later).rows)) == ["(3.0,)", "(None,)"]
    whole = asking("FROM points ORDER BY ALL")
    assert [(c.name, c.type) for c in whole.columns] == [(c, x.type) for c, x in VIEWS["points"].columns.items()]
    for name in VIEWS["points"].columns:  # each can be asked alone
        assert sorted(map(repr, asking(f"SELECT {name} FROM points").rows)) == sorted(
            repr((row[list(VIEWS["points"].columns).index(name)],)) for row in whole.rows
        )


def test_answers_are_bounded(alone: Callable[..., SqlAnswer], monkeypatch: pytest.MonkeyPatch) -> None:
    answer = alone("SELECT * FROM range(5)", limit=3)
    assert (answer.rows, answer.more) == (((0,), (1,), (2,)), True)
    odd = "SELECT 'NaN'::DOUBLE, 18446744073709551615, '\\xAA'::BLOB, {'a': [1]}, INTERVAL 1 DAY, 1.5::DECIMAL(4, 2)"
    assert alone(odd).rows == ((None, "18446744073709551615", "qg==", {"a": [1]}, "1 day, 0:00:00", 1.5),)
    with pytest.raises(Invalid, match="larger than 64 MB"):
        alone("SELECT repeat('x', 1000000) FROM range(100)", limit=100)
    monkeypatch.setattr(sql, "MOST_ROWS", 2)
    with pytest.raises(TooLarge, match="more than 2 spans"):
        alone("SELECT name FROM spans")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-- nothing", "there is no question"), ("SELEC 1", "no SQL that can be read"), ("SELECT 1; SELECT 2", "several statements"),
        ("DROP TABLE came", "only a"), ("INSERT INTO revised SELECT 1", "only a"), ("COPY (SELECT 1) TO 'x.csv'", "only a"),
        ("ATTACH 'x.db'", "only a"), ("SET memory_limit = '9GB'", "only a"), ("PRAGMA database_list", "only a"),
        ("INSTALL httpfs", "only a"), ("LOAD httpfs", "only a"), ("CREATE MACRO f() AS 1", "only a"),
        ("EXPORT DATABASE 'x'", "only a"), ("CALL pragma_version()", "only a"), ("EXPLAIN ANALYZE SELECT 1", "only a"),
        ("FROM duckdb_settings()", "engine"), ("FROM query('FROM duckdb_settings()')", "engine"), ("FROM duckdb_settings", "engine"),
    ],
)  # fmt: skip
def test_what_is_no_question_is_said(text: str, why: str) -> None:
    with pytest.raises(sql_process.Refused, match=why):
        sql_process._read(duckdb.connect(), text)


def test_a_name_that_is_wrong_is_said_without_the_machine(alone: Callable[..., SqlAnswer]) -> None:
    for text, why in (("SELECT nonsense FROM spans", "nonsense"), ("FROM nowhere", "nowhere"), ("DROP TABLE came", "only a SELECT")):
        with pytest.raises(Invalid, match=why) as e:
            alone(text)
        assert str(alone.folder) not in str(e.value)
    assert {v.name for v in alone("").views} == set(VIEWS)


OUT = (
    "FROM read_csv('/etc/passwd')", "FROM read_text('/etc/passwd')", "FROM read_blob('/proc/self/environ')", "FROM '/etc/passwd'",
    "FROM glob('/*')", "FROM read_text('../../*')", "FROM read_parquet('../*/spans/*.parquet')", "FROM read_json('ledger.json')",
    "FROM read_csv('http://127.0.0.1/x')", "FROM read_parquet('s3://bucket/x')", "SELECT getenv('WINDLASS_SECRET_TOKEN')",
    "FROM sqlite_scan('windlass.db', 'actors')", "FROM query('COPY (SELECT 1) TO ''x''')", "FROM query('ATTACH ''x''')",
    "FROM duckdb_secrets()", "FROM parquet_metadata('/etc/passwd')", "FROM sniff_csv('/etc/passwd')", "FROM which_secret('x', 's3')",
    "FROM d20270115.spans", "FROM memory.d20270115.spans", "FROM query_table('d20270115.spans')", "SELECT * FROM python_scan_all_frames",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''/etc/passwd'')'))", "FROM read_text('sql_process.py')",
    "FROM read_parquet('../*/points/*.parquet')",
)  # fmt: skip


def test_there_is_no_way_out(alone: Callable[..., SqlAnswer]) -> None:
    """Files, network, settings, extensions, environment, other tables."""
    for text in OUT:
        with pytest.raises(Invalid):
            alone(text)
    for text in ("FROM information_schema.tables", "FROM sqlite_master", "FROM came", "FROM spans", "SELECT version(), current_database()"):
        try:
            told = repr(alone(text).rows)
        except Invalid as e:
            told = str(e)
        assert SECRET not in told and "theirs" not in told and str(alone.folder) not in told and "/home" not in told, text


def test_the_engine_keeps_it_in_by_itself(alone: Callable[..., SqlAnswer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a question is read for saves work: were it read wrongly, nothing more could be reached."""
    (tmp_path / "here" / "spans").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    alone.direct.store.portion(PortionQuery("default", ALWAYS, "spans/0.parquet"))
    db = duckdb.connect(config={"python_enable_replacements": False, "autoload_known_extensions": False, "temp_directory": "spill"})
    sql_process._fill(db, ["spans"], {*ALWAYS}, set())
    sql_process._lock(db)
    assert db.execute("SELECT count(*) FROM spans").fetchone()[0] > 0
    for text in (*OUT, "ATTACH 'x.db'", "COPY (SELECT 1) TO 'x.csv'", "INSTALL httpfs", "LOAD httpfs", "SET memory_limit = '9GB'",
                 "RESET lock_configuration", "SET allowed_paths = ['/']", "EXPORT DATABASE 'x'", "CREATE SECRET s (TYPE s3)"):  # fmt: skip
        with pytest.raises(duckdb.Error):
            db.execute(text).fetchall()


def test_nobody_asks_another_project(alone: Callable[..., SqlAnswer]) -> None:
    with pytest.raises(Forbidden):
        alone("FROM spans", Actor("k", "developer"), project="theirs")
    assert {row[0] for row in alone("SELECT name FROM spans", project="theirs").rows} == {SECRET}
    assert alone("SELECT name FROM spans", project="nobody's").rows == ()


@pytest.mark.parametrize(
    "text",
    [
        "SELECT length(repeat('x', 3000000000))",
        "SELECT count(*) FROM range(100000000000) a",
        "WITH RECURSIVE t(s) AS (SELECT 'xxxxxxxx' UNION ALL SELECT s || s FROM t) SELECT max(length(s)) FROM t",
        "SELECT len(list(a)) FROM range(100000000000) t(a)",
        "SELECT list_sum(range(3000000000))",
        "SELECT count(*) FROM (SELECT a, random() AS r FROM range(100000000000) t(a) ORDER BY r)",
    ],
)
def test_what_takes_too_much_ends(alone: Callable[..., SqlAnswer], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "SECONDS", 2)
    monkeypatch.setattr(sql, "MEMORY_MB", 100)
    before = os.getpid()
    with pytest.raises(Invalid, match=r"more|longer|memory|large|range|recursion"):
        alone(text)
    assert os.getpid() == before and alone("SELECT 1").rows == ((1,),)


def test_others_are_answered_between_two_pieces(alone: Callable[..., SqlAnswer]) -> None:
    """While rows are put into files, what comes in is written, and lists are answered; none is told twice."""
    direct, store = alone.direct, alone.store
    portion, listed = direct.portion, list[int]()

    async def slow(query: PortionQuery) -> Portion:
        number = 1_000 + len(direct.asked)
        store.write(DAYS[1], [span("d", number, None, NOW + number, digest=f"{number:x}")], "w", Position(0, number))
        listed.append(len(store.traces(TraceQuery()).items))
        return await portion(query)

    direct.portion = slow
    answer = alone("SELECT count(DISTINCT span_id), count(*) FROM spans")
    assert len(direct.asked) > 2 and listed == [3] * len(listed) and answer.rows[0][0] == answer.rows[0][1] > 4
