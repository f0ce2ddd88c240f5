from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.monitor.application import Watch
from tests.monitor.peer import Answer, Peer
from tests.monitor.shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    made = Watch(tmp_path)
    yield made
    made.close()


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    """Starts receivers."""
    made: list[Peer] = []

    def start(*answers: Answer, host: str = "127.0.0.1") -> Peer:
        made.append(Peer(*answers, host=host))
        return made[-1]

    yield start
    for one in made:
        one.close()
