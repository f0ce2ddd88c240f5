"""docs/tuning.md: its commands are run as they stand there, without a server; the defaults it names are the defaults."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from tests.doors.cli.conftest import Shell
from tests.tune import tickets
from tests.tune.application import write_desk

from windlass.core.operations.tuning import TuneParameters
from windlass.tune.training.job import BETAS, LEARNING_RATES

PAGE = (Path(__file__).parents[2] / "docs/tuning.md").read_text()


@pytest.mark.torch
@pytest.mark.slow
def test_the_commands_do_what_is_said(tmp_path: Path, tiny: Path) -> None:
    commands = [shlex.split(line)[1:] for line in PAGE.splitlines() if line.startswith("    windlass ")]
    assert len(commands) == 8
    shell = Shell(tmp_path)
    shell.cwd = tmp_path / "desk"
    shutil.copytree(tiny, shell.cwd / "model")
    write_desk(shell.cwd, "baseline")  # before there is a model
    rows = tickets.sft_rows(tickets.split()[0])
    (shell.cwd / "tickets.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    said = {}
    for command in commands:
        if command[1] == "compare":  # the application runs on the model that was tuned
            (found,) = (w for w in shell.json("weights", "list")["items"] if w["name"] == "tiny")
            write_desk(shell.cwd, found["id"])
            shell("push")
        said[command[0] + " " + command[1]] = shell(*command).stdout
    assert "held-out loss" in said["tune sft"] and "better" in said["tune sft"]
    assert "needs about" in said["tune show"]
    assert "against the frozen model" in said["tune compare"] and "PROMOTE" in said["tune compare"]
    assert "it answers 5 canaries as it did when it was made" in said["weights check"]
    why = said["why adapter/helper"]
    assert "uses as base  model/local--tiny@" in why and "trained-on as rows  dataset/tickets@" in why
    assert "model/local--helper@" in said["impact dataset/tickets"]
    # bad input, as a person meets it
    assert "there are no weights 'nobody' here" in shell("tune", "dpo", "x", "--base", "nobody", "--data", "tickets", code=1).stderr
    assert "is no reward model" in shell("tune", "rl", "x", "--base", "tiny", "--data", "tickets", "--reward", "tiny", code=1).stderr
    (shell.cwd / "pickled").mkdir()
    (shell.cwd / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    told = shell("weights", "add", "pickled", "--name", "pickled", "--licence", "MIT", code=1).stderr
    assert "pytorch_model.bin is a pickle" in told and "safetensors" in told


def test_the_defaults_are_the_defaults() -> None:
    p = TuneParameters()
    rows = [line for line in PAGE.splitlines() if line.startswith("| `--")]
    told = dict(line.strip("|").split("|", 1) for line in rows)
    said = {name.strip().split("`")[1]: value.strip() for name, value in told.items()}
    assert said["--steps"] == f"{p.steps}, {p.batch} (rl: 16 answers)"
    assert said["--learning-rate"] == f"{LEARNING_RATES['sft']} for sft and reward, {LEARNING_RATES['dpo']:.4f} for dpo and rl"
    assert LEARNING_RATES["sft"] == LEARNING_RATES["reward"] and LEARNING_RATES["dpo"] == LEARNING_RATES["grpo"] == LEARNING_RATES["rloo"]
    assert said["--rank"] == f"{p.rank}, {p.alpha:g}, {p.dropout:g}"
    assert said["--beta"] == ", ".join(f"{beta} for {method}" for method, beta in BETAS.items())
    assert said["--longest"] == f"{p.longest} and {p.answer} tokens, {p.generations} answers to a prompt, {p.temperature}"
    assert said["--save-every"] == f"{p.save_every} steps, {p.seed}"
