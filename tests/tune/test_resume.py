"""Killed at any moment and gone on with, a tuning comes to the weights it would have come to; what is not the same run is refused."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from tests.tune.application import HELPED, Desk, newest, trainer_of

from windlass.core.operations.tuning import Tune
from windlass.tune.training.checkpoints import SEAL

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def killed(desk: Desk, tune: Tune, step: int) -> Tune:
    desk.until(tune, step=step)
    os.kill(trainer_of(desk, tune), signal.SIGKILL)
    found = desk.until(tune)
    assert found.status == "failed" and "killed (signal 9)" in found.error["error"]["message"], found.error
    return found


def resumed(desk: Desk, tune: Tune) -> Tune:
    return desk.until(desk.client.tunes.resume(tune.id))


def test_sft_goes_on_to_the_same_bits_and_not_with_anything_else(tuned: Desk) -> None:
    desk, whole = tuned, tuned.helped
    cut = killed(desk, desk.start("sft", name="cut", parameters=HELPED), 57)
    assert cut.saved >= 40
    assert [e.event.kind for e in desk.client.alerts.events().items] == ["tune"]
    folder = desk.folder_of(cut)
    # other rows
    rows = (folder / "train.jsonl").read_bytes()
    (folder / "train.jsonl").write_bytes(rows.replace(b"team will help", b"team will not help", 1))
    found = resumed(desk, cut)
    assert found.status == "failed" and "the rows it trains on are other" in found.error["error"]["message"], found.error
    (folder / "train.jsonl").write_bytes(rows)
    # another learning rate, which the library would pass over
    seal = newest(folder) / SEAL
    said = seal.read_bytes()
    seal.write_bytes(said.replace(b'"learning_rate":0.005', b'"learning_rate":0.05'))
    found = resumed(desk, cut)
    assert "the parameters are other: learning_rate 0.05 → 0.005" in found.error["error"]["message"], found.error
    seal.write_bytes(said)
    # a torn newest checkpoint does not count: the one before it does
    torn = newest(folder) / "optimizer.pt"
    torn.write_bytes(torn.read_bytes()[:-100])
    done = resumed(desk, cut)
    assert done.status == "done", done.error
    assert any("optimizer.pt is not what was written" in w for w in done.warnings), done.warnings
    assert done.weights == whole.weights
    assert len(desk.client.tunes.points(done.id).items) == HELPED["steps"]


@pytest.mark.soak
def test_reinforcement_goes_on_to_the_same_bits(tuned: Desk) -> None:
    """Its answers are drawn, so its random numbers have to go on too."""
    asked: dict[str, Any] = {"data": "asked", "reward": "judge", "parameters": {"steps": 14, "save_every": 4}}
    whole = tuned.tune("grpo", name="whole", **asked)
    assert whole.status == "done", whole.error
    done = resumed(tuned, killed(tuned, tuned.start("grpo", name="cut", **asked), 6))
    assert done.status == "done", done.error
    assert done.weights == whole.weights
