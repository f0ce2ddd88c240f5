"""The store of vectors for very many chunks: tables of Lance, searched through a graph. Engine `lance@1`.

    lance/<line>/  table.lance/  <index>.npy  lock  damaged

A line is what versions of one index with one encoder and the same settings share: one table, a row for each different text under the
text's digest, so that a new version adds and removes only rows whose text came or went. A version is the table as a tag pins it, and
`<index>.npy`, which says for each chunk in which row its text is; it is written last, so a version is whole or not there. All of it can be
made again from the vectors kept beside it. One process at a time writes a line, under its lock; readers need none, since what a tag pins
never changes. Lance runs threads of its own and does not survive a fork: Windlass starts every process anew (`subprocess`), and a process
that was forked from one with Lance in it is told so instead of waiting for ever.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from windlass.core.artifacts import IndexBody, Version
from windlass.core.digest import TAG, digest_json
from windlass.core.encoding import LanceSettings
from windlass.core.errors import Invalid, Unavailable
from windlass.runtime.encoders import Encoder
from windlass.runtime.vectors import Encoded, Progress, check_dimensions, encoded, exactly, quiet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from windlass.runtime.vectors import Matrix

    Rows = NDArray[np.uint64]  # addresses of rows in a table

SPARE = 16  # found beyond what is wanted, so that places order equal ones
GRAPHS = 4  # of one table, before they are made one
DIGEST_BYTES = 32
REFUSALS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # no damage
UNREADABLE = (OSError, ValueError, EOFError, KeyError)  # what Lance, numpy and a file of other rows make of damage
INSTALL = 'pip install "windlass[lance]"'

_loaded_by: int | None = None  # the process


class _Open(NamedTuple):
    """A version as it is searched. `rows` by place; `order` sorts them; `matrix`, by place, where it is small enough to compare all."""

    table: Any
    rows: Rows
    order: NDArray[np.int64]
    matrix: Matrix | None


class LanceVectors:
    """The store that follows a graph; of fewer texts than `exact_below` of its settings it compares all."""

    def __init__(self, folder: Path) -> None:
        self._kept = folder
        self._folder = folder / "lance"
        self._open: dict[str, _Open] = {}
        self._lock = threading.Lock()

    def nearest(self, index: Version, vector: Matrix, k: int, allowed: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """As of the port. The filter is applied before the graph is searched. Where more than `SPARE` chunks are exactly as near as the
        last one found, which of them counts is the graph's to say; it says the same each time."""
        body = msgspec.convert(index.body, IndexBody)
        check_dimensions(vector, body.encoder["dimensions"])
        _lance()
        try:
            return self._nearest(self._opened(index), _settings(body), vector, k, allowed)
        except UNREADABLE:  # perhaps somebody else made it again since we opened it
            self._forget(index)
        try:
            return self._nearest(self._opened(index), _settings(body), vector, k, allowed)
        except UNREADABLE as e:
            self._forget(index)
            raise self._lost(index, e) from e

    def _lost(self, index: Version, e: Exception) -> Unavailable:
        """What is said of vectors that cannot be read. Damage is noted, so that the next build begins with nothing."""
        if _is_refusal(e):
            return Unavailable(f"the vectors of the index cannot be read: {_first_line(e)}", where=str(self._line(index)))
        if not isinstance(e, FileNotFoundError):  # which a version is that somebody else found damaged
            with contextlib.suppress(OSError):  # where nothing can be written the search says the same again
                self._line(index).joinpath("damaged").touch()
                self._path(index).unlink(missing_ok=True)
        said = f"the vectors of the index were damaged and are made again at the next search: {_first_line(e)}"
        return Unavailable(said, where=index.digest)

    def build(self, index: Version, encoder: Encoder, texts: Sequence[str], progress: Progress = quiet) -> int:
        _lance()
        settings = _settings(msgspec.convert(index.body, IndexBody))
        with self._alone(index):
            if self.built(index):
                return 0
            with encoded(self._kept, encoder, texts, progress) as kept:
                try:
                    self._write(index, kept, settings, encoder.dimensions)
                except (OSError, ValueError) as e:
                    remedy = "make room, or see the reason; what was encoded is kept"
                    raise Unavailable(
                        f"the vectors cannot be written: {_first_line(e)}", where=str(self._line(index)), remedy=remedy
                    ) from e
            return kept.new

    def built(self, index: Version) -> bool:
        return self._path(index).exists()

    def close(self) -> None:
        with self._lock:
            self._open.clear()

    def _nearest(
        self, opened: _Open, settings: LanceSettings, vector: Matrix, k: int, allowed: Sequence[int] | None
    ) -> list[tuple[int, float]]:
        import numpy as np
        from lance.dataset import serialize_row_addrs

        if opened.matrix is not None:
            return exactly(opened.matrix, vector, k, allowed)
        fits: NDArray[np.bool_] | None = None
        allowlist = None
        if allowed is not None:
            fits = np.zeros(len(opened.rows), dtype=bool)
            fits[np.asarray(allowed, dtype=np.int64)] = True
            if not fits.any():
                return []
            allowlist = serialize_row_addrs(np.unique(opened.rows[fits]).tolist())
        wanted = {
            "column": "vector",
            "q": vector,
            "k": k + SPARE,
            "metric": "dot",
            "nprobes": settings.nprobes,
            "refine_factor": settings.refine,
        }
        found = opened.table.scanner(
            columns=["_distance"], with_row_id=True, nearest=wanted, prefilter=True, row_addr_allowlist=allowlist
        ).to_table()
        rows, cosines = found["_rowid"].to_numpy(), 1 - found["_distance"].to_numpy()
        ranked = []
        for row, cosine in zip(rows, cosines, strict=True):
            begin, end = (int(np.searchsorted(opened.rows, row, side, sorter=opened.order)) for side in ("left", "right"))
            ranked += [(float(-cosine), int(place)) for place in opened.order[begin:end] if fits is None or fits[place]]
        return [(place, -cosine) for cosine, place in sorted(ranked)[:k]]

    def _opened(self, index: Version) -> _Open:
        with self._lock:
            if (found := self._open.get(index.digest)) is None:
                found = self._open[index.digest] = self._read(index)
            return found

    def _read(self, index: Version) -> _Open:
        import numpy as np

        body = msgspec.convert(index.body, IndexBody)
        rows: Rows = np.load(self._path(index))
        order = np.argsort(rows, kind="stable")
        if not len(rows):
            return _Open(None, rows, order, np.zeros((0, body.encoder["dimensions"]), np.float32))
        table = _lance().dataset(str(self._table(index)), version=_tag(index))
        if len(np.unique(rows)) >= _settings(body).exact_below:
            return _Open(table, rows, order, None)
        there = table.scanner(columns=["vector"], with_row_id=True).to_table()
        vectors = there["vector"].combine_chunks().flatten().to_numpy().reshape(len(there), -1)
        at = {row: n for n, row in enumerate(there["_rowid"].to_pylist())}
        return _Open(table, rows, order, vectors[[at[row] for row in rows.tolist()]])

    def _forget(self, index: Version) -> None:
        with self._lock:
            self._open.pop(index.digest, None)

    def _write(self, index: Version, kept: Encoded, settings: LanceSettings, dimensions: int) -> None:
        """Bring the table to the texts of this version, pin it, and say where they are. What a build before left, whole or half, is what
        this one starts from."""
        import numpy as np

        rows: Rows = np.zeros(0, np.uint64)
        if kept.digests:
            table = self._brought(index, kept, dimensions)
            table = _graphed(table, settings)
            pins = table.tags
            (pins.update if _tag(index) in pins.list() else pins.create)(_tag(index), table.version)
            there = _rows(table)
            rows = np.array([there[d] for d in kept.digests], np.uint64)
            # Nobody else writes, and nobody reads a version without a pin: what is neither pinned nor newest is of no use to anybody.
            table.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False)
        partial = self._line(index) / f".{secrets.token_hex(8)}.npy"
        try:
            np.save(partial, rows)
            partial.replace(self._path(index))
        finally:
            partial.unlink(missing_ok=True)

    def _brought(self, index: Version, kept: Encoded, dimensions: int) -> Any:
        """The table with a row for each of these texts and no other. Written anew where more than half would change or is dead, since a
        graph is only as good as the rows it was made of."""
        lance, path = _lance(), str(self._table(index))
        wanted = set(kept.digests)
        table, there = self._there(index)
        lacking, gone = wanted - there.keys(), [row for digest, row in there.items() if digest not in wanted]
        dead = sum(fragment.num_deletions for fragment in table.get_fragments()) if table else 0
        if table is None or 2 * (len(lacking) + len(gone) + dead) > len(wanted):
            return lance.write_dataset(_batches(kept, wanted, dimensions), path, mode="overwrite" if table else "create")
        if lacking:
            table = lance.write_dataset(_batches(kept, lacking, dimensions), table, mode="append")
        if gone:
            table.delete(f"_rowid IN ({', '.join(map(str, gone))})")
        return table

    def _there(self, index: Version) -> tuple[Any, dict[bytes, int]]:
        """The line's newest table and its rows by text; None and nothing where there is no table, or one that was damaged, which goes."""
        line = self._line(index)
        if not (line / "damaged").exists():
            if not self._table(index).exists():
                return None, {}
            try:
                table = _lance().dataset(str(self._table(index)))
                return table, _rows(table)
            except (OSError, ValueError) as e:
                if _is_refusal(e):
                    raise
                (line / "damaged").touch()
        for version in line.glob("*.npy"):  # first, so that nothing claims to be whole
            version.unlink(missing_ok=True)
        shutil.rmtree(self._table(index), ignore_errors=True)
        (line / "damaged").unlink(missing_ok=True)
        return None, {}

    @contextlib.contextmanager
    def _alone(self, index: Version) -> Iterator[None]:
        """Only one thread of one process writes a line; the lock of one that is killed is free."""
        self._line(index).mkdir(parents=True, exist_ok=True)
        handle = os.open(self._line(index) / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _line(self, index: Version) -> Path:
        body = msgspec.convert(index.body, IndexBody)
        line = {"project": index.project, "index": index.name, "encoder": body.encoder, "settings": body.settings}
        return self._folder / digest_json(line).removeprefix(TAG)[:32]

    def _table(self, index: Version) -> Path:
        return self._line(index) / "table.lance"

    def _path(self, index: Version) -> Path:
        return self._line(index) / f"{_tag(index)}.npy"


def _lance() -> Any:
    """The library. Raises `Unavailable` where it is not installed, and in a fork of a process that has it."""
    global _loaded_by
    os.environ.setdefault("LANCE_LOG", "error")  # else it warns of its own future at every index
    try:
        import lance
    except ModuleNotFoundError as e:
        raise Unavailable(f"an index of engine lance needs {e.name}, which is not installed", remedy=INSTALL) from e
    _loaded_by = _loaded_by or os.getpid()
    if os.getpid() != _loaded_by:
        raise Unavailable("this process was forked from one that uses Lance, which does not survive it", remedy="start processes by spawn")
    return lance


def _is_refusal(e: Exception) -> bool:
    """Whether the machine did not let us, which says nothing about the files. Lance has the number in its text alone."""
    found = re.search(r"\(os error (\d+)\)", str(e))
    return (e.errno if isinstance(e, OSError) else int(found[1]) if found else None) in REFUSALS


def _first_line(e: Exception) -> str:
    return str(e).partition("\n")[0][:200]


def _settings(body: IndexBody) -> LanceSettings:
    try:
        return msgspec.convert(body.settings, LanceSettings)
    except msgspec.ValidationError as e:
        raise Invalid(f"the settings of an index of engine lance are malformed: {e}", where="settings") from e


def _tag(index: Version) -> str:
    return index.digest.removeprefix(TAG)


def _rows(table: Any) -> dict[bytes, int]:
    """The addresses of a table's rows by the digest of their text."""
    found: dict[bytes, int] = {}
    for batch in table.scanner(columns=["text"], with_row_id=True).to_batches():
        found.update(zip(batch["text"].to_pylist(), batch["_rowid"].to_pylist(), strict=True))
    return found


def _batches(kept: Encoded, digests: set[bytes], dimensions: int) -> Any:
    """These texts' rows as an Arrow reader: one write, and so one version, however many they are."""
    import pyarrow as pa

    schema = pa.schema([pa.field("text", pa.binary(DIGEST_BYTES)), pa.field("vector", pa.list_(pa.float32(), dimensions))])

    def read() -> Iterator[Any]:
        for some, vectors in kept.vectors(digests):
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dimensions)
            yield pa.record_batch([pa.array(some, pa.binary(DIGEST_BYTES)), column], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, read())


def _graphed(table: Any, settings: LanceSettings) -> Any:
    """The table with a graph over all but a few of its rows, which Lance compares one by one. Many new rows get a graph of their own;
    several graphs are made one."""
    count = table.count_rows()
    if count < settings.exact_below:
        return table
    graphs = table.describe_indices()
    if graphs and count - graphs[0].num_rows_indexed < settings.exact_below:
        return table
    if graphs and len(graphs[0].segments) < GRAPHS:
        table.optimize.optimize_indices(num_indices_to_merge=0)
        return _lance().dataset(table.uri)
    return table.create_index(
        "vector", settings.kind, metric="dot", replace=True, num_partitions=settings.partitions, m=settings.links,
        ef_construction=settings.build_width,
    )  # fmt: skip
