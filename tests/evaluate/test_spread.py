"""Rows of an evaluation on two machines of a Ray cluster, whose workers are killed: no row is lost, none is there twice."""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pytest
from sqlalchemy import select
from tests.doors.server import until
from tests.evaluate.application import App
from tests.registry.sources.postgresql_server import PASSWORD, free_port

from windlass.core.errors import Invalid, Unavailable
from windlass.evaluate.hands import Given
from windlass.jobs.spread import Spread
from windlass.platform import Platform
from windlass.settings import Settings
from windlass.store.home import Home
from windlass.store.meta import read
from windlass.store.meta_postgres import PASSWORD as PASSWORD_VARIABLE
from windlass.store.tables import outcomes

if TYPE_CHECKING:
    from tests.s3_server import S3Server

pytestmark = [  # found and not loaded, which takes a second of every worker's time
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="there is no Ray here: make .stamps/ray installs it"),
]
ROWS = 120
READY_MS = 180_000
PORTS = ("runtime_env_agent_port", "metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")


def _told_its_ports(start: Callable[..., Any]) -> Callable[..., Any]:
    """Start a node that does not wait until its helpers say which ports they have. It would end after 15 s, in which Python loads a
    thousand modules for each of them: too little where much else runs. For all but the last it is enough that it is given."""
    from ray._raylet import persist_port

    def told(*args: Any, **more: Any) -> Any:
        given = inspect.signature(start).bind(*args, **more).arguments
        last = PORTS[-1]
        persist_port(given["session_dir"], given["node_id"], last, given[last])
        return start(*args, **more)

    return told


@pytest.fixture(scope="module")
def cluster(s3_server: S3Server) -> Iterator[str]:
    """Two nodes of one processor each, as two machines, for all tests of this file; their processes have what opens its stores."""
    import ray
    from ray._private import services
    from ray._raylet import wait_for_persisted_port
    from ray.cluster_utils import Cluster
    from tests.s3_server import ENVIRONMENT

    made = Cluster()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "start_raylet", _told_its_ports(services.start_raylet))
        for name, value in {"RAY_USAGE_STATS_ENABLED": "0", PASSWORD_VARIABLE: PASSWORD, **ENVIRONMENT}.items():
            patch.setenv(name, value)
        try:
            for _ in range(2):
                made.add_node(num_cpus=1, include_dashboard=False, **{port: free_port() for port in PORTS})
            for node in made.list_all_nodes():  # who starts processes there is there
                wait_for_persisted_port(node.get_session_dir_path(), node.node_id, PORTS[0], timeout_ms=READY_MS)
            until(lambda: made.global_state.cluster_resources().get("CPU") == 2, 60)  # what is seen of both, where hands are counted by it
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
