"""docs/alerts.md: the six lines that check a signature do, and the shape it promises is the shape that is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.monitor.application import SECRET, Watch
from tests.monitor.peer import Peer

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
