"""The difference of two versions: fields of the identity, readable text, and for datasets the rows."""

from __future__ import annotations

import difflib
from typing import Any

from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.operations.registry import Diff, DiffQuery, FieldChange
from windlass.core.ref import ROWS, parse_ref
from windlass.govern.permissions import guard
from windlass.registry.content import content_of
from windlass.registry.datasets import Datasets
from windlass.registry.versions import Versions
from windlass.store.blobs import BlobStore

MOST_FIELDS = 200


class Diffs:
    """Service of differences."""

    def __init__(self, versions: Versions, datasets: Datasets, blobs: BlobStore) -> None:
        self._versions = versions
        self._datasets = datasets
        self._blobs = blobs

    def diff(self, actor: Actor, query: DiffQuery) -> Diff:
        """Operation `versions.diff`: from `a` to `b`, of any two versions."""
        pair: list[Version] = []
        for text in (query.a, query.b):
            ref = parse_ref(text, project=query.project)
            guard(actor, "read", ref.project)
            ref = self._versions.resolve(ref)
            pair.append(self._versions.get(ref.project, ref.kind, ref.name, ref.digest or ""))
        a, b = pair
        fields = tuple(field_changes(a.body, b.body))[:MOST_FIELDS]
        old, new = (content_of(v, self._blobs).splitlines() for v in pair)
        text = "\n".join(difflib.unified_diff(old, new, a.ref.short, b.ref.short, lineterm=""))
        rows = self._datasets.difference(a, b).counts if {a.kind, b.kind} <= ROWS else {}
        return Diff(str(a.ref), str(b.ref), a.digest == b.digest, fields, text, rows)


def field_changes(a: Any, b: Any, path: str = "") -> list[FieldChange]:
    """What differs between two JSON values, by JSON Pointer (RFC 6901). Lists of equal length are compared item by item."""
    if a == b:
        return []
    if isinstance(a, dict) and isinstance(b, dict):
        found: list[FieldChange] = []
        for key in sorted(a.keys() | b.keys()):
            inner = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            found += field_changes(a.get(key), b.get(key), inner)
        return found
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [c for i, (x, y) in enumerate(zip(a, b, strict=True)) for c in field_changes(x, y, f"{path}/{i}")]
    return [FieldChange(path or "/", a, b)]
