"""Splits: which a row is in, and how many rows each has. Known when rows are kept, so that no page reads a million rows to say it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from windlass.core.dataset import Difference
from windlass.store.packs import Line

MOST = 1_000  # splits that are counted; a field with more names than that says something else
Named = Mapping[str, Collection[str]]  # split → keys of the rows that are in it; "" for rows without one


class _Row(msgspec.Struct):
    split: Any = None


_read = msgspec.json.Decoder(_Row).decode  # passes over every other field


def split_of(row: Mapping[str, Any]) -> str:
    return name if isinstance(name := row.get("split"), str) else ""


def split_in(line: bytes) -> str:
    """The split of a row that is in JSON."""
    return name if isinstance(name := _read(line).split, str) else ""


def named(lines: Iterable[Line]) -> dict[str, list[str]]:
    """Rows by their split."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for key, line in lines:
        found[split_in(line)].append(key)
    return dict(found)


def summed(before: Mapping[str, int], gone: Mapping[str, int], new: Mapping[str, int]) -> dict[str, int] | None:
    """Counts after a change; None for more splits than are counted."""
    names = sorted(before.keys() | new.keys())
    found = {name: count for name in names if (count := before.get(name, 0) - gone.get(name, 0) + new.get(name, 0))}
    return found if len(found) <= MOST else None


def changed(new: Named, difference: Difference) -> dict[str, int]:
    """How many of the rows that were set are not as they were."""
    return {name: sum(key in difference.keys for key in keys) for name, keys in new.items()}
