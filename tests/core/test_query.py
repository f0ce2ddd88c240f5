"""Parameters as a query string and back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import Invalid
from windlass.core.operations.query import decode, encode
from windlass.core.operations.registry import ArtifactQuery, LineageQuery
from windlass.core.operations.traces import TraceQuery


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
