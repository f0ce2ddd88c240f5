"""Ids, times and values of others as OTLP's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from windlass.core.errors import Invalid
from windlass.sdk.importing import spans as otlp
from windlass.traces.otlp_values import attributes_of

JSON = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_an_id_of_the_form_stays_and_another_is_always_the_same() -> None:
    trace = "0dea2a662492835065d0bd55fbb749ff"
    assert otlp.identity(trace, 16).hex() == otlp.identity(trace.upper(), 16).hex() == trace
    assert otlp.identity("4a25b7dc-9926-4999-a00c-24db2ded00d8", 16).hex() == "4a25b7dc99264999a00c24db2ded00d8"
    made = otlp.identity("my-trace", 16)
    assert len(made) == 16 and made == otlp.identity("my-trace", 16) != otlp.identity("my-trace2", 16)
    assert otlp.identity("0" * 32, 16) != bytes(16), "an id of zeros is none"


def test_ids_that_were_made_are_told_beside() -> None:
    span = Span()
    otlp.name(span, "my-trace", "my-span", "its-parent")
    assert attributes_of(span.attributes) == {otlp.FOREIGN_TRACE: "my-trace", otlp.FOREIGN_SPAN: "my-span"}
    assert span.parent_span_id == otlp.identity("its-parent", 8)
    same = Span()
    otlp.name(same, "0dea2a662492835065d0bd55fbb749ff", "e0b81426826d980b", None)
    assert not same.attributes and not same.parent_span_id


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_values_come_back_as_they_went(values: dict[str, object]) -> None:
    span = Span()
    otlp.put(span.attributes, values)
    assert attributes_of(Span.FromString(span.SerializeToString()).attributes) == values


def test_numbers_that_are_too_large_and_nothing() -> None:
    span = Span()
    otlp.put(span.attributes, {"n": 2**70, "none": None})
    assert attributes_of(span.attributes) == {"n": float(2**70)}


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)))
def test_times_are_exact(at: datetime) -> None:
    ns = otlp.ns(at.isoformat() + "Z")
    assert ns == otlp.ns(at.replace(tzinfo=UTC)) and ns % 1_000 == 0
    assert datetime.fromisoformat(otlp.iso(ns).replace("Z", "+00:00")) == at.replace(tzinfo=UTC, microsecond=at.microsecond // 1000 * 1000)


def test_what_is_no_time() -> None:
    assert otlp.ns(None) == 0
    with pytest.raises(Invalid, match="no time"):
        otlp.ns("yesterday")
