"""Parameters as a query string and back."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import Invalid
from windlass.core.operations.query import decode, encode, taken
from windlass.core.operations.registry import ArtifactQuery, LineageQuery
from windlass.core.operations.reviews import ReviewsQuery
from windlass.core.operations.traces import TextShow, TraceQuery


@given(
    st.builds(
        TraceQuery,
        search=st.none() | st.text(),
        since_ns=st.none() | st.integers(0, 2**53),
        slower_than_ms=st.none() | st.floats(0, 1e6),
        limit=st.integers(1, 200),
    )
)
def test_there_and_back(params: TraceQuery) -> None:
    assert decode(TraceQuery, encode(params)) == params


def test_text_is_itself_and_defaults_are_left_out() -> None:
    assert encode(ArtifactQuery(search="12", limit=7)) == {"search": "12", "limit": "7"}


@pytest.mark.parametrize("query", [{"limit": "many"}, {"limit": "1.5"}, {"serach": "x"}, {"ref": "a", "direction": "left"}])
def test_what_is_wrong_is_named(query: dict[str, str]) -> None:
    kind: type[msgspec.Struct] = LineageQuery if "ref" in query else ArtifactQuery
    with pytest.raises(Invalid):
        decode(kind, query)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"span": "12"}, "span: expected 'str' matching regex '^[0-9a-f]{16}$'"),
        ({"of": "weather"}, "of: 'weather' is none of its values (take one of input, output, attributes"),
        ({"project": 1}, "project: expected 'str', got 'int'"),
    ],
)
def test_what_is_given_wrong_is_named_with_what_would_do(given: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid) as told:
        taken(TextShow, {"id": "4bf9", "span": "0" * 16} | given)
    assert str(told.value).startswith(said)


def test_a_choice_may_also_be_left_open() -> None:
    assert taken(ReviewsQuery, {"queue": "q", "state": None}).state is None
    with pytest.raises(Invalid, match="take one of"):
        taken(ReviewsQuery, {"queue": "q", "state": "weather"})
