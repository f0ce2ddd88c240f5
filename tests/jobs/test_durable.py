"""Work is handed over in the transaction that makes it, and taken to DBOS once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dbos import DBOSClient
from sqlalchemy.exc import DBAPIError
from tests.registry.sources.postgresql_server import PASSWORD

from windlass.core.errors import Conflict
from windlass.jobs.durable import QUEUE, WORKFLOW, DurableJobs, Turn, cut_off, take
from windlass.store import meta_postgres
from windlass.store.meta import open_meta, read, write
from windlass.store.tables import handed_over


@pytest.fixture
def engine(tmp_path: Path):
    made = open_meta(f"sqlite:///{tmp_path / 'windlass.db'}")
    yield made
    made.dispose()


@pytest.fixture
def client(tmp_path: Path):
    made = DBOSClient(system_database_url=f"sqlite:///{tmp_path / 'jobs.db'}")
    made._sys_db.run_migrations()
    yield made
    made.destroy()


def waiting(engine) -> int:
    with read(engine) as c:
        return len(c.execute(handed_over.select()).all())


def test_what_is_not_committed_is_not_handed_over(engine, client):
    with pytest.raises(RuntimeError), write(engine) as c:
        DurableJobs().hand_over(c, "gate", "default", "g1")
        raise RuntimeError("before the commit")
    assert take(engine, client) == 0


def test_what_is_committed_is_taken_once(engine, client):
    with write(engine) as c:
        DurableJobs().hand_over(c, "gate", "default", "g1")
        DurableJobs().hand_over(c, "evaluation", "default", "e1")
    assert take(engine, client) == 2
    assert take(engine, client) == waiting(engine) == 0
    assert {w.workflow_id for w in client.list_queued_workflows()} == {"g1", "e1"}


def test_killed_between_taking_and_forgetting_it_is_still_done_once(engine, client, monkeypatch):
    with write(engine) as c:
        DurableJobs().hand_over(c, "gate", "default", "g1")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr("windlass.jobs.durable.delete", killed)
        take(engine, client)
    assert waiting(engine) == 1
    assert take(engine, client) == 1
    assert [w.workflow_id for w in client.list_queued_workflows()] == ["g1"]


def test_a_queue_that_cannot_be_written_keeps_it_waiting(engine, client, monkeypatch):
    with write(engine) as c:
        DurableJobs().hand_over(c, "gate", "default", "g1")

    def broken(*_):
        raise OSError("no space")

    with monkeypatch.context() as m, pytest.raises(OSError):
        m.setattr(client, "enqueue", broken)
        take(engine, client)
    assert waiting(engine) == 1
    assert take(engine, client) == 1


def test_one_process_does_the_work_of_a_database(postgresql, monkeypatch):
    monkeypatch.setenv(meta_postgres.PASSWORD, PASSWORD)
    name = postgresql.empty_store()
    store = postgresql.store_url(name)
    first, second = (Turn(meta_postgres.unopened(store)) for _ in range(2))
    first.hold()
    first.hold()  # has it
    with pytest.raises(Conflict, match="another data folder"):
        second.hold(0.5)
    first._connection.invalidate()  # as when its process is killed
    second.hold(5)
    with postgresql.admin() as c:  # as when the database is restarted
        c.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    with pytest.raises(DBAPIError):
        second.hold()
    second.hold()
    with pytest.raises(Conflict):
        Turn(meta_postgres.unopened(store)).hold()
    postgresql.drop(name)


WORKS = """
import json, sys, threading, time
from pathlib import Path
from windlass.jobs.durable import cut_off, work
from windlass.store.meta import open_meta
folder, until = Path(sys.argv[1]), int(sys.argv[2])
done, ended, before = [], threading.Event(), time.monotonic() + 20
async def do(project, id):
    done.append(id)
async def close():
    pass
looks = []
def rests():
    looks.append("dbos" in sys.modules)
    return len(done) >= until and not cut_off(jobs) if until else len(looks) > 5
jobs = f"sqlite:///{folder / 'jobs.db'}"
work(jobs, open_meta(f"sqlite:///{folder / 'windlass.db'}"), lambda: {"gate": do}, ended,
     lambda: rests() or time.monotonic() > before, close)
print(json.dumps({"done": sorted(done), "loaded": looks[-1]}))
"""


def worked(folder: Path, until: int) -> dict:
    """What a process of its own did until it had done so much; 0: for some looks."""
    ran = subprocess.run([sys.executable, "-c", WORKS, str(folder), str(until)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_dbos_is_loaded_for_work_alone(engine, tmp_path):
    """Where nothing was ever done, where something is handed over, where all is done, and where a process was killed at its work."""
    nothing = {"done": [], "loaded": False}
    assert worked(tmp_path, 0) == nothing
    assert not (tmp_path / "jobs.db").exists()
    with write(engine) as c:
        DurableJobs().hand_over(c, "gate", "default", "g1")
    assert worked(tmp_path, 1) == {"done": ["g1"], "loaded": True}
    assert worked(tmp_path, 0) == nothing
    client = DBOSClient(system_database_url=f"sqlite:///{tmp_path / 'jobs.db'}")
    client.enqueue({"queue_name": QUEUE, "workflow_name": WORKFLOW, "workflow_id": "g2", "app_version": "1"}, "gate", "default", "g2")
    client.destroy()
    assert worked(tmp_path, 1) == {"done": ["g2"], "loaded": True}


def test_work_of_a_killed_process_is_seen_in_postgresql(postgresql, monkeypatch):
    monkeypatch.setenv(meta_postgres.PASSWORD, PASSWORD)
    name = postgresql.empty_store()
    where = meta_postgres.unopened(postgresql.store_url(name))
    assert not cut_off(where)
    client = DBOSClient(system_database_engine=where)
    client._sys_db.run_migrations()
    assert not cut_off(where)
    client.enqueue({"queue_name": QUEUE, "workflow_name": WORKFLOW, "workflow_id": "g1", "app_version": "1"}, "gate", "default", "g1")
    assert cut_off(where)
    client.destroy()
    where.dispose()
    postgresql.drop(name)
