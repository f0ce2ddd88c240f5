"""Asking a loaded model: answers token by token, canaries, scores. Only processes of their own import this."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from windlass.core.digest import digest_json
from windlass.core.errors import Invalid

LONGEST_ANSWER = 512  # tokens, where nobody says
CANARY_TOKENS = 24
KNOWN = ("temperature", "top_p", "max_tokens", "stop", "seed")

Turns = Sequence[dict[str, str]]


class Reply(NamedTuple):
    text: str
    stop: str
    input: int
    output: int


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """What happens inside leaves every random number outside as it would have been: a look at a model must not change its training."""
    python, numpy, here = random.getstate(), np.random.get_state(), torch.get_rng_state()
    there = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(here)
        if there is not None:
            torch.cuda.set_rng_state_all(there)


def check_parameters(parameters: dict[str, Any]) -> None:
    """Raises `Invalid` for one that would be passed over."""
    for name in parameters:
        if name not in KNOWN:
            raise Invalid(f"a model on this machine has no parameter {name!r}", remedy="parameters: " + ", ".join(KNOWN))


@torch.no_grad()  # type: ignore[untyped-decorator]
def generate(model: Any, tokenizer: Any, turns: Turns, parameters: dict[str, Any], send: Callable[[str], None] | None = None) -> Reply:
    """One answer: the likeliest token each time, or drawn at a temperature with a seed of its own. Raises `Invalid`."""
    check_parameters(parameters)
    ids = tokenizer.apply_chat_template(list(turns), add_generation_prompt=True, return_tensors="pt", return_dict=True)["input_ids"]
    ids = ids.to(model.device)
    room = (getattr(model.config, "max_position_embeddings", None) or 2**31) - ids.shape[1]
    if room < 1:
        raise Invalid(f"the prompt has {ids.shape[1]:,} tokens, and this model takes {ids.shape[1] + room:,}")
    most = min(int(parameters.get("max_tokens") or LONGEST_ANSWER), room)
    draw = _drawing(parameters, model.device)
    stops = [parameters["stop"]] if isinstance(parameters.get("stop"), str) else list(parameters.get("stop") or ())
    ends = _ends(model, tokenizer)
    made: list[int] = []
    past, text, shown = None, "", 0

    def ended(text: str, why: str, count: int) -> Reply:
        if send is not None and len(text) > shown:  # what was held back in the hope that it becomes a character
            send(text[shown:])
        return Reply(text, why, ids.shape[1], count)

    step = ids
    while len(made) < most:
        out = model(input_ids=step, past_key_values=past, use_cache=True)
        past = out.past_key_values
        token = draw(out.logits[0, -1].float())
        if token in ends:
            return ended(text, "stop", len(made) + 1)
        made.append(token)
        text = tokenizer.decode(made, skip_special_tokens=True)
        if (cut := min((at for s in stops if s and (at := text.find(s)) >= 0), default=-1)) >= 0:
            return ended(text[:cut], "stop", len(made))
        if send is not None and not text.endswith("�") and len(text) > shown:
            send(text[shown:])
            shown = len(text)
        step = torch.tensor([[token]], device=model.device)
    return ended(text, "length", len(made))


def _ends(model: Any, tokenizer: Any) -> set[int]:
    said = getattr(model.generation_config, "eos_token_id", None)
    found = {tokenizer.eos_token_id, *(said if isinstance(said, list) else [said])}
    return {int(x) for x in found if x is not None}


def _drawing(parameters: dict[str, Any], device: Any) -> Callable[[Any], int]:
    """How the next token is chosen from its scores."""
    temperature = float(parameters.get("temperature") or 0.0)
    if temperature <= 0:
        return lambda scores: int(scores.argmax())
    source = torch.Generator(device="cpu").manual_seed(int(parameters.get("seed") or 0))
    top = float(parameters.get("top_p") or 1.0)

    def draw(scores: Any) -> int:
        chances = torch.softmax(scores.cpu() / temperature, -1)
        if top < 1:
            order = chances.argsort(descending=True)
            before = chances[order].cumsum(0) - chances[order]
            chances[order[before >= top]] = 0
        return int(torch.multinomial(chances / chances.sum(), 1, generator=source))

    return draw


def answers_of(model: Any, tokenizer: Any, asked: Sequence[str]) -> list[str]:
    """The canaries' answers: short, the likeliest each time."""
    turns = [[{"role": "user", "content": text}] for text in asked]
    return [generate(model, tokenizer, t, {"max_tokens": CANARY_TOKENS}).text for t in turns]


@torch.no_grad()  # type: ignore[untyped-decorator]
def scores_of(model: Any, tokenizer: Any, texts: Sequence[str], longest: int, batch: int = 16) -> list[float]:
    """The scores of whole texts, as a reward model gives them."""
    found: list[float] = []
    was = model.training
    model.eval()
    for start in range(0, len(texts), batch):
        given = tokenizer(
            list(texts[start : start + batch]), return_tensors="pt", padding=True, truncation=True, max_length=longest,
            add_special_tokens=False, padding_side="right",
        )  # fmt: skip
        given = {k: v.to(model.device) for k, v in given.items() if k in ("input_ids", "attention_mask")}
        found += model(**given).logits[:, 0].float().cpu().tolist()
    model.train(was)
    return found


def scored_canaries(model: Any, tokenizer: Any, asked: Sequence[str], longest: int = 1024) -> list[str]:
    """A reward model's canaries: the exact scores of these texts, one by one, as a batch would pad them differently."""
    texts = [conversation(tokenizer, [{"role": "user", "content": text}]) for text in asked]
    return [scores_of(model, tokenizer, [text], longest)[0].hex() for text in texts]


def conversation(tokenizer: Any, turns: Turns) -> str:
    """Turns as the text that the tokenizer's template makes of them."""
    return str(tokenizer.apply_chat_template(list(turns), tokenize=False))


def digest_of(answers: Sequence[str]) -> str:
    return digest_json(list(answers))
