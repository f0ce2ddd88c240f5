"""Rows as a tuning takes them: which are trained on, which are held out, what is wrong with them, and which the suites test with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from windlass.core.artifacts import PromptBody, Version
from windlass.core.errors import Conflict, Invalid, WindlassError
from windlass.core.operations.tuning import TuneRequest
from windlass.sdk.prompts import render_body
from windlass.tune.training.job import Row

TENTH = 10
MOST_HELDOUT = 200  # rows that are measured before and after
LEAST = 2
TOLD = 5
TEXT = 12  # characters a text must have to say something of its own

Raw = dict[str, Any]


class Inputs(NamedTuple):
    """Rows to train on and rows to measure on; `raw` are the first as the dataset has them."""

    train: list[Row]
    heldout: list[Row]
    raw: list[Raw]


def prepare(rows: Iterable[Raw], request: TuneRequest, data: str, prompt: Version | None) -> Inputs:
    """Sort rows out. Raises `Invalid` for a dataset that is empty, or has rows that cannot be trained on."""
    every = list(rows)
    if not every:
        raise Invalid("this dataset has no rows", where=data, remedy="name another")
    split = request.split or ("train" if any(r.get("split") == "train" for r in every) else None)
    raw = [r for r in every if split is None or r.get("split") == split]
    if not raw:
        raise Invalid(f"no row of this dataset is in the split {split!r}", where=data, remedy="name another with --split")
    if request.heldout:
        held = [r for r in every if r.get("split") == request.heldout]
        if not held or request.heldout == split:
            raise Invalid(f"no row is held out in the split {request.heldout!r}", where=data, remedy="name another with --heldout")
    else:
        order = sorted(raw, key=lambda r: _place(str(r["key"]), request.parameters.seed))
        count = max(LEAST, len(raw) // TENTH)
        held, raw = order[:count], sorted(order[count:], key=lambda r: str(r["key"]))
    if len(raw) < LEAST or len(held) < LEAST:
        raise Invalid(f"{len(every)} rows are too few to train on some and measure on others", where=data, remedy="gather more")
    held = sorted(held, key=lambda r: _place(str(r["key"]), request.parameters.seed))[:MOST_HELDOUT]
    wrong: list[str] = []
    train, heldout = ([x for r in some if (x := _row(r, request, prompt, wrong)) is not None] for some in (raw, held))
    if wrong:
        more = f"; and {len(wrong) - TOLD} more" if len(wrong) > TOLD else ""
        raise Invalid(f"{len(wrong)} rows cannot be trained on: {'; '.join(wrong[:TOLD])}{more}", where=data, remedy="mend or remove them")
    return Inputs(train, heldout, raw)


def _place(key: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{key}".encode()).digest()


def _row(raw: Raw, request: TuneRequest, prompt: Version | None, wrong: list[str]) -> Row | None:
    key = str(raw["key"])
    try:
        turns = _turns(raw, request, prompt)
        if request.method == "sft":
            return Row(key, turns, completion=_text(raw, request.completion))
        if request.method in ("dpo", "reward"):
            chosen, rejected = _text(raw, request.chosen), _text(raw, request.rejected)
            if chosen == rejected:
                raise Invalid("the better answer and the worse one are the same")
            return Row(key, turns, chosen=chosen, rejected=rejected)
        return Row(key, turns)
    except WindlassError as e:
        wrong.append(f"{key!r}: {e.message}")
        return None


def _turns(raw: Raw, request: TuneRequest, prompt: Version | None) -> tuple[dict[str, str], ...]:
    """The turns before the answer: as the prompt renders them, or the user's words."""
    if prompt is None:
        return ({"role": "user", "content": _text(raw, request.question)},)
    body = msgspec.convert(prompt.body, PromptBody)
    if gone := [name for name in body.inputs if name not in raw]:
        raise Invalid(f"it has no {gone[0]}, which {prompt.ref.short} needs")
    messages = render_body(body, {name: raw[name] for name in body.inputs})
    return tuple({"role": m.role, "content": m.text} for m in messages)


def _text(raw: Raw, field: str) -> str:
    value = raw.get(field)
    if not isinstance(value, str) or not value.strip():
        raise Invalid(f"{field} is {'empty' if isinstance(value, str) else 'no text' if field in raw else 'missing'}")
    return value


def refuse_leaks(raw: Sequence[Raw], fields: Sequence[str], tests: Sequence[tuple[str, Sequence[Raw]]]) -> None:
    """Raises `Conflict` where a row to train on asks what a suite's row asks: what was trained on must not test it. `tests` are the
    rows of each suite, by its name."""
    from windlass.registry import duplicates

    for suite, rows in tests:
        texts = sorted({f for row in rows for f, v in row.items() if isinstance(v, str)} - duplicates.NOT_TEXT)
        for mine in fields:
            given = [{"key": str(r["key"]), "text": r[mine]} for r in raw if isinstance(r.get(mine), str) and len(r[mine]) >= TEXT]
            for theirs in texts:
                other = [
                    {"key": str(r["key"]), "text": r[theirs]} for r in rows if isinstance(r.get(theirs), str) and len(r[theirs]) >= TEXT
                ]
                found = duplicates.pairs_across(given, other, fields=["text"])
                if found:
                    keys = sorted({p.key for p in found})
                    said = ", ".join(repr(k) for k in keys[:TOLD]) + (" …" if len(keys) > TOLD else "")
                    raise Conflict(
                        f"{len(keys)} rows to train on stand among the rows that {suite} tests with: {said}", keys=keys[:200],
                        remedy="train on another split (--split), or take them out: windlass data duplicates says which",
                    )  # fmt: skip
