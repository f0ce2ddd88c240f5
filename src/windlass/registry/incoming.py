"""Rows that somebody brings: which can be taken, and what is wrong with the others. One bad row does not cost the rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from windlass.core.digest import canonical
from windlass.core.errors import Invalid

Types = Mapping[str, str]  # field → the type its values have
SHARE = 0.9  # of the values of a field that must have one type for others to count as drift
TOLD = 200  # problems that are told one by one
_NAMES = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


class Taken(NamedTuple):
    """Rows in canonical JSON by key, and a sentence for each that was left out."""

    lines: dict[str, bytes]
    problems: list[str]


def take(rows: Iterable[Any], types: Types | None, *, drift: bool = False) -> Taken:
    """Take what can be taken. `types` are those of the dataset's fields; None to learn them from these rows."""
    found: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            problems.append(f"row {number} is {_NAMES.get(type(row), 'null')}, not an object")
        elif not isinstance(key := row.get("key"), str) or not key:
            problems.append(f'row {number} has no text field "key"')
        elif key in found:
            problems.append(f"row {number} has the key {key!r} again; the first counts")
        else:
            found[key] = row
    known = types_of(found.values()) if types is None else types
    lines: dict[str, bytes] = {}
    for key, row in found.items():
        if not drift and (said := differs(row, known)):
            problems.append(f"row {key!r}: {said}")
            continue
        try:
            lines[key] = canonical(row)
        except Invalid as e:
            problems.append(f"row {key!r}: {e.message}")
    if len(problems) > TOLD:
        problems = [*problems[:TOLD], f"and {len(problems) - TOLD:,} more rows were left out"]
    return Taken(lines, problems)


def types_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The type of each field whose values nearly all have one; null counts for nothing."""
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for field, value in row.items():
            if value is not None:
                seen[field][_NAMES[type(value)]] += 1
    found = {field: counts.most_common(1)[0] for field, counts in seen.items()}
    return {field: name for field, (name, count) in found.items() if count >= SHARE * seen[field].total()}


def differs(row: Mapping[str, Any], types: Types) -> str | None:
    """Which field has another type than in the dataset, in a sentence."""
    for field, value in row.items():
        wanted = types.get(field)
        if wanted and value is not None and _NAMES[type(value)] != wanted:
            return f"{field} is {_NAMES[type(value)]}, and in this dataset it is {wanted}"
    return None
