"""What a method is for, measured on rows it did not see, by one rule before and after: the trainer's own figures are not asked.

sft     the loss of a token of the right answer
reward  whether the better answer of a pair gets the higher score
dpo     whether the better answer of a pair is the likelier one
rl      the score that the reward model gives to the model's own answer
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist, fmean, stdev
from typing import Any, Literal

import torch

from windlass.core.operations.tuning import Measure
from windlass.runtime.local.answering import conversation, generate, scores_of
from windlass.tune.training.job import Row

NAMES: dict[str, tuple[str, Literal["higher", "lower"]]] = {
    "sft": ("held-out loss", "lower"), "reward": ("held-out pairs ranked right", "higher"),
    "dpo": ("held-out pairs ranked right", "higher"), "grpo": ("held-out reward", "higher"), "rloo": ("held-out reward", "higher"),
}  # fmt: skip
Scorer = Callable[[Sequence[str]], list[float]]


def values(method: str, model: Any, tokenizer: Any, rows: Sequence[Row], longest: int, answer: int, scorer: Scorer | None) -> list[float]:
    """One figure for each row."""
    was = model.training
    model.eval()
    try:
        if method == "sft":
            return [-logprob(model, tokenizer, r, r.completion, longest, mean=True) for r in rows]
        if method == "dpo":
            return [
                float(logprob(model, tokenizer, r, r.chosen, longest) > logprob(model, tokenizer, r, r.rejected, longest)) for r in rows
            ]
        if method == "reward":
            pairs = [[conversation(tokenizer, said(r, text)) for text in (r.chosen, r.rejected)] for r in rows]
            scores = scores_of(model, tokenizer, [t for pair in pairs for t in pair], longest)
            return [float(scores[2 * i] > scores[2 * i + 1]) for i in range(len(rows))]
        assert scorer is not None
        answers = [generate(model, tokenizer, r.turns, {"max_tokens": answer}).text for r in rows]
        return scorer([conversation(tokenizer, said(r, text)) for r, text in zip(rows, answers, strict=True)])
    finally:
        model.train(was)


def said(row: Row, text: str) -> list[dict[str, str]]:
    return [*row.turns, {"role": "assistant", "content": text}]


@torch.no_grad()  # type: ignore[untyped-decorator]
def logprob(model: Any, tokenizer: Any, row: Row, text: str, longest: int, *, mean: bool = False) -> float:
    """How likely an answer is to the model: the sum of its tokens' log probabilities, or their mean."""
    start = tokenizer.apply_chat_template(list(row.turns), add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template(said(row, text), return_dict=True)["input_ids"][:longest]
    ids = torch.tensor([whole], device=model.device)
    scores = torch.log_softmax(model(input_ids=ids).logits[0, :-1].float(), -1)
    found = scores.gather(-1, ids[0, 1:, None])[len(start) - 1 :, 0]
    if not len(found):
        return 0.0
    return float(found.mean() if mean else found.sum())


def measure(method: str, before: Sequence[float], after: Sequence[float]) -> Measure:
    """Both, row by row, with a 95 % interval of the mean difference."""
    name, better = NAMES[method]
    differences = [b - a for a, b in zip(before, after, strict=True)]
    mid = fmean(differences)
    half = NormalDist().inv_cdf(0.975) * stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
    low, high = (mid - half, mid + half) if math.isfinite(half) else (-1e308, 1e308)
    return Measure(name, fmean(before), fmean(after), mid, low, high, len(differences), better)
