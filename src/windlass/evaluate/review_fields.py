"""The fields that a label fills: those of the dataset it goes to, by name and type, and whether what somebody says fits them."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from windlass.core.artifacts import Version
from windlass.core.digest import canonical
from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.datasets import Row
from windlass.core.operations.reviews import FieldType, ReviewField
from windlass.core.ref import Ref
from windlass.registry.datasets import Datasets
from windlass.registry.incoming import Types, differs, types_of
from windlass.registry.versions import Versions

LEARNT = 2000  # rows that fields are learnt from
REMEMBERED = 32
FEW, SHORT = 12, 60  # values of a field that is chosen from, and characters of each
MADE = frozenset({"key", "origin"})  # of the trace, not by people
_TYPES: dict[str, FieldType] = {"text": "text", "a number": "number", "true or false": "truth"}


class Form(NamedTuple):
    """What rows of a dataset look like. `free`: it has none yet, so nothing is wrong."""

    fields: tuple[ReviewField, ...]
    types: Types
    examples: tuple[Row, ...]
    free: bool


class Forms:
    """Forms of datasets, remembered by their rows."""

    def __init__(self, versions: Versions, datasets: Datasets) -> None:
        self._versions = versions
        self._datasets = datasets
        self._known: dict[str, Form] = {}

    def of(self, dataset: Ref, suggested: Sequence[Mapping[str, Any]] = ()) -> Form:
        """The form of what `main` of a dataset has now. Of a new dataset only what was suggested is known."""
        version = head(self._versions, dataset)
        if version is None:
            return Form(tuple(_fields(list(suggested), few=False)), {}, (), True)
        root = version.body["rows"]
        if (known := self._known.get(root)) is None:
            rows = list(itertools.islice(self._datasets.rows(version), LEARNT))
            some = tuple({place: rows[place] for place in (0, len(rows) // 2, len(rows) - 1)}.values()) if rows else ()
            known = self._known[root] = Form(tuple(_fields(rows)), types_of(rows), some, not rows)
            while len(self._known) > REMEMBERED:
                self._known.pop(next(iter(self._known)))
        return known


def head(versions: Versions, dataset: Ref) -> Version | None:
    """What rows are added to: what `main` has, else the newest version; None where there is none, and so no such dataset."""
    for label in ("main", None):
        try:
            exact = versions.resolve(Ref("dataset", dataset.name, None, label, dataset.project))
            return versions.get(exact.project, exact.kind, exact.name, exact.digest or "")
        except NotFound:
            continue
    return None


def _fields(rows: Sequence[Mapping[str, Any]], *, few: bool = True) -> Iterable[ReviewField]:
    """Fields in the order rows have them. With `few`, those that every row has are required, and few values are choices."""
    types = types_of(rows)
    for name in dict.fromkeys(field for row in rows for field in row if field not in MADE):
        values = [row[name] for row in rows if row.get(name) is not None]
        told: FieldType = _TYPES.get(types.get(name, ""), "json")
        if types.get(name) == "a list" and all(isinstance(x, str) for value in values if isinstance(value, list) for x in value):
            told = "texts"
        choices = sorted({v for v in values if isinstance(v, str)}) if told == "text" and few else []
        short = len(choices) <= FEW and 2 * len(choices) <= len(values) and all(len(c) <= SHORT for c in choices)
        yield ReviewField(name, told, few and len(values) == len(rows), tuple(choices) if short else ())


def to_fill(form: Form, question: Mapping[str, Any]) -> tuple[ReviewField, ...]:
    """The fields that the question does not answer by itself."""
    return tuple(field for field in form.fields if field.name not in question)


def check(fields: Mapping[str, Any], form: Form, question: Mapping[str, Any], *, whole: bool = True) -> None:
    """Raises `Invalid` naming the field that is unknown, of another type, or, of a `whole` label, missing."""
    if made := MADE & fields.keys():
        raise Invalid(f"{min(made)!r} cannot be set", where=min(made), remedy="it is made from the trace")
    known = {field.name: field for field in form.fields}
    for name in fields:
        if not form.free and name not in known and name not in question:
            near = difflib.get_close_matches(name, known, 1)
            remedy = f"did you mean {near[0]!r}?" if near else f"fields: {', '.join(to.name for to in to_fill(form, question))}"
            raise Invalid(f"no row of the dataset has a field {name!r}", where=name, remedy=remedy)
    if wrong := differs(fields, form.types):
        raise Invalid(wrong, where=wrong.partition(" is ")[0], remedy="write it as the dataset's rows have it")
    for name, value in fields.items():
        listed = name in known and known[name].type == "texts" and not form.free and isinstance(value, list)
        if listed and not all(isinstance(x, str) for x in value):
            raise Invalid(f"{name} holds what is no text, and in this dataset it is a list of texts", where=name)
    canonical(fields)
    missing = [f.name for f in to_fill(form, question) if f.required and fields.get(f.name) is None]
    if whole and missing:
        raise Invalid(f"{missing[0]} is missing; every row of the dataset has it", where=missing[0], missing=missing)
    if whole and not fields:
        raise Invalid("a label sets at least one field", where="fields", remedy="say what is right, or skip it and say why")
