from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.doors.server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with nothing in it, for all tests that change nothing others see."""
    made = Server(tmp_path_factory.mktemp("server") / "home")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in which the tour was walked."""
    from windlass.doors.cli.tour import walk

    made = Server(tmp_path_factory.mktemp("toured") / "home")
    with made.client() as client:
        walk(client, lambda *texts: None, lambda path: made.address + path)
    yield made
    made.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
