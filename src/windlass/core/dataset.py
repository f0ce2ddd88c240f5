"""What names the rows of a dataset: a Merkle tree over their keys and digests.

A row is a JSON object with a unique text `key`; its digest is that of its canonical JSON. An *entry* is a key and its row's
digest. Entries in the order of their keys are cut into leaves, leaves into nodes, nodes into nodes until one is left: the root.
Where to cut depends on keys alone (the *rank* of the last key), so the root depends on the rows and never on their order or
history, and a row that changes touches its own leaf only. `tests/core/test_dataset.py` holds fixtures that must never change.

    rank(key)   trailing zero bits of the first 8 bytes of SHA-256(key), divided by 7: one key in 128 has a rank of 1 or more
    entry       32 bytes of row digest, 4 bytes of key length (big endian), the key in UTF-8
    leaf        a longest run of entries of which none but the last has a rank of 1 or more; SHA-256("windlass leaf 1\\n" + entries)
    node        a longest run of the level below of which none but the last ends with a rank above the level;
                SHA-256("windlass node 1\\n" + for each child its 32 bytes of digest and 8 bytes of row count)

Search trees cut by content are known as prolly trees (Noms, Dolt). Knows no storage.
"""

from __future__ import annotations

import bisect
import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from windlass.core.digest import TAG, canonical, digest_bytes
from windlass.core.errors import Invalid

FORM = "tree@1"
LEAF, NODE = b"windlass leaf 1\n", b"windlass node 1\n"
TREE, CHANGES = b"WLT1", b"WLC1"  # begin a stored tree, and a stored list of changes
GONE = bytes(32)  # stands for the digest of a row that was removed
BITS = 7
_HEAD = struct.Struct(">32sI")
_COUNT = struct.Struct(">III")  # of a stored leaf: entries, bytes, bytes of its last key
_CHILD = struct.Struct(">32sQ")

Changes = Mapping[str, bytes | None]  # key → 32 bytes of row digest; None: removed


class Leaf(NamedTuple):
    """A run of entries, as many as its `size`. `rank` is that of its last key."""

    last: str
    rank: int
    size: int
    digest: bytes
    data: bytes


class Difference(NamedTuple):
    """What makes one tree of another: `key → (digest before, digest after)`, in key order; None where there is no row."""

    keys: dict[str, tuple[bytes | None, bytes | None]]

    @property
    def counts(self) -> dict[str, int]:
        """How many rows were added, removed and changed."""
        found = {"added": 0, "removed": 0, "changed": 0}
        for before, after in self.keys.values():
            found["added" if before is None else "removed" if after is None else "changed"] += 1
        return found


class Tree:
    """An immutable set of entries. Two trees share the leaves in which they do not differ."""

    __slots__ = ("_lasts", "count", "leaves", "root")

    def __init__(self, leaves: list[Leaf]) -> None:
        self.leaves = leaves
        self._lasts = [leaf.last for leaf in leaves]
        self.count = sum(leaf.size for leaf in leaves)
        self.root = TAG + _root(leaves).hex()

    @classmethod
    def of(cls, entries: Iterable[tuple[str, bytes]]) -> Tree:
        """The tree of entries in ascending order of keys. Raises `Invalid` when they are not."""
        leaves, carry, before = [], [], ""
        for key, digest in entries:
            if key <= before:
                raise Invalid(f"key {key!r} comes after {before!r}", remedy="give entries in the order of their keys, each once")
            before = key
            carry.append((key, digest))
            if mark := rank(key):
                leaves.append(_leaf(carry, mark))
                carry = []
        if carry:
            leaves.append(_leaf(carry, 0))
        return cls(leaves)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        for leaf in self.leaves:
            yield from read_entries(leaf.data)

    def get(self, key: str) -> bytes | None:
        """The digest of a row, None when there is none."""
        at = bisect.bisect_left(self._lasts, key)
        if at == len(self.leaves):
            return None
        return next((digest for k, digest in read_entries(self.leaves[at].data) if k == key), None)

    def after(self, key: str | None) -> Iterator[tuple[str, bytes]]:
        """Entries whose keys come after this one."""
        start = 0 if key is None else bisect.bisect_right(self._lasts, key)
        for leaf in self.leaves[start:]:
            for entry in read_entries(leaf.data):
                if key is None or entry[0] > key:
                    yield entry

    def apply(self, changes: Changes) -> Applied:
        """The tree with these rows set and removed. Costs what the touched leaves hold."""
        touched: dict[int, dict[str, bytes | None]] = {}
        end = max(len(self.leaves) - 1, 0)
        for key, digest in changes.items():
            touched.setdefault(min(bisect.bisect_left(self._lasts, key), end), {})[key] = digest
        leaves: list[Leaf] = []
        carry: list[tuple[str, bytes]] = []
        told: dict[str, tuple[bytes | None, bytes | None]] = {}
        for number in range(max(len(self.leaves), 1)):
            wanted = touched.get(number, {})
            leaf = self.leaves[number] if self.leaves else None
            if leaf and not wanted and not carry:
                leaves.append(leaf)
                continue
            entries = dict(read_entries(leaf.data)) if leaf else {}
            # of the keys that were there only the last ends a leaf
            marks = {key: rank(key) for key in wanted if key not in entries} | ({leaf.last: leaf.rank} if leaf else {})
            told |= {key: (entries.get(key), digest) for key, digest in wanted.items() if entries.get(key) != digest}
            for entry in _changed(entries, wanted):
                carry.append(entry)
                if mark := marks.get(entry[0], 0):
                    leaves.append(_leaf(carry, mark))
                    carry = []
        if carry:
            leaves.append(_leaf(carry, 0))
        return Applied(Tree(leaves), Difference({key: told[key] for key in sorted(told)}))

    def to(self, other: Tree) -> Difference:
        """What makes `other` of this tree. Costs what the leaves hold that they do not share."""
        common = {leaf.digest for leaf in self.leaves} & {leaf.digest for leaf in other.leaves}
        old, new = (dict(e for leaf in t.leaves if leaf.digest not in common for e in read_entries(leaf.data)) for t in (self, other))
        keys = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
        return Difference({k: (old.get(k), new.get(k)) for k in keys})

    def encode(self) -> bytes:
        """The tree as bytes to store."""
        parts = [TREE]
        for leaf in self.leaves:
            last = leaf.last.encode()
            parts += (_COUNT.pack(leaf.size, len(leaf.data), len(last)), last, leaf.data)
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Tree:
        """A tree that was stored. Raises `Invalid` for other bytes."""
        if data[:4] != TREE:
            raise Invalid("these bytes are no tree of rows")
        leaves, at = [], 4
        while at < len(data):
            count, length, key = _COUNT.unpack_from(data, at)
            at += _COUNT.size
            last, body = data[at : at + key].decode(), data[at + key : at + key + length]
            leaves.append(Leaf(last, rank(last), count, hashlib.sha256(LEAF + body).digest(), body))
            at += key + length
        return cls(leaves)


class Applied(NamedTuple):
    """A tree after changes, and what they made other than it was."""

    tree: Tree
    difference: Difference


class Rows(NamedTuple):
    """Rows of a file or a push: their tree, and the canonical bytes of each by its key."""

    tree: Tree
    lines: dict[str, bytes]


def make_rows(rows: Iterable[dict[str, Any]], *, where: str = "dataset") -> Rows:
    """Name rows. Raises `Invalid` naming the first row without a key, or the key that two rows share."""
    lines: dict[str, bytes] = {}
    for number, row in enumerate(rows, 1):
        key = row.get("key")
        if not isinstance(key, str) or not key:
            raise Invalid(f"row {number} has no key", where=where, remedy='give every row a unique text field "key"')
        if key in lines:
            raise Invalid(f"two rows have the key {key!r}", where=where, remedy="keys name rows for ever; make them unique")
        lines[key] = canonical(row)
    ordered = dict(sorted(lines.items()))
    return Rows(Tree.of((key, hashlib.sha256(line).digest()) for key, line in ordered.items()), ordered)


def rank(key: str) -> int:
    """How many levels end at this key."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return 0 if number & 127 else ((number & -number).bit_length() - 1) // BITS if number else 9


def read_entries(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Keys and row digests, in their order."""
    at, end, unpack, head = 0, len(data), _HEAD.unpack_from, _HEAD.size
    while at < end:
        digest, length = unpack(data, at)
        at += head
        yield data[at : at + length].decode(), digest
        at += length


def _changed(entries: dict[str, bytes], wanted: Changes) -> Iterable[tuple[str, bytes]]:
    """Entries with these set and removed, in the order of keys."""
    count = len(entries)
    for key, digest in wanted.items():
        if digest is not None:
            entries[key] = digest
    added = len(entries) > count
    for key in [key for key, digest in wanted.items() if digest is None]:
        entries.pop(key, None)
    return sorted(entries.items()) if added else entries.items()


def write_changes(changes: Changes) -> bytes:
    """Changes as bytes to store."""
    return CHANGES + _entries((key, digest or GONE) for key, digest in sorted(changes.items()))


def read_changes(data: bytes) -> dict[str, bytes | None]:
    """Changes that were stored. Raises `Invalid` for other bytes."""
    if data[:4] != CHANGES:
        raise Invalid("these bytes are no changes of rows")
    return {key: None if digest == GONE else digest for key, digest in read_entries(data[4:])}


def listed_root(entries: Iterable[tuple[str, bytes]]) -> str:
    """What named rows before there were trees (form `list@1`): the digest of canonical JSON `[[key, row digest], …]`."""
    return digest_bytes(canonical([[key, TAG + digest.hex()] for key, digest in entries]))


def _entries(entries: Iterable[tuple[str, bytes]]) -> bytes:
    parts: list[bytes] = []
    for key, digest in entries:
        name = key.encode()
        parts += (_HEAD.pack(digest, len(name)), name)
    return b"".join(parts)


def _leaf(entries: list[tuple[str, bytes]], mark: int) -> Leaf:
    data = _entries(entries)
    return Leaf(entries[-1][0], mark, len(entries), hashlib.sha256(LEAF + data).digest(), data)


def _root(leaves: list[Leaf]) -> bytes:
    if not leaves:
        return hashlib.sha256(LEAF).digest()
    level = [(leaf.digest, leaf.size, leaf.rank) for leaf in leaves]
    height = 1
    while len(level) > 1:
        height += 1
        above, run = [], []
        for child in level:
            run.append(child)
            if child[2] >= height:
                above.append(_node(run))
                run = []
        if run:
            above.append(_node(run))
        level = above
    return level[0][0]


def _node(children: list[tuple[bytes, int, int]]) -> tuple[bytes, int, int]:
    data = b"".join(_CHILD.pack(digest, count) for digest, count, _ in children)
    return hashlib.sha256(NODE + data).digest(), sum(c[1] for c in children), children[-1][2]
