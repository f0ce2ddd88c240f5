"""The environment of processes that load PyTorch: nothing of the server's own, no hub, no telemetry, few threads; and how such a
process learns that its parent is gone."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import sys
from pathlib import Path

from windlass.core.errors import Unavailable

NEEDED = ("torch", "transformers", "peft", "trl", "datasets", "accelerate")
# where a GPU and its libraries are found
PASSED = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "NVIDIA_VISIBLE_DEVICES", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")
PR_SET_PDEATHSIG = 1


def why_no_torch() -> str:
    """What is missing of the extra `tune`, in a few words; empty where all is there. Loads none of it."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed" if missing else ""


def need_torch(what: str) -> None:
    """Raises `Unavailable` where the extra is not installed."""
    if why := why_no_torch():
        raise Unavailable(f"{what}: {why}", remedy='pip install "windlass[tune]"')


def quiet_environment(scratch: Path, threads: int) -> dict[str, str]:
    """All that such a process finds. `scratch` is where libraries may put their caches."""
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    return {
        "LANG": "C.UTF-8", "TZ": "UTC", "HOME": str(scratch), "TMPDIR": str(scratch), "HF_HOME": str(scratch / "hf"),
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        "DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "WANDB_DISABLED": "true", "TRANSFORMERS_VERBOSITY": "error",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false", "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1",
        **dict.fromkeys(THREADS, str(threads)), **passed,
    }  # fmt: skip


def die_with(parent: int) -> None:
    """Have the system end this process with its parent (Linux; elsewhere the closed pipe does)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(0)
