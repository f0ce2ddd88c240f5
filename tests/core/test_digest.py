"""Canonical JSON against the vectors of RFC 8785, and digests that carry their algorithm."""

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.digest import canonical, digest_bytes, digest_json, is_digest, short
from windlass.core.errors import Invalid


def test_rfc8785_section_3_2_2_vector() -> None:
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_rfc8785_section_3_2_3_sorts_by_utf16() -> None:
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    order = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    text = canonical(dict.fromkeys(keys, 0)).decode()
    positions = [text.index(canonical(k).decode()) for k in order]
    assert positions == sorted(positions)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {1: 2}, 2**60, "\ud800"])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(Invalid):
        canonical(value)


def test_digest_is_tagged_sha256() -> None:
    assert digest_bytes(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert is_digest(digest_json({"a": 1})) and digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})
    assert short("sha256:e3b0c44298") == "e3b0c4"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_every_value_has_the_bytes_of_the_reference_implementation(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)
