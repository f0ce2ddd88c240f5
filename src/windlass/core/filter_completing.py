"""What may stand where somebody is typing in a filter. Values that traces have are asked of the operation `traces.fields`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from windlass.core.errors import Invalid
from windlass.core.filter import ATTRIBUTES, FIELDS, HAS, KINDS, STATES, Field, Term, field_of, printed
from windlass.core.filter_reading import read

_TERM = re.compile(r'(?:"(?:[^"\\]|\\.)*"?|[^\s()"])+', re.DOTALL)
_PARTS = re.compile(r'(-*)((?:attr|resource)\.(?:"(?:[^"\\]|\\.)*"|[^\s:=<>"]+)|[A-Za-z_]+)(:|=|<=?|>=?)(.*)\Z', re.DOTALL)
_FORMS = {"number": ">", "dollars": ">", "duration": ">"}


class Suggestion(msgspec.Struct, omit_defaults=True):
    """`text` stands in the place of what is being typed. `about` says what it is; `traces` how many have it, where that was counted."""

    text: str
    about: str = ""
    traces: int | None = None


class Completing(NamedTuple):
    """The term from `start` to `end` is being typed. `known` is what is suggested at once; where `field` is not empty its values, which
    begin with `starts`, are asked for among the traces that fit the `rest`."""

    start: int
    end: int
    known: tuple[Suggestion, ...]
    field: str = ""
    starts: str = ""
    rest: str = ""
    minus: str = ""

    def told(self, values: Sequence[tuple[str, int]]) -> tuple[Suggestion, ...]:
        """Suggestions of values with how many traces have each."""
        if self.field in ATTRIBUTES:
            terms = [(printed(Term(f"{self.field}.{v}", "x"))[:-1], n) for v, n in values]
        else:
            terms = [(printed(Term(self.field, v)), n) for v, n in values]
        return tuple(Suggestion(self.minus + text, traces=n) for text, n in terms)


def completing(text: str, at: int) -> Completing:
    """What may stand at a place in a filter, which may be half written."""
    at = max(0, min(at, len(text)))
    term = next((m for m in _TERM.finditer(text) if m.start() <= at <= m.end()), None)
    start, end = (term.start(), term.end()) if term else (at, at)
    written, rest = text[start:at], _readable(f"{text[:start]} {text[end:]}")
    parts = _PARTS.match(written)
    if parts is None:
        return _names(start, end, written, rest)
    minus, name, op, value = parts.groups()
    starts = value.removeprefix('"').rstrip("*")
    field = field_of(name)
    if field is None:
        asked = name if name.partition(".")[0] in ATTRIBUTES and op in ":=" else ""
        return Completing(start, end, (), asked, starts, rest, minus)
    if op in ":=" and field.takes in ("kind", "state", "field") and not field.counted:
        return Completing(start, end, _known(field, minus, HAS, starts))
    if op in ":=" and field.counted:
        return Completing(start, end, (), field.name, starts, rest, minus)
    return Completing(start, end, (Suggestion(written, field.about),) if not value else ())


def fallback(at: Completing) -> tuple[Suggestion, ...]:
    """What is known of a field's values where nothing can be counted."""
    field = FIELDS.get(at.field)
    known = {"kind": KINDS, "state": STATES}.get(field.takes, ()) if field else ()
    return _known(field, at.minus, known, at.starts) if field else ()


def _known(field: Field, minus: str, values: Sequence[str], starts: str) -> tuple[Suggestion, ...]:
    return tuple(Suggestion(f"{minus}{field.name}:{v}", field.about) for v in values if v.startswith(starts.lower()))


def _names(start: int, end: int, written: str, rest: str) -> Completing:
    begun = written.lstrip("-")
    minus, (room, dot, name) = written[: len(written) - len(begun)], begun.partition(".")
    if dot and room in ATTRIBUTES:
        return Completing(start, end, (), room, name.removeprefix('"'), rest, minus)
    known = [Suggestion(f"{minus}{f.name}{_FORMS.get(f.takes, ':')}", f.about) for f in FIELDS.values() if f.name.startswith(begun.lower())]
    rooms = {"attr": "an attribute of a step", "resource": "an attribute of what sent it"}
    known += [Suggestion(f"{minus}{room}.", about) for room, about in rooms.items() if room.startswith(begun.lower())]
    return Completing(start, end, tuple(known))


def _readable(text: str) -> str:
    """The filter, where it can be read; else none, so that all traces are looked at."""
    try:
        tree = read(text)
    except Invalid:
        return ""
    return printed(tree) if tree else ""
