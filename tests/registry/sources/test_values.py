"""Values of Python as JSON: exact or as text, and the same every time."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.pin import Column
from windlass.registry.sources.values import Seen, plain

EAST = dt.timezone(dt.timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**53 - 1, 2**53 - 1),
        (2**53, str(2**53)),
        (-(2**53), str(-(2**53))),
        (True, True),
        (1.5, 1.5),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-20"), "0.00000000000000000001"),
        (Decimal("NaN"), "NaN"),
        (b"\x00\xff", "AP8="),
        (bytearray(b"a"), "YQ=="),
        (memoryview(b"a"), "YQ=="),
        ((1, [None, b"a"]), [1, [None, "YQ=="]]),
        ({1: {"a": (Decimal("0.1"),)}}, {"1": {"a": ["0.1"]}}),
        (dt.datetime(2026, 1, 2, 3, 4, 5, 6, EAST), "2026-01-01T21:34:05.000006Z"),
        (dt.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.time(3, 4, 5, tzinfo=EAST), "03:04:05+05:30"),
        (dt.timedelta(days=-1, seconds=86399, microseconds=123456), "P-1DT86399.123456S"),
        (dt.timedelta(days=3), "P3D"),
        (dt.timedelta(), "PT0S"),
        (relativedelta(years=1, months=-2, hours=5, seconds=6, microseconds=7), "P1Y-2MT5H6.000007S"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_each_kind(value: Any, expected: Any) -> None:
    got = plain(value)
    assert got == expected and type(got) is type(expected)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
others = st.recursive(
    st.integers()
    | st.floats()
    | st.decimals()
    | st.binary()
    | st.datetimes(timezones=st.none() | st.just(EAST))
    | st.timedeltas()
    | st.times(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.integers() | st.text(), inner),
)


@given(json_values)
def test_what_is_json_stays_as_it_is(value: Any) -> None:
    assert plain(value) == value


@given(others)
def test_everything_becomes_json_which_stays_as_it_is(value: Any) -> None:
    made = plain(value)
    assert plain(made) == made
    assert msgspec.json.decode(msgspec.json.encode(made)) == made


@given(st.lists(st.integers(), unique=True, min_size=2, max_size=2) | st.lists(st.timedeltas(), unique=True, min_size=2, max_size=2))
def test_what_differs_stays_different(pair: list[Any]) -> None:
    assert plain(pair[0]) != plain(pair[1])


def test_the_schema_of_rows_without_one() -> None:
    seen = Seen()
    assert seen.columns() == ()
    for row in (
        {"a": 1, "b": None, "c": "x"},
        {"a": "x", "b": None, "c": "y"},
        {"a": 2.5, "d": [1], "c": "z"},
        {"e": {}, "f": True, "c": ""},
    ):
        seen.row(row)
    assert seen.columns() == (
        Column("a", "number or text", True), Column("b", "null", True), Column("c", "text", False), Column("d", "list", True),
        Column("e", "object", True), Column("f", "boolean", True),
    )  # fmt: skip
