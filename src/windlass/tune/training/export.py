"""The trained adapter as files that say the same wherever they were made, and a proof that training did something."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from windlass.core.digest import canonical, digest_bytes
from windlass.core.errors import RunFailed

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
NOT_IDENTITY = ("base_model_name_or_path", "revision", "auto_mapping", "inference_mode", "peft_version")


def export(model: Any, folder: Path) -> str:
    """Write the adapter. Returns the digest of its tensors. Raises `RunFailed` where nothing was learned, or what is no number."""
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(str(partial), selected_adapters=["default"], safe_serialization=True)
    config = json.loads((partial / CONFIG).read_text())
    # where the base lay is no part of what it is, and sets come in any order
    config = {k: sorted(v) if isinstance(v, list) else v for k, v in config.items() if k not in NOT_IDENTITY}
    tensors = load_file(str(partial / WEIGHTS))
    if not all(bool(t.isfinite().all()) for t in tensors.values()):
        raise RunFailed("the trained weights are not numbers any more", remedy="lower --learning-rate, and start anew")
    if not any(bool(t.abs().max() > 0) for name, t in tensors.items() if "lora_B" in name):
        raise RunFailed(
            "nothing was learned: the adapter is as it was at the start", remedy="see whether its rewards or its rows differ at all"
        )
    for path in list(partial.iterdir()):
        if path.name not in (WEIGHTS, CONFIG):
            path.unlink()
    (partial / CONFIG).write_bytes(canonical({**config, "base_model_name_or_path": "", "inference_mode": True}))
    partial.replace(folder)
    return digest_bytes((folder / WEIGHTS).read_bytes())
