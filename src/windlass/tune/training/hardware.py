"""How much memory a tuning needs, and how much there is: an estimate from the files' headers, before anything is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from windlass.core.errors import Unavailable
from windlass.core.weights import read_header
from windlass.runtime.local.files import Layer
from windlass.tune.training.job import Job

LIBRARIES = {"cpu": 0.6e9, "cuda": 1.5e9}  # what PyTorch and TRL take before there is a model
HEADER_BYTES = 2**25
DEFAULTS = {"hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 128_000}
KEPT_PER_LAYER = 18  # numbers of a token's width that a layer keeps for its gradients


def needed(job: Job, device: str) -> int:
    """Bytes: weights, what is trained with its gradients and moments, and what a batch leaves behind on its way."""
    each = 2 if device == "cuda" else 4
    config = _config(job.base[0])
    p = job.parameters
    weights = _numbers(job.base) + (_numbers(job.reward) if job.reward else 0)
    width, depth = config["hidden_size"], config["num_hidden_layers"]
    trained = 14 * p.rank * width * depth  # two thin matrices for each of about seven in a layer
    tokens = p.batch * min(p.longest, config.get("max_position_embeddings", p.longest))
    ways = 2 if job.method in ("dpo", "reward", "grpo", "rloo") else 1
    batch = ways * tokens * (depth * width * KEPT_PER_LAYER * each + 3 * config["vocab_size"] * 4)
    return int(weights * each + trained * 16 + batch + LIBRARIES[device])


def check(job: Job, device: str, free: int) -> str:
    """Needed and found, in a sentence. Raises `Unavailable` where it is not enough."""
    need, most = needed(job, device), min(free, job.memory) if job.memory else free
    where = "the GPU" if device == "cuda" else "the processor"
    said = f"needs about {_amount(need)} of memory on {where}, and {_amount(most)} {'may be taken' if most < free else 'are free'}"
    if need > most:
        raise Unavailable(f"this tuning {said}", remedy="a smaller batch, fewer tokens (--longest), a smaller model, or a larger machine")
    return said


def free_memory(device: str) -> int:
    """Bytes that can be had now."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _numbers(layers: tuple[Layer, ...]) -> int:
    total = 0
    for layer in layers:
        for path in Path(layer.folder).glob("*.safetensors"):
            with path.open("rb") as file:
                total += read_header(file.read(HEADER_BYTES), path.stat().st_size, path.name).numbers
    return total


def _config(base: Layer) -> dict[str, Any]:
    read: dict[str, Any] = msgspec.json.decode((Path(base.folder) / "config.json").read_bytes())
    inner = read.get("text_config") if isinstance(read.get("text_config"), dict) else {}
    found = {**DEFAULTS, **{k: v for k, v in {**read, **(inner or {})}.items() if isinstance(v, int) and not isinstance(v, bool)}}
    return found


def _amount(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
