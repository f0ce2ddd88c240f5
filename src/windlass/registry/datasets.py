"""Rows of dataset versions. A pack is found through `neutral["packs"]`; rows are checked against the manifest as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.dataset import read_manifest, read_pack
from windlass.core.digest import digest_json
from windlass.core.errors import Invalid, Unavailable
from windlass.core.operations.registry import RowsPage, RowsQuery
from windlass.core.ref import parse_ref
from windlass.govern.permissions import guard
from windlass.registry.versions import Versions
from windlass.store.blobs import BlobStore

MOST = 200


class Datasets:
    """Service of rows."""

    def __init__(self, versions: Versions, blobs: BlobStore) -> None:
        self._versions = versions
        self._blobs = blobs

    def rows(self, version: Version, split: str | None = None) -> Iterator[dict[str, Any]]:
        """All rows of a version in key order, of one split where asked. Raises `Unavailable` naming the row that disagrees."""
        if version.kind not in ("dataset", "fewshot"):
            raise Invalid(f"{version.ref.short} has no rows; it is a {version.kind}")
        rows = {r["key"]: r for pack in version.neutral.get("packs", ()) for r in read_pack(self._blobs.get(pack))}
        for key, digest in read_manifest(self._blobs.get(version.body["rows"])):
            row = rows.get(key)
            if row is None or digest_json(row) != digest:
                raise Unavailable(f"row {key!r} is {'missing' if row is None else 'not what its digest says'}", where=version.ref.short)
            if split is None or row.get("split") == split:
                yield row

    def list(self, actor: Actor, query: RowsQuery) -> RowsPage:
        """Operation `datasets.rows`: by key."""
        ref = parse_ref(query.ref, project=query.project, kind="dataset")
        guard(actor, "read", ref.project)
        ref = self._versions.resolve(ref)
        version = self._versions.get(ref.project, ref.kind, ref.name, ref.digest or "")
        limit = max(1, min(query.limit, MOST))
        rows = list(self.rows(version, query.split))
        after = [r for r in rows if query.cursor is None or r["key"] > query.cursor]
        more = after[limit - 1]["key"] if len(after) > limit else None
        return RowsPage(ref=str(ref), count=len(rows), items=tuple(after[:limit]), next=more)
