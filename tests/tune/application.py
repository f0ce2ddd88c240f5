"""A help desk whose component runs on a model of this machine, on a real platform in this process."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
from tests.evaluate.application import App
from tests.tune import tickets

from windlass.core.operations.tuning import Tune, TuneComparison, TuneParameters, TuneRequest
from windlass.tune.training.checkpoints import SEAL

DESK = """
import windlass as w

reply = w.component("reply", prompt="prompts/reply.md", model="{model}", parameters={{"max_tokens": 16}})


@w.evaluator
def right(output: str, row) -> float:
    return float(row.team in output.split())


@w.evaluator
def polite(output: str, row) -> float:
    return float("thank you" in output)


w.suite("desk", target=reply, data=w.data("data/tests.jsonl"), guards={{right: w.not_worse(by=0.1), polite: w.not_worse(by=0.1)}},
        first_release={{right: w.at_least(0.1)}})
"""
HELPED = {"steps": 100, "dropout": 0.1}  # dropout draws random numbers, which a resume must go on with
QUICK = TuneParameters(steps=60, batch=16, learning_rate=5e-3, rank=16, alpha=32, longest=64, answer=16)


def copied(prepared: Path, home: Path) -> None:
    """A data folder of one's own; what can be laid out again is."""
    shutil.copytree(prepared, home, ignore=shutil.ignore_patterns("models", "run"))


def write_desk(folder: Path, model: str) -> None:
    """The workspace on a model."""
    (folder / "prompts").mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    (folder / "windlass.toml").write_text('name = "shop"\n')
    (folder / "prompts/reply.md").write_text("---\ninputs: {text: string}\n---\nuser: '{{ text }}'\n")
    lines = [{"key": f"t{n}", "text": text, "team": team} for n, (text, team) in enumerate(tickets.split()[1])]
    (folder / "data/tests.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    (folder / "app.py").write_text(DESK.format(model=model))


class Desk(App):
    """The workspace, the base `tiny`, and rows to tune on: `tickets`, `pairs`, `biased`, `asked`.

    Args:
        prepared: a data folder that has all of it already, and `helped` and `judge`; it is copied.
    """

    def __init__(self, folder: Path, tiny: Path, prepared: Path | None = None) -> None:
        self.train, self.test = tickets.split()
        if prepared is not None:
            copied(prepared, folder / "home")
            super().__init__(folder)
            self.tiny = self.client.weights.show("tiny").id
            return
        super().__init__(folder)
        self.tiny = self.client.weights.add(tiny, "tiny", "Apache-2.0").id
        makers = {
            "tickets": tickets.sft_rows, "pairs": tickets.preference_rows, "biased": tickets.biased_rows, "asked": tickets.prompt_rows,
        }  # fmt: skip
        for name, rows in makers.items():
            self.client.datasets.edit(f"dataset/{name}:main", rows(self.train))

    def desk(self, model: str) -> str:
        """The workspace on a model, pushed. Returns the release's ref."""
        write_desk(self.folder, model)
        return self.push()

    @property
    def helped(self) -> Tune:
        """The tuning that a prepared folder has."""
        return self.client.tunes.list("helped").items[0]

    def start(self, method: str = "sft", name: str = "helped", data: str = "tickets", **more: Any) -> Tune:
        parameters = msgspec.structs.replace(QUICK, **more.pop("parameters", {}))
        return self.client.tunes.start(
            msgspec.convert(
                {"method": method, "name": name, "base": "tiny", "data": data, "parameters": msgspec.to_builtins(parameters), **more},
                TuneRequest,
            )
        )

    def until(self, tune: Tune, *, step: int | None = None) -> Tune:
        """Wait for its end, or for a step."""
        end = time.monotonic() + 600
        while (tune := self.client.tunes.show(tune.id)).status not in ("done", "failed", "cancelled"):
            if step is not None and tune.step >= step:
                return tune
            assert time.monotonic() < end, tune
            time.sleep(0.05)
        return tune

    def tune(self, method: str = "sft", **more: Any) -> Tune:
        return self.until(self.start(method, **more))

    def compare(self, tune: Tune) -> TuneComparison:
        found = self.client.tunes.compare(tune.id, "desk")
        while found.status in ("queued", "running"):
            time.sleep(0.1)
            found = next(c for c in self.client.tunes.compared(tune.id).items if c.id == found.id)
        return found

    def folder_of(self, tune: Tune) -> Path:
        return self.home.path / "tunes" / tune.id


def trainer_of(desk: Desk, tune: Tune) -> int:
    """The process that works on a tuning."""
    return process_with(str(desk.folder_of(tune)))


def process_with(word: str) -> int:
    """The process that has this among the words it was started with."""
    for listed in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = listed.read_bytes().split(b"\0")
        except OSError:
            continue
        if word.encode() in words:
            return int(listed.parent.name)
    raise AssertionError("nobody works on it")


def newest(folder: Path) -> Path:
    """The newest sealed checkpoint of a tuning."""
    found = [p for p in (folder / "checkpoints").glob("checkpoint-*") if (p / SEAL).exists()]
    return max(found, key=lambda p: int(p.name.split("-")[1]))
