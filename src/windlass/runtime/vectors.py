"""Vectors of an index's chunks: encoded once for each text, kept, and searched exactly.

`vectors-<encoder>.db` keeps the vector of every text an encoder was given, under the text's digest, so that a new version of an index
encodes only what changed; a build that is cut off goes on where it stopped. `<index>.npy` is the matrix of one version, in the order of
its chunks' keys, mapped into memory; it can be made again at any time. Exact search is also what an approximate store is measured by.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from windlass.core.digest import TAG
from windlass.core.errors import Invalid, Unavailable
from windlass.runtime.encoders import Encoder
from windlass.store.meta import write_ahead

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

BATCH = 64  # texts encoded between two commits
BUSY_SECONDS = 30.0
Progress = Callable[[int, int], None]  # texts encoded now, texts to encode


class Vectors:
    """Keeps and searches vectors. Safe to use from many threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, Matrix] = {}
        self._lock = threading.Lock()
        self._building: dict[str, threading.Lock] = {}

    def nearest(self, index: str, vector: Matrix, k: int, allowed: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """Places (from 0) and cosines of the nearest `k` chunks, the nearest first; among `allowed` places where given. Equal ones come
        by place. The index must be built. Raises `Invalid` for a vector of another dimension."""
        import numpy as np

        matrix = self._matrix(index)
        if vector.shape != (matrix.shape[1],):
            raise Invalid(f"the question has {vector.size} dimensions, and the index {matrix.shape[1]}", remedy="use the index's encoder")
        places = None if allowed is None else np.asarray(allowed, dtype=np.int64)
        scores = (matrix if places is None else matrix[places]) @ vector
        count = min(k, len(scores))
        if count == 0:
            return []
        best = np.argpartition(-scores, count - 1)[:count] if count < len(scores) else np.arange(len(scores))
        bound = scores[best].min()
        best = np.flatnonzero(scores >= bound)  # also what is as near as the last, so that the order decides which of them counts
        ranked = best[np.lexsort((best, -scores[best]))][:count]
        return [(int(place if places is None else places[place]), float(scores[place])) for place in ranked]

    def build(self, index: str, encoder: Encoder, texts: Sequence[str], progress: Progress = lambda done, total: None) -> int:
        """Have the matrix of an index whose chunks have these texts, in this order; how many had to be encoded. Raises what the encoder
        raises; what was encoded until then is kept."""
        with self._lock:
            lock = self._building.setdefault(index, threading.Lock())
        with lock:
            if self._path(index).exists():
                return 0
            return self._build(index, encoder, texts, progress)

    def built(self, index: str) -> bool:
        return self._path(index).exists()

    def _build(self, index: str, encoder: Encoder, texts: Sequence[str], progress: Progress) -> int:
        import numpy as np

        self._folder.mkdir(parents=True, exist_ok=True)
        digests = [hashlib.sha256(text.encode()).digest() for text in texts]
        by_digest = dict(zip(digests, texts, strict=True))
        with self._kept(encoder) as kept:
            known = {d for (d,) in kept.execute("SELECT text FROM vectors")} & by_digest.keys()
            lacking = [d for d in by_digest if d not in known]
            for start in range(0, len(lacking), BATCH):
                some = lacking[start : start + BATCH]
                made = encoder.encode([by_digest[d] for d in some])
                with kept:  # one transaction
                    kept.executemany(
                        "INSERT OR IGNORE INTO vectors VALUES (?, ?)", [(d, v.tobytes()) for d, v in zip(some, made, strict=True)]
                    )
                progress(start + len(some), len(lacking))
            partial = self._folder / f".{secrets.token_hex(8)}.npy"
            matrix = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=(len(texts), encoder.dimensions))
            try:
                place = {}
                for digest, data in kept.execute("SELECT text, vector FROM vectors"):
                    if digest in by_digest:
                        place[digest] = np.frombuffer(data, dtype=np.float32)
                for number, digest in enumerate(digests):
                    matrix[number] = place[digest]
                matrix.flush()
                del matrix
                partial.replace(self._path(index))
            finally:
                partial.unlink(missing_ok=True)
        return len(lacking)

    @contextlib.contextmanager
    def _kept(self, encoder: Encoder) -> Iterator[sqlite3.Connection]:
        path = self._folder / f"vectors-{encoder.digest.removeprefix(TAG)[:32]}.db"
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
        try:
            write_ahead(connection.cursor())
            connection.execute("CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID")
            yield connection
        except sqlite3.DatabaseError as e:
            remedy = "make room, or delete the file; it is made again"
            raise Unavailable(f"the vectors cannot be kept: {e}", where=str(path), remedy=remedy) from e
        finally:
            connection.close()

    def _path(self, index: str) -> Path:
        return self._folder / f"{index.removeprefix(TAG)}.npy"

    def _matrix(self, index: str) -> Matrix:
        with self._lock:
            if (found := self._open.get(index)) is None:
                import numpy as np

                try:
                    found = self._open[index] = np.load(self._path(index), mmap_mode="r")
                except (OSError, ValueError) as e:
                    self._path(index).unlink(missing_ok=True)
                    raise Unavailable("the vectors of the index were damaged and are made again at the next search", where=index) from e
            return found

    def close(self) -> None:
        with self._lock:
            self._open.clear()
