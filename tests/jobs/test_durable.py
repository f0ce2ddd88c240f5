"""Work is handed over in the transaction that makes it, and taken to DBOS once."""

from __future__ import annotations

from pathlib import Path

import pytest
from dbos import DBOSClient
from sqlalchemy.exc import DBAPIError
from tests.registry.sources.postgresql_server import PASSWORD

from windlass.core.errors import Conflict
from windlass.jobs.durable import DurableJobs, Turn, take
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
