"""Rows of an evaluation on two machines of a Ray cluster, whose workers are killed: no row is lost, none is there twice."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

pytest.importorskip("ray", reason="there is no Ray here: make .stamps/ray installs it")
import ray
from sqlalchemy import select
from tests.evaluate.application import App

from windlass.core.errors import Invalid, Unavailable
from windlass.evaluate.hands import Given
from windlass.jobs.spread import Spread
from windlass.platform import Platform
from windlass.settings import Settings
from windlass.store.home import Home
from windlass.store.meta import read
from windlass.store.tables import outcomes

pytestmark = pytest.mark.slow
ROWS = 120


def started(tries: int = 4) -> Any:
    """A cluster; Ray gives each node 30 s to start, which is too little where much else runs."""
    from ray.cluster_utils import Cluster

    made = Cluster()
    try:
        made.add_node(num_cpus=1, include_dashboard=False)
        made.add_node(num_cpus=1)
    except Exception:
        made.shutdown()
        if tries == 1:
            raise
        return started(tries - 1)
    return made


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two nodes of one processor each, as two machines; its processes have the environment of the test."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = started()
    try:
        yield made.address
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def app(postgresql, bucket: str, database_setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request) -> Iterator[App]:
    monkeypatch.setenv("WINDLASS_BLOBS", bucket)
    monkeypatch.setenv("WINDLASS_EVALUATION_CONCURRENCY", "6")
    monkeypatch.setenv("WINDLASS_RAY", request.getfixturevalue("cluster"))
    made = App(tmp_path, rows=ROWS)
    yield made
    made.close()


def hands() -> list[psutil.Process]:
    """The processes of this test's cluster that do rows now."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any("ray::_Hand" in part for part in process.cmdline()):
                found.append(process)
    return found


@pytest.mark.parametrize("database_setting", ["postgresql"], indirect=True)
def test_workers_that_are_killed_lose_and_repeat_no_row(app: App) -> None:
    app.edit("app.py", '"""Answer."""', '"""Answer."""\n    import time\n    time.sleep(0.1)')
    app.push()
    killed: list[int] = []
    ended = threading.Event()

    def kill() -> None:
        """One worker at a time, so long as they work."""
        while not ended.wait(3):
            for process in hands()[:1]:
                if app.platform.spread.nodes.total() > 10:
                    os.kill(process.pid, signal.SIGKILL)
                    killed.append(process.pid)
            if len(killed) >= 3:
                return

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        job = app.gate()
    finally:
        ended.set()
        killer.join()
    assert job.status == "done" and job.verdict.decision == "promote", job
    evaluation = app.client.evaluations.show(job.verdict.candidate_evaluation)
    assert (evaluation.done, evaluation.failed, evaluation.rows) == (ROWS, 0, ROWS)
    with read(app.platform.engine) as c:
        done = Counter(c.execute(select(outcomes.c.row).where(outcomes.c.evaluation == evaluation.id)).scalars())
    assert done == Counter({f"r{n:04}": 1 for n in range(ROWS)})
    spread = app.platform.spread
    assert killed and spread.again, "nothing was killed while it worked"
    assert len(spread.nodes) == 2 and spread.nodes.total() >= ROWS, spread.nodes
    traces, cursor = Counter[str](), None
    while True:
        page = app.client.traces.list(evaluation=evaluation.id, limit=100, cursor=cursor)
        traces.update(t.trace_id for t in page.items)
        if not (cursor := page.next):
            break
    assert len(traces) == ROWS and set(traces.values()) == {1}, "each row's run is there once"


def test_rows_elsewhere_need_stores_that_they_reach(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(Invalid, match="need stores that they reach"):
        Platform(home, Settings(ray="auto"))


async def test_a_cluster_that_is_not_there_is_said() -> None:
    spread = Spread("127.0.0.1:1", "windlass.doors.rows:open_rows", bytes, 1)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="the Ray cluster does not answer"):
        await spread.do(b"")
    assert time.monotonic() - began < 120


async def test_a_worker_of_another_version_is_said(cluster: str) -> None:
    given = msgspec.msgpack.encode(Given("0.0.1", Settings(), {}))
    spread = Spread(cluster, "windlass.doors.rows:open_rows", lambda: given, 1)
    with pytest.raises(Unavailable, match=r"cannot work: .*the server 0\.0\.1"):
        await spread.do(b"")
    await spread.close()
