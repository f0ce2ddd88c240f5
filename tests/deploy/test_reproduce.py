"""A run done again, where what it was asked or what it answered was masked when it was kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.evaluate.application import App

KEY = "sk-ant-api03-Zx81Qw62Er43Ty24Ui05Op96As87Df"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    made = App(tmp_path, rows=2)
    yield made
    made.close()


def test_what_was_masked_is_no_difference(app: App) -> None:
    app.edit("app.py", 'return f"answer {number}"', f'return f"answer {{number}}" if number < 5 else "{KEY}"')
    app.push()
    plain, asked, answered = (app.client.run("chain/answer", f"{begin} {n}") for begin, n in (("question", 1), (KEY, 2), ("question", 7)))
    assert answered.text == KEY, "whoever asks is answered whole"

    def again(trace: str) -> tuple[bool, str, bool | None]:
        found = app.client.versions.reproduce(trace)
        return found.same, found.steps[-1].said, found.steps[-1].same

    assert again(plain.trace) == (True, "the same answer", True)
    assert again(asked.trace) == (True, "what it was asked is masked, so that it cannot be asked again", None)
    assert again(answered.trace) == (True, "what it answered is masked, so that the answers cannot be compared", None)
