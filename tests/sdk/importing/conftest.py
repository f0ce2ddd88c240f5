"""A Windlass in this process to bring history to, and pages so small that little history has several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sdk.importing.story import SMALL

from windlass.doors.local import open_local
from windlass.sdk.client import Client


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with open_local(tmp_path / "home") as made:
        yield made


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, size in SMALL:
        monkeypatch.setattr(module, name, size)
