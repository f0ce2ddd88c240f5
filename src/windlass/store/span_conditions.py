"""A filter (`core/filter.py`) as conditions in SQL: how a tree becomes them, the same for both engines, which say how in a `Dialect`.

Values are always given apart from the SQL, names of attributes too. A term on a step becomes a condition that holds for a span or does
not; a term on the whole, a negation, and what holds such a thing becomes a condition on all spans of a trace together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from windlass.core.filter import And, Judgement, Node, Not, Or, Term, attribute_of, fields_in, judgement, spellings
from windlass.core.ref import Ref
from windlass.core.span import GIVEN, GIVEN_TO, LABEL, SCORE, SCORED, TOLD

Condition = tuple[str, list[Any]]  # SQL with a mark for each value, and the values


class Dialect(NamedTuple):
    """How an engine says it. In each text `{0}` stands for a column, `?` for a value that is given."""

    holds: str  # one of several texts, in whatever case; `texts` makes the value of them
    texts: Callable[[Sequence[str]], Any]
    holds_exactly: str
    begins: str
    one_of: str  # a list with such an element
    one_begins: str
    listed: str  # a list that is not empty
    any: str  # `{0}` holds for one span of the trace or another
    attribute: str  # as text, of the JSON object in the column, by a name that is given; NULL where it is not there
    pointer: bool  # the name is given as a JSON pointer
    number: str  # of a text; NULL where it is none
    said: str  # an attribute by a name of our own, which is no value
    took: str  # of a trace, as the three below; `cost` and `tokens` are NULL where they are unknown
    spans: str
    cost: str
    tokens: str

    def name(self, attribute: str) -> str:
        """An attribute's name as this engine is given it."""
        return "/" + attribute.replace("~", "~0").replace("/", "~1") if self.pointer else attribute


COLUMNS = {"name": "name", "model": "model", "provider": "provider", "tool": "tool", "service": "service", "env": "environment",
           "session": "session", "user": '"user"'}  # fmt: skip
ROOT_FAILED = "status = 'error' AND parent IS NULL"
# what fits fewest is looked for first, texts after what is told by short columns; a field that is not here comes after them
RARE = (
    "session", "user", "score", "uses", "prompt", "tag", "tool", "status", "model", "passage", "error", "attr", "resource", "input",
    "output", "", "name", "root", "release", "env", "provider", "service", "kind",
)  # fmt: skip
LONG = {"", "input", "output", "error", "passage", "attr", "resource"}  # fields for which texts are read
TOTALS = {"cost", "tokens"}


def rarity(node: Node) -> int:
    """By which conditions on steps are sorted: the one that fits fewest first."""
    return max(RARE.index(f) if f in RARE else len(RARE) for f in fields_in(node))


def step_of(node: Node, project: str, d: Dialect) -> Condition | None:
    """The condition that must hold for one span or another; None where it is no such thing."""
    if isinstance(node, Term):
        return _step(node, project, d)
    if not isinstance(node, Or):
        return None
    parts = [step_of(p, project, d) for p in node.parts]
    if any(p is None for p in parts):
        return None
    return f"({' OR '.join(f'({p[0]})' for p in parts if p)})", [v for p in parts if p for v in p[1]]


def whole_of(node: Node, project: str, d: Dialect) -> Condition:
    """The condition on all spans of a trace; it is never NULL."""
    if isinstance(node, Not):
        inner, given = whole_of(node.part, project, d)
        return f"NOT ({inner})", given
    if isinstance(node, And | Or):
        parts = [whole_of(p, project, d) for p in node.parts]
        word = " AND " if isinstance(node, And) else " OR "
        return f"({word.join(f'({sql})' for sql, _ in parts)})", [v for _, given in parts for v in given]
    if (step := _step(node, project, d)) is not None:
        return d.any.format(step[0]), step[1]
    if node.field == "status":
        return f"NOT {d.any.format(ROOT_FAILED)}", []
    if node.field == "has":
        return f"({d.cost if node.value == 'cost' else d.tokens}) IS NOT NULL", []
    total = {"latency": d.took, "cost": d.cost, "tokens": d.tokens, "spans": d.spans}[node.field]
    return f"coalesce(({total}) {node.op} ?, false)", [node.value]


def _step(t: Term, project: str, d: Dialect) -> Condition | None:
    """The condition of a term on a span; None where it is one on the whole."""
    text = str(t.value)
    if t.field in COLUMNS:
        return (d.begins if t.prefix else "{0} = ?").format(COLUMNS[t.field]), [text]
    if (attribute := attribute_of(t.field)) is not None:
        return on_attribute(t, attribute, d)
    match t.field:
        case "":
            return _holds(("name", "input", "output"), text, d)
        case "input" | "output":
            return _holds((t.field,), text, d)
        case "error":
            return f"status = 'error' AND {d.holds.format('status_message')}", [d.texts([text])]
        case "kind":
            return "kind = ?", [text]
        case "root":
            return "parent IS NULL AND kind = ?", [text]
        case "status":
            return (ROOT_FAILED, []) if text == "error" else None
        case "tag":
            return (d.one_begins if t.prefix else d.one_of).format("tags"), [text]
        case "uses":
            return d.one_begins.format("versions"), [_version(text, t.prefix)]
        case "release":
            return d.begins.format("release"), [_version(str(Ref("release", text, None, None, project)), t.prefix)]
        case "prompt":
            return _prompt(t, project, d)
        case "passage":
            key = f'"key":{msgspec.json.encode(text).decode()}'
            key = key[:-1] if t.prefix else key
            return f"kind = 'retrieval' AND {d.holds_exactly.format('output')}", [key]
        case "score":
            return _judged(judgement(text), d)
        case "has":
            return _has(text, project, d)
    return None


def _holds(columns: tuple[str, ...], text: str, d: Dialect) -> Condition:
    """A text in one of these columns; in a name it stands as it is."""
    given = [d.texts([text] if c == "name" else spellings(text)) for c in columns]
    return " OR ".join(d.holds.format(c) for c in columns), given


def on_attribute(t: Term, attribute: tuple[str, str], d: Dialect) -> Condition:
    """The condition of a term on an attribute, of what has the columns `attributes` and `resource`."""
    column = "attributes" if attribute[0] == "attr" else "resource"
    value, name = d.attribute.format(column), d.name(attribute[1])
    names = [name] * value.count("?")
    if t.op != "=":
        return f"{d.number.format(value)} {t.op} ?", [*names, float(t.value)]
    if t.prefix:
        return d.begins.format(value), [*names, str(t.value)]
    text, number = str(t.value), _number(str(t.value))
    if number is None:
        return f"{value} = ?", [*names, text]
    return f"{value} = ? OR {d.number.format(value)} = ?", [*names, text, *names, number]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None


def _prompt(t: Term, project: str, d: Dialect) -> Condition:
    """A prompt of ours is one of the versions; one of another platform is told by name, with its version where that was told."""
    text = str(t.value)
    ours = d.one_begins.format("versions"), _version(str(Ref("prompt", text, None, None, project)), t.prefix)
    if t.prefix:
        return f"{d.begins.format('prompt')} OR {ours[0]}", [text, ours[1]]
    if "@" in text:
        return f"prompt = ? OR {ours[0]}", [text, ours[1]]
    return f"prompt = ? OR {d.begins.format('prompt')} OR {ours[0]}", [text, f"{text}@", ours[1]]


def _judged(j: Judgement, d: Dialect) -> Condition:
    fits = f"kind = 'evaluator' AND {d.said.format(SCORED)} = ? AND coalesce({d.said.format(GIVEN)}, '') <> 'withdrawn'"
    fits += f" AND coalesce({d.said.format(GIVEN_TO)}, '') <> 'session'"
    if j.value is None:
        return fits, [j.name]
    if isinstance(j.value, str):
        return f"{fits} AND {d.said.format(LABEL)} = ?", [j.name, j.value]
    return f"{fits} AND {d.number.format(d.said.format(SCORE))} {j.op} ?", [j.name, j.value]


def _has(what: str, project: str, d: Dialect) -> Condition | None:
    if (attribute := attribute_of(what)) is not None:
        value = d.attribute.format("attributes" if attribute[0] == "attr" else "resource")
        return f"{value} IS NOT NULL", [d.name(attribute[1])] * value.count("?")
    match what:
        case "cost" | "tokens":
            return None
        case "error":
            return "status = 'error'", []
        case "tag":
            return d.listed.format("tags"), []
        case "score":
            return f"kind = 'evaluator' AND coalesce({d.said.format(GIVEN)}, '') NOT IN ('withdrawn', '{TOLD}')", []
        case "prompt":
            return f"coalesce(prompt, '') <> '' OR {d.one_begins.format('versions')}", [str(Ref("prompt", "", None, None, project))]
    return f"coalesce({COLUMNS.get(what, what)}, '') <> ''", []


def _version(ref: str, prefix: bool) -> str:
    """A ref as the beginning of what spans carry."""
    head, at, digest = ref.partition("@")
    if at:
        return f"{head}@sha256:{digest.removeprefix('sha256:')}"
    return head if prefix else f"{head}@"
