"""Where the parts of a server say what goes wrong: a file each, which does not grow without end."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

LOG_BYTES = 10_000_000


def log_path(home: Path, name: str) -> Path:
    return home / "logs" / f"{name}.log"


def shorten_log(path: Path, most: int = LOG_BYTES) -> None:
    """Begin a log that has grown long anew, under the process that appends to it; one older copy is kept. Lines written in the
    moment between the two are lost."""
    if path.exists() and path.stat().st_size > most:
        with contextlib.suppress(OSError):  # no room for the copy: then it goes without
            shutil.copyfile(path, path.with_suffix(".log.1"))
        os.truncate(path, 0)


def last_line(home: Path, name: str) -> str:
    path = log_path(home, name)
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""
