"""Long texts shortened: JSON stays JSON, and nothing is longer than it may be."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.core.conversation import gist
from windlass.core.shortening import KEPT, SHORTENS, beginning, is_long, kept, shortened, shortened_object, within

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=60), st.text("long ", min_size=300, max_size=6_000)),
    lambda inner: st.one_of(st.lists(inner, max_size=40), st.dictionaries(st.text(max_size=20), inner, max_size=10)),
    max_leaves=60,
)


@settings(max_examples=150, deadline=None)
@given(values, st.sampled_from([200, 2_000, KEPT]))
def test_json_stays_json_and_is_short_enough(value: object, most: int) -> None:
    text = msgspec.json.encode(value).decode()
    made = shortened(text, most)
    assert len(made) <= most
    assert (made == text) == (len(text) <= most)
    if text[:1] in "[{":
        told = shortened_object(text, most)
        assert len(told) <= most
        assert type(msgspec.json.decode(told)) is type(value)


@pytest.mark.parametrize("text", ["x" * 100, "[1, 2" + "x" * 100, "{" * 100, "[" * 5_000 + "]" * 5_000])
def test_what_is_no_json_is_its_beginning(text: str) -> None:
    assert shortened(text, 50) == text[:50]


def test_a_conversation_can_still_be_read() -> None:
    said = [{"role": "system", "content": "You help. " * 20_000}, *({"role": "user", "content": f"question {n}"} for n in range(5_000))]
    made = shortened(msgspec.json.encode(said).decode(), KEPT)
    assert len(made) <= KEPT
    told = msgspec.json.decode(made)
    assert (told[0]["role"], told[-1]["content"]) == ("system", "question 4999")
    assert "question 4999" in gist(made)


def test_rows_share_their_room() -> None:
    rows = [{"input": "x" * 30_000, "output": None, "attributes": '{"a":"' + "y" * 30_000 + '"}'} for _ in range(10)]
    cut = within(rows, 40_000)
    assert [sorted(c) for c in cut][:6] == [[], [], [], [], [], ["attributes", "input"]]
    assert cut[5] == {"input": 30_000, "attributes": 30_008}
    assert len(rows[5]["input"]) == KEPT and msgspec.json.decode(rows[5]["attributes"])["a"].startswith("yyy")
    assert within([{"input": "x" * 50_000}], 40_000) == [{"input": 50_000}]
    assert SHORTENS.keys() >= {"input", "output", "attributes", "events"}


@pytest.mark.parametrize("depth", [10, 300, 400, 500, 600, 900, 1_100, 3_000, 100_000])
def test_json_of_any_depth_is_shortened(depth: int) -> None:
    for text in ("[" * depth + f'"{"x" * KEPT}"' + "]" * depth, '{"a":' * depth + f'"{"x" * KEPT}"' + "}" * depth):
        assert len(shortened(text, KEPT)) <= KEPT
        assert isinstance(msgspec.json.decode(shortened_object(text, KEPT)), dict | list)


def test_half_a_character_is_no_error() -> None:
    text = '{"a": "\ud800", "b": "' + "x" * KEPT + '"}'
    assert (shortened(text, KEPT), shortened_object(text, KEPT)) == (text[:KEPT], "{}")
    assert kept("input", text) == text[: KEPT - 2].replace("\ud800", "")
    assert is_long(text) and is_long("\ud800" * KEPT)


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=1, max_size=50), st.integers(1, 2 * KEPT), st.sampled_from(["input", "attributes"]))
def test_what_a_row_keeps_is_bounded_in_bytes(piece: str, size: int, column: str) -> None:
    text = (piece * (size // len(piece) + 1))[:size]
    text = text if column == "input" else msgspec.json.encode({"a": text}).decode()
    made = kept(column, text)
    assert len(made.encode()) <= KEPT
    assert is_long(text) == (len(text.encode()) > KEPT) == (made != text)
    if column == "input":
        assert (text.startswith(beginning(text, KEPT)) and len(text[: len(beginning(text, KEPT)) + 1].encode()) > KEPT) or made == text
