"""Load tests: what is let out was shown to keep up where that is demanded; calls are begun whether or not the others were answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.evaluate.application import App
from tests.stores import on_both

from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound, WindlassError
from windlass.core.operations.loadtests import Objectives
from windlass.core.ref import parse_ref
from windlass.deploy import loadtesting
from windlass.store.meta import read

POLICY = '[[load]]\nenvironment = "production"\nper_second = 20\nseconds = 3\np95_s = 5.0\nerrors = 0.1\n'


@pytest.fixture
def app(tmp_path: Path, database_setting: str) -> Iterator[App]:
    made = App(tmp_path, rows=80)
    fails = '    if number % 10 in BAD:\n        raise ValueError("no")\n'
    made.edit("app.py", "    if number % 10 < MISTAKES:", fails + "    if number % 10 < MISTAKES:")
    made.edit("app.py", "MISTAKES = 0", "BAD = ()\nMISTAKES = 0")
    yield made
    made.close()


@on_both
def test_a_release_moves_when_it_was_shown_to_keep_up(app: App) -> None:
    ref = app.push()
    assert (verdict := app.gate().verdict) and verdict.decision == "promote"
    (app.home.path / "policy.toml").write_text(POLICY)
    with pytest.raises(Forbidden, match=r"production needs a load test .* that was passed, and none of 168 hours") as told:
        app.client.releases.promote("answer")
    assert "--per-second 20 --seconds 3 --p95 5 --errors 0.1" in str(told.value)
    digest = ref.partition("@")[2]
    less = app.client.loadtests.wait(app.client.loadtests.start(f"answer@{digest}", "rows", Objectives(20, 3, 5.0)).id)
    assert less.passed, less
    with pytest.raises(Forbidden, match="needs a load test"):
        app.client.releases.promote("answer")
    test = app.client.loadtests.wait(app.client.loadtests.start(f"answer@{digest}", "rows", Objectives(20, 3, 5.0, 0.1)).id)
    assert test.passed and (test.sent, test.answered, test.failed, test.way) == (60, 60, 0, "in process"), test
    assert [h.name for h in test.held] == ["rate", "p95", "errors"] and sum(n for _, n in test.histogram) == 60
    assert 0 < (test.p50_s or 0) <= (test.p95_s or 0) <= (test.p99_s or 0)
    assert len(app.client.traces.list(evaluation=test.id, limit=200).items) == 60
    assert app.client.releases.promote("answer").after == digest
    app.edit("app.py", 'return f"answer {number}"', 'return "answer " + str(number)')
    app.push()
    assert (verdict := app.gate().verdict) and verdict.decision == "promote"
    with pytest.raises(Forbidden, match="needs a load test"):  # the test was of another release
        app.client.releases.promote("answer")


def test_one_that_fails_too_often_is_not_passed_and_says_why(app: App) -> None:
    app.edit("app.py", "BAD = ()", "BAD = (1, 2, 3)")
    ref = app.push()
    test = app.client.loadtests.wait(app.client.loadtests.start(ref.removeprefix("release/"), "rows", Objectives(40, 2, None, 0.05)).id)
    assert not test.passed and (test.failed, test.answered) == (24, 56)
    assert [h.kept for h in test.held][1] == "missed" and "ValueError" in next(iter(test.failures))
    rule = POLICY.replace("errors = 0.1", "errors = 0.05").replace("p95_s = 5.0\n", "").replace("seconds = 3", "seconds = 2")
    (app.home.path / "policy.toml").write_text(rule)
    with read(app.platform.engine) as c, pytest.raises(Forbidden, match="24 of 80 failed"):
        app.platform.loadtests.require(c, parse_ref(ref), "production")


def test_calls_are_begun_whether_or_not_others_were_answered(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that takes a second each, one at a time, falls behind; its times say so, and nobody waits for it."""
    monkeypatch.setattr(loadtesting, "MOST_IN_FLIGHT", 30)
    app.edit("app.py", '    """Answer."""\n', '    """Answer."""\n    import time\n    time.sleep(1)\n')
    ref = app.push()
    test = app.client.loadtests.wait(app.client.loadtests.start(ref.removeprefix("release/"), "rows", Objectives(40, 2, 1.5)).id)
    assert test.sent == 80 and not test.passed
    assert {h.name: h.kept for h in test.held}["p95"] == "missed"
    assert sum(n for why, n in test.failures.items() if "were under way" in why) == test.failed > 0


def test_it_can_be_cancelled_and_shows_nothing(app: App) -> None:
    ref = app.push()
    begun = app.client.loadtests.start(ref.removeprefix("release/"), "rows", Objectives(5, 600))
    while app.client.loadtests.show(begun.id).status != "running":
        pass
    assert app.client.loadtests.cancel(begun.id).status == "cancelled"
    with pytest.raises(Conflict):
        app.client.loadtests.cancel(begun.id)
    found = app.client.loadtests.show(begun.id)
    assert found.held == () and not found.passed


@pytest.mark.parametrize(("target", "objectives", "error", "says"), [
    ("chain/answer", Objectives(5, 30), Invalid, "is no release"),
    ("answer", Objectives(5, 30), NotFound, "staging"),
    ("answer@{}", Objectives(1, 30, 2.0), Invalid, "30 calls cannot show how long 95 of 100 take"),
    ("answer@{}", Objectives(5, 30, None, 0.001), Invalid, "cannot show that at most 0.1 % do"),
    ("answer@{}", Objectives(5, 30, None, 0.0), Invalid, "cannot show"),
])  # fmt: skip
def test_what_cannot_be_shown_is_refused_before_it_is_paid_for(
    app: App, target: str, objectives: Objectives, error: type[WindlassError], says: str
) -> None:
    digest = app.push().partition("@")[2]
    with pytest.raises(error, match=says):
        app.client.loadtests.start(target.format(digest), "rows", objectives)
    assert app.client.loadtests.list().items == ()
