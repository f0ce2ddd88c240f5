"""Real commands in real processes, on data folders of their own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.doors.cli.forked import Forks
from tests.doors.server import Server


class Shell:
    """Runs `windlass …` as a person would, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cwd = folder
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "WINDLASS_HOME": str(folder / "home")}
        self.env["WINDLASS_GRPC_PORT"] = "0"  # several servers at once

    def __call__(self, *arguments: str, code: int = 0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        done = Forks.here().run(list(arguments), self.cwd, self.env, stdin)
        assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code).stdout)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def shop(shell: Shell) -> Shell:
    """A shell in a fresh workspace made by `windlass init`."""
    shell("init", "shop")
    shell.cwd = shell.folder / "shop"
    return shell


@pytest.fixture
def served(shop: Shell) -> Iterator[Server]:
    """A server that has the shell's data folder."""
    made = Server(Path(shop.env["WINDLASS_HOME"]))
    yield made
    made.stop()


Edit = Callable[[str, str, str], None]


@pytest.fixture
def edit(shop: Shell) -> Edit:
    def change(file: str, old: str, new: str) -> None:
        path = shop.cwd / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change
