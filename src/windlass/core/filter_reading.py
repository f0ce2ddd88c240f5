"""A filter read: from text to a tree (`filter.py`). What is wrong is told with the column it stands in, and what was meant."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from windlass.core.errors import Invalid
from windlass.core.filter import (
    ATTRIBUTE,
    DEEPEST,
    DURATIONS,
    FIELD,
    HAS,
    KEYWORD,
    KINDS,
    LONGEST,
    LONGEST_NS,
    MOST_TERMS,
    STATES,
    TIMES,
    And,
    Comparison,
    Field,
    Node,
    Not,
    Term,
    all_of,
    any_of,
    field_of,
    judgement,
    nearest,
)

if TYPE_CHECKING:
    from windlass.core.operations.traces import TraceQuery

_OP = re.compile(r":?(<=|>=|<|>)|!=|:|=")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE = re.compile(r'[^\s()"]+')
_SPACE = re.compile(r"\s*")
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?) *([A-Za-z]*)")
NOTHING = ("something must stand here", 'write a term, as status:error, or put the words or, and, not in "quotes"')


def read(text: str) -> Node | None:
    """The tree of a filter; None where it is empty. Raises `Invalid`, whose `where` is the column."""
    if len(text) > LONGEST:
        raise Invalid(f"a filter has at most {LONGEST:,} characters, and this has {len(text):,}", where="filter", remedy="ask for less")
    reader = _Reader(text)
    return reader.whole()


def conditions_of(q: TraceQuery) -> list[Node]:
    """What is asked of traces besides their time and evaluation: of each of these, all must fit. Raises `Invalid`."""
    if len(q.search or "") > LONGEST:
        raise Invalid(f"what is looked for has at most {LONGEST:,} characters", where="search", remedy="look for less")
    found: list[Node] = []
    for field, value in (
        ("session", q.session), ("user", q.user), ("passage", q.passage), ("score", q.score), ("uses", q.uses), ("", q.search),
        ("status", q.status), ("model", q.model), ("root", q.kind), ("env", q.environment),
    ):  # fmt: skip
        if value:
            found.append(Term(field, value))
    if q.slower_than_ms is not None:
        if not abs(q.slower_than_ms) * 1e6 <= LONGEST_NS:  # nor is it NaN
            raise Invalid("nothing takes so long", where="slower_than_ms", remedy="give milliseconds: 2000 is 2 s")
        found.append(Term("latency", int(q.slower_than_ms * 1e6), ">"))
    if (tree := read(q.filter)) is not None:
        found += tree.parts if isinstance(tree, And) else (tree,)
    return found


class _Reader:
    """Reads from left to right; `at` is how far it is."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth, self.terms = text, 0, 0, 0

    def fail(self, message: str, remedy: str, at: int | None = None) -> Invalid:
        return Invalid(message, where=f"filter, column {(self.at if at is None else at) + 1}", remedy=remedy)

    def whole(self) -> Node | None:
        self.space()
        if self.at == len(self.text):
            return None
        found = self.any()
        if self.at < len(self.text):
            raise self.fail("this `)` closes nothing", "take it away, or put text with parentheses in quotes")
        return found

    def space(self) -> None:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def keyword(self) -> str:
        found = KEYWORD.match(self.text, self.at)
        return found[0].lower() if found else ""

    def any(self) -> Node:
        parts = [self.all()]
        while self.keyword() == "or":
            self.at += 2
            parts.append(self.all())
        return any_of(parts)

    def all(self) -> Node:
        parts: list[Node] = []
        joined = False  # by `and`, after which something must stand
        while True:
            self.space()
            if self.at == len(self.text) or self.text[self.at] == ")" or self.keyword() == "or":
                break
            if joined := parts != [] and self.keyword() == "and":
                self.at += 3
                continue
            parts.append(self.one())
        if not parts or joined:
            raise self.fail(*NOTHING)
        return all_of(parts)

    def one(self) -> Node:
        start, minus = self.at, self.text[self.at] == "-"
        if self.keyword() in ("or", "and"):
            raise self.fail(*NOTHING)
        negated = (minus and self.text[self.at + 1 : self.at + 2].strip() not in ("", ")")) or self.keyword() == "not"
        if not negated and self.text[self.at] != "(":
            return self.term()
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.fail(f"more than {DEEPEST} parentheses and negations stand in one another", "take some away")
        self.at += 3 if negated and not minus else 1
        self.space()
        if negated:
            if self.at == len(self.text) or self.text[self.at] == ")" or self.keyword() in ("or", "and"):
                raise self.fail("nothing stands after this negation", "write a term behind it", start)
            found: Node = Not(self.one())
        else:
            found = self.any()
            if self.at == len(self.text):
                raise self.fail("this `(` is not closed", "write `)` behind what belongs together", start)
            self.at += 1
            self.apart()
        self.depth -= 1
        return found

    def term(self) -> Node:
        self.terms += 1
        if self.terms > MOST_TERMS:
            raise self.fail(f"a filter has at most {MOST_TERMS} terms", "ask for less")
        start, named = self.at, FIELD.match(self.text, self.at)
        if named is None:
            text, _ = self.value("text")
            if not text:
                raise self.fail("this text is empty", "write what to look for", start)
            return Term("", text)
        self.at = named.end()
        given = _OP.match(self.text, self.at)
        assert given is not None  # FIELD looks ahead for it
        self.at = given.end()
        if given[0] == "!=":
            raise self.fail("there is no `!=`", f"write -{named[0]}:… for what is not so", start)
        op: Comparison = given[1] or "="  # type: ignore[assignment]
        at = self.at
        if named[1]:
            return self.of_attribute(f"{named[1]}.{_unquoted(named[2])}", op, at)
        field = field_of(named[3])
        if field is None:
            meant = nearest(named[3])
            text = self.text[start : start + 40].split()[0]
            remedy = f'{meant}{"" if meant.endswith("?") else "."} As text it is written "{text}"'
            raise self.fail(f"there is no field `{named[3][:40]}`", remedy, start)
        return self.of_field(field, op, at)

    def of_field(self, field: Field, op: Comparison, at: int) -> Term:
        if field.takes == "field" and (found := ATTRIBUTE.match(self.text, self.at)) is not None:
            self.at = found.end()
            self.apart()
            return Term("has", f"{found[1]}.{_unquoted(found[2])}")
        value, prefix = self.value(field.name)
        if field.takes in ("number", "dollars", "duration"):
            return Term(field.name, self.amount(field, value, at), op)
        if op != "=":
            raise self.fail(f"`{field.name}` is no number", f"write {field.name}:{value or '…'}", at)
        if field.takes in ("kind", "state"):
            known = KINDS if field.takes == "kind" else STATES
            if value not in known or prefix:
                raise self.fail(f"{value[:40]!r} is no {field.name}", nearest(value, known), at)
        elif field.takes == "score":
            try:
                judgement(value)
            except Invalid as e:
                raise self.fail(e.message, e.remedy or "", at) from None
            if prefix:
                raise self.fail("a score is named whole", "write the name of a score without *", at)
        elif field.takes == "field":
            other = field_of(value)
            value = other.name if other else value
            if value not in HAS:
                raise self.fail(f"{value[:40]!r} is nothing that a trace has or lacks", nearest(value, HAS), at)
            prefix = False
        elif field.takes == "part":
            prefix = False  # it may go on anyway
        if not value and not prefix:
            raise self.fail(f"nothing stands after `{field.name}`", f"write {field.name}:{field.about.rpartition(': ')[2]}", at)
        return Term(field.name, value, op, prefix)

    def of_attribute(self, field: str, op: Comparison, at: int) -> Term:
        if "\0" in field:
            raise self.fail("no attribute has such a name", "write it as it stands in a span")
        value, prefix = self.value(field)
        if op == "=":
            return Term(field, value, op, prefix)
        found = _NUMBER.fullmatch(value)
        if found is None or found[2] or not math.isfinite(float(found[1])):
            raise self.fail(f"{value[:40]!r} is no number", f"write {field}{op}1, or {field}:{value}", at)
        return Term(field, float(found[1]), op)

    def value(self, of: str) -> tuple[str, bool]:
        """What stands here, in quotes or up to the next blank; and whether it is only how a value begins."""
        if (found := _QUOTED.match(self.text, self.at)) is not None:
            self.at = found.end()
            self.apart()
            inside = found[1]
            prefix = inside.endswith("*") and (len(inside) - 1 - len(inside[:-1].rstrip("\\"))) % 2 == 0
            return _unescaped(inside[:-1] if prefix else inside), prefix
        if self.text[self.at : self.at + 1] == '"':
            raise self.fail("this quote is not closed", 'write " behind the text')
        if (bare := _BARE.match(self.text, self.at)) is None:
            raise self.fail(f"nothing stands after `{of}`", "write a value, or a text in quotes")
        self.at = bare.end()
        self.apart()
        return (bare[0][:-1], True) if bare[0].endswith("*") else (bare[0], False)

    def apart(self) -> None:
        """What comes next must stand apart."""
        if self.at < len(self.text) and not self.text[self.at].isspace() and self.text[self.at] != ")":
            raise self.fail("a blank is missing here", "write one, or put the whole text in quotes")

    def amount(self, field: Field, text: str, at: int) -> float | int:
        found = _NUMBER.fullmatch(text.removeprefix("$") if field.takes == "dollars" else text)
        units = DURATIONS if field.takes == "duration" else TIMES if field.takes == "number" else {}
        number, unit = (float(found[1]), found[2]) if found else (math.nan, "")
        unit = {"m": "min", "K": "k"}.get(unit, unit)
        size = units.get(unit) if unit else None if field.takes == "duration" else 1
        example = {"duration": "2s, 150ms, 5min or 1h", "number": "1000 or 10k", "dollars": "0.01"}[field.takes]
        if size is None or not math.isfinite(number * size):
            raise self.fail(f"{text[:40]!r} is no {'time' if units is DURATIONS else 'number'}", f"write {field.name}>{example}", at)
        if field.takes != "duration":
            return number * size
        if abs(number * size) > LONGEST_NS:
            raise self.fail("nothing takes so long", f"write {field.name}>{example}", at)
        return int(found[1]) * size if found and found[1].isdecimal() else round(number * size)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _unquoted(text: str) -> str:
    return _unescaped(text[1:-1]) if text.startswith('"') else text
