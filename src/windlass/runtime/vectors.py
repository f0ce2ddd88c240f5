"""Vectors of an index's chunks: the port that stores of them have, what keeps each text's vector, and the store that searches exactly.

`vectors-<encoder>.db` keeps the vector of every text an encoder was given, under the text's digest, so that a new version of an index
encodes only what changed, whichever store it is in; a build that is cut off goes on where it stopped. `<index>.npy` is the matrix of one
version, in the order of its chunks' keys, mapped into memory; it can be made again at any time. Exact search is also what an approximate
store is measured by.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from windlass.core.artifacts import Version
from windlass.core.digest import TAG
from windlass.core.errors import Invalid, Unavailable
from windlass.runtime.encoders import Encoder
from windlass.store.meta_sqlite import write_ahead

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

BATCH = 64  # texts encoded between two commits
ASKED = 500  # kept vectors read by one statement
BUSY_SECONDS = 30.0
Progress = Callable[[int, int], None]  # texts encoded now, texts to encode


def quiet(done: int, total: int) -> None:
    """Nobody is told."""


class VectorStore(Protocol):
    """Keeps and searches the vectors of index versions. Safe to use from many threads and processes."""

    def nearest(self, index: Version, vector: Matrix, k: int, allowed: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """Places (from 0) and cosines of the nearest `k` chunks, the nearest first; among `allowed` places where given: `k` of them, if
        there are so many. Equal ones come by place. `vector` has length 1. The index must be built. Raises `Invalid` for a vector of
        another dimension, and `Unavailable` for damage; the next build mends it."""
        ...

    def build(self, index: Version, encoder: Encoder, texts: Sequence[str], progress: Progress = quiet) -> int:
        """Have the vectors of an index whose chunks have these texts, in this order; how many had to be encoded. Raises what the encoder
        raises; what was encoded until then is kept."""
        ...

    def built(self, index: Version) -> bool: ...

    def close(self) -> None: ...


class Vectors:
    """The store that compares a question with every vector."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, Matrix] = {}
        self._lock = threading.Lock()
        self._building: dict[str, threading.Lock] = {}

    def nearest(self, index: Version, vector: Matrix, k: int, allowed: Sequence[int] | None = None) -> list[tuple[int, float]]:
        matrix = self._matrix(index.digest)
        check_dimensions(vector, matrix.shape[1])
        return exactly(matrix, vector, k, allowed)

    def build(self, index: Version, encoder: Encoder, texts: Sequence[str], progress: Progress = quiet) -> int:
        with self._lock:
            lock = self._building.setdefault(index.digest, threading.Lock())
        with lock:
            if self.built(index):
                return 0
            return self._build(index.digest, encoder, texts, progress)

    def built(self, index: Version) -> bool:
        return self._path(index.digest).exists()

    def _build(self, index: str, encoder: Encoder, texts: Sequence[str], progress: Progress) -> int:
        import numpy as np

        with encoded(self._folder, encoder, texts, progress) as kept:
            places: dict[bytes, list[int]] = {}
            for place, digest in enumerate(kept.digests):
                places.setdefault(digest, []).append(place)
            partial = self._folder / f".{secrets.token_hex(8)}.npy"
            matrix = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=(len(texts), encoder.dimensions))
            try:
                for some, vectors in kept.vectors(places):
                    for digest, vector in zip(some, vectors, strict=True):
                        matrix[places[digest]] = vector
                matrix.flush()
                del matrix
                partial.replace(self._path(index))
            finally:
                partial.unlink(missing_ok=True)
        return kept.new

    def _path(self, index: str) -> Path:
        return self._folder / f"{index.removeprefix(TAG)}.npy"

    def _matrix(self, index: str) -> Matrix:
        with self._lock:
            if (found := self._open.get(index)) is None:
                import numpy as np

                try:
                    found = self._open[index] = np.load(self._path(index), mmap_mode="r")
                except (OSError, ValueError, EOFError) as e:
                    self._path(index).unlink(missing_ok=True)
                    raise Unavailable("the vectors of the index were damaged and are made again at the next search", where=index) from e
            return found

    def close(self) -> None:
        with self._lock:
            self._open.clear()


class Encoded:
    """Texts and their kept vectors. `digests` are those of the texts, in their order; `new` says how many had to be encoded."""

    def __init__(self, kept: sqlite3.Connection, digests: list[bytes], new: int, dimensions: int) -> None:
        self._kept = kept
        self.digests = digests
        self.new = new
        self._dimensions = dimensions

    def vectors(self, digests: Iterable[bytes]) -> Iterator[tuple[list[bytes], Matrix]]:
        """The vectors of these texts, some at a time, in the order of the digests, which is how they lie on disk."""
        import numpy as np

        wanted = sorted(digests)
        for start in range(0, len(wanted), ASKED):
            some = wanted[start : start + ASKED]
            sql = f"SELECT vector FROM vectors WHERE text IN ({', '.join('?' * len(some))}) ORDER BY text"
            found = b"".join(vector for (vector,) in self._kept.execute(sql, some))
            yield some, np.frombuffer(found, dtype=np.float32).reshape(len(some), self._dimensions)


@contextlib.contextmanager
def encoded(folder: Path, encoder: Encoder, texts: Sequence[str], progress: Progress = quiet) -> Iterator[Encoded]:
    """Have the vectors of these texts in `folder`; those that are not there are encoded. Raises what the encoder raises, and
    `Unavailable` when vectors cannot be kept."""
    folder.mkdir(parents=True, exist_ok=True)
    digests = [hashlib.sha256(text.encode()).digest() for text in texts]
    by_digest = dict(zip(digests, texts, strict=True))
    with _kept(folder, encoder) as kept:
        known = {d for (d,) in kept.execute("SELECT text FROM vectors")} & by_digest.keys()
        lacking = [d for d in by_digest if d not in known]
        for start in range(0, len(lacking), BATCH):
            some = lacking[start : start + BATCH]
            made = encoder.encode([by_digest[d] for d in some])
            with kept:  # one transaction
                kept.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", [(d, v.tobytes()) for d, v in zip(some, made, strict=True)])
            progress(start + len(some), len(lacking))
        yield Encoded(kept, digests, len(lacking), encoder.dimensions)


@contextlib.contextmanager
def _kept(folder: Path, encoder: Encoder) -> Iterator[sqlite3.Connection]:
    path = folder / f"vectors-{encoder.digest.removeprefix(TAG)[:32]}.db"
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)  # Lance reads from a thread of its own
    try:
        write_ahead(connection.cursor())
        connection.execute("CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID")
        yield connection
    except sqlite3.DatabaseError as e:
        remedy = "make room, or delete the file; it is made again"
        raise Unavailable(f"the vectors cannot be kept: {e}", where=str(path), remedy=remedy) from e
    finally:
        connection.close()


def check_dimensions(vector: Matrix, dimensions: int) -> None:
    if vector.shape != (dimensions,):
        raise Invalid(f"the question has {vector.size} dimensions, and the index {dimensions}", remedy="use the index's encoder")


def exactly(matrix: Matrix, vector: Matrix, k: int, allowed: Sequence[int] | None) -> list[tuple[int, float]]:
    """The nearest `k` rows of a matrix by comparing all, or all `allowed` ones; equal ones by place."""
    import numpy as np

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
