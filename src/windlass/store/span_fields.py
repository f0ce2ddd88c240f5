"""What traces that fit say in the fields of filters, with how many traces say it, in DuckDB; and what both engines do alike of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import duckdb

from windlass.core.errors import Invalid
from windlass.core.filter import ATTRIBUTES, FIELDS, attribute_of, field_of, nearest
from windlass.core.operations.traces import FieldQuery, Fields, FieldTold, FieldValue, TraceQuery
from windlass.store.span_conditions import COLUMNS, ROOT_FAILED
from windlass.store.span_filters import DUCKDB, asked
from windlass.store.span_places import File, keep, leave_revised, lying
from windlass.store.span_traces import newest_of

FIRST = 8  # spans looked at for each trace that is counted
LONGEST = 200  # characters of a value that is told
PROMPT = "prompt/"
# values of a span in a field; a list where it may have several
_VALUES = {
    "kind": "kind", "root": "CASE WHEN parent IS NULL THEN kind END", **COLUMNS, "tag": "unnest(tags)",
    "release": "regexp_extract(release, '(?:^|/)release/([^@]+)@', 1)",
    "prompt": "unnest(list_append(list_transform(versions, lambda v: regexp_extract(v, '(?:^|/)prompt/([^@]+)@', 1)), prompt))",
}  # fmt: skip


def fields_of(db: duckdb.DuckDBPyConnection, files: Sequence[File], query: FieldQuery) -> Fields:
    """Raises `Invalid` for a filter that is none, and for a field that has no values to tell."""
    names = names_of(query)
    q = asked(filters_in(query))
    found = newest_of(db, files, q, query.among + 1, FIRST)
    if not found:
        return told(query, names, [], lambda name: [])
    keep(db, found[: query.among])
    if not q.newest:
        leave_revised(db, files, q.spans)
    columns = {"lying.key", "parent", "status"} | {_column(n) for n in names}
    spans, given = lying(db, files, q.spans, ", ".join(sorted(columns)))
    db.execute(f"CREATE OR REPLACE TEMP TABLE seen AS {spans}", given)
    return told(query, names, found, lambda name: _values(db, query, name))


def _column(field: str) -> str:
    """What is read of spans for a field."""
    if field.partition(".")[0] in ATTRIBUTES:
        return "attributes" if field.startswith("attr") else "resource"
    return {"tag": "tags", "root": "kind", "status": "status", "prompt": "prompt, versions"}.get(field, COLUMNS.get(field, field))


def _values(db: duckdb.DuckDBPyConnection, query: FieldQuery, field: str) -> list[tuple[str, int]]:
    if field == "status":
        spans, given = f"SELECT key, CASE WHEN bool_or({ROOT_FAILED}) THEN 'error' ELSE 'ok' END AS v FROM seen GROUP BY key", list[Any]()
    elif (attribute := attribute_of(field)) is not None:
        spans, given = f"SELECT key, {DUCKDB.attribute.format(_column(field))} AS v FROM seen", [DUCKDB.name(attribute[1])]
    else:
        value = f"unnest(json_keys({_column(field)}))" if field in ATTRIBUTES else _VALUES[field]
        spans, given = f"SELECT key, {value} AS v FROM seen", []
    return db.execute(
        f"SELECT v, count(DISTINCT key) AS n FROM ({spans}) WHERE v <> '' AND length(v) <= {LONGEST} AND starts_with(lower(v), lower(?))"
        " GROUP BY v ORDER BY n DESC, v LIMIT ?",
        [*given, query.starts, query.limit],
    ).fetchall()


def filters_in(query: FieldQuery) -> TraceQuery:
    """The traces that are looked at."""
    return TraceQuery(query.project, query.filter, evaluation=query.evaluation, since_ns=query.since_ns, until_ns=query.until_ns)


def names_of(query: FieldQuery) -> list[str]:
    """The fields whose values are asked for. Raises `Invalid`."""
    if not query.field:
        return [f.name for f in FIELDS.values() if f.counted]
    if attribute_of(query.field) or query.field in ATTRIBUTES:
        return [query.field]
    field = field_of(query.field)
    if field is None or not field.counted:
        counted = (*(f.name for f in FIELDS.values() if f.counted), "attr", "attr.NAME", "resource", "resource.NAME")
        raise Invalid(f"no values of {query.field[:40]!r} are counted", where="field", remedy=nearest(query.field, counted))
    return [field.name]


def told(query: FieldQuery, names: Sequence[str], found: Sequence[str], values: Callable[[str], list[tuple[str, int]]]) -> Fields:
    """What there is to say of so many traces, of which one more was looked for."""
    about = {f.name: f.about for f in FIELDS.values()}
    fields = tuple(FieldTold(n, about.get(n, ""), tuple(FieldValue(v, count) for v, count in values(n))) for n in names)
    return Fields(min(len(found), query.among), len(found) > query.among, fields)
