"""Where the audit's hashes stand a second time, outside its table: `audit.anchors` in the data folder, lines that are only ever added.

    from 0 sha256:000…      begun: what came before rests on the chain of hashes alone
    ? 41 sha256:3f9a…       entry 41 is about to be written; synced before its transaction commits
    = 41 sha256:3f9a…       it was

So a process that is killed at any moment leaves nothing that looks like tampering: an entry without its `=` was written, or was not; an
entry without its `?` was added by another hand; a `=` without its entry was cut off.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from windlass.core.errors import Unavailable

FILE = "audit.anchors"
_LINE = re.compile(r"(from|\?|=) (\d{1,18}) (sha256:[0-9a-f]{64})\n")
_log = logging.getLogger("windlass.audit")


class Line(NamedTuple):
    """One line; `word` is empty for one that cannot be read. `end` is where it ends, in bytes."""

    number: int
    end: int
    word: str
    seq: int
    hash: str


class Anchors:
    """The file of one data folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def beside(cls, connection: Connection) -> Anchors | None:
        """Those of the store a connection is to; None for a store that is no file."""
        url = connection.engine.url
        if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
            return None
        return cls(Path(url.database).with_name(FILE))

    def begun(self) -> bool:
        return self.path.exists()

    def begin(self, seq: int, hash: str) -> None:
        """Begin, after this entry. To be called in a write transaction of the store."""
        self._add(f"from {seq} {hash}\n", sync=True)

    def intend(self, seq: int, hash: str) -> None:
        """Before an entry is committed; durable when this returns. Raises `Unavailable`, and then it must not be."""
        self._add(f"? {seq} {hash}\n", sync=True)

    def confirm(self, seq: int, hash: str) -> None:
        """Once it is. What cannot be written then is only logged: the deed is done, and its intention is kept."""
        try:
            self._add(f"= {seq} {hash}\n", sync=False)
        except Unavailable as e:
            _log.error("%s", e)

    def size(self) -> int:
        """Bytes written so far; 0 where there is no file."""
        return self.path.stat().st_size if self.path.exists() else 0

    def lines(self) -> Iterator[Line]:
        """Every line. Raises `FileNotFoundError`."""
        end = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                end += len(line)
                found = _LINE.fullmatch(line.decode("ascii", "replace"))
                yield Line(number, end, found[1], int(found[2]), found[3]) if found else Line(number, end, "", 0, "")

    def _add(self, line: str, *, sync: bool) -> None:
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(handle, line.encode())  # one write: lines of two processes do not mix
                if sync:
                    os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as e:
            raise Unavailable(
                f"the audit cannot be kept: {e.strerror}", where=str(self.path), remedy="make room, or mend the folder's permissions"
            ) from e
