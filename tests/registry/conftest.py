from pathlib import Path

import pytest
from tests.registry.application import Registry


@pytest.fixture
def registry(tmp_path: Path, database_setting: str) -> Registry:
    return Registry(tmp_path / "home", database_setting)
