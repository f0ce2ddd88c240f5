"""Requests that a server that is away could not take, in files: what a process could not send the next one does, killed or not.

A file is named by when it was written and how many spans it holds; one that a process is at has its number behind. It goes when the server
has it. A process that is gone leaves its files: whoever finds one that nobody touched for some minutes takes it. Sent twice is kept once,
since the server knows a span by what it says.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from pathlib import Path

LEFT_SECONDS = 300.0  # since it was touched, after which a file is nobody's
_NAME = re.compile(r"(\d+)-(?:(\d+)-)?[0-9a-f]{8}\.otlp(?:\.(\d+))?")  # without how many of an earlier version


class Spool:
    """A folder of at most so many bytes. Raises `OSError` where it cannot be written. What lies in the folder `before` is taken too."""

    def __init__(self, folder: Path, most: int, before: Path | None = None) -> None:
        self._folder = folder
        self._before = before
        self._most = most
        self._touched = time.monotonic()
        self._mine: set[Path] = set()

    def other(self) -> Spool:
        """The same folder for another process, which has no file yet."""
        return Spool(self._folder, self._most, self._before)

    def keep(self, data: bytes, spans: int) -> Path | None:
        """Write a request; None where there is no room."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if sum(_size(p) for p in self._folder.glob("*.otlp*")) + len(data) > self._most:
            return None
        partial = self._folder / f".{uuid.uuid4().hex}"
        path = self._folder / f"{time.time_ns()}-{spans}-{uuid.uuid4().hex[:8]}.otlp.{os.getpid()}"
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
            partial.rename(path)
        except OSError:  # a disk that is full must not be filled by each try
            partial.unlink(missing_ok=True)
            raise
        self._mine.add(path)
        return path

    def take(self) -> list[tuple[Path, int]]:
        """What no living process is at, the oldest first, with how many spans each holds; it is this process's now."""
        for path in self._folder.glob(".*"):  # one that was being written when its process was killed
            if _is_left(path):
                path.unlink(missing_ok=True)
        taken: list[tuple[Path, int]] = []
        for path in (*(sorted(self._before.glob("*.otlp*")) if self._before else ()), *sorted(self._folder.glob("*.otlp*"))):
            hit = _NAME.fullmatch(path.name)
            if hit is None or (hit[3] and not _is_left(path)):
                continue
            mine = path.with_name(f"{path.name.partition('.otlp')[0]}.otlp.{os.getpid()}")
            try:
                path.rename(mine)  # of two processes one has it
                os.utime(mine)
            except OSError:
                continue
            self._mine.add(mine)
            taken.append((mine, int(hit[2] or 0)))
        return taken

    def hold(self) -> None:
        """Say that this process is still at its files; cheap, to be called again and again."""
        if time.monotonic() - self._touched < LEFT_SECONDS / 5:
            return
        self._touched = time.monotonic()
        for path in list(self._mine):
            try:
                os.utime(path)
            except OSError:
                self._mine.discard(path)

    def done(self, path: Path) -> None:
        """The server has it, or never will."""
        self._mine.discard(path)
        path.unlink(missing_ok=True)

    def leave(self) -> None:
        """Give the files of this process to whoever comes next."""
        for path in list(self._mine):
            self._mine.discard(path)
            try:
                path.rename(path.with_name(path.name.rpartition(".")[0]))
            except OSError:
                continue


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_left(path: Path) -> bool:
    """Whether nobody touched it for some minutes. One that was touched in the future was so by a clock that was wrong."""
    try:
        return abs(time.time() - path.stat().st_mtime) >= LEFT_SECONDS
    except OSError:
        return False
