import shutil
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
def toured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in which the tour was walked: once, and each worker has a copy."""
    from windlass.doors.cli.tour import walk

    with made_once(tmp_path_factory, "toured") as (shared, is_made):
        if not is_made:
            first = Server(shared / "home")
            with first.client() as client:
                walk(client, lambda *texts: None, lambda path: first.address + path)
            first.stop()
    home = tmp_path_factory.mktemp("toured") / "home"
    shutil.copytree(shared / "home", home, ignore=shutil.ignore_patterns("run"))  # what is of its processes
    made = Server(home)
    yield made
    made.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
