"""docs/governing.md: every command of it runs, in order, and its table of roles is the one that decides."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.doors.cli.conftest import Shell
from tests.govern.test_permissions import TABLE

PAGE = (Path(__file__).parents[2] / "docs/governing.md").read_text()


def test_the_commands_run(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    lines = [line for block in re.findall(r"```console\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
    assert len(lines) == 14
    for line in lines:
        command, _, said = line.removeprefix("$ windlass ").partition("  #")
        done = shell(*shlex.split(command), code=1 if "exit 1" in said else 0)
        assert done.stdout


def test_the_table_of_roles_is_the_one_that_decides() -> None:
    told = dict(re.findall(r"^\| (\w+) \| ([^|]+) \|", PAGE.partition("## The audit")[0], re.M))
    told.pop("role")
    assert told.keys() == TABLE.keys()
    for role, may in told.items():
        wanted = {"everything, in every project": TABLE["owner"], "nothing": ""}.get(may.strip(), may.replace(",", ""))
        assert sorted(wanted.split()) == sorted(TABLE[role].split()), role
