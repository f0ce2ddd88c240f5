"""Packs: rows of datasets in immutable Parquet files, kept as blobs, ordered by key. Two columns: `key`, and `row` in JSON.

Any engine that reads Parquet can read them. A pack says nothing about which dataset its rows belong to; who asks for a row knows its
digest and checks it. Read and written by a DuckDB in memory, loaded when it is first needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from windlass.core.digest import TAG
from windlass.core.errors import Unavailable
from windlass.store.blobs import BlobStore

if TYPE_CHECKING:
    import duckdb

MOST = 100_000  # rows in one pack, so that a row is found without reading far
MOST_BYTES = 64_000_000
GROUP = 10_000  # rows in a row group
FETCHED = 2_000  # rows taken from a file at a time
MEMORY = "256MB"
Line = tuple[str, bytes]  # a key, and its row in canonical JSON


class Pack(NamedTuple):
    digest: str
    rows: int


class Packs:
    """Writes and reads packs. Safe to use from many threads."""

    def __init__(self, blobs: BlobStore, folder: Path) -> None:
        self._blobs = blobs
        self._folder = folder
        self._lock = threading.Lock()
        self._db: duckdb.DuckDBPyConnection | None = None

    def write(self, lines: Iterable[Line]) -> list[Pack]:
        """Keep rows, in as many packs as they need; durable when it returns."""
        packs, held, size = [], [], 0
        for line in lines:
            held.append(line)
            size += len(line[1])
            if len(held) >= MOST or size >= MOST_BYTES:
                packs.append(self._write(held))
                held, size = [], 0
        if held:
            packs.append(self._write(held))
        return packs

    def _write(self, lines: list[Line]) -> Pack:
        lines.sort()
        keys, rows = [key for key, _ in lines], [row.decode() for _, row in lines]
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:  # of the blobs' file system: a blob is kept by moving it
            path = Path(folder) / "pack.parquet"
            with self._cursor("a pack cannot be written") as db:
                db.execute(
                    f"COPY (SELECT unnest(?::VARCHAR[]) AS key, unnest(?::VARCHAR[])::JSON AS row) TO '{_quoted(path)}' "
                    f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP})",
                    [keys, rows],
                )
            with path.open("rb") as file:
                digest = TAG + hashlib.file_digest(file, "sha256").hexdigest()
            self._blobs.put_file(path, digest)
        return Pack(digest, len(lines))

    def find(self, packs: Sequence[str], keys: Sequence[str]) -> list[Line]:
        """Every row in these packs that has one of the keys: several for a key that several packs have. Raises as `all`."""
        if not keys or not packs:
            return []
        files = ", ".join(f"'{_quoted(self._blobs.local(p))}'" for p in packs)
        query = f"SELECT key, row::VARCHAR FROM read_parquet([{files}]) WHERE key BETWEEN ? AND ? AND key IN (SELECT unnest(?::VARCHAR[]))"
        with self._cursor("a pack cannot be read") as db:
            found = db.execute(query, [min(keys), max(keys), list(keys)]).fetchall()
        return [(key, row.encode()) for key, row in found]

    def all(self, packs: Sequence[str]) -> Iterator[Line]:
        """Every row of these packs in the order of keys; what several packs have comes once from each. Raises `NotFound` for a pack
        that is gone, `Unavailable` for one that is damaged."""
        return heapq.merge(*(self._stream(p) for p in packs), key=lambda line: line[0])

    def _stream(self, pack: str) -> Iterator[Line]:
        path = self._blobs.local(pack)
        with self._cursor("a pack cannot be read") as db:
            result = db.execute(f"SELECT key, row::VARCHAR FROM read_parquet('{_quoted(path)}')")
            while some := result.fetchmany(FETCHED):
                for key, row in some:
                    yield key, row.encode()

    @contextlib.contextmanager
    def _cursor(self, what: str) -> Iterator[duckdb.DuckDBPyConnection]:
        import duckdb  # 30 MB, for processes that touch rows only

        with self._lock:
            if self._db is None:
                config: dict[str, str | bool | int | float | list[str]] = {
                    "threads": 1,
                    "memory_limit": MEMORY,
                    "temp_directory": str(self._folder / f"duckdb-{os.getpid()}"),  # not where somebody happens to be
                    "autoinstall_known_extensions": False,
                    "autoload_known_extensions": False,
                }
                self._db = duckdb.connect(config=config)
            cursor = self._db.cursor()
        try:
            yield cursor
        except (duckdb.Error, OSError) as e:
            full = "no space left" in str(e).lower()
            raise Unavailable(
                f"{what}: {'the disk is full' if full else str(e).splitlines()[0]}",
                where=str(self._folder),
                remedy="make room and try again" if full else "windlass verify",
            ) from e
        finally:
            cursor.close()

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
