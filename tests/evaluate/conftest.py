from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.evaluate.application import App


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    made = App(tmp_path)
    yield made
    made.close()
