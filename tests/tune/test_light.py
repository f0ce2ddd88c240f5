"""PyTorch is loaded in processes of its own only: not by the server, not by what works for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "peft", "trl", "datasets", "accelerate", "tokenizers", "safetensors"}
PARTS = "import windlass.platform, windlass.doors.app, windlass.doors.jobs, windlass.doors.worker"
LOOKING = "from windlass.runtime.local.environment import why_no_torch; why_no_torch()"


@pytest.mark.parametrize("what", [PARTS, LOOKING], ids=["the server and its jobs", "looking whether it is there"])
def test_no_torch_is_loaded_by(what: str) -> None:
    code = f"import sys\n{what}\nprint(sorted({HEAVY!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
