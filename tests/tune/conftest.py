"""One tiny model for all tests of tuning, built once in a process of its own; and a workspace that is made of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tune.application import HELPED, Desk
from tests.workers import made_once

from windlass.runtime.local.environment import why_no_torch

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if why := why_no_torch():
        for item in items:
            if HERE in item.path.parents and item.get_closest_marker("torch"):
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a language model; workers wait for the first of them to build it."""
    with made_once(tmp_path_factory, "tiny") as (shared, made):
        if not made:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
            subprocess.run([sys.executable, str(HERE / "tiny.py"), str(shared / "model")], check=True, env=environment, capture_output=True)
    return shared / "model"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A data folder with the desk in which `helped` was tuned by SFT, and `judge` is a reward model of raters who like one answer
    whatever was asked. Tuned once; tests work on copies."""
    with made_once(tmp_path_factory, "prepared") as (shared, is_made):
        if not is_made:
            made = Desk(Path(tempfile.mkdtemp(dir=shared)), tiny)
            try:
                for tune in (made.tune(parameters=HELPED), made.tune("reward", name="judge", data="biased", parameters={"steps": 40})):
                    assert tune.status == "done", tune.error
            finally:
                made.close()
            made.home.path.rename(shared / "home")
    return shared / "home"


@pytest.fixture
def tuned(tmp_path: Path, tiny: Path, prepared: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, tiny, prepared)
    yield made
    made.close()


@pytest.fixture
def desk(tmp_path: Path, tiny: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, tiny)
    yield made
    made.close()
