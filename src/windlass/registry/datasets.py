"""Rows of dataset versions as people and evaluations read them: all, a page, those of a split, those that differ."""

from __future__ import annotations

import bisect
import itertools
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Engine

from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.dataset import FORM, Difference, Tree
from windlass.core.digest import digest_bytes
from windlass.core.errors import Invalid, Unavailable, WindlassError
from windlass.core.operations.datasets import RowCounts, RowDifference, RowsDiff, RowsDiffQuery, RowsPage, RowsQuery
from windlass.core.ref import ROWS, parse_ref
from windlass.govern.permissions import guard
from windlass.registry.rows import Rows, is_kept
from windlass.registry.splits import split_in
from windlass.registry.versions import Versions
from windlass.store.blobs import BlobStore
from windlass.store.meta import read, write

FILTERS = 16  # answers to a filter that are remembered
read_row = msgspec.json.Decoder(dict[str, Any]).decode


class _Found(NamedTuple):
    """Keys of the rows that fit a filter, in order; and of all rows, how many each split has."""

    keys: list[str]
    splits: dict[str, int]


class Datasets:
    """Service of rows."""

    def __init__(self, engine: Engine, versions: Versions, rows: Rows, blobs: BlobStore) -> None:
        self._engine = engine
        self._versions = versions
        self._rows = rows
        self._blobs = blobs
        self._filtered: OrderedDict[tuple[str, str, str | None, str | None], _Found] = OrderedDict()
        self._lock = threading.Lock()

    def rows(self, version: Version, split: str | None = None) -> Iterator[dict[str, Any]]:
        """All rows of a version in key order, of one split where asked. Raises `Unavailable` naming the row that is missing."""
        rows = (read_row(line) for _, line in self._rows.all(version.project, self.root(version)))
        return rows if split is None else (row for row in rows if row.get("split") == split)

    def some(self, version: Version, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Some rows by key; a key that has no row is left out."""
        found = self._rows.lines(version.project, self.root(version), keys)
        return {key: read_row(line) for key, line in found.items()}

    def first(self, version: Version, count: int) -> list[dict[str, Any]]:
        """So many rows, the first by key: without reading the others."""
        return list(self.some(version, [key for key, _ in itertools.islice(self.tree(version), count)]).values())

    def through(self, project: str, key: str) -> Callable[[Version], dict[str, Any] | None]:
        """One row in whichever version is asked for; None where it has none."""
        find = self._rows.through(project, key)
        return lambda version: read_row(line) if (line := find(self.root(version))) is not None else None

    def tree(self, version: Version) -> Tree:
        return self._rows.tree(version.project, self.root(version))

    def difference(self, a: Version, b: Version) -> Difference:
        """What makes the rows of `b` of those of `a`."""
        return self.tree(a).to(self.tree(b))

    def root(self, version: Version) -> str:
        """What names the rows where they lie. Raises `Invalid` for a kind without rows, `NotFound` when they lie nowhere."""
        if version.kind not in ROWS:
            raise Invalid(f"{version.ref.short} has no rows; it is a {version.kind}")
        root: str = version.body["rows"]
        if version.body.get("form") != FORM:
            self._adopt(version, root)
        return root

    def _adopt(self, version: Version, root: str) -> None:
        """Lay out rows that came before there were trees: a manifest `[[key, row digest], …]` and packs of lines."""
        with read(self._engine) as c:
            if is_kept(c, version.project, root):
                return
        lines = {digest_bytes(line): line for pack in version.neutral.get("packs", ()) for line in self._blobs.get(pack).splitlines()}
        manifest = msgspec.json.decode(self._blobs.get(root), type=list[tuple[str, str]])
        gone = [key for key, digest in manifest if digest not in lines]
        if gone:
            raise Unavailable(f"row {gone[0]!r} is in none of its packs", where=version.ref.short, remedy="windlass verify")
        prepared = self._rows.change(version.project, None, {key: lines[digest] for key, digest in manifest})
        with write(self._engine) as c:
            self._rows.keep(c, version.project, prepared, root)

    def disagreements(self, version: Version) -> list[str]:
        """What is wrong with the rows of a version, one sentence each, at most 20 rows. Raises what the blob store does."""
        root = self.root(version)
        count = self._rows.tree(version.project, root).count
        found = [] if count == version.body["count"] else [f"it says {version.body['count']} rows, and has {count}"]
        wrong = []
        try:
            wrong = [key for key, line in self._rows.all(version.project, root) if not _has_key(line, key)]
        except WindlassError as e:
            found.append(e.message)
        return found + [f"row {key!r} is not what its digest says" for key in wrong[:20]]

    def blobs(self, version: Version) -> list[str]:
        """The blobs that the rows of a version lie in."""
        return self._rows.blobs(version.project, self.root(version))

    def list(self, actor: Actor, query: RowsQuery) -> RowsPage:
        """Operation `datasets.rows`: by key."""
        version = self._version(actor, query.ref, query.project)
        root = self.root(version)
        keys, count = self._asked(version, root, query)
        some = keys[: query.limit]
        lines = self._rows.lines(version.project, root, some)
        items = tuple(read_row(lines[key]) for key in some if key in lines)  # others were erased
        more = some[-1] if len(keys) > query.limit else None
        return RowsPage(ref=str(version.ref), count=count, items=items, splits=self._splits(version.project, root), next=more)

    def _asked(self, version: Version, root: str, query: RowsQuery) -> tuple[Sequence[str], int]:
        """Keys of a page, with one more where there is more; and how many rows fit. Only a filter reads the rows."""
        if query.key is not None:
            there = self._rows.tree(version.project, root).get(query.key) is not None
            return ([query.key], 1) if there else ([], 0)
        if query.split is None and not query.search:
            tree = self._rows.tree(version.project, root)
            return [key for key, _ in itertools.islice(tree.after(query.cursor), query.limit + 1)], tree.count
        found = self._filter(version.project, root, query.split, query.search).keys
        start = 0 if query.cursor is None else bisect.bisect_right(found, query.cursor)
        return found[start : start + query.limit + 1], len(found)

    def _splits(self, project: str, root: str) -> dict[str, int]:
        known = self._rows.splits(project, root)
        return self._filter(project, root, None, None).splits if known is None else known

    def _filter(self, project: str, root: str, split: str | None, search: str | None) -> _Found:
        asked = (project, root, split, search.casefold() if search else None)
        with self._lock:
            if (found := self._filtered.get(asked)) is not None:
                self._filtered.move_to_end(asked)
                return found
        splits: Counter[str] = Counter()
        keys = []
        for key, line in self._rows.all(project, root):
            name = split_in(line)
            splits[name] += 1
            if (split is None or name == split) and (not asked[3] or asked[3] in line.decode().casefold()):
                keys.append(key)
        found = _Found(keys, dict(sorted(splits.items())))
        self._rows.counted(project, root, found.splits)
        with self._lock:
            self._filtered[asked] = found
            while len(self._filtered) > FILTERS:
                self._filtered.popitem(last=False)
        return found

    def diff(self, actor: Actor, query: RowsDiffQuery) -> RowsDiff:
        """Operation `datasets.diff`."""
        a, b = (self._version(actor, ref, query.project) for ref in (query.a, query.b))
        difference = self.difference(a, b)
        keys = [
            key
            for key, (before, after) in difference.keys.items()
            if query.only == "all" or query.only == ("added" if before is None else "removed" if after is None else "changed")
        ]
        keys = keys if query.cursor is None else [k for k in keys if k > query.cursor]
        some = keys[: query.limit]
        old, new = self.some(a, some), self.some(b, some)
        items = tuple(RowDifference(k, old.get(k), new.get(k), changed_fields(old.get(k), new.get(k))) for k in some)
        more = some[-1] if len(keys) > query.limit else None
        return RowsDiff(a=str(a.ref), b=str(b.ref), rows=RowCounts(**difference.counts), items=items, next=more)

    def _version(self, actor: Actor, text: str, project: str) -> Version:
        ref = parse_ref(text, project=project, kind="dataset")
        guard(actor, "read", ref.project)
        ref = self._versions.resolve(ref)
        return self._versions.get(ref.project, ref.kind, ref.name, ref.digest or "")


def changed_fields(before: dict[str, Any] | None, after: dict[str, Any] | None) -> tuple[str, ...]:
    """Names of the fields in which two rows differ; none where there is only one."""
    if before is None or after is None:
        return ()
    return tuple(f for f in sorted(before.keys() | after.keys()) if before.get(f) != after.get(f) or (f in before) != (f in after))


def _has_key(line: bytes, key: str) -> bool:
    try:
        return bool(read_row(line).get("key") == key)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
