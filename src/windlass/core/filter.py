"""The filter language of traces: its fields, its tree, and a tree written back as text. `filter_reading.py` reads one.

    status:error model:gpt-5* latency>2s -user:bot (tool:search or attr.http.route:/chat) "no refund"

Each term asks whether any step of a trace fits, or something of the trace as a whole; `or`, `-` and standing side by side put these
answers together. So `a or b` fits where one step or another does, and `-a` where no step does.
"""

from __future__ import annotations

import json
import math
import re
from difflib import get_close_matches
from typing import Literal, NamedTuple, get_args

import msgspec

from windlass.core.errors import Invalid
from windlass.core.span import SpanKind

LONGEST, DEEPEST, MOST_TERMS = 2_000, 20, 50  # characters, parentheses in one another, terms
LONGEST_NS = 100 * 366 * 86_400 * 10**9  # of a duration
KINDS: tuple[str, ...] = get_args(SpanKind)
STATES = ("ok", "error")
Takes = Literal["word", "part", "kind", "state", "number", "dollars", "duration", "score", "field"]
Comparison = Literal["=", "<", "<=", ">", ">="]
DURATIONS = {"d": 86_400 * 10**9, "h": 3600 * 10**9, "min": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
TIMES = {"k": 1_000, "M": 1_000_000}
ATTRIBUTES = ("attr", "resource")


class Field(NamedTuple):
    """`counted`: a question may tell its values, with how many traces have each. `also`: other names that are read as this one."""

    name: str
    takes: Takes
    about: str
    counted: bool = False
    also: tuple[str, ...] = ()


FIELDS: dict[str, Field] = {
    f.name: f
    for f in (
        Field("status", "state", "how it ended: ok or error, as its outermost step says", True),
        Field("kind", "kind", "a step of this kind: model, tool, retrieval …", True),
        Field("root", "kind", "the kind of the outermost step", True),
        Field("name", "word", "a step of this name", True),
        Field("model", "word", "a step that called this model", True),
        Field("provider", "word", "a step that called this provider", True),
        Field("tool", "word", "a step that called this tool", True),
        Field("service", "word", "a step of this service", True),
        Field("env", "word", "run in this environment", True, ("environment",)),
        Field("release", "word", "run by this release: NAME or NAME@digest", True),
        Field("prompt", "word", "a step that used this prompt: NAME or NAME@version", True),
        Field("uses", "word", "a step that used this version: kind/name or kind/name@digest"),
        Field("user", "word", "of this user", True),
        Field("session", "word", "of this conversation", True),
        Field("tag", "word", "a step with this tag", True, ("tags",)),
        Field("score", "score", "a score: helpful, helpful=no, stars<3"),
        Field("latency", "duration", "how long the whole took: >2s, <=150ms, >1min", also=("duration", "took")),
        Field("cost", "dollars", "what the whole cost, in US dollars: >=0.01"),
        Field("tokens", "number", "tokens of the whole, in and out: >1000, >10k"),
        Field("spans", "number", "how many steps it has: >20", also=("steps",)),
        Field("input", "part", "with this in an input"),
        Field("output", "part", "with this in an output"),
        Field("error", "part", "with this in what a failed step said"),
        Field("passage", "word", "was given this chunk of an index"),
        Field("has", "field", "has this at all: user, cost, error, attr.NAME …"),
    )
}
HAS = ("model", "provider", "tool", "env", "release", "prompt", "user", "session", "tag", "score", "cost", "tokens", "input", "output",
       "error")  # fmt: skip
_ALSO = {other: f.name for f in FIELDS.values() for other in f.also}


class Term(msgspec.Struct, frozen=True):
    """`field` is one of `FIELDS`, `attr.NAME` or `resource.NAME`; empty for text in a name, an input or an output. `value` is text, a
    number, or nanoseconds of a duration; with `prefix` it is how the value begins."""

    field: str
    value: str | float | int
    op: Comparison = "="
    prefix: bool = False


class Not(msgspec.Struct, frozen=True):
    part: Node


class And(msgspec.Struct, frozen=True):
    parts: tuple[Node, ...]


class Or(msgspec.Struct, frozen=True):
    parts: tuple[Node, ...]


Node = Term | Not | And | Or


def all_of(parts: list[Node]) -> Node:
    """One tree of at least one part, of which each must fit."""
    flat = [p for part in parts for p in (part.parts if isinstance(part, And) else (part,))]
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def any_of(parts: list[Node]) -> Node:
    """One tree of at least one part, of which one must fit."""
    flat = [p for part in parts for p in (part.parts if isinstance(part, Or) else (part,))]
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


def field_of(name: str) -> Field | None:
    """The field of a name, also by another name it has; None for an attribute, and for what is none."""
    return FIELDS.get(_ALSO.get(name, name))


def fields_in(node: Node) -> set[str]:
    """Of an attribute only `attr` or `resource`; of `has` also what it asks for."""
    if isinstance(node, Term):
        asked = {str(node.value)} if node.field == "has" else set()
        return {f.partition(".")[0] for f in {node.field} | asked}
    return fields_in(node.part) if isinstance(node, Not) else set().union(*map(fields_in, node.parts))


def attribute_of(field: str) -> tuple[str, str] | None:
    """`attr` or `resource`, and the attribute's name; None for another field."""
    room, dot, name = field.partition(".")
    return (room, name) if dot and name and room in ATTRIBUTES else None


def nearest(name: str, among: tuple[str, ...] | None = None) -> str:
    """What somebody meant who wrote a name that is none: a question, or which there are."""
    known = among or (*FIELDS, *_ALSO, "attr.NAME", "resource.NAME")
    found = get_close_matches(name.lower(), known, 1, 0.6)
    return f"did you mean `{found[0]}`?" if found else "there are " + ", ".join(among or (*FIELDS, "attr.NAME", "resource.NAME"))


class Judgement(NamedTuple):
    """A score by its name. `value` is held against it by `op`: a number, or a category, or `true` and `false`; None for any."""

    name: str
    op: str = ""
    value: float | str | None = None


def judgement(text: str) -> Judgement:
    """`helpful`, `helpful=no`, `stars<3`, `tone=plain`. Raises `Invalid`."""
    found = re.fullmatch(r"\s*([^<>=!]*[^<>=!\s])\s*(?:(<=|>=|<|>|=)\s*([^<>=!\s].*?)\s*)?", text)
    if found is None:
        raise Invalid(f"{text[:60]!r} is no condition on a score", where="score", remedy="write helpful, helpful=no, stars<3 or tone=plain")
    name, op, value = found.groups()
    if op is None:
        return Judgement(name)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return Judgement(name, op, number)
    if op != "=":
        raise Invalid(f"{value[:40]!r} is no number", where="score", remedy=f"write {name}{op}0.5, or {name}={value}")
    return Judgement(name, op, {"yes": "true", "no": "false"}.get(value.lower(), value))


def spellings(text: str) -> tuple[str, ...]:
    """How a text may stand in an input or output, which is often JSON: as it is, with quotes and line ends escaped, and in ASCII alone;
    there in small letters, in capitals and with one capital in front, since `ä` and `Ä` have other escapes."""
    ascii = (json.dumps(t)[1:-1].lower() for t in (text.lower(), text.upper(), text.title()))
    return tuple(dict.fromkeys((text, json.dumps(text, ensure_ascii=False)[1:-1], *(() if text.isascii() else ascii))))


def printed(node: Node) -> str:
    """A tree as text, which is read as the same tree again."""
    if isinstance(node, Or):
        return " or ".join(printed(p) for p in node.parts)
    if isinstance(node, And):
        return " ".join(_inside(p) if isinstance(p, Or) else printed(p) for p in node.parts)
    if isinstance(node, Not):
        return f"-{_inside(node.part)}"
    if node.field == "":
        return _quoted(str(node.value), bare=_is_bare)
    value = node.value
    if isinstance(value, str):
        field = node.field if attribute_of(node.field) is None else _attribute_printed(node.field)
        if node.field == "has" and attribute_of(value):
            return f"has:{_attribute_printed(value)}"
        return f"{field}:{_quoted(value, node.prefix)}"
    field = _attribute_printed(node.field) if attribute_of(node.field) else node.field
    told = _duration(int(value)) if node.field == "latency" else _number(float(value))
    return f"{field}{':' if node.op == '=' else node.op}{told}"


def _inside(node: Node) -> str:
    return f"({printed(node)})" if isinstance(node, And | Or) else printed(node)


def _attribute_printed(field: str) -> str:
    room, _, name = field.partition(".")
    return f"{room}.{name if PLAIN_ATTRIBUTE.fullmatch(name) else _in_quotes(name)}"


PLAIN_ATTRIBUTE = re.compile(r'[^\s:=<>!()"\\]+')
PLAIN = re.compile(r'[^\s()"\\]+')
_ATTRIBUTE = r'(attr|resource)\.("(?:[^"\\]|\\.)+"|[^\s:=<>!()"\\]+)'
ATTRIBUTE = re.compile(_ATTRIBUTE, re.DOTALL)
FIELD = re.compile(rf"(?:{_ATTRIBUTE}|([A-Za-z_][\w.-]*))(?=!?[:=]|[<>])", re.DOTALL)
KEYWORD = re.compile(r"(?i:or|and|not)(?=[\s()]|\Z)")


def _is_bare(text: str) -> bool:
    """Whether a text stands for itself, and is not read as a field, a word of the language or a negation."""
    return not (text.startswith("-") or KEYWORD.fullmatch(text) or FIELD.match(text))


def _quoted(text: str, prefix: bool = False, bare: object = None) -> str:
    fits = PLAIN.fullmatch(text) and not text.endswith("*") and (_is_bare(text) if bare else text[0] not in "<>=")
    if fits or (prefix and not text):
        return f"{text}*" if prefix else text
    return _in_quotes(text, prefix)


def _in_quotes(text: str, prefix: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    text = text[:-1] + "\\*" if text.endswith("*") else text
    return f'"{text}*"' if prefix else f'"{text}"'


def _duration(ns: int) -> str:
    unit = next(u for u, size in DURATIONS.items() if (ns % size == 0 and ns) or u == "ns")
    return f"{ns // DURATIONS[unit]}{unit}"


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
