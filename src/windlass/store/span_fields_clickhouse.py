"""What traces that fit say in the fields of filters, in ClickHouse: as `span_fields.py` counts it in DuckDB's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from windlass.core.filter import ATTRIBUTES, attribute_of
from windlass.core.operations.traces import FieldQuery, Fields
from windlass.store.span_conditions import COLUMNS, ROOT_FAILED
from windlass.store.span_fields import LONGEST, filters_in, names_of, told
from windlass.store.span_filters_clickhouse import CLICKHOUSE, filters_of
from windlass.store.span_traces_clickhouse import newest_of

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


def _named(ref: str) -> str:
    """The name in a ref: what stands between its last slash and the digest."""
    return f"splitByChar('/', splitByChar('@', {ref})[1])[-1]"


# values of a span in a field, as a list
_VALUES = {
    "kind": "[kind]", "root": "if(parent IS NULL, [kind], [])", **{f: f"[ifNull({c}, '')]" for f, c in COLUMNS.items()}, "tag": "tags",
    "release": "[" + _named("ifNull(release, '')") + "]",
    "prompt": f"arrayPushBack(arrayMap(v -> {_named('v')}, arrayFilter(v -> match(v, '(^|/)prompt/'), versions)), ifNull(prompt, ''))",
}  # fmt: skip


def fields_of(ask: Ask, query: FieldQuery) -> Fields:
    """As DuckDB's."""
    names, asked = names_of(query), filters_in(query)
    q = filters_of(asked)
    found = newest_of(ask, asked, q, query.among + 1)
    seen = found[: query.among]
    first, last = min((f[1] for f in seen), default=0), max((f[2] for f in seen), default=0)
    given = [*q.spans[1], first, last, [f[0] for f in seen]]

    def values(field: str) -> list[tuple[str, int]]:
        value, names = _value(field)
        spans = (
            f"SELECT trace_id, status, parent, {value} AS vs FROM spans WHERE {q.spans[0]} AND start_ns BETWEEN ? AND ? AND trace_id IN ?"
            " ORDER BY receipt_ns DESC LIMIT 1 BY trace_id, span_id"
        )
        if field == "status":
            spans = f"SELECT trace_id, [if(countIf({ROOT_FAILED}) > 0, 'error', 'ok')] AS vs FROM ({spans}) GROUP BY trace_id"
        return [
            (v, n)
            for v, n in ask(
                f"SELECT arrayJoin(vs) AS v, uniqExact(trace_id) AS n FROM ({spans}) WHERE v != '' AND lengthUTF8(v) <= {LONGEST}"
                " AND startsWith(lowerUTF8(v), lowerUTF8(?)) GROUP BY v ORDER BY n DESC, v LIMIT ?",
                [*names, *given, query.starts, query.limit],
            )
        ]

    return told(query, names, [f[0] for f in found], values if seen else lambda name: [])


def _value(field: str) -> tuple[str, list[Any]]:
    """The values of a span in a field, as a list, and what is given for it."""
    if field == "status":
        return "['']", []
    column = "attributes" if field.startswith("attr") else "resource"
    if (attribute := attribute_of(field)) is not None:
        value = CLICKHOUSE.attribute.format(column)
        return f"[ifNull({value}, '')]", [attribute[1]] * value.count("?")
    return (f"JSONExtractKeys(ifNull({column}, ''))" if field in ATTRIBUTES else _VALUES[field]), []
