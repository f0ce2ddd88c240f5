"""All that the weights of a run depend on, as data: what a resume is held against, since the library that trains would go on with
other rows, another learning rate or no optimizer, and say nothing."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import msgspec

from windlass.core.digest import digest_bytes
from windlass.tune.training.job import HELDOUT, TRAIN, Job

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "numpy")
SAID = {
    "train": "the rows it trains on are", "heldout": "the held-out rows are", "base": "the base model is", "reward": "the reward model is",
    "method": "the method is", "parameters": "the parameters are", "code": "Windlass's code for training is", "python": "Python is",
    "libraries": "the libraries are", "device": "the device is", "threads": "the number of threads is",
}  # fmt: skip


def fingerprint(job: Job, folder: Path, device: str) -> dict[str, Any]:
    """The fingerprint of a job as it lies here now; files are read again each time."""
    return {
        "train": digest_bytes((folder / TRAIN).read_bytes()),
        "heldout": digest_bytes((folder / HELDOUT).read_bytes()),
        "base": job.base[-1].manifest,
        "reward": job.reward[-1].manifest if job.reward else "",
        "method": job.method,
        "parameters": msgspec.structs.asdict(job.parameters),  # all of them: what is not said today may mean something else tomorrow
        "code": _code(),
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "device": device,
        "threads": job.threads,
    }


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs, a few words each."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        a, b = before.get(name), now.get(name)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            parts = [f"{k} {a.get(k)} → {b.get(k)}" for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)]
            found.append(f"{SAID.get(name, name)} other: {', '.join(parts)}")
        else:
            found.append(f"{SAID.get(name, name)} other")
    return found


def _code() -> str:
    """The digest of this folder's source, and of what it loads models by."""
    hashed = hashlib.sha256()
    here = Path(__file__).parent
    local = here.parents[1] / "runtime" / "local"
    for path in [*sorted(here.glob("*.py")), local / "loading.py", local / "answering.py"]:
        hashed.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return "sha256:" + hashed.hexdigest()
