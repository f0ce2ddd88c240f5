"""Models on this machine: their files laid out from blobs, a process of its own that answers, and what is asked of it.

PyTorch is loaded in that process only (`serve.py` and what it imports: `loading.py`, `answering.py`); nothing else here knows it.
"""

from windlass.runtime.local.canaries import Canaries
from windlass.runtime.local.models import LocalModels

__all__ = ["Canaries", "LocalModels"]
