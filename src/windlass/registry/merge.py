"""Three-way merge of rows: pure. Takes what one side changed since a common version into the other, row by row, and field by field where
both changed a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from windlass.core.dataset import Tree
from windlass.core.digest import canonical

Row = dict[str, Any]
Read = Callable[[Sequence[str]], dict[str, Row]]  # rows by key
Side = tuple[Tree, Read]
_ABSENT: Any = object()


class Clash(NamedTuple):
    """A row that both sides changed in ways that exclude each other; None where there is none. `fields` are those that clash."""

    key: str
    base: Row | None
    ours: Row | None
    theirs: Row | None
    fields: tuple[str, ...]


class Outcome(NamedTuple):
    """What to change in ours: rows to set (canonical), keys to remove. `joined` rows were merged field by field."""

    lines: dict[str, bytes]
    removed: list[str]
    joined: int
    clashes: list[Clash]


def merge(base: Side, ours: Side, theirs: Side) -> Outcome:
    """What makes of `ours` the merge with `theirs`, both of which came from `base`."""
    (was_tree, read_base), (our_tree, read_ours), (their_tree, read_theirs) = base, ours, theirs
    mine, other = was_tree.to(our_tree).keys, was_tree.to(their_tree).keys
    taken = [key for key in other if key not in mine]
    both = [key for key, (_, after) in other.items() if key in mine and mine[key][1] != after]
    new = read_theirs([*taken, *both])
    lines = {key: canonical(new[key]) for key in taken if key in new}
    removed = [key for key in taken if key not in new]
    was, here = read_base(both), read_ours(both)
    joined, clashes = 0, []
    for key in both:
        row, fields = join(was.get(key), here.get(key), new.get(key))
        if fields:
            clashes.append(Clash(key, was.get(key), here.get(key), new.get(key), fields))
        elif row is not None:
            lines[key] = canonical(row)
            joined += 1
    return Outcome(lines, removed, joined, clashes)


def join(base: Row | None, ours: Row | None, theirs: Row | None) -> tuple[Row | None, tuple[str, ...]]:
    """One row of two changed ones, or the fields that clash. A row that one side removed and the other changed clashes in `key`."""
    if ours is None or theirs is None:
        return None, ("key",)
    row: Row = {}
    clashing = []
    for field in dict.fromkeys([*ours, *theirs]):
        before = base.get(field, _ABSENT) if base is not None else _ABSENT
        mine, other = ours.get(field, _ABSENT), theirs.get(field, _ABSENT)
        chosen = mine
        if not _same(mine, other):
            if _same(mine, before):
                chosen = other
            elif not _same(other, before):
                clashing.append(field)
        if chosen is not _ABSENT:
            row[field] = chosen
    return row, tuple(sorted(clashing))


def _same(a: Any, b: Any) -> bool:
    """Equality of JSON values: 1 and true are not the same."""
    if a is _ABSENT or b is _ABSENT:
        return a is b
    return a == b and canonical(a) == canonical(b)
