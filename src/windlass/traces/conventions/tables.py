"""Tables of conventions, and what they make of a span's attributes.

A table says which attribute tells a kind of step, a model, a count of tokens and so on. Where several conventions speak, that which
comes first in `ORDER` counts, and within one the attribute that is named first. Raw attributes stay with a span, so that newer tables
can read older spans again.
"""

from __future__ import annotations

import datetime
import functools
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from windlass.core.json_text import json_said

ORDER = ("windlass", "langfuse", "mlflow", "openinference", "vercel", "traceloop", "langsmith", "opik", "genai", "logfire", "mlflow_genai")
COUNTS = ("tokens_in", "tokens_out", "tokens_cached", "tokens_written", "tokens_reasoning")
LISTS = ("tags",)
FROM = {"input": "input_from", "output": "output_from"}  # whole texts, kept as they came
MEMO = 2_000  # sets of attributes whose meaning is remembered

Convert = Callable[[Any], Any]


class Inside(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an attribute that is a JSON object tells, where it holds `has`. Names lead inwards by dots. `sums` are what is added up; a
    name that ends with * stands for all that begin so."""

    has: str = ""
    columns: dict[str, tuple[str, ...]] = {}
    sums: dict[str, tuple[str, ...]] = {}


class Events(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events of a span: those whose attributes are read as the span's, and those that are one message each, by its role."""

    read: tuple[str, ...] = ()
    input: dict[str, str] = {}
    output: dict[str, str] = {}


class Convention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table. `json`: every value is JSON text. `inside` are JSON objects, each read by the first shape that it has. `numbered` are
    attributes as `name.0.role`, which are a list of objects together. `values` are words for what a column says, none where it says
    nothing. Who or which session it was is not told by a text that begins as `nothing` does."""

    version: int
    source: str
    read: datetime.date
    json: bool = False
    kind: dict[str, dict[str, str]] = {}
    columns: dict[str, tuple[str, ...]] = {}
    inside: dict[str, tuple[Inside, ...]] = {}
    numbered: dict[str, str] = {}
    values: dict[str, dict[str, str]] = {}
    events: Events = Events()
    nothing: str = ""


class Slot(NamedTuple):
    """What an attribute tells: a column, or several by name where `column` is empty. The lowest rank counts. Text as it came needs no
    `convert`."""

    column: str
    rank: int
    convert: Convert | None


Step = tuple[str, str, "Convert | None", "str | None"]  # column, attribute, convert, and where the attribute's name is told if it is that


def load() -> dict[str, Convention]:
    """All tables, in their order."""
    folder = Path(__file__).parent
    return {n: msgspec.convert(tomllib.loads((folder / f"{n}.toml").read_text("utf-8")), Convention) for n in ORDER}


class Tables:
    """All conventions as one table of attributes."""

    def __init__(self, conventions: Mapping[str, Convention]) -> None:
        self.version = ",".join(f"{name}{c.version}" for name, c in conventions.items())
        self._slots: dict[str, tuple[Slot, ...]] = {}
        self._numbered: dict[str, Slot] = {}
        self._plans: dict[tuple[str, ...], tuple[Step, ...]] = {}
        self._lists: dict[tuple[str, ...], tuple[tuple[str, str, tuple[str, ...]], ...]] = {}
        self.events_read: frozenset[str] = frozenset(e for c in conventions.values() for e in c.events.read)
        self.nothing = tuple(c.nothing for c in conventions.values() if c.nothing)
        self._messages = {
            event: (column, role)
            for c in conventions.values()
            for column, roles in (("input", c.events.input), ("output", c.events.output))
            for event, role in roles.items()
        }
        for number, convention in enumerate(conventions.values()):
            self._add(convention, number * 100)

    def _add(self, c: Convention, base: int) -> None:
        for at, (attribute, words) in enumerate(c.kind.items()):
            self._slot(attribute, Slot("kind", base + at, _chain(_unquoted if c.json else None, functools.partial(_word, words))))
        for column, attributes in c.columns.items():
            first = _unquoted if c.json and column not in FROM else None
            convert = _chain(first, reading(column), *([functools.partial(_known, c.values[column])] if column in c.values else []))
            for at, attribute in enumerate(attributes):
                self._slot(attribute, Slot(column, base + at, convert))
        for at, (attribute, shapes) in enumerate(c.inside.items()):
            self._slot(attribute, Slot("", base + 50 + at, functools.partial(_inside, shapes)))
        for at, (prefix, column) in enumerate(c.numbered.items()):
            self._numbered[prefix] = Slot(column, base + 80 + at, None)

    def _slot(self, attribute: str, slot: Slot) -> None:
        self._slots[attribute] = (*self._slots.get(attribute, ()), slot)

    def read(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Columns that these attributes tell. A value that is not of its column's type tells nothing. `input_from` and `output_from` say
        which attribute's text `input` and `output` are, where they are one's as it came."""
        names = tuple(attributes)
        if (plan := self._plans.get(names)) is None:
            plan = self._planned(names)
        found: dict[str, Any] = {}
        for column, name, convert, source in plan:
            if column in found:
                continue
            value = attributes[name]
            read = value if convert is None or (convert is _text and type(value) is str) else convert(value)
            if read is None:
                continue
            if column:
                found[column] = read
                if source is not None and read is value:
                    found[source] = name
            else:
                for one, told in read.items():
                    found.setdefault(one, told)
        for prefix, column, parts in self._lists.get(names, ()) if self._lists else ():
            if column not in found:
                found[column] = msgspec.json.encode(gathered(prefix, {n: attributes[n] for n in parts})).decode()
        return found

    def _planned(self, names: tuple[str, ...]) -> tuple[Step, ...]:
        """In which order attributes of these names are asked: what one library sends has the same names again and again."""
        if len(self._plans) > MEMO:  # names come from whoever sends
            self._plans.clear()
            self._lists.clear()
        slots = [(slot, name) for name in names for slot in self._slots.get(name, ())]
        slots.sort(key=lambda s: s[0].rank)
        self._plans[names] = plan = tuple((slot.column, name, slot.convert, FROM.get(slot.column)) for slot, name in slots)
        lists: dict[str, tuple[Slot, list[str]]] = {}
        for name in names:
            if name not in self._slots and (part := self._part(name)) is not None:
                lists.setdefault(part[0], (part[1], []))[1].append(name)
        if lists:
            ordered = sorted(lists.items(), key=lambda one: one[1][0].rank)
            self._lists[names] = tuple((prefix, slot.column, tuple(parts)) for prefix, (slot, parts) in ordered)
        return plan

    def _part(self, attribute: str) -> tuple[str, Slot] | None:
        """Which numbered attribute this is a part of."""
        hit = re.match(r"(.+?)\.\d+(?:\.|$)", attribute)
        slot = self._numbered.get(hit[1]) if hit else None
        return (hit[1], slot) if hit and slot else None

    def of(self, column: str) -> frozenset[str]:
        """The attributes that tell a column."""
        return frozenset(name for name, slots in self._slots.items() if any(s.column == column for s in slots))

    def hears(self, event: str) -> bool:
        """Whether an event of this name tells what a step was about."""
        return event in self.events_read or event in self._messages

    def message(self, event: str) -> tuple[str, str] | None:
        """The column and role of an event that is a message."""
        return self._messages.get(event)


def gathered(prefix: str, attributes: Mapping[str, Any]) -> list[Any]:
    """Numbered attributes as the list they spell: `p.0.message.role` under `p` is `[{"role": …}]`. An object of one object is that."""
    tree: dict[str, Any] = {}
    for name, value in attributes.items():
        *way, last = name[len(prefix) + 1 :].split(".")
        at = tree
        for step in way:
            below = at.setdefault(step, {})
            at = below if isinstance(below, dict) else at.setdefault(f"{step}.", {})
        at[last] = value
    made = _listed(tree)
    return made if isinstance(made, list) else [made]


def _listed(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    if tree and all(name.isdigit() for name in tree):
        return [_alone(_listed(tree[name])) for name in sorted(tree, key=int)]
    return {name: _listed(value) for name, value in tree.items()}


def _alone(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1 and isinstance(only := next(iter(value.values())), dict):
        return only
    return value


@functools.cache
def tables() -> Tables:
    """The tables that come with Windlass."""
    return Tables(load())


def _chain(*steps: Convert | None) -> Convert:
    taken = [s for s in steps if s is not None]
    if len(taken) == 1:
        return taken[0]

    def convert(value: Any) -> Any:
        for step in taken:
            if value is None:
                return None
            value = step(value)
        return value

    return convert


def reading(column: str) -> Convert:
    """What makes a column's value of an attribute's, or None."""
    return _count if column in COUNTS else _amount if column == "cost" else _list if column in LISTS else _text


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return None if value is None else msgspec.json.encode(value).decode()


def _count(value: Any) -> int | None:
    if isinstance(value, int):
        return None if isinstance(value, bool) or not 0 <= value < 1 << 53 else value
    if isinstance(value, float) and value.is_integer() and value >= 0:
        return _count(int(value))
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16 else None


def _amount(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) else None


def _list(value: Any) -> list[str] | None:
    if isinstance(value, str) and value.startswith("["):
        value = json_said(value)
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [str(v) for v in value] if isinstance(value, list) else None


def _word(words: Mapping[str, str], value: Any) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    return value if "*" in words else words.get(value)


def _known(words: Mapping[str, str], value: Any) -> Any:
    return words.get(value, value) or None


def _unquoted(value: Any) -> Any:
    """JSON text as what it says; other text as it is."""
    return json_said(value) if isinstance(value, str) else value


def _inside(shapes: tuple[Inside, ...], value: Any) -> dict[str, Any] | None:
    told = _unquoted(value)
    if not isinstance(told, dict):
        return None
    shape = next((s for s in shapes if not s.has or _at(told, s.has) is not None), None)
    if shape is None:
        return None
    found: dict[str, Any] = {}
    for column, names in shape.sums.items():
        parts = [v for k, v in told.items() if any(k.startswith(n[:-1]) if n.endswith("*") else k == n for n in names)]
        numbers = [v for v in parts if _amount(v) is not None]
        if numbers and (total := reading(column)(sum(numbers))) is not None:
            found[column] = total
    for column, names in shape.columns.items():
        read = (reading(column)(_at(told, name)) for name in names)
        if (one := next((v for v in read if v is not None), None)) is not None:
            found[column] = one
    return found


def _at(told: dict[str, Any], name: str) -> Any:
    """What lies at a name, or inwards by its dots."""
    at: Any = told
    for step in name.split("."):
        at = at.get(step) if isinstance(at, dict) else None
    return at
