"""MLflow's language of search, as far as ours says the same: clauses joined by AND, of traces and of prompts."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from windlass.core.errors import Invalid
from windlass.core.filter import LONGEST, And, Comparison, Node, Not, Term, all_of, any_of
from windlass.traces.mlflow_records import METADATA, NAME, OWN, SESSION, TAGS, TYPE, USER

_ROOMS = {
    "tag": "tag", "tags": "tag", "metadata": "metadata", "request_metadata": "metadata", "trace": "", "attribute": "", "attributes": "",
    "span": "span", "feedback": "feedback", "expectation": "expectation", "issue": "issue",
}  # fmt: skip
_CLAUSE = re.compile(
    r"""\s*(?:(?P<room>\w+)\.(?=[`"\w]))?(?P<key>`[^`]+`|"[^"]+"|[\w.-]+)
    \s*(?P<op><=|>=|!=|=|<|>|(?i:NOT\s+IN|IN|ILIKE|LIKE|RLIKE|IS\s+NOT\s+NULL|IS\s+NULL)\b)
    \s*(?P<value>'(?:[^']|'')*'|"[^"]*"|[+-]?\d+(?:\.\d+)?|\([^)]*\))?\s*""",
    re.VERBOSE,
)
_AND = re.compile(r"(?i:AND)\s")
_VALUE = re.compile(r"'((?:[^']|'')*)'|\"([^\"]*)\"|([+-]?\d+(?:\.\d+)?)")
_TIMES = ("timestamp", "timestamp_ms")
_TOOK = ("execution_time", "execution_time_ms")
_ORDERS: tuple[Comparison, ...] = ("<", "<=", ">", ">=")
_NS = 10**6
LARGEST = 1e18


class Clause(NamedTuple):
    """`room` is empty for what a trace or a prompt has itself. `value` is None where none stands."""

    room: str
    key: str
    op: str
    value: str | float | tuple[str | float, ...] | None
    text: str


class Search(NamedTuple):
    """What to ask: a tree of ours, and when a trace began, in nanoseconds; from the first, before the second."""

    parts: tuple[Node, ...] = ()
    since_ns: int | None = None
    until_ns: int | None = None


def clauses(text: str) -> list[Clause]:
    """Raises `Invalid`."""
    if len(text) > LONGEST:
        raise Invalid(f"a filter has at most {LONGEST:,} characters, and this has {len(text):,}", where="filter", remedy="ask for less")
    found, at = list[Clause](), 0
    while text[at:].strip():
        if found:
            joined = _AND.match(text, at)
            if joined is None:
                raise _wrong(text[at:], "clauses are joined by AND")
            at = joined.end()
        hit = _CLAUSE.match(text, at)
        if hit is None:
            raise _wrong(text[at:], "this is no clause")
        at, op = hit.end(), " ".join(hit["op"].upper().split())
        room, key = hit["room"] or "", hit["key"].strip('`"')
        if room and room.lower() not in _ROOMS:
            room, key = "", f"{room}.{key}"
        value = _value(hit["value"])
        if any(isinstance(one, float) and abs(one) > LARGEST for one in (value if isinstance(value, tuple) else (value,))):
            raise _wrong(hit[0], "no number is so large")
        if (value is None) != op.endswith("NULL") or isinstance(value, tuple) != op.endswith("IN"):
            raise _wrong(hit[0], "this value does not go with its comparison")
        found.append(Clause(_ROOMS.get(room.lower(), ""), key, op, value, hit[0].strip()))
    return found


def search_of(text: str) -> Search:
    """What a filter of traces asks. Raises `Invalid` for what cannot be asked here."""
    parts, since, until = list[Node](), list[int](), list[int]()
    for clause in clauses(text):
        if not clause.room and clause.key.lower() in _TIMES:
            _within(clause, since, until)
        else:
            parts.append(_node(clause))
    return Search(tuple(parts), max(since, default=None), min(until, default=None))


def _within(c: Clause, since: list[int], until: list[int]) -> None:
    """A time in milliseconds, each of which is a million of ours."""
    if not isinstance(c.value, float) or c.op not in (*_ORDERS, "="):
        raise _unserved(c)
    at = int(c.value)
    if c.op in (">=", ">", "="):
        since.append((at + (c.op == ">")) * _NS)
    if c.op in ("<=", "<", "="):
        until.append((at + (c.op != "<")) * _NS)


def _node(c: Clause) -> Node:
    key = c.key
    if (c.room, key) == ("", "name"):
        c, key = c._replace(room="tag", key=NAME), NAME
    if c.room == "tag":
        own = f"attr.{TAGS}{key}"
        return (
            _text(c, own, "", Term("has", own)) if key.startswith(OWN) else _text(c, "tag", f"{key}=", Term("tag", f"{key}=", prefix=True))
        )
    if c.room == "metadata":
        field = {SESSION: "session", USER: "user"}.get(key, f"attr.{METADATA}{key}")
        return _text(c, field, "", Term("has", field))
    if c.room == "feedback":
        return _judged(c)
    if c.room == "span" and key in ("name", "type"):
        return _text(c, "name" if key == "name" else f"attr.{TYPE}")
    if c.room == "span" and key.startswith("attributes."):
        return _text(c, f"attr.{key.removeprefix('attributes.')}")
    if (c.room, key) in (("", "text"), ("span", "content")):
        return _within_text(c)
    if c.room == "" and key == "status" and c.op in ("=", "!="):
        return _text(c._replace(value=str(c.value).lower()), "status")
    if c.room == "" and key in _TOOK and c.op in _ORDERS and isinstance(c.value, float):
        return Term("latency", int(c.value * _NS), c.op)
    raise _unserved(c)


def _text(c: Clause, field: str, before: str = "", there: Node | None = None) -> Node:
    """A field that is as it is said. What is not there is unequal to nothing: so theirs has it."""
    has = [there] if there else []
    if c.op == "IS NULL" and there:
        return Not(there)
    if c.op == "IS NOT NULL" and there:
        return there
    if c.op == "=":
        return Term(field, f"{before}{_said(c.value)}")
    if c.op == "!=":
        return all_of([*has, Not(Term(field, f"{before}{_said(c.value)}"))])
    if c.op in ("IN", "NOT IN") and isinstance(c.value, tuple) and c.value:
        either = any_of([Term(field, f"{before}{_said(one)}") for one in c.value])
        return either if c.op == "IN" else all_of([*has, Not(either)])
    if c.op == "LIKE" and isinstance(c.value, str) and re.fullmatch("[^%_]+%", c.value):
        return Term(field, before + c.value[:-1], prefix=True)
    raise _unserved(c)


def _within_text(c: Clause) -> Node:
    """Ours knows no case."""
    if c.op in ("LIKE", "ILIKE") and isinstance(c.value, str) and (inside := c.value.strip("%")) and "%" not in inside:
        return Term("", inside)
    raise _unserved(c)


def _judged(c: Clause) -> Node:
    if c.op == "IS NOT NULL":
        return Term("score", c.key)
    if c.op == "IS NULL":
        return Not(Term("score", c.key))
    if c.op in (*_ORDERS, "=", "!=") and c.value is not None:
        same = Term("score", f"{c.key}{'=' if c.op == '!=' else c.op}{_said(c.value)}")
        return And((Term("score", c.key), Not(same))) if c.op == "!=" else same
    raise _unserved(c)


def _value(text: str | None) -> Any:
    if text is None:
        return None
    found = tuple(float(n) if n else q.replace("''", "'") or d for q, d, n in _VALUE.findall(text))
    return found if text.startswith("(") else found[0] if found else ""


def _said(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _wrong(text: str, why: str) -> Invalid:
    return Invalid(f"{why}: {text.strip()[:60]!r}", where="filter", remedy="write it as tags.shop = 'north' AND status = 'OK'")


def _unserved(c: Clause) -> Invalid:
    remedy = (
        "ask for name, status, timestamp_ms, execution_time_ms, trace.text, tags, metadata, feedback, span.name, span.type and "
        "span.attributes; the page Traces has more"
    )
    return Invalid(f"this cannot be asked here: {c.text[:80]!r}", where="filter", remedy=remedy)
