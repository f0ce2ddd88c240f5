"""What is watched while training runs: each step's figures, whether they are numbers at all, checkpoints sealed, what the model says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from windlass.core.errors import RunFailed
from windlass.core.operations.tuning import Sample
from windlass.runtime.local.answering import generate, undisturbed
from windlass.tune.training import checkpoints
from windlass.tune.training.job import Report, Row, Sampled, Saved, Stepped

SHOWN = 3  # held-out prompts whose answers are shown
NOT_FIGURES = ("total_flos", "num_tokens", "epoch", "train_runtime", "train_samples_per_second", "train_steps_per_second")


class Watch(TrainerCallback):  # type: ignore[misc]
    """A callback of the trainer.

    Args:
        tell: where reports go.
        fingerprint: what checkpoints are sealed with.
        ask: what the model says to held-out prompts, at a step; for methods whose model says something.
    """

    def __init__(self, tell: Callable[[Report], None], fingerprint: dict[str, Any], ask: Callable[[int], Sequence[Sample]] | None) -> None:
        self._tell = tell
        self._fingerprint = fingerprint
        self._ask = ask
        self.last: dict[str, list[float]] = {}  # figures of all steps of this process, for what is said at the end

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        values = {k: float(v) for k, v in (logs or {}).items() if isinstance(v, int | float) and k not in NOT_FIGURES}
        for name, value in values.items():
            if name in ("loss", "grad_norm", "reward", "kl") and not math.isfinite(value):
                raise RunFailed(
                    f"the {name.replace('_', ' ')} is {value} at step {state.global_step}: the weights are lost from there",
                    remedy="lower --learning-rate, or look at the rows; then start anew",
                )
        values = {k: v for k, v in values.items() if math.isfinite(v)}
        if "loss" in values:
            for name, value in values.items():
                self.last.setdefault(name, []).append(value)
            self._tell(Stepped(state.global_step, values))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = Path(args.output_dir)
        checkpoints.seal(folder / f"{checkpoints.PREFIX}{state.global_step}", state.global_step, self._fingerprint)
        checkpoints.prune(folder)
        self._tell(Saved(state.global_step))
        if self._ask is not None:
            self._tell(Sampled(tuple(self._ask(state.global_step))))


def asking(model: Any, tokenizer: Any, rows: Sequence[Row], answer: int) -> Callable[[int], list[Sample]]:
    """What a model says to the first held-out prompts, without a trace in its training."""

    def ask(step: int) -> list[Sample]:
        was = model.training
        with undisturbed():
            model.eval()
            told = [generate(model, tokenizer, r.turns, {"max_tokens": answer}).text for r in rows[:SHOWN]]
            model.train(was)
        return [Sample(step, r.turns[-1]["content"], text) for r, text in zip(rows, told, strict=False)]

    return ask


def trip_wires(figures: dict[str, list[float]]) -> list[str]:
    """What a person should look at. Nothing here speaks for a model: figures of training can all be good, and the model worse."""
    found = []

    def late(name: str) -> float | None:
        some = figures.get(name, [])[-10:]
        return sum(some) / len(some) if some else None

    if (kl := late("kl")) is not None and kl > 0.5:
        found.append(f"it has gone far from where it began: a divergence of {kl:.2f} at the end")
    if (cut := late("completions/clipped_ratio")) is not None and cut > 0.5:
        found.append(f"{cut:.0%} of its answers reach the limit of tokens: it may have found that length is rewarded")
    if (same := late("frac_reward_zero_std")) is not None and same > 0.9:
        found.append("nearly every group of answers got one and the same reward: there was nothing to learn from")
    return found
