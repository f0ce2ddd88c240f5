"""The fixture as a user's pytest meets it: in a process of its own, on a workspace of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from windlass.doors.cli.workspace import TEMPLATE

TESTS = """
import asyncio
import app
import pytest
from windlass import WindlassError

def test_chain(windlass):
    assert "nine" in app.shop("When do you open?")
    assert "nine" in windlass.run("chain/shop", "When do you open?").text

def test_component(windlass):
    assert "nine" in app.clerk(question="When do you open?", facts=app.FACTS)
    assert "nine" in "".join(app.clerk.stream(question="When do you open?", facts=app.FACTS))

def test_from_tasks(windlass):
    async def both():
        one = await asyncio.gather(*[app.clerk.acall(question="When do you open?", facts=app.FACTS) for _ in range(2)])
        return [*one, "".join([piece async for piece in app.clerk.astream(question="When do you open?", facts=app.FACTS)])]
    assert all("nine" in answer for answer in asyncio.run(both()))

def test_an_error_is_the_services_own(windlass):
    with pytest.raises(WindlassError, match="question"):
        app.clerk(facts=app.FACTS)

def test_every_call_is_a_trace(windlass):
    assert any("nine" in t.output for t in windlass.traces.list().items)

def test_without_the_fixture_nothing_is_bound():
    with pytest.raises(WindlassError, match="fixture"):
        app.clerk(question="When do you open?", facts=app.FACTS)
"""


def run(folder: Path, tests: str, *flags: str) -> subprocess.CompletedProcess[str]:
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "tests" / "test_app.py").write_text(tests)
    command = [sys.executable, *flags, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "tests"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def workspace(tmp_path):
    shutil.copytree(TEMPLATE, tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "app"


def test_the_templates_own_tests_pass(workspace):
    done = run(workspace, (TEMPLATE / "tests" / "test_app.py").read_text())
    assert done.returncode == 0, done.stdout


def test_everything_can_be_called(workspace):
    done = run(workspace, TESTS)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout


def test_a_workspace_that_cannot_be_pushed_fails_its_tests_with_a_sentence(workspace):
    (workspace / "prompts" / "answer.md").write_text("---\ninputs: [\n---\n{{ question }}")
    done = run(workspace, "def test_it(windlass): pass\n")
    assert done.returncode == 1
    assert "the workspace cannot be pushed: " in done.stdout and "answer.md" in done.stdout
    assert "Traceback" not in done.stdout


def test_without_a_workspace_there_is_an_empty_installation(tmp_path):
    done = run(tmp_path, "def test_it(windlass): assert windlass.artifacts.list().items == ()\n")
    assert done.returncode == 0, done.stdout


def test_nothing_of_weight_is_loaded_until_a_test_asks(tmp_path):
    tests = "import sys\ndef test_it(): assert not {'msgspec', 'sqlalchemy', 'duckdb', 'windlass.core'} & sys.modules.keys()\n"
    done = run(tmp_path, tests)
    assert done.returncode == 0, done.stdout


def test_an_install_without_the_server_says_what_to_install(tmp_path):
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['sqlalchemy'] = None\n")
    done = run(tmp_path, "def test_it(windlass): pass\n")
    assert done.returncode == 1
    assert "pip install 'windlass[server]'" in done.stdout
