"""What goes wrong with a tuning is said in a sentence, and never ends in weights that nobody can account for."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest
from tests.tune import tickets
from tests.tune.application import Desk, newest, trainer_of

from windlass.core.errors import Conflict, Invalid, NotFound, Unavailable

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def test_a_loss_that_is_no_number_ends_it(desk: Desk) -> None:
    found = desk.tune("sft", parameters={"learning_rate": 1e30, "steps": 20})
    assert found.status == "failed" and "nan" in found.error["error"]["message"].lower(), found.error
    assert not [w for w in desk.client.weights.list().items if w.name == "helped"]


def test_memory_is_looked_at_before_anything_is_loaded(desk: Desk) -> None:
    desk.platform.tunes._working._memory = 200_000_000
    found = desk.tune("sft")
    assert found.status == "failed" and found.error["error"]["code"] == "unavailable"
    assert "needs about 0.6 GB of memory on the processor, and 0.2 GB may be taken" in found.error["error"]["message"]


def test_out_of_memory_is_said_in_a_sentence(desk: Desk) -> None:
    begun = desk.start("sft", parameters={"steps": 3000})
    desk.until(begun, step=5)
    process = trainer_of(desk, begun)
    held = int(Path(f"/proc/{process}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(process, resource.RLIMIT_AS, (held, held))  # not a byte more
    resource.prlimit(process, resource.RLIMIT_DATA, (1, 1))
    found = desk.until(begun)
    assert found.status == "failed", found
    said = found.error["error"]["message"]
    assert "ran out of memory" in said or "killed (signal 9)" in said, said


def test_a_disk_that_is_full_in_mid_checkpoint_costs_that_checkpoint_only(desk: Desk) -> None:
    begun = desk.start("sft", parameters={"steps": 60, "save_every": 15})
    desk.until(begun, step=17)
    folder = desk.folder_of(begun)
    room = (newest(folder) / "optimizer.pt").stat().st_size // 2
    resource.prlimit(trainer_of(desk, begun), resource.RLIMIT_FSIZE, (room, room))  # the system refuses to write further
    found = desk.until(begun)
    assert found.status == "failed" and "the disk is full" in found.error["error"]["message"], found.error
    assert found.saved >= 15
    done = desk.until(desk.client.tunes.resume(begun.id))
    assert done.status == "done", done.error
    assert any("it was cut off before it was whole" in w for w in done.warnings), done.warnings


def test_cancelled_and_gone_on_with(desk: Desk) -> None:
    begun = desk.start("sft", parameters={"steps": 80})
    desk.until(begun, step=22)
    with pytest.raises(Conflict, match="is being worked on"):
        desk.client.tunes.resume(begun.id)
    process = trainer_of(desk, begun)
    assert desk.client.tunes.cancel(begun.id).status == "cancelled"
    end = time.monotonic() + 10
    while Path(f"/proc/{process}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{process}").exists()
    with pytest.raises(Conflict):
        desk.client.tunes.cancel(begun.id)
    # at once again: whoever was at work is no more in the way than a moment
    again = desk.client.tunes.resume(begun.id)
    desk.client.tunes.cancel(begun.id)
    done = desk.until(desk.client.tunes.resume(again.id))
    assert done.status == "done" and done.resumed == 2, done.error
    assert [p.step for p in desk.client.tunes.points(done.id).items] == list(range(1, 81))


def test_datasets_that_cannot_be_trained_on_are_refused(desk: Desk) -> None:
    edit = desk.client.datasets.edit
    edit("dataset/few:main", [{"key": "a", "prompt": "x", "completion": "y"}])
    with pytest.raises(Invalid, match="too few"):
        desk.start(data="few")
    edit("dataset/few:main", remove=["a"])
    with pytest.raises(Invalid, match="no rows"):
        desk.start(data="few")
    rows = tickets.sft_rows(desk.train)
    edit("dataset/odd:main", [*rows[:20], {"key": "z1", "prompt": "hello"}, {"key": "z2", "prompt": "  ", "completion": "x"}])
    with pytest.raises(Invalid, match="2 rows cannot be trained on: 'z1': completion is missing; 'z2': prompt is empty"):
        desk.start(data="odd")
    with pytest.raises(Invalid, match="no row of this dataset is in the split 'dev'"):
        desk.start(split="dev")
    with pytest.raises(Invalid, match="needs a reward model"):
        desk.start("grpo", data="asked")
    with pytest.raises(Invalid, match="no multiple of 8"):
        desk.client.weights.show("tiny")
        desk.start("grpo", data="asked", reward="tiny", parameters={"batch": 9})
    with pytest.raises(Invalid, match="is no reward model"):
        desk.start("grpo", data="asked", reward="tiny")
    with pytest.raises(NotFound, match="there are no weights 'nobody' here"):
        desk.start(base="nobody")


def test_rows_that_a_suite_tests_with_are_refused(desk: Desk) -> None:
    desk.desk(desk.tiny)
    desk.client.datasets.edit("dataset/leaky:main", tickets.sft_rows([*desk.train, *desk.test[:3]]))
    with pytest.raises(Conflict, match=r"3 rows to train on stand among the rows that suite/desk@\w+ tests with: 't0112'"):
        desk.start(data="leaky")


def test_rows_are_rendered_by_the_prompt_as_it_was_when_the_tuning_began(desk: Desk) -> None:
    desk.desk(desk.tiny)
    rows = [{"key": r["key"], "text": r["prompt"], "completion": r["completion"]} for r in tickets.sft_rows(desk.train)]
    desk.client.datasets.edit("dataset/texts:main", rows)
    begun = desk.start(name="rendered", data="texts", prompt="reply", parameters={"steps": 2})
    desk.edit("prompts/reply.md", "'{{ text }}'", "'Please: {{ text }}'")
    desk.push()
    assert str(desk.client.versions.show("prompt/reply").version.digest) not in (begun.prompt or "")
    done = desk.until(begun)
    assert done.status == "done", done.error
    again = desk.platform.tunes.inputs(done)  # what it would be gone on with
    assert {r.turns[0]["content"] for r in (*again.train, *again.heldout)} == {r["text"] for r in rows}
    (link,) = [k for k in desk.client.versions.show(done.adapter).version.links if k.kind == "prompt"]
    assert (link.relation, f"prompt/reply@{link.digest}") == ("uses", done.prompt)


def test_without_the_extra_it_says_what_to_install(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.runtime.local.environment.NEEDED", ("torch", "no_such_library"))
    with pytest.raises(Unavailable) as caught:
        desk.start()
    assert caught.value.remedy == 'pip install "windlass[tune]"' and "no_such_library is not installed" in str(caught.value)
