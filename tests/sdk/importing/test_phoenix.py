"""History of Phoenix: as a real server was seen to answer, and with `make soak` from one that runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.sdk.importing import servers, story
from tests.sdk.importing.served import replaying, served

from windlass.sdk.client import Client
from windlass.sdk.importing.bring import Brought

SPANS, SCORES = servers.SPANS["phoenix"], servers.SCORES["phoenix"]


def test_history_comes_whole_and_once(client: Client, tmp_path: Path, small_pages: None) -> None:
    with served(replaying(servers.CAPTURED["phoenix"])) as address:
        told = story.walk(client, "phoenix", address, tmp_path / "imports", SCORES, SPANS)
    _check(client, told)


@pytest.mark.soak  # installs 850 MB the first time
def test_a_server_that_runs(client: Client, tmp_path: Path, small_pages: None) -> None:
    with servers.server("phoenix", tmp_path) as address:
        told = story.walk(client, "phoenix", address, tmp_path / "imports", SCORES, SPANS)
    _check(client, told)


def _check(client: Client, told: Brought) -> None:
    assert told.left == [] and told.projects == {"default": 0, "shop": 7}
    page = [client.traces.show(t.trace_id) for t in reversed(client.traces.list(limit=200).items)]
    said = {s.name: (s.value, s.comment, s.session) for t in page for s in t.scores}
    assert said == {
        "helpful": (1.0, "yes\n\nsays when\n\n(human)", None),
        "tone": ("plain", "(llm judge)", None),
        "faithful": (0.75, "(code)", None),
        "kept": ("good", "(human)", None),
        "settled": (1.0, "(human)", "s1"),
    }
    assert [s.name for s in page[1].scores] == ["faithful"] and [s.name for s in page[2].scores] == ["kept"]
    assert page[1].scores[0].span == next(s.span_id for s in page[1].spans if s.name == "chat")
    (failed,) = [t for t in page if t.summary.status == "error"]
    root = next(s for s in failed.spans if s.parent is None)
    assert root.status_message == "no such order" and root.events[0].attributes["exception.type"] == "ValueError"
    assert root.attributes["tag.tags"] == ["north"] and root.attributes["metadata.order"] == 3
