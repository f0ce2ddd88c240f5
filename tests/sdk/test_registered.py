"""Prompts of the registry in an application: what is fetched, how long it is kept, what happens while the server is away."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import windlass
from windlass.core import span as names
from windlass.core.artifacts import PromptBody, TemplateMessage
from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.core.operations.prompts import PromptVersion
from windlass.sdk import registered
from windlass.sdk.registered import Prompt

ASK = PromptBody(
    (TemplateMessage("system", "Be {{ tone }}."), TemplateMessage("user", "{{ question }}")),
    {"tone": {"type": "string"}, "question": {"type": "string"}}, "jinja2@3", {"temperature": 0.0},
)  # fmt: skip


class Desk:
    """A client whose server gives another version each time it is asked, or fails."""

    project = "default"

    def __init__(self, address: str) -> None:
        self.address = address
        self.prompts = self
        self.asked: list[str] = []
        self.fails: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()
        self._number = itertools.count(1)

    def get(self, ref: str) -> PromptVersion:
        self.asked.append(ref)
        assert self.answers.wait(10)
        if self.fails:
            raise self.fails
        return PromptVersion(f"prompt/ask@sha256:{next(self._number):064x}", ASK)


@pytest.fixture
def desk(request: pytest.FixtureRequest) -> Desk:
    return Desk(f"http://{request.node.name}")  # what is kept is kept by server


def number(prompt: Prompt) -> int:
    return int(prompt.ref[-8:], 16)


def soon(desk: Desk, name: str, **given: Any) -> int:
    """What it is once whoever asks in the background is done."""
    end = time.monotonic() + 10
    while any(kept.asking for kept in registered._kept.values()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return number(windlass.prompt(name, client=desk, **given))


def test_a_name_alone_is_what_production_uses_and_is_asked_once(desk: Desk) -> None:
    assert [number(windlass.prompt("ask", client=desk)) for _ in range(3)] == [1, 1, 1]
    assert number(windlass.prompt("ask:main", client=desk)) == 2
    assert desk.asked == ["ask:production", "ask:main"]


def test_a_label_is_asked_anew_in_the_background_and_a_version_never(desk: Desk) -> None:
    assert number(windlass.prompt("ask", seconds=0, client=desk)) == 1
    desk.answers.clear()
    for _ in range(3):
        assert number(windlass.prompt("ask", seconds=0, client=desk)) == 1, "nobody waits for the new one"
    desk.answers.set()
    assert soon(desk, "ask") == 2
    for _ in range(3):
        windlass.prompt("ask@3f9a", seconds=0, client=desk)
    assert desk.asked.count("ask:production") == 2, "one asks, however many wait"
    assert desk.asked.count("ask@3f9a") == 1


def test_while_the_server_is_away_the_last_version_goes_on(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    windlass.prompt("ask", client=desk)
    desk.fails = Unavailable("nobody answers")
    windlass.prompt("ask", seconds=0, client=desk)
    assert soon(desk, "ask") == 1
    assert "goes on: nobody answers" in caplog.text


def test_a_start_without_the_server_takes_the_file_and_only_then(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "ask.md"
    file.write_text("---\ninputs: {question: string}\n---\nuser: Please, {{ question }}\n")
    desk.fails = Unavailable("nobody answers")
    with pytest.raises(Unavailable):
        windlass.prompt("ask", client=desk)
    found = windlass.prompt("ask", fallback=file, client=desk)
    assert found.ref == "" and found.text(question="when?") == "Please, when?"
    desk.fails = NotFound("there is no such prompt")
    with pytest.raises(NotFound):
        windlass.prompt("ask", fallback=file, client=desk)
    desk.fails = None
    assert number(windlass.prompt("ask", fallback=file, client=desk)) == 1, "the file is not kept in its place"


def test_it_renders_as_the_server_does_and_says_what_is_missing(desk: Desk) -> None:
    found = windlass.prompt("ask", client=desk)
    said = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "When?"}]
    assert found.messages(tone="kind", question="When?") == said
    assert found.text(tone="kind", question="When?") == "Be kind.\n\nWhen?"
    assert [(m.type, m.content) for m in found.runnable().invoke({"tone": "kind", "question": "When?"}).messages] == [
        ("system", "Be kind."), ("human", "When?"),
    ]  # fmt: skip
    assert found.parameters == {"temperature": 0.0} and found.inputs == ("tone", "question")
    with pytest.raises(Invalid, match="needs the input 'tone'"):
        found.messages(question="When?")
    with pytest.raises(Invalid, match="has no input 'tune'"):
        found.messages(tune="kind", tone="kind", question="When?")


def test_the_open_step_says_which_versions_were_rendered_in_it(desk: Desk) -> None:
    tracer = TracerProvider().get_tracer("test")
    one, two = windlass.prompt("ask", client=desk), windlass.prompt("ask:main", client=desk)
    with tracer.start_as_current_span("outer") as outer:
        for prompt in (one, two, one):
            prompt.messages(tone="kind", question="When?")
        with tracer.start_as_current_span("inner") as inner:
            two.text(tone="kind", question="When?")
    assert list(outer.attributes[names.VERSIONS]) == [one.ref, two.ref]  # type: ignore[attr-defined]
    assert list(inner.attributes[names.VERSIONS]) == [two.ref]  # type: ignore[attr-defined]
    one.messages(tone="kind", question="When?")  # outside of any step nothing is said
    assert not trace.get_current_span().is_recording()
