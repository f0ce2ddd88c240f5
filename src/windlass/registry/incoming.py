"""Rows that somebody brings: which can be taken, and what is wrong with the others. One bad row does not cost the rest."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from windlass.core.digest import canonical
from windlass.core.errors import Invalid
from windlass.registry.origins import trace_of
from windlass.registry.splits import split_of
from windlass.store.packs import Line, Pack

Types = Mapping[str, str]  # field → the type its values have
Kinds = Iterable[tuple[str, type]]  # the fields of a row and their types in Python
SHARE = 0.9  # of the values of a field that must have one type for others to count as drift
TOLD = 200  # problems that are told one by one
_NAMES = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
_read = msgspec.json.Decoder(dict[str, Any]).decode


class Shape(NamedTuple):
    """What rows may have in common: their fields, the types of those, and the split. A dataset has few."""

    fields: tuple[str, ...]
    types: tuple[type, ...]
    split: str


class Sent(NamedTuple):
    """Rows that lie in packs already, as one reading of them told; so that a million are neither held nor read twice."""

    packs: tuple[Pack, ...] = ()
    digests: dict[str, bytes] = {}
    shapes: dict[Shape, Sequence[str]] = {}  # the keys of each
    traces: dict[str, str] = {}  # key → the trace it was made from
    problems: tuple[str, ...] = ()

    def without(self, keys: Collection[str]) -> Sent:
        """The same without these rows."""
        if not self.digests.keys() & set(keys):
            return self
        gone = set(keys)
        return self._replace(
            digests={key: digest for key, digest in self.digests.items() if key not in gone},
            shapes={shape: [key for key in some if key not in gone] for shape, some in self.shapes.items()},
            traces={key: trace for key, trace in self.traces.items() if key not in gone},
        )

    @property
    def splits(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for shape, keys in self.shapes.items():
            found.setdefault(shape.split, []).extend(keys)
        return found


class Taken(NamedTuple):
    """Rows in canonical JSON by key, those that lie in packs, and a sentence for each that was left out: by its key where it was
    sent before."""

    lines: dict[str, bytes]
    problems: list[str]
    sent: Sent = Sent()
    left_out: dict[str, str] = {}  # at most `TOLD`
    left: int = 0


def read_sent(packs: Iterable[Pack], lines: Iterable[Line]) -> Sent:
    """What lies in packs, of which `lines` come in the order of keys. Of rows with one key the first counts."""
    digests: dict[str, bytes] = {}
    shapes: defaultdict[Shape, list[str]] = defaultdict(list)
    traces: dict[str, str] = {}
    again: list[str] = []
    for key, line in lines:
        row = _read(line)
        if row.get("key") != key:
            raise Invalid(f"a pack says {key!r} of a row with another key", where="packs", remedy="send the rows by rows.pack")
        if key in digests:
            again.append(f"row {key!r} came again; the first counts")
            continue
        digests[key] = hashlib.sha256(line).digest()
        shapes[Shape(tuple(row), tuple(map(type, row.values())), split_of(row))].append(key)
        if "origin" in row and (trace := trace_of(row)):
            traces[key] = trace
    return Sent(tuple(packs), digests, dict(shapes), traces, tuple(_told(again)))


def take_sent(sent: Sent, types: Types | None, *, drift: bool) -> tuple[Sent, dict[str, str]]:
    """The rows that fit, and by key what is wrong with the others. `types` as for `take`."""
    if drift:
        return sent, {}
    known = _types(((zip(s.fields, s.types, strict=True), len(keys)) for s, keys in sent.shapes.items())) if types is None else types
    left_out = {
        key: said
        for shape, keys in sent.shapes.items()
        if (said := _differs(zip(shape.fields, shape.types, strict=True), known))
        for key in keys
    }
    return sent.without(left_out), left_out


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
    return Taken(lines, _told(problems))


def types_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The type of each field whose values nearly all have one; null counts for nothing."""
    return _types((_kinds(row), 1) for row in rows)


def _types(shapes: Iterable[tuple[Kinds, int]]) -> dict[str, str]:
    """`types_of` rows that come so many of each kind."""
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for kinds, times in shapes:
        for field, kind in kinds:
            if kind in _NAMES:
                seen[field][_NAMES[kind]] += times
    found = {field: counts.most_common(1)[0] for field, counts in seen.items()}
    return {field: name for field, (name, count) in found.items() if count >= SHARE * seen[field].total()}


def differs(row: Mapping[str, Any], types: Types) -> str | None:
    """Which field has another type than in the dataset, in a sentence."""
    return _differs(_kinds(row), types)


def _differs(kinds: Kinds, types: Types) -> str | None:
    for field, kind in kinds:
        wanted = types.get(field)
        if wanted and kind in _NAMES and _NAMES[kind] != wanted:
            return f"{field} is {_NAMES[kind]}, and in this dataset it is {wanted}"
    return None


def _kinds(row: Mapping[str, Any]) -> Kinds:
    return ((field, type(value)) for field, value in row.items())


def _told(problems: list[str]) -> list[str]:
    more = len(problems) - TOLD
    return problems if more <= 0 else [*problems[:TOLD], f"and {more:,} more rows were left out"]
