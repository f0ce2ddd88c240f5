"""Where the rows of a dataset lie: trees and packs, kept per project under the root of their tree.

Identity is the tree's root (`core/dataset.py`); how rows are laid out is not, so it may be laid out anew at any time. A layout is a
whole tree (a checkpoint), or the layout it came from with what changed: 100 edits cost their 100 rows, whatever the dataset's size.
Layouts and packs are only ever added, but for erasures: a row that was erased lies in no pack, its digest stays in the tree, and whoever
reads leaves it out. What is read is checked: a row against its digest, a tree against its root.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, Row, insert, select

from windlass.core.dataset import Difference, Tree, listed_root, read_changes, write_changes
from windlass.core.digest import short
from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.core.ids import now_ns
from windlass.registry.incoming import Sent, read_sent
from windlass.registry.splits import Named, changed, named, split_in, summed
from windlass.store.blobs import BlobStore
from windlass.store.meta import read
from windlass.store.packs import Line, Pack, Packs
from windlass.store.tables import erased_rows, layouts

DEEPEST = 64  # layouts from one to its checkpoint
SMALL = 10_000  # rows; packs of fewer are joined at a checkpoint, when they are more than
SMALL_PACKS = 16
CACHED = 2_000_000  # entries of the trees kept in memory
COUNTS = 64  # counts of splits kept in memory
FOUND = 5_000  # rows that are looked up by their keys; for more of them all are read
NOTHING = Sent()


class Prepared(NamedTuple):
    """Rows whose bytes are durable, not yet anybody's: `keep` makes them so."""

    tree: Tree
    parent: str | None  # root of the layout it continues; None for a checkpoint
    blob: str
    packs: tuple[Pack, ...]
    depth: int
    splits: dict[str, int] | None = None  # how many rows each has, where that is known
    difference: Difference | None = None  # to the rows it was made of; None where it was made of none


class Rows:
    """Reads and keeps rows. Safe to use from many threads and processes."""

    def __init__(self, engine: Engine, blobs: BlobStore, packs: Packs) -> None:
        self._engine = engine
        self._blobs = blobs
        self._packs = packs
        self._trees: OrderedDict[tuple[str, str], Tree] = OrderedDict()
        self._splits: OrderedDict[tuple[str, str], dict[str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def has(self, project: str, root: str) -> bool:
        with read(self._engine) as c:
            return is_kept(c, project, root)

    def tree(self, project: str, root: str) -> Tree:
        """The tree of some rows. Raises `NotFound` for rows never kept here, `Unavailable` for bytes that are damaged."""
        with self._lock:
            if (found := self._trees.get((project, root))) is not None:
                self._trees.move_to_end((project, root))
                return found
        made = self._load(self._chain(project, root))
        # rows named before there were trees stand under the root of their list
        if made.root != root and listed_root(made) != root:
            raise Unavailable(f"rows {short(root, 12)} are not what their name says", remedy="windlass verify")
        self._cache(project, root, made)
        return made

    def _load(self, chain: list[Row[tuple[object, ...]]]) -> Tree:
        tree = self._cached(chain)
        for layout in chain:
            tree = (
                Tree.decode(self._blobs.get(layout.blob)) if tree is None else tree.apply(read_changes(self._blobs.get(layout.blob))).tree
            )
        assert tree is not None
        return tree

    def _cached(self, chain: list[Row[tuple[object, ...]]]) -> Tree | None:
        """The nearest tree in memory; what comes before it leaves the chain."""
        with self._lock:
            for number in range(len(chain) - 1, -1, -1):
                if (found := self._trees.get((chain[number].project, chain[number].rows))) is not None:
                    del chain[: number + 1]
                    return found
        return None

    def _cache(self, project: str, root: str, tree: Tree) -> None:
        with self._lock:
            self._trees[(project, root)] = tree
            while len(self._trees) > 1 and sum(t.count for t in self._trees.values()) > CACHED:
                self._trees.popitem(last=False)

    def lines(self, project: str, root: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Canonical bytes of some rows, by key; a key that has no row is left out, and so is a row that was erased."""
        tree = self.tree(project, root)
        wanted = {key: digest for key in keys if (digest := tree.get(key)) is not None}
        found = {key: line for key, line in self._packs.find(self.packs(project, root), list(wanted)) if _is(line, wanted[key])}
        if missing := wanted.keys() - found.keys():
            erased = self.erased(project, [wanted[key] for key in missing])
            for key in missing:
                if wanted[key] not in erased:
                    raise _gone(key)
        return {key: found[key] for key in keys if key in found}

    def erased(self, project: str, digests: Iterable[bytes]) -> set[bytes]:
        """Which of these rows were erased."""
        e, given = erased_rows.c, [d.hex() for d in digests]
        found: set[bytes] = set()
        with read(self._engine) as c:
            for start in range(0, len(given), FOUND):
                some = given[start : start + FOUND]
                found.update(bytes.fromhex(d) for d in c.execute(select(e.row).where(e.project == project, e.row.in_(some))).scalars())
        return found

    def through(self, project: str, key: str) -> Callable[[str], bytes | None]:
        """One row by the roots of the versions it was in: its canonical bytes, None where there is none. Costs what changed between
        them: a version's tree is not made to look into it, which for fifty versions of a million rows takes minutes."""
        digests: dict[str, bytes | None] = {}
        lines: dict[bytes, bytes] = {}

        def find(root: str) -> bytes | None:
            digest = self._digest(project, root, key, digests)
            if digest is not None and digest not in lines:
                line = next((ln for _, ln in self._packs.find(self.packs(project, root), [key]) if _is(ln, digest)), None)
                if line is None:
                    if digest in self.erased(project, [digest]):
                        return None
                    raise _gone(key)
                lines[digest] = line
            return None if digest is None else lines[digest]

        return find

    def _digest(self, project: str, root: str, key: str, known: dict[str, bytes | None]) -> bytes | None:
        """What names a row, from the nearest layout that says so. `known` is by root, and learns what was passed."""
        passed = []
        while root not in known:
            with self._lock:
                tree = self._trees.get((project, root))
            with read(self._engine) as c:
                layout = _layout(c, project, root)
            if tree is not None or layout.parent is None:
                known[root] = (tree or self.tree(project, root)).get(key)
            elif key in (changes := read_changes(self._blobs.get(layout.blob))):
                known[root] = changes[key]
            else:
                passed.append(root)
                root = layout.parent
        known.update(dict.fromkeys(passed, known[root]))
        return known[root]

    def all(self, project: str, root: str) -> Iterator[Line]:
        """Every row in the order of keys, but those that were erased. Raises `Unavailable` naming a row that is missing, when it is
        reached."""
        lines = self._packs.all(self.packs(project, root))
        line = next(lines, None)
        erased: set[bytes] | None = None
        for key, digest in self.tree(project, root):
            found = None
            while line is not None and line[0] <= key:
                if found is None and line[0] == key and _is(line[1], digest):
                    found = line[1]
                line = next(lines, None)
            if found is None:
                erased = self._every_erased(project) if erased is None else erased
                if digest not in erased:
                    raise _gone(key)
                continue
            yield key, found

    def refuse_erased(self, project: str, rows: Mapping[str, bytes | None]) -> None:
        """Raises `Invalid` where one of these rows was erased: before its bytes are anywhere."""
        if not self._any_erased(project) or not (erased := self.erased(project, (d for d in rows.values() if d is not None))):
            return
        some = [key for key, digest in rows.items() if digest in erased]
        more = f" and {len(some) - 1} more" if len(some) > 1 else ""
        raise Invalid(f"row {some[0]!r}{more} was erased", where="rows", remedy="take it out of the file it comes from", keys=some[:200])

    def _any_erased(self, project: str) -> bool:
        with read(self._engine) as c:
            return c.execute(select(erased_rows.c.row).where(erased_rows.c.project == project).limit(1)).first() is not None

    def _every_erased(self, project: str) -> set[bytes]:
        with read(self._engine) as c:
            return {bytes.fromhex(d) for d in c.execute(select(erased_rows.c.row).where(erased_rows.c.project == project)).scalars()}

    def packs(self, project: str, root: str) -> list[str]:
        """The packs that rows may lie in, oldest first."""
        return [pack.digest for pack in self._laid(self._chain(project, root))]

    def blobs(self, project: str, root: str) -> list[str]:
        """Every blob that these rows need."""
        chain = self._chain(project, root)
        return [layout.blob for layout in chain] + [pack.digest for pack in self._laid(chain)]

    def write(self, lines: Iterable[Line]) -> list[Pack]:
        """Make rows durable in packs."""
        return self._packs.write(lines)

    def read(self, packs: Iterable[Pack]) -> Sent:
        """What lies in packs."""
        given = tuple(packs)
        return read_sent(given, self._packs.all([pack.digest for pack in given]))

    def change(
        self, project: str, base: str | None, lines: Mapping[str, bytes], removed: Iterable[str] = (), sent: Sent = NOTHING
    ) -> Prepared:
        """The rows of `base` with these set, those that were sent before them, and these removed."""
        gone = dict.fromkeys(removed)
        lines = {key: line for key, line in lines.items() if key not in gone}
        sent = sent.without(lines.keys() | gone.keys())
        self.refuse_erased(project, {key: hashlib.sha256(line).digest() for key, line in lines.items()})
        packs = self.write(lines.items()) if lines else []
        splits = sent.splits
        for name, keys in named(lines.items()).items():
            splits.setdefault(name, []).extend(keys)
        digests = sent.digests | {key: hashlib.sha256(line).digest() for key, line in lines.items()}
        return self.prepare(project, base, digests | gone, [*sent.packs, *packs], splits)

    def prepare(
        self, project: str, base: str | None, changes: Mapping[str, bytes | None], packs: Iterable[Pack], splits: Named | None = None
    ) -> Prepared:
        """The rows of `base` with these digests set and removed; the bytes lie in `packs`, and `splits` names those that are set. Raises
        `Invalid` for a row that was erased: it does not come back by being pushed again."""
        self.refuse_erased(project, changes)
        old = self.tree(project, base) if base else Tree([])
        if old.count:
            tree, difference = old.apply(changes)
        else:
            tree, difference = Tree.of(sorted((k, d) for k, d in changes.items() if d is not None)), None
        counts = self._counted(project, base, old.count + sum(map(len, (splits or {}).values())) - tree.count, difference, splits)
        chain = self._chain(project, base) if base else []
        depth = chain[-1].depth + 1 if chain else 0
        since = sum(pack.rows for pack in self._laid(chain[1:])) + len(changes)  # all of it is read to make the tree again
        if chain and tree.root != base and depth <= DEEPEST and since <= max(1000, old.count // 2):
            return Prepared(tree, base, self._blobs.put(write_changes(changes)), tuple(packs), depth, counts, difference)
        laid = self._joined(tree, [*self._laid(chain), *packs])
        return Prepared(tree, None, self._blobs.put(tree.encode()), tuple(laid), 0, counts, difference)

    def keep(self, c: Connection, project: str, prepared: Prepared, root: str | None = None) -> str:
        """Say in a transaction where rows lie; harmless when it was said before. Returns their root."""
        root = root or prepared.tree.root
        if not is_kept(c, project, root):
            packs = msgspec.json.encode(prepared.packs).decode()
            splits = None if prepared.splits is None else msgspec.json.encode(prepared.splits).decode()
            values = {"parent": prepared.parent, "blob": prepared.blob, "packs": packs, "depth": prepared.depth, "splits": splits}
            c.execute(insert(layouts).values(project=project, rows=root, created_ns=now_ns(), **values))
        self._cache(project, root, prepared.tree)
        return root

    def splits(self, project: str, root: str) -> dict[str, int] | None:
        """How many rows each split has, where that was counted."""
        with self._lock:
            if (known := self._splits.get((project, root))) is not None:
                return known
        with read(self._engine) as c:
            said = _layout(c, project, root).splits
        return None if said is None else msgspec.json.decode(said, type=dict[str, int])

    def counted(self, project: str, root: str, splits: dict[str, int]) -> None:
        """Remember what somebody who read every row counted: an edit goes on from there."""
        with self._lock:
            self._splits[(project, root)] = splits
            while len(self._splits) > COUNTS:
                self._splits.popitem(last=False)

    def _counted(
        self, project: str, base: str | None, replaced: int, difference: Difference | None, new: Named | None
    ) -> dict[str, int] | None:
        """How many rows each split has after a change: from what it was, and from the rows that were changed alone, of which so many were
        there before."""
        before = self.splits(project, base) if base else {}
        if before is None or new is None:
            return None
        if len(before) <= 1 or difference is None:  # whichever rows were replaced or removed, all were in the one
            return summed(before, dict.fromkeys(before, replaced), {name: len(keys) for name, keys in new.items()})
        assert base is not None
        touched = {key for key, (was, _) in difference.keys.items() if was is not None}
        some = self.lines(project, base, list(touched)).items() if len(touched) <= FOUND else self.all(project, base)
        return summed(before, Counter(split_in(line) for key, line in some if key in touched), changed(new, difference))

    def _joined(self, tree: Tree, packs: list[Pack]) -> list[Pack]:
        """Packs for a checkpoint: many small ones become one, and all are written anew when most of what they hold is old."""
        small = [p for p in packs if p.rows < SMALL]
        if sum(p.rows for p in packs) > 3 * tree.count + SMALL:
            small, kept = packs, []
        elif len(small) > SMALL_PACKS:
            kept = [p for p in packs if p.rows >= SMALL]
        else:
            return packs
        wanted = dict(tree)
        held = (ln for ln in self._packs.all([p.digest for p in small]) if ln[0] in wanted and _is(ln[1], wanted[ln[0]]))
        once = (next(same) for _, same in itertools.groupby(held, key=lambda ln: ln[0]))
        return [*kept, *self.write(once)]

    def _chain(self, project: str, root: str) -> list[Row[tuple[object, ...]]]:
        """Layouts from the checkpoint to this one."""
        chain: list[Row[tuple[object, ...]]] = []
        at: str | None = root
        with read(self._engine) as c:
            while at is not None:
                row = _layout(c, project, at)
                chain.append(row)
                at = row.parent
        return chain[::-1]

    @staticmethod
    def _laid(chain: list[Row[tuple[object, ...]]]) -> list[Pack]:
        found = [pack for layout in chain for pack in msgspec.json.decode(layout.packs, type=list[Pack])]
        return list(dict.fromkeys(found))


def _layout(c: Connection, project: str, root: str) -> Row[Any]:
    row = c.execute(select(layouts).where(layouts.c.project == project, layouts.c.rows == root)).first()
    if row is None:
        raise NotFound(f"the rows {short(root, 12)} are not here", remedy="push the workspace that has them again")
    return row


def is_kept(c: Connection, project: str, root: str) -> bool:
    """Whether rows with this root lie in the project."""
    return c.execute(select(layouts.c.depth).where(layouts.c.project == project, layouts.c.rows == root)).first() is not None


def _is(line: bytes, digest: bytes) -> bool:
    return hashlib.sha256(line).digest() == digest


def _gone(key: str) -> Unavailable:
    return Unavailable(f"row {key!r} is in none of its packs", remedy="windlass verify; restore the pack from a backup")
