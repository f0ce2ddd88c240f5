"""Rows of a source on their way in: each gets its key and its digest, and where they are kept, its place in a pack.

Rows are named as those of a dataset are, so that the same data read twice has the same root. Nothing is anybody's until the whole
reading is; what a reading that broke off had written belongs to nobody.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from windlass.core.dataset import Tree
from windlass.core.digest import canonical
from windlass.core.errors import Invalid
from windlass.registry.rows import Rows
from windlass.registry.sources.source import Incoming
from windlass.registry.splits import Named, split_of
from windlass.store.packs import Line, Pack

TOLD = 200  # rows left out that are told one by one
SEPARATOR = "/"  # between the parts of a key of several columns
STEP = 5_000  # rows between two words of progress
Progress = Callable[[int], None]
Digests = Mapping[str, bytes]  # key → 32 bytes of row digest


class Reading(NamedTuple):
    """All rows of a source. `packs` hold those that `kept` did not have, where they were to be kept; `shown` are bytes of some rows:
    of those that differ from `kept`, or of the first."""

    tree: Tree
    digests: dict[str, bytes]
    packs: tuple[Pack, ...]
    shown: dict[str, bytes]
    problems: tuple[str, ...]
    splits: Named  # of the rows that `kept` did not have


def read_rows(incoming: Incoming, key: tuple[str, ...], *, kept: Digests, into: Rows | None, show: int, progress: Progress) -> Reading:
    """Take every row of a source.

    Args:
        incoming: rows as they come.
        key: the columns that name a row.
        kept: rows that are known already; those are not written again.
        into: where rows are kept; None for a reading that keeps none.
        show: how many rows to give back.
        progress: told now and then how many rows have come.

    Raises `Invalid` when no column can be the key, and what the source raises.
    """
    taking = _Taking(key, incoming, kept, show, progress)
    lines = taking.lines()
    packs = into.write(lines) if into is not None else _exhaust(lines)
    problems = incoming.problems
    if not taking.digests and problems:
        raise Invalid(problems[0], where="--key", remedy="no row can be taken; which columns name a row?")
    left_out = taking.left_out - TOLD
    said = (*problems, f"and {left_out:,} more rows were left out") if left_out > 0 else tuple(problems)
    return Reading(Tree.of(sorted(taking.digests.items())), taking.digests, tuple(packs), taking.shown, said, taking.splits)


class _Taking:
    def __init__(self, key: tuple[str, ...], incoming: Incoming, kept: Digests, show: int, progress: Progress) -> None:
        self._key = key
        self._incoming = incoming
        self._kept = kept
        self._show = show
        self._progress = progress
        self.digests: dict[str, bytes] = {}
        self.shown: dict[str, bytes] = {}
        self.splits: defaultdict[str, list[str]] = defaultdict(list)
        self.left_out = 0

    def lines(self) -> Iterator[Line]:
        """New rows in canonical JSON, by key."""
        for number, row in enumerate(self._incoming.rows, 1):
            if number == 1 and self._incoming.columns:
                self._check([c.name for c in self._incoming.columns])
            if number % STEP == 0:
                self._progress(number)
            name = self._named(row, number)
            if name is None:
                continue
            try:
                line = canonical({**row, "key": name})
            except Invalid as e:
                self._leave(f"row {name!r}: {e.message}")
                continue
            digest = self.digests[name] = hashlib.sha256(line).digest()
            if self._kept.get(name) != digest:
                if len(self.shown) < self._show:
                    self.shown[name] = line
                self.splits[split_of(row)].append(name)
                yield name, line

    def _check(self, columns: list[str]) -> None:
        """That a table has what names its rows."""
        if missing := [k for k in self._key if k not in columns]:
            raise Invalid(
                f"no column is called {missing[0]!r}, which is to name the rows", where="--key",
                remedy="columns: " + ", ".join(columns[:12]),
            )  # fmt: skip
        if "key" in columns and self._key != ("key",):
            raise Invalid(
                "the rows have a column `key`, which is what names a row here", where="--key",
                remedy="name rows by it, or give it another name: SELECT key AS …",
            )  # fmt: skip

    def _named(self, row: dict[str, Any], number: int) -> str | None:
        """The key of a row; None for one that has none, or that of another."""
        if "key" in row and self._key != ("key",):
            self._leave(f"row {number} has a field `key`, which is what names a row here")
            return None
        parts = []
        for column in self._key:
            value = row.get(column)
            if value is None or value == "":
                self._leave(f"row {number} has nothing in {column}, which names it")
                return None
            if isinstance(value, dict | list):
                self._leave(f"row {number} has {'an object' if isinstance(value, dict) else 'a list'} in {column}, which names it")
                return None
            parts.append(value if isinstance(value, str) else canonical(value).decode())
        if len(parts) > 1:  # so that ("a/b", "c") is not ("a", "b/c")
            parts = [p.replace("%", "%25").replace(SEPARATOR, "%2F") for p in parts]
        name = SEPARATOR.join(parts)
        if name in self.digests:
            self._leave(f"row {number} has the key {name!r} again; the first counts")
            return None
        return name

    def _leave(self, sentence: str) -> None:
        self.left_out += 1
        if self.left_out <= TOLD:
            self._incoming.problems.append(sentence)


def _exhaust(lines: Iterator[Line]) -> list[Pack]:
    for _ in lines:
        pass
    return []
