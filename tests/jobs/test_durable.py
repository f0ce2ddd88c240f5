"""Work is handed over in the transaction that makes it, and taken to DBOS once."""

from __future__ import annotations

from pathlib import Path

import pytest
from dbos import DBOSClient

from windlass.jobs.durable import DurableJobs, take
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
