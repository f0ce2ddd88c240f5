"""Rows as TRL takes them, and held-out rows as they are measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from windlass.tune.training.job import Row


def read_rows(path: Path) -> list[Row]:
    return [msgspec.json.decode(line, type=Row) for line in path.read_bytes().splitlines()]


def dataset(method: str, rows: Sequence[Row]) -> Any:
    """The dataset of a method, conversational, so that the tokenizer's own template makes the text."""
    from datasets import Dataset

    return Dataset.from_list([_record(method, row) for row in rows])


def _record(method: str, row: Row) -> dict[str, Any]:
    turns = [dict(t) for t in row.turns]
    if method == "sft":
        return {"prompt": turns, "completion": _said(row.completion)}
    if method in ("dpo", "reward"):
        return {"prompt": turns, "chosen": _said(row.chosen), "rejected": _said(row.rejected)}
    return {"prompt": turns}


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
