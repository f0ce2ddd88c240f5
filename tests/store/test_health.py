"""What the page Installation says of stores and queues, on both engines."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, insert
from tests.stores import on_both

from windlass.core.operations.system import Queue
from windlass.settings import Settings
from windlass.store.health import Health
from windlass.store.home import Home
from windlass.store.meta import HEAD, open_meta, write
from windlass.store.tables import approvals, deliveries, evaluations, tunes

NOW = 1_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def engine(home: Home, database_setting: str) -> Engine:
    return open_meta(database_setting or home.database_url)


@on_both
def test_stores_say_how_large_they_are_and_of_which_revision(home: Home, engine: Engine) -> None:
    (home.path / "blobs" / "ab").mkdir()
    (home.path / "blobs" / "ab" / "one").write_bytes(b"x" * 1000)
    (home.path / "blobs" / "two").write_bytes(b"y" * 234)
    found = Health(home, Settings(), engine).stores()
    assert found["tables"].schema == HEAD and (found["tables"].bytes or 0) > 10_000
    assert found["blobs"].bytes == 1234
    assert found["spans"].bytes is None  # its projector says


@on_both
def test_queues_count_what_waits_and_what_is_under_way(home: Home, engine: Engine) -> None:
    asked = Health(home, Settings(), engine)
    assert all(queue == Queue() for queue in asked.queues(NOW).values())
    job = {
        "project": "default",
        "suite": "s",
        "suite_name": "s",
        "target": "t",
        "request": "{}",
        "summary": "{}",
        "rows": 1,
        "created_ns": 1,
    }
    sent = {"project": "default", "event": "e", "alert": "a", "digest": "d", "channel": "webhook", "address": "x", "secret": "", "body": ""}
    call = {
        "project": "default",
        "grant": "g",
        "agent": "a",
        "tool": "t",
        "call": "c",
        "body": "{}",
        "asked_ns": 1,
        "decided_by": "",
        "note": "",
    }
    with write(engine) as c:
        for n, status in enumerate(("queued", "queued", "running", "done", "failed")):
            c.execute(insert(evaluations).values(id=f"e{n}", status=status, actor="owner", **job))
        for n, status in enumerate(("checking", "running", "queued")):
            c.execute(insert(tunes).values(id=f"t{n}", project="default", name="n", actor="owner", body="{}", status=status, created_ns=1))
        for n, (status, due) in enumerate((("waiting", NOW), ("waiting", NOW + 1), ("delivered", None))):
            values = {"status": status, "tries": 1, "attempts": "[]", "next_ns": due, "created_ns": 1}
            c.execute(insert(deliveries).values(id=f"d{n}", **sent, **values))
        for n, (state, until) in enumerate((("waiting", NOW + 1), ("waiting", NOW), ("denied", NOW + 1))):
            c.execute(insert(approvals).values(id=f"a{n}", state=state, expires_ns=until, **call))
    found = asked.queues(NOW)
    assert found["evaluations"] == Queue(2, 1) and found["tunings"] == Queue(1, 2) and found["gates"] == Queue()
    assert found["deliveries of alerts"] == Queue(2, due=1) and found["calls that wait for a person"] == Queue(1)


def test_what_it_runs_on_is_named_with_its_version(home: Home) -> None:
    found = Health(home, Settings(), open_meta(home.database_url)).libraries()
    assert found["Python"].startswith("3.") and {"sqlalchemy", "duckdb", "granian"} <= found.keys() and all(found.values())
