"""Rows of a dataset as bytes: the manifest that is its identity, and the pack that holds the rows.

A row is a JSON object with a unique string `key`. The manifest is canonical JSON of `[[key, row digest], ...]` ordered by key, so
a dataset's digest depends on its rows and never on their order or history. A pack is one canonical row a line, in the
manifest's order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from windlass.core.artifacts import DatasetBody
from windlass.core.digest import canonical, digest_bytes
from windlass.core.errors import Invalid


class Packed(NamedTuple):
    body: DatasetBody
    manifest: bytes
    pack: bytes


def pack_rows(rows: Iterable[dict[str, Any]], *, where: str = "dataset") -> Packed:
    """Name the rows. Raises `Invalid` naming the first row without a key, or the key that two rows share."""
    by_key: dict[str, bytes] = {}
    for number, row in enumerate(rows, 1):
        key = row.get("key")
        if not isinstance(key, str) or not key:
            raise Invalid(f"row {number} has no key", where=where, remedy='give every row a unique text field "key"')
        if key in by_key:
            raise Invalid(f"two rows have the key {key!r}", where=where, remedy="keys name rows for ever; make them unique")
        by_key[key] = canonical(row)
    ordered = sorted(by_key.items())
    manifest = canonical([[key, digest_bytes(data)] for key, data in ordered])
    pack = b"".join(data + b"\n" for _, data in ordered)
    return Packed(DatasetBody(digest_bytes(manifest), len(ordered)), manifest, pack)


def read_manifest(data: bytes) -> list[tuple[str, str]]:
    """`(key, row digest)` in key order."""
    return msgspec.json.decode(data, type=list[tuple[str, str]])


def read_pack(data: bytes) -> Iterator[dict[str, Any]]:
    """The rows of a pack, in its order."""
    decoder = msgspec.json.Decoder(dict[str, Any])
    for line in data.splitlines():
        yield decoder.decode(line)
