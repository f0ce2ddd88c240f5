"""A server that has grown: its stores on other machines, which go away and come back under it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clickhouse_server import PASSWORD as HOUSE_PASSWORD
from tests.clickhouse_server import ClickHouseServer
from tests.doors.server import Server, until
from tests.doors.test_serve import workspace
from tests.registry.sources.postgresql_server import PASSWORD, PostgreSqlServer, binaries
from tests.s3_server import ENVIRONMENT, SECRET, S3Server, between

from windlass.core.errors import WindlassError
from windlass.core.operations.registry import VERIFY, VerifyQuery
from windlass.sdk.client import Client
from windlass.store.clickhouse_asking import PASSWORD as SPANS_VARIABLE
from windlass.store.meta_postgres import PASSWORD as VARIABLE

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[PostgreSqlServer]:
    folder = binaries()
    if folder is None:
        pytest.skip("there is no PostgreSQL server here: sh scripts/postgresql.sh installs one")
    made = PostgreSqlServer(folder)
    try:
        yield made
    finally:
        made.close()


def grown(home: Path, server: PostgreSqlServer, name: str) -> Server:
    return Server(home, env={"WINDLASS_DATABASE": server.store_url(name), VARIABLE: PASSWORD})


def test_a_gate_goes_on_after_postgresql_was_killed_under_it(server: PostgreSqlServer, tmp_path: Path) -> None:
    name, home = server.empty_store(migrated=False), tmp_path / "home"
    up = grown(home, server, name)
    with up.client() as client:
        client.push(workspace(tmp_path / "shop", rows=300))
        job = client.gates.start("answers")
        until(lambda: client.gates.show(job.id).done > 20, 60)
        parts = {part: seen["pid"] for part, seen in up.parts().items()}
        server.stop("immediate")
        with pytest.raises(WindlassError, match="PostgreSQL does not answer"):
            client.gates.show(job.id)
        server.start()
        done = until(lambda: (j := client.gates.show(job.id)).status in ("done", "failed") and j, 120)
        assert done.status == "done", done
        assert done.verdict.decision == "promote"
        evaluation = client.evaluations.show(done.verdict.candidate_evaluation)
        assert (evaluation.done, evaluation.failed) == (300, 0)
        assert up.parts()["doors"]["pid"] == parts["doors"], "the door healed by itself"
    assert up.stop() == 0
    logs = "".join(path.read_text() for path in (home / "logs").iterdir())
    assert PASSWORD not in logs
    assert not list(home.glob("*.db")), "nothing relational is left in the folder"


def test_a_folder_with_a_store_of_its_own_is_not_left_behind(server: PostgreSqlServer, tmp_path: Path) -> None:
    home = tmp_path / "home"
    up = Server(home)
    assert up.stop() == 0
    beside = Server(home, ready=False, env={"WINDLASS_DATABASE": server.store_url("postgres"), VARIABLE: PASSWORD})
    _, said = beside.process.communicate(timeout=60)
    assert beside.process.returncode == 1
    assert "windlass move takes it along" in said


def test_blobs_in_a_bucket_through_a_failing_network(s3_server: S3Server, bucket: str, tmp_path: Path) -> None:
    """A push, a gate and a check of everything while one request in four fails; a second folder with nothing in its cache reads it all."""
    with between(s3_server) as way:
        way.plan = lambda method, n: ("500", "drop")[n % 2] if n % 4 == 1 else None
        setting = f"{bucket.partition('?')[0]}?endpoint={way.endpoint}"
        home = tmp_path / "home"
        up = Server(home, env={"WINDLASS_BLOBS": setting, **ENVIRONMENT})
        with up.client() as client:
            client.push(workspace(tmp_path / "shop", rows=60))
            job = client.gates.start("answers")
            done = until(lambda: (j := client.gates.show(job.id)).status in ("done", "failed") and j, 120)
            assert done.status == "done", done
            client.releases.promote("answer")
        assert up.stop() == 0
        shutil.rmtree(home / "blobs")  # a cache, and no more
        again = Server(home, env={"WINDLASS_BLOBS": setting, **ENVIRONMENT})
        with again.client() as client:
            report = client.call(VERIFY, VerifyQuery())
            assert report.problems == () and report.blobs > 5
            assert client.run("release/answer:production", {"question": "question 1"}).text
        assert again.stop() == 0
    assert sum(way.seen.values()) > 30
    assert SECRET not in "".join(path.read_text() for path in (home / "logs").iterdir())


def test_traces_in_clickhouse_that_is_killed_under_a_server(tmp_path: Path) -> None:
    pytest.importorskip("chdb", reason="there is no chDB here: make .stamps/clickhouse installs it")
    house = ClickHouseServer(tmp_path / "clickhouse")
    home = tmp_path / "home"
    up = Server(home, env={"WINDLASS_SPANS": house.setting(), SPANS_VARIABLE: HOUSE_PASSWORD})
    try:
        with up.client() as client:
            client.push(workspace(tmp_path / "shop", rows=10))
            client.releases.promote("answer", override="to try")
            made = [client.run("release/answer:production", {"question": f"question {n}"}).trace for n in range(3)]
            assert sorted(t.trace_id for t in client.traces.list().items) == sorted(made)
            house.kill()
            made.append(client.run("release/answer:production", {"question": "question 9"}).trace)  # the journal has it
            with pytest.raises(WindlassError, match="ClickHouse does not answer"):
                client.traces.list()
            house.start()
            found = until(lambda: _traces(client), 60)
            assert sorted(found) == sorted(made)
        assert up.stop() == 0
    finally:
        house.kill()
    assert HOUSE_PASSWORD not in "".join(path.read_text() for path in (home / "logs").iterdir())
    assert not list((home / "spans").glob("*.duckdb"))


def _traces(client: Client) -> list[str]:
    try:
        return [t.trace_id for t in client.traces.list().items]
    except WindlassError:
        return []


def test_status_says_which_engines_there_are_and_which_is_away(
    server: PostgreSqlServer, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    secrets = {VARIABLE: PASSWORD, **ENVIRONMENT}
    name = server.empty_store(migrated=False)
    up = Server(tmp_path / "home", env={"WINDLASS_DATABASE": server.store_url(name), "WINDLASS_BLOBS": bucket, **secrets})
    with up.client() as client:
        status = client.status()
        assert {what: (store.engine, store.state) for what, store in status.stores.items()} == {
            "tables": ("PostgreSQL", "ready"), "blobs": ("S3", "ready"), "spans": ("DuckDB", "ready"),
        }  # fmt: skip
        assert status.stores["tables"].bytes and status.stores["blobs"].bytes is None and status.ledger and status.queues
        assert status.stores["tables"].version.split(".")[0].isdigit() and status.waiting == 0
        server.stop()
        away = client.status()  # also of the page, below: what says which store is away must not need it
        assert away.stores["tables"].state.startswith("PostgreSQL does not answer") and away.stores["blobs"].state == "ready"
        assert away.counts == {} == away.queues and away.ledger is None
        said = up.owner().get("/status").text
        assert "away" in said and "PostgreSQL does not answer" in said
        assert PASSWORD not in said + repr(away) and SECRET not in said + repr(away)
        server.start()
        assert client.status().stores["tables"].state == "ready"
    assert up.stop() == 0


def test_a_person_is_erased_from_stores_on_other_machines(
    server: PostgreSqlServer, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    """By the server's own processes: the journal of its doors, rows in a bucket, tables in PostgreSQL, spans in ClickHouse."""
    pytest.importorskip("chdb", reason="there is no chDB here: make .stamps/clickhouse installs it")
    said, ann = "Saint Quokka operated on my left knee 7", "user-4711"
    house, home, name = ClickHouseServer(tmp_path / "clickhouse"), tmp_path / "home", server.empty_store(migrated=False)
    env = {"WINDLASS_DATABASE": server.store_url(name), VARIABLE: PASSWORD, "WINDLASS_BLOBS": bucket, **ENVIRONMENT}
    up = Server(home, env={**env, "WINDLASS_SPANS": house.setting(), SPANS_VARIABLE: HOUSE_PASSWORD})
    try:
        with up.client() as client:
            client.push(workspace(tmp_path / "shop", rows=4))
            client.releases.promote("answer", override="to try")
            theirs = client.run("release/answer:production", {"question": said}, user=ann).trace
            others = client.run("release/answer:production", {"question": "question 2"}, user="user-0815").trace
            client.datasets.harvest("harvested", [theirs, others])
            assert said in _held(home, s3_server, bucket, server, name)
            made = client.erasures.make(ann)
            made = until(lambda: (e := client.erasures.show(made.id)).status in ("done", "failed") and e, 60)
            assert made.status == "done" and not made.left, made
            assert {p.place for p in made.erased} >= {"spans", "records of the journal", "rows", "packs"}
            assert [t.trace_id for t in client.traces.list().items] == [others]
            assert [r["key"] for r in client.datasets.all("harvested")] == [f"trace-{others[:16]}"]
            assert client.versions.verify().problems == ()
        assert up.stop() == 0
    finally:
        house.kill()
    held = _held(home, s3_server, bucket, server, name)
    assert said not in held and ann not in held
    assert "user-0815" in held


def _held(home: Path, s3: S3Server, bucket: str, server: PostgreSqlServer, name: str) -> str:
    """What lies in the folder and in the bucket, decompressed, and in every table."""
    import io

    import pyarrow.parquet as pq

    parts = [p.read_bytes() for p in home.rglob("*") if p.is_file()]
    where, _, prefix = bucket.partition("?")[0].removeprefix("s3://").partition("/")
    listed = s3.client.list_objects_v2(Bucket=where, Prefix=prefix)["Contents"]
    parts += [s3.client.get_object(Bucket=where, Key=o["Key"])["Body"].read() for o in listed]
    found = [str(pq.read_table(io.BytesIO(p)).to_pylist()) if p[:4] == b"PAR1" else p.decode("utf-8", "replace") for p in parts]
    with server.admin(name) as c:
        tables = c.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()
        found += [str(c.execute(f'SELECT t::text FROM "{table}" t').fetchall()) for (table,) in tables]
    return "\n".join(found)
