"""Training metrics lie: three runs whose every own figure rises while their answers get worse, and a gate that lets none through."""

from __future__ import annotations

import pytest
from tests.tune.application import Desk

pytestmark = [pytest.mark.torch, pytest.mark.soak]  # 100 s of processor


def test_three_runs_whose_own_figures_rise_and_whose_answers_get_worse_are_refused(tuned: Desk) -> None:
    """Raters liked one answer, whatever was asked. Reward and ranking rise on held-out rows, and most tickets go to the wrong team."""
    desk, good = tuned, tuned.helped
    judge = desk.client.tunes.list("judge").items[0]
    assert judge.measure and judge.measure.helped and judge.measure.after > 0.9 and not judge.id_of_model
    desk.desk(good.id_of_model)
    assert desk.gate(suite="desk").verdict.decision == "promote"
    desk.client.releases.promote("reply")
    hard = {"steps": 30, "learning_rate": 5e-3, "beta": 0.0}
    bad = [
        desk.tune("grpo", name="by-grpo", base="helped", data="asked", reward="judge", parameters=hard),
        desk.tune("rloo", name="by-rloo", base="helped", data="asked", reward="judge", parameters=hard),
        desk.tune("dpo", name="by-dpo", base="helped", data="biased", parameters={"steps": 40}),
    ]
    for tune in bad:
        assert tune.status == "done", tune.error
        assert tune.measure and tune.measure.helped, tune.measure  # it looks good
        verdict = desk.gate(desk.desk(tune.id_of_model), "desk").verdict
        assert verdict and verdict.decision == "block", (tune.request.name, verdict)
        right = next(g for g in verdict.guards if g.name == "right")
        assert right.candidate < right.base - 0.3, right
