"""Operations that execute: one run of a component, chain, agent or release."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.message import Usage
from windlass.core.operations import Empty, Operation


class RunRequest(msgspec.Struct, omit_defaults=True):
    """`target` is a ref (`chain/answer`, `release/answer:production`, `component/reply@…`). `input` are its arguments by
    name; one string argument may be given as a bare string. `messages` instead of `input` for a chat-shaped target. `grant` names the
    one grant that counts for what agents call; without it, theirs that live do."""

    target: str
    input: Any = None
    project: str = "default"
    session: str | None = None
    user: str | None = None
    grant: str | None = None


class RunResult(msgspec.Struct, omit_defaults=True):
    """`text` is what a chat client is shown: the output's text field, or its JSON. `versions` are refs, digests whole."""

    run: str
    trace: str
    target: str
    output: Any
    text: str
    versions: tuple[str, ...] = ()
    duration_ns: int = 0
    cost: float | None = None
    usage: Usage | None = None  # tokens of all its model calls; None when there was none, or one did not tell
    warnings: tuple[str, ...] = ()


class RunPiece(msgspec.Struct, omit_defaults=True):
    """One server-sent event of a run: `text` as it comes, the `result` at the end, or an `error` (as_dict's shape)."""

    text: str = ""
    result: RunResult | None = None
    error: dict[str, Any] | None = None


class ModelEntry(msgspec.Struct, omit_defaults=True):
    """A model this installation can call. Prices in US dollars per million tokens, None when unknown."""

    id: str  # as one writes it: baseline, openai/gpt-5-mini
    provider: str
    available: bool
    why_not: str = ""
    input_price: float | None = None
    output_price: float | None = None
    price_source: str = ""


class ModelList(msgspec.Struct):
    items: tuple[ModelEntry, ...]


RUN = Operation("runs.start", "POST", RunRequest, RunResult, "run")
RUN_STREAM = Operation("runs.stream", "POST", RunRequest, RunPiece, "run", streams=True)
MODELS = Operation("models.list", "GET", Empty, ModelList, "read")
