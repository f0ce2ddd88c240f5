"""`rollout` in the terminal: how guards are written, and a rollout from its start to its end."""

from __future__ import annotations

import pytest
from tests.doors.cli.conftest import Edit, Shell

from windlass.core.errors import Invalid
from windlass.core.operations.rollouts import RolloutGuard
from windlass.doors.cli.rolling import guard_of


@pytest.mark.parametrize(
    ("text", "guard"),
    [
        ("error", RolloutGuard("error", 0.02)),
        ("error=0.1", RolloutGuard("error", 0.1)),
        ("latency_s", RolloutGuard("latency_s", 0.25, relative=True)),
        ("latency_s=0.5", RolloutGuard("latency_s", 0.5)),
        ("cost=10%", RolloutGuard("cost", 0.1, relative=True)),
        ("helpful", RolloutGuard("helpful", 0.05)),
        ("stars=0.2@1..5", RolloutGuard("stars", 0.2, low=1, high=5)),
        ("harm=0.1@-1..1,less-is-better", RolloutGuard("harm", 0.1, low=-1, less_is_better=True)),
        ("two words=0.1", RolloutGuard("two words", 0.1)),
    ],
)
def test_a_guard_is_written_in_a_word(text: str, guard: RolloutGuard) -> None:
    assert guard_of(text) == guard


def test_guards_without_a_margin_take_the_one_for_all() -> None:
    assert guard_of("helpful", "0.1").margin == 0.1 and guard_of("cost", "30%") == RolloutGuard("cost", 0.3, relative=True)


@pytest.mark.parametrize("text", ["", "=0.1", "error=", "error=x", "stars=0.1@1..", "error=1e", "a=b=c"])
def test_what_is_no_guard_says_how_one_is_written(text: str) -> None:
    with pytest.raises(Invalid, match="is no guard") as refused:
        guard_of(text)
    assert "error=0.02" in (refused.value.remedy or "")


def test_a_rollout_is_started_shown_stepped_and_stopped(shop: Shell, edit: Edit) -> None:
    assert "no rollout yet" in shop("rollout", "list").stdout
    shop("push")
    shop("gate")
    shop("promote")
    assert "is none of them" in shop("rollout", "start", "shop", "--mode", "loud", code=1).stderr
    assert "is no share" in shop("rollout", "start", "shop", "--share", "many", code=1).stderr
    assert "runs already" in shop("rollout", "start", "shop", code=1).stderr
    edit("app.py", "return clerk(question=question, facts=FACTS)", "return clerk(facts=FACTS, question=question)")
    shop("push")
    assert shop.json("gate")["decision"] == "promote"
    started = shop.json("rollout", "start", "shop", "--share", "5%", "--by", "session", "--guard", "error=0.1", "--guard", "stars@1..5")
    assert (started["by"], started["steps"], started["guards"][1]["high"]) == ("session", [5, 25, 50], 5)
    id = started["id"][-8:]
    assert "is under way" in shop("rollout", "start", "shop", code=1).stderr
    assert "answers 5 % of callers" in shop("rollout", "show", id).stdout and id in shop("rollout", "list", "--running").stdout
    assert "--why" in shop("rollout", "step", id, code=2).stderr
    assert "Stepped up to 25 % by owner: it is quiet" in " ".join(shop("rollout", "step", id, "--why", "it is quiet").stdout.split())
    assert "Taken back to 5 %" in shop("rollout", "back", id, "--why", "not that quiet").stdout
    assert "The base answers everybody" in " ".join(shop("rollout", "stop", id, "--why", "enough").stdout.split())
    assert [m["kind"] for m in shop.json("rollout", "show", id)["moves"]] == ["stop", "back", "step", "start"]
    assert "is over: stopped" in shop("rollout", "stop", id, "--why", "again", code=1).stderr
