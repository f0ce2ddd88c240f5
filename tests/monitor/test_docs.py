"""docs/alerts.md: the six lines that check a signature do, and the shape it promises is the shape that is sent. docs/monitors.md: its
commands are commands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.monitor.application import SECRET, Watch
from tests.monitor.peer import Peer

from windlass.doors.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs/alerts.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert found
    return found[1]


@pytest.mark.parametrize("secret", [SECRET, "plain words"])
def test_the_lines_that_check_a_signature(watch: Watch, peer: Callable[..., Peer], secret: str) -> None:
    watch.environ["HOOK_SECRET"] = secret
    there = peer()
    watch.set(webhook=there.url)
    watch.note()
    watch.work()
    made: dict[str, Any] = {}
    exec(block("python"), made)
    (asked,) = there.asked
    verified = made["verified"]
    assert verified(secret, asked.headers, asked.body)
    assert not verified(secret[:-4] + "aaaa", asked.headers, asked.body) and not verified(secret, asked.headers, asked.body + b" ")
    assert not verified(secret, asked.headers | {"webhook-timestamp": "1"}, asked.body)


def test_the_shape(watch: Watch, peer: Callable[..., Peer]) -> None:
    there = peer()
    watch.set(webhook=there.url)
    watch.note(release="release/answer@sha256:0")
    watch.work()
    promised, sent = json.loads(block("json")), json.loads(there.asked[0].body)
    assert promised.keys() == sent.keys() and promised["data"].keys() == sent["data"].keys()
    assert [type(v) for v in promised["data"].values()] == [type(v) for v in sent["data"].values()]


def test_the_commands_of_monitors_are_commands() -> None:
    """Every line of docs/monitors.md that calls one names a command and options there are."""
    page = (Path(__file__).parents[2] / "docs/monitors.md").read_text()
    lines = [line.split("#")[0].split()[1:] for line in page.splitlines() if line.startswith("    windlass ")]
    options = set(re.findall(r"^\| `(--[a-z]+)`", page, re.M))
    group = typer.main.get_command(app).commands["monitor"]
    assert len(lines) == 6 and options
    for _, name, *given in lines:
        known = {o for p in group.commands[name].params for o in p.opts}
        assert {g for g in given if g.startswith("--")} <= known
    assert options <= {o for p in group.commands["set"].params for o in p.opts}
