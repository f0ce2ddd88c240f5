"""What tuning does to a tiny model, and what a `kill -9` does to tuning.

    python -m bench.tuning [--part methods|kills] [--moments 10] [--seed 1]

`methods`: SFT, a reward model, GRPO, RLOO and DPO on the tests' help desk, each measured on rows it did not see, before and after, with the
95 % interval of the difference. `kills`: a run of each is killed at so many random moments of its training and gone on with each time;
the sha256 of its weights is held against an undisturbed run's. Needs the extra `tune`; a hundred thousand numbers, one thread.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.tune import tickets
from tests.tune import tiny as builder
from tests.tune.application import Desk, trainer_of

from windlass.core.operations.tuning import Tune

STEPS = {"sft": 60, "reward": 120, "dpo": 60, "grpo": 30, "rloo": 30}
MAKERS = {"tickets": tickets.sft_rows, "pairs": tickets.preference_rows, "asked": tickets.prompt_rows}
A_MOMENT = 0.05  # seconds after a step is told, at most


def asked(method: str) -> dict[str, Any]:
    data = {"sft": "tickets", "reward": "pairs", "dpo": "pairs"}.get(method, "asked")
    parameters: dict[str, Any] = {"steps": STEPS[method], "dropout": 0.1, "save_every": max(5, STEPS[method] // 6)}
    if method in ("grpo", "rloo"):
        parameters |= {"learning_rate": 2e-3}
    return {
        "data": f"split-{data}",
        "heldout": "test",
        "parameters": parameters,
        **({"reward": "judge"} if method in ("grpo", "rloo") else {}),
    }


def add_rows(desk: Desk) -> None:
    """The desk's rows with its test tickets held out: 80 to measure on, where a tenth would be 11."""
    for name, maker in MAKERS.items():
        rows = maker([*desk.train, *desk.test])
        split = [{**row, "split": "train" if n < len(desk.train) else "test"} for n, row in enumerate(rows)]
        desk.client.datasets.edit(f"dataset/split-{name}:main", split)


def tuned(desk: Desk, method: str, name: str) -> Tune:
    found = desk.tune(method, name=name, **asked(method))
    if found.status != "done":
        raise SystemExit(f"{method}: {found.error}")
    return found


def methods(desk: Desk) -> None:
    print("| method | measure | before | after | difference, 95 % | rows | steps | s |")
    print("|---|---|---:|---:|---|---:|---:|---:|")
    for method in STEPS:
        found = tuned(desk, method, "judge" if method == "reward" else f"by-{method}")
        m = found.measure
        assert m and found.started_ns and found.finished_ns
        seconds = (found.finished_ns - found.started_ns) / 1e9
        print(
            f"| {method} | {m.name} | {m.before:.3f} | {m.after:.3f} | {m.difference:+.3f} [{m.low:+.3f}, {m.high:+.3f}] | {m.rows} "
            f"| {found.steps} | {seconds:.0f} |", flush=True,
        )  # fmt: skip


def kills(desk: Desk, moments: int, seed: int) -> int:
    """How many ended in other weights than an undisturbed run's."""
    chance, wrong = random.Random(seed), 0
    if not desk.client.tunes.list("judge").items:
        tuned(desk, "reward", "judge")
    print("\n| method | weights, undisturbed | weights, killed | killed at steps | gone on from |\n|---|---|---|---|---|")
    for method, steps in STEPS.items():
        whole = tuned(desk, method, f"whole-{method}")
        cut, at, after = desk.start(method, name=f"cut-{method}", **asked(method)), [], []
        for moment in sorted(chance.sample(range(1, steps), moments)):
            cut = killed(desk, cut, moment, chance.uniform(0, A_MOMENT))
            at.append(str(cut.step))
            after.append(str(cut.saved))
            cut = desk.client.tunes.resume(cut.id)
        done = desk.until(cut)
        wrong += done.weights != whole.weights
        print(f"| {method} | {whole.weights[7:19]} | {done.weights[7:19]} | {' '.join(at)} | {' '.join(after)} |", flush=True)
    return wrong


def killed(desk: Desk, tune: Tune, step: int, later: float) -> Tune:
    """A tuning whose trainer was killed with SIGKILL a moment after a step, wherever it was then."""
    desk.until(tune, step=step)
    time.sleep(later)
    try:
        os.kill(trainer_of(desk, tune), signal.SIGKILL)
    except (AssertionError, ProcessLookupError):
        raise SystemExit(f"{tune.request.name} was over before it was killed: more steps, or fewer moments") from None
    return desk.until(tune)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", choices=("methods", "kills"))
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        subprocess.run([sys.executable, builder.__file__, str(model)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        desk = Desk(Path(folder), model)
        try:
            add_rows(desk)
            if given.part != "kills":
                methods(desk)
            wrong = kills(desk, given.moments, given.seed) if given.part != "methods" else 0
        finally:
            desk.close()
    sys.exit(f"{wrong} runs came to other weights" if wrong else 0)


if __name__ == "__main__":
    main()
