"""What traces that fit say in the fields of filters, and how many fit: both stores as plain Python counts it."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec
import pytest
from tests.store.filters import traces_that_fit
from tests.store.test_span_filters import filled, some_rows
from tests.store.test_spans_stores import NOW, SECOND

from windlass.core.errors import Invalid
from windlass.core.filter_reading import read
from windlass.core.operations.traces import FieldQuery, Fields, FieldValue
from windlass.store.spans import SpanRow

FILTERS = ["", "kind:model -tag:a", "refund", "status:error", "cost>0.1", "user:a*"]


def values_of(row: SpanRow, field: str) -> Iterable[str | None]:
    match field:
        case "root":
            return [row.kind if row.parent is None else None]
        case "tag":
            return row.tags
        case "env":
            return [row.environment]
        case "release":
            return [row.release.split("/")[1].split("@")[0] if row.release else None]
        case "prompt":
            return [row.prompt, *(v.split("/")[1].split("@")[0] for v in row.versions if v.startswith("prompt/"))]
    return [getattr(row, field)]


def counted(rows: list[SpanRow], traces: list[str], field: str, limit: int) -> list[tuple[str, int]]:
    newest = {(r.trace_id, r.span_id): r for r in sorted(rows, key=lambda r: r.receipt_ns)}.values()
    found: dict[str, set[str]] = {}
    for row in newest:
        if row.trace_id in traces:
            for value in values_of(row, field):
                if value:
                    found.setdefault(value, set()).add(row.trace_id)
    return sorted(((v, len(t)) for v, t in found.items()), key=lambda f: (-f[1], f[0].encode()))[:limit]


def pairs(values: tuple[FieldValue, ...]) -> list[tuple[str, int]]:
    return [(v.value, v.traces) for v in values]


@pytest.mark.parametrize("among", [20, 1000])
def test_fields_are_counted_within_what_fits(spans, among) -> None:
    rows = some_rows(random.Random(11))
    store = filled(spans, rows)
    for text in FILTERS:
        traces = traces_that_fit(rows, read(text))
        told = store.fields(FieldQuery(filter=text, among=among, limit=5))
        assert (told.traces, told.more) == (min(len(traces), among), len(traces) > among), text
        failed = set(traces_that_fit(rows, read("status:error")))
        for field in told.fields:
            if field.name == "status":
                ends = ["error" if t in failed else "ok" for t in traces[:among]]
                assert dict(pairs(field.values)) == {end: ends.count(end) for end in set(ends)}
            else:
                assert pairs(field.values) == counted(rows, traces[:among], field.name, 5), (text, field.name)
    store.close()


def test_one_field_is_told_by_how_its_values_begin(spans) -> None:
    rows = some_rows(random.Random(12))
    store = filled(spans, rows)

    def one(field: str, starts: str = "", **more) -> list[tuple[str, int]]:
        (told,) = store.fields(FieldQuery(field=field, starts=starts, limit=200, **more)).fields
        return pairs(told.values)

    everything = [r.trace_id for r in rows]
    assert one("user", "Ä") == [v for v in counted(rows, everything, "user", 99) if v[0] == "ä"]
    assert one("environment") == counted(rows, everything, "env", 99)
    assert one("user", since_ns=NOW + 10**6 * SECOND) == []
    newest = {(r.trace_id, r.span_id): r for r in sorted(rows, key=lambda r: r.receipt_ns)}.values()
    told = [(r.trace_id, msgspec.json.decode(r.attributes)) for r in newest]
    names = {name for _, attributes in told for name in attributes}
    assert dict(one("attr")) == {n: len({t for t, a in told if n in a}) for n in names}
    assert dict(one('attr.k"ey', "5")) == {
        v: len({t for t, a in told if str(a.get('k"ey')) == v}) for v in ("5", "5.5") if any(str(a.get('k"ey')) == v for _, a in told)
    }
    assert {v for v, _ in one("resource")} == {n for r in newest for n in msgspec.json.decode(r.resource or "{}")}
    with pytest.raises(Invalid, match="did you mean `model`"):
        one("modle")
    with pytest.raises(Invalid, match="no values of 'cost'"):
        one("cost")
    store.close()


def test_an_empty_store_has_fields_and_no_values(spans) -> None:
    store = spans()
    told = store.fields(FieldQuery())
    assert isinstance(told, Fields) and (told.traces, told.more) == (0, False)
    assert {f.name for f in told.fields} >= {"kind", "model", "status", "user"} and not any(f.values for f in told.fields)
    store.close()
