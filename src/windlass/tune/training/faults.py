"""What ended a tuning, as an error a person can act on."""

from __future__ import annotations

import errno

from windlass.core.errors import WindlassError
from windlass.tune.training.job import Fault

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# what libraries say of a disk that takes no more, and of memory there is none of
OF_DISK = ("no space left", "disk quota", "file too large", "pytorchstreamwriter failed", "unexpected pos", "i/o error: ")
OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "alloc_cpu")


def fault_of(error: BaseException) -> Fault:
    """Any error as a report."""
    if isinstance(error, WindlassError):
        return Fault(error.code, f"{error.where}: {error.message}" if error.where else error.message, error.remedy or "")
    told, kind = str(error).strip(), type(error).__name__
    low = told.lower()
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError" or any(x in low for x in OF_MEMORY):
        return Fault("unavailable", "the tuning ran out of memory", "a smaller batch, fewer tokens (--longest), or a larger machine")
    if (isinstance(error, OSError) and error.errno in FULL) or any(x in low for x in OF_DISK):
        return Fault(
            "unavailable", "the disk is full; the checkpoint that was being written does not count, the one before it does",
            "make room, then: windlass tune resume",
        )  # fmt: skip
    return Fault("run_failed", f"training ended in an error: {kind}: {told[:500]}", "the tuning's log says where")
