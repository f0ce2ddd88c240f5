"""Rows that say the same within a dataset or across two: for people to remove, and for the gate to leave out of its test."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.errors import NotFound
from windlass.core.operations.datasets import Duplicate, DuplicateRow, Duplicates, DuplicatesQuery
from windlass.core.ref import Ref, parse_ref
from windlass.govern.permissions import guard
from windlass.registry.datasets import Datasets
from windlass.registry.versions import Versions

REMEMBERED = 8
COMPARED = 20_000  # rows of a dataset that new ones are compared with
SHOWN = 200  # characters of a row's text

Row = Mapping[str, Any]


class Leak(NamedTuple):
    """A row that stands, the same or nearly, where it must not."""

    key: str
    where: Version
    other: str
    likeness: float


class _Found(NamedTuple):
    items: tuple[Duplicate, ...]
    exact: int
    leaks: int


class Leaks:
    """Service of rows that say the same."""

    def __init__(self, versions: Versions, datasets: Datasets) -> None:
        self._versions = versions
        self._datasets = datasets
        self._known: OrderedDict[tuple[object, ...], _Found] = OrderedDict()
        self._lock = threading.Lock()

    def list(self, actor: Actor, query: DuplicatesQuery) -> Duplicates:
        """Operation `datasets.duplicates`: the most alike first."""
        one = self._version(actor, query.ref, query.project)
        other = self._version(actor, query.against, query.project) if query.against else one
        asked = (query.project, one.digest, other.digest, query.fields, query.near)
        with self._lock:
            found = self._known.get(asked)
        if found is None:
            found = self._find(one, None if other is one else other, query)
            with self._lock:
                self._known[asked] = found
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        start = int(query.cursor) if query.cursor and query.cursor.isdigit() else 0
        more = start + query.limit
        return Duplicates(
            ref=str(one.ref), against=str(other.ref), count=len(found.items), exact=found.exact, leaks=found.leaks,
            items=found.items[start:more], next=str(more) if more < len(found.items) else None,
        )  # fmt: skip

    def _find(self, one: Version, other: Version | None, query: DuplicatesQuery) -> _Found:
        from windlass.registry import duplicates  # brings NumPy

        rows = {str(r["key"]): r for r in self._datasets.rows(one)}
        if other is None:
            others, found = rows, duplicates.pairs(rows.values(), fields=query.fields or None, near=query.near)
        else:
            others = {str(r["key"]): r for r in self._datasets.rows(other)}
            fields = query.fields or duplicates.shared_fields(list(rows.values()), list(others.values()))
            found = duplicates.pairs_across(rows.values(), others.values(), fields=fields, near=query.near)
        items = []
        for pair in found:
            row, second = _row(rows[pair.key]), _row(others[pair.other])
            items.append(Duplicate(row, second, pair.likeness, other is not None or row.split != second.split))
        return _Found(tuple(items), sum(i.likeness == 1.0 for i in items), sum(i.leak for i in items))

    def of(self, rows: Iterable[Row], sources: Iterable[Version]) -> dict[str, Leak]:
        """The rows that also stand in these datasets: what was shown to a model must not test it."""
        from windlass.registry import duplicates

        given, found = list(rows), dict[str, Leak]()
        for source in sources:
            shown = list(self._datasets.rows(source))
            if fields := duplicates.shared_fields(given, shown):
                for pair in duplicates.pairs_across(given, shown, fields=fields):
                    found.setdefault(pair.key, Leak(pair.key, source, pair.other, pair.likeness))
        return found

    def twins(self, ref: Ref, rows: Sequence[Row], fields: Sequence[str]) -> dict[str, str]:
        """Which of these rows say, in these fields, the same as a row that is in the dataset already, or as one before them: by key, the
        other's key. A dataset of more than `COMPARED` rows is not compared with."""
        from windlass.registry import duplicates

        found: dict[str, str] = {}
        place = {str(row["key"]): number for number, row in enumerate(rows)}
        for pair in duplicates.pairs(rows, fields=fields):
            first, later = sorted((pair.key, pair.other), key=place.__getitem__)
            found.setdefault(later, first)
        try:
            exact = self._versions.resolve(ref)
        except NotFound:  # a new dataset
            return found
        version = self._versions.get(exact.project, exact.kind, exact.name, exact.digest or "")
        if version.body["count"] <= COMPARED:
            for pair in duplicates.pairs_across(rows, self._datasets.rows(version), fields=fields):
                found[pair.key] = pair.other
        return found

    def _version(self, actor: Actor, text: str, project: str) -> Version:
        ref = parse_ref(text, project=project, kind="dataset")
        guard(actor, "read", ref.project)
        ref = self._versions.resolve(ref)
        return self._versions.get(ref.project, ref.kind, ref.name, ref.digest or "")


def _row(row: Row) -> DuplicateRow:
    text = " · ".join(f"{value}" for field, value in row.items() if isinstance(value, str) and field not in ("key", "split"))
    split = row.get("split")
    return DuplicateRow(str(row["key"]), text if len(text) <= SHOWN else text[: SHOWN - 1] + "…", split if isinstance(split, str) else None)
