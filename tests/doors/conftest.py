import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.doors.server import Server
from tests.workers import made_once


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with nothing in it, for all tests that change nothing others see."""
    made = Server(tmp_path_factory.mktemp("server") / "home")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `windlass up` walked the tour, stopped once and begun again: its data folder `home`, and what it said
    before and after as `first` and `second`. Walked once; tests work on copies."""
    with made_once(tmp_path_factory, "walked") as (shared, is_made):
        if not is_made:
            _up(shared, "first", "first  pushed")
            _up(shared, "second", "ask it something")
    return shared


def _up(folder: Path, told: str, until: str) -> None:
    """`windlass up` from its start until it has said this, then Ctrl-C."""
    command = [sys.executable, "-m", "windlass.doors.cli.main", "up", "--port", "0"]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "WINDLASS_HOME": str(folder / "home"), "WINDLASS_GRPC_PORT": "0"}
    with (folder / told).open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        end = time.monotonic() + 600
        while until not in (said := (folder / told).read_text()) or (until == "ask it something" and (folder / "home/run/tour").exists()):
            assert process.poll() is None and time.monotonic() < end, said
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, (folder / told).read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def toured(tmp_path_factory: pytest.TempPathFactory, walked: Path) -> Iterator[Server]:
    """A server in which the tour was walked; each worker has a copy."""
    home = tmp_path_factory.mktemp("toured") / "home"
    shutil.copytree(walked / "home", home, ignore=shutil.ignore_patterns("run"))  # what is of its processes
    made = Server(home)
    yield made
    made.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
