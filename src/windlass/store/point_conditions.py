"""A filter on the points of a metric as a condition in SQL: the terms of `core/filter.py` that a point can answer, for either engine."""

from __future__ import annotations

from windlass.core.errors import Invalid
from windlass.core.filter import And, Node, Not, Or, Term, attribute_of
from windlass.core.filter_reading import read
from windlass.store.span_conditions import Condition, Dialect, on_attribute

REMEDY = "points have attr.NAME, resource.NAME, service:NAME and has:attr.NAME"


def condition_of(text: str, d: Dialect) -> Condition:
    """What must hold for a point; it is never NULL. Raises `Invalid` for a filter that cannot be read, or asks for what no point has."""
    tree = read(text)
    return ("true", []) if tree is None else _of(tree, d)


def told_by(by: str | None, d: Dialect) -> Condition:
    """The value that a dimension has for a point, as text: of an attribute, `service`, or `resource.NAME`."""
    if by is None:
        return "NULL", []
    if by == "service":
        return "nullif(service, '')", []
    room, name = attribute_of(by) or ("attr", by)
    value = d.attribute.format("attributes" if room == "attr" else "resource")
    return value, [d.name(name)] * value.count("?")


def _of(node: Node, d: Dialect) -> Condition:
    if isinstance(node, Not):
        inner, given = _of(node.part, d)
        return f"NOT ({inner})", given
    if isinstance(node, And | Or):
        parts = [_of(part, d) for part in node.parts]
        word = " AND " if isinstance(node, And) else " OR "
        return f"({word.join(f'({sql})' for sql, _ in parts)})", [v for _, given in parts for v in given]
    sql, given = _term(node, d)
    return f"coalesce({sql}, false)", given


def _term(t: Term, d: Dialect) -> Condition:
    if t.field == "service":
        return (d.begins if t.prefix else "{0} = ?").format("service"), [str(t.value)]
    asked = str(t.value) if t.field == "has" else t.field
    if (attribute := attribute_of(asked)) is None:
        raise Invalid(f"{asked or str(t.value)[:40]!r} is nothing that a point of a metric says", where="filter", remedy=REMEDY)
    if t.field != "has":
        return on_attribute(t, attribute, d)
    value, given = told_by(asked, d)
    return f"{value} IS NOT NULL", given
