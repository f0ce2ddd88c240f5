"""docs/agents.md: every command of it runs, in order, and its tool is one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.agentops.conftest import Shop
from tests.doors.cli.conftest import Shell

from windlass.store.home import Home

PAGE = (Path(__file__).parents[2] / "docs/agents.md").read_text()


def test_the_commands_run(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    Shop(Home(tmp_path / "home").database_url).registered()
    lines = [line for block in re.findall(r"```console\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
    assert len(lines) == 19
    grant = "none yet"
    for line in lines:
        command, _, said = line.removeprefix("$ windlass ").partition("  #")
        arguments = [grant if word == "GRANT" else word for word in shlex.split(command)]
        done = shell(*arguments, code=1 if "exit 1" in said else 0)
        if arguments[1] == "make":
            grant = done.stdout.split()[0]
        assert done.stdout
        assert "exit 1" not in said or "does not allow these arguments" in done.stdout


def test_the_tool_is_one() -> None:
    made: dict[str, object] = {}
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(block, made)
    assert made["refund"].secrets == ("SHOP_KEY",)  # type: ignore[attr-defined]
    assert made["refund"].effects == "write"  # type: ignore[attr-defined]
