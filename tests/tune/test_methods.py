"""Each method does what it is for on rows it did not see; what does not help is not let through."""

from __future__ import annotations

import pytest
from tests.tune import tickets
from tests.tune.application import HELPED, Desk

from windlass.core.operations.registry import VERIFY, VerifyQuery

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def test_sft_lowers_held_out_loss_is_served_and_let_through(tuned: Desk) -> None:
    desk, done = tuned, tuned.helped
    base = desk.desk(desk.tiny)
    assert done.measure and done.measure.better == "lower" and done.measure.helped, done.measure
    assert [p.step for p in desk.client.tunes.points(done.id).items] == list(range(1, HELPED["steps"] + 1))
    assert {s.step for s in done.samples} == {0, 20, 40, 60, 80, 100}
    assert done.canary == "it answers 5 canaries as it did when it was made"
    weights = desk.client.weights.show("helped")
    assert weights.id == done.id_of_model and weights.licence == "Apache-2.0"
    assert weights.base == desk.tiny and weights.trained_on == (done.data,)
    # the tuned model in the suite's own component, against the frozen one
    compared = desk.compare(done)
    assert compared.decision == "promote", compared
    assert [v.what for v in compared.against] == ["frozen"]
    # and it is released by the gate, as any other change
    assert desk.gate(suite="desk").verdict.decision == "promote"
    desk.client.releases.promote("reply")
    candidate = desk.desk(done.id_of_model)
    assert candidate != base
    assert desk.gate(candidate, "desk").verdict.decision == "promote"
    assert "team will help" in desk.client.run("component/reply", "the invoice again").text
    assert desk.client.call(VERIFY, VerifyQuery()).problems == ()
    # where it came from, and what it touches
    why = desk.client.versions.why(done.adapter)
    assert why.message == f"tuning {done.id[-8:]} by sft, licence Apache-2.0"
    sources = {(s.relation, s.role): s.ref for s in why.sources}
    assert sources == {("uses", "base"): done.base, ("trained-on", "rows"): done.data}
    assert desk.client.tunes.show(weights.tune).id == done.id
    for start in (done.data, done.base, done.adapter):
        touched = {t.kind for t in desk.client.versions.impact(start).touched}
        assert {"model", "component", "release"} <= touched, (start, touched)


def test_a_reward_model_ranks_held_out_pairs_and_reinforcement_raises_held_out_reward(desk: Desk) -> None:
    rows = tickets.preference_rows([*desk.train, *desk.test])
    split = [{**row, "split": "train" if n < len(desk.train) else "test"} for n, row in enumerate(rows)]
    desk.client.datasets.edit("dataset/split:main", split)
    judge = desk.tune("reward", name="judge", data="split", heldout="test", parameters={"steps": 120})
    assert judge.status == "done", judge.error
    assert judge.measure and judge.measure.helped and judge.measure.after > 0.7 and not judge.id_of_model, judge.measure
    taught = desk.tune("grpo", name="taught", data="asked", reward="judge", parameters={"steps": 30, "learning_rate": 2e-3})
    assert taught.status == "done", taught.error
    assert taught.measure and taught.measure.name == "held-out reward" and taught.measure.helped, taught.measure
    sources = {(s.relation, s.role): s.ref for s in desk.client.versions.why(taught.adapter).sources}
    assert sources[("derived-from", "reward")] == judge.adapter


def test_a_tuning_that_does_not_help_is_blocked(desk: Desk) -> None:
    desk.desk(desk.tiny)
    idle = desk.tune("sft", name="idle", parameters={"steps": 3, "learning_rate": 1e-6})
    assert idle.status == "done", idle.error
    found = desk.compare(idle)
    assert found.decision == "block" and "not shown to be better" in found.against[0].why, found
