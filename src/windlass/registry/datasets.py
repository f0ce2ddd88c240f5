"""Rows of dataset versions. A pack is found through `neutral["packs"]`; a row is found by its digest, so it is what the manifest
says or it is missing."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from typing import Any

import msgspec

from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.dataset import read_manifest
from windlass.core.digest import canonical, digest_bytes
from windlass.core.errors import Invalid, Unavailable
from windlass.core.operations.registry import RowsPage, RowsQuery
from windlass.core.ref import parse_ref
from windlass.govern.permissions import guard
from windlass.registry.versions import Versions
from windlass.store.blobs import BlobStore

ROWS = frozenset({"dataset", "fewshot"})  # the kinds that have rows
Manifest = list[tuple[str, str]]  # key and row digest, in the order of keys
_row = msgspec.json.Decoder(dict[str, Any])


class Datasets:
    """Service of rows."""

    def __init__(self, versions: Versions, blobs: BlobStore) -> None:
        self._versions = versions
        self._blobs = blobs

    def rows(self, version: Version, split: str | None = None) -> Iterator[dict[str, Any]]:
        """All rows of a version in key order, of one split where asked. Raises `Unavailable` naming the row that is missing."""
        manifest, lines = self._read(version)
        return _rows(version, manifest, lines, split)

    def list(self, actor: Actor, query: RowsQuery) -> RowsPage:
        """Operation `datasets.rows`: by key. `count` is of the split that was asked for."""
        ref = parse_ref(query.ref, project=query.project, kind="dataset")
        guard(actor, "read", ref.project)
        ref = self._versions.resolve(ref)
        version = self._versions.get(ref.project, ref.kind, ref.name, ref.digest or "")
        limit = query.limit
        manifest, lines = self._read(version)
        if query.split is not None:
            keys = {r["key"] for r in _rows(version, manifest, lines, query.split)}
            manifest = [m for m in manifest if m[0] in keys]
        start = 0 if query.cursor is None else bisect.bisect_right(manifest, query.cursor, key=lambda m: m[0])
        some = manifest[start : start + limit]
        more = some[-1][0] if len(manifest) > start + limit else None
        return RowsPage(ref=str(ref), count=len(manifest), items=tuple(_rows(version, some, lines, None)), next=more)

    def _read(self, version: Version) -> tuple[Manifest, dict[str, bytes]]:
        if version.kind not in ROWS:
            raise Invalid(f"{version.ref.short} has no rows; it is a {version.kind}")
        return read_manifest(self._blobs.get(version.body["rows"])), _lines(version, self._blobs)


def _rows(version: Version, manifest: Manifest, lines: dict[str, bytes], split: str | None) -> Iterator[dict[str, Any]]:
    for key, digest in manifest:
        if (line := lines.get(digest)) is None:
            raise Unavailable(f"row {key!r} is in none of its packs", where=version.ref.short, remedy="windlass verify")
        row = _row.decode(line)
        if split is None or row.get("split") == split:
            yield row


def _lines(version: Version, blobs: BlobStore) -> dict[str, bytes]:
    """Row digest → the row's canonical bytes. The blob store checks the pack, so a line's digest is a fact."""
    return {digest_bytes(line): line for pack in version.neutral.get("packs", ()) for line in blobs.get(pack).splitlines()}


def disagreements(version: Version, blobs: BlobStore) -> list[str]:
    """What is wrong with the rows of a version, one sentence each, at most 20 rows. Raises what the blob store does."""
    data = blobs.get(version.body["rows"])
    try:
        manifest = read_manifest(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ["its manifest cannot be read"]
    keys = [key for key, _ in manifest]
    found = []
    if canonical([list(m) for m in manifest]) != data or any(a >= b for a, b in itertools.pairwise(keys)):
        found.append("its manifest is not canonical JSON in the order of its keys")
    if len(manifest) != version.body["count"]:
        found.append(f"it says {version.body['count']} rows, and has {len(manifest)}")
    lines = _lines(version, blobs)
    wrong = [key for key, digest in manifest if digest not in lines or not _has_key(lines[digest], key)]
    return found + [f"row {key!r} is not what its digest says" for key in wrong[:20]]


def _has_key(line: bytes, key: str) -> bool:
    try:
        return bool(_row.decode(line).get("key") == key)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def row_changes(a: Version, b: Version, blobs: BlobStore) -> dict[str, int]:
    """How many rows were added, removed and changed from `a` to `b`."""
    old, new = (dict(read_manifest(blobs.get(v.body["rows"]))) for v in (a, b))
    return {
        "added": len(new.keys() - old.keys()),
        "removed": len(old.keys() - new.keys()),
        "changed": sum(old[k] != new[k] for k in old.keys() & new.keys()),
    }
