"""What a tuning process is given, and what it reports: data only, no PyTorch."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.operations.tuning import Measure, Method, Sample, TuneParameters
from windlass.runtime.local.files import Layer

TRAIN, HELDOUT, JOB = "train.jsonl", "heldout.jsonl", "job.json"
CHECKPOINTS, EXPORT, LOCK = "checkpoints", "export", "lock"
# where nobody says
LEARNING_RATES = {"sft": 1e-3, "reward": 1e-3, "dpo": 2e-4, "grpo": 2e-4, "rloo": 2e-4}
BETAS = {"dpo": 0.3, "grpo": 0.04, "rloo": 0.05}


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """One tuning. `base` and `reward` are chains of weights, the base first. `fingerprint` is what an earlier start of the same job was
    made of; None at the first. `memory` in bytes, 0 for what is free; `ask` are canaries."""

    id: str
    method: Method
    parameters: TuneParameters
    base: tuple[Layer, ...]
    parent: int
    reward: tuple[Layer, ...] = ()
    threads: int = 1
    memory: int = 0
    fingerprint: dict[str, Any] | None = None
    ask: tuple[str, ...] = ()


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row as it is trained on: turns, and what should, or should rather than another, follow."""

    key: str
    turns: tuple[dict[str, str], ...]
    completion: str = ""
    chosen: str = ""
    rejected: str = ""


class Began(msgspec.Struct, frozen=True, tag=True):
    """It was looked at, and fits. `resumed` is the step it goes on from; 0: from the beginning."""

    fingerprint: dict[str, Any]
    device: str
    hardware: str
    resumed: int
    notes: tuple[str, ...] = ()


class Stepped(msgspec.Struct, frozen=True, tag=True):
    step: int
    values: dict[str, float]


class Sampled(msgspec.Struct, frozen=True, tag=True):
    items: tuple[Sample, ...]


class Saved(msgspec.Struct, frozen=True, tag=True):
    step: int


class Exported(msgspec.Struct, frozen=True, tag=True):
    """What came of it: the files in `export/`, the digest of the trained tensors, the canaries' answers with and without it."""

    measure: Measure
    weights: str
    answers: str
    without: str
    device: str
    warnings: tuple[str, ...] = ()


class Fault(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Why it ended. `code` is that of an error of ours."""

    code: str
    message: str
    remedy: str = ""


Report = Began | Stepped | Sampled | Saved | Exported | Fault
REPORTS = msgspec.json.Decoder(Report)
