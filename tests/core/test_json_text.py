from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.json_text import json_said


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(-(2**53), 2**53), st.lists, max_leaves=5))
def test_json_is_what_it_says(value: object) -> None:
    assert json_said(json.dumps(value)) == value


@pytest.mark.parametrize("text", ["", "plain", "{", "[1,]", "[" * 100_000, "[" * 5_000 + "]" * 5_000, '{"a":' * 5_000, "\ud800"])
def test_what_says_nothing_that_can_be_read_is_text(text: str) -> None:
    assert json_said(text) == text
