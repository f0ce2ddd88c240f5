"""What may stand where somebody is typing in a filter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.filter import FIELDS
from windlass.core.filter_completing import Suggestion, completing, fallback


def at(text: str):
    """`|` is where somebody types."""
    return completing(text.replace("|", ""), text.index("|"))


@pytest.mark.parametrize(
    ("text", "replaced", "suggested"),
    [
        ("|", "", ["status:", "kind:", "attr.", "resource."]),
        ("mo|", "mo", ["model:"]),
        ("a -la|t b", "-lat", ["-latency>"]),
        ("(us|", "us", ["uses:", "user:"]),
        ("a or re|", "re", ["release:", "resource."]),
        ("has:to|", "has:to", ["has:tool", "has:tokens"]),
    ],
)
def test_names_of_fields(text: str, replaced: str, suggested: list[str]) -> None:
    found = at(text)
    assert text.replace("|", "")[found.start : found.end] == replaced
    assert set(suggested) <= {s.text for s in found.known} and (not replaced or len(found.known) == len(suggested))


@pytest.mark.parametrize(
    ("text", "field", "starts", "rest"),
    [
        ("status:error model:gp|", "model", "gp", "status:error"),
        ("-model:|", "model", "", ""),
        ('environment:"pro|', "env", "pro", ""),
        ("user:a b or tag:x|", "tag", "x", ""),
        ("attr.htt|", "attr", "htt", ""),
        ("a attr.http.route:/ch|", "attr.http.route", "/ch", "a"),
        ("kind:mo| latency>1s", "kind", "mo", "latency>1s"),
    ],
)
def test_values_are_asked_for_among_what_fits_the_rest(text: str, field: str, starts: str, rest: str) -> None:
    found = at(text)
    assert (found.field, found.starts, found.rest, found.known) == (field, starts, rest, ())


def test_values_are_written_as_the_language_wants_them() -> None:
    assert at("-user:|").told([("ada", 3), ("b c", 1)]) == (Suggestion("-user:ada", traces=3), Suggestion('-user:"b c"', traces=1))
    assert [s.text for s in at("attr.|").told([("http.route", 2), ("a b", 1)])] == ["attr.http.route:", 'attr."a b":']
    assert [s.text for s in fallback(at("status:e|"))] == ["status:error"]
    assert fallback(at("user:e|")) == () and fallback(at("|")) == ()
    assert at("latency>|").known == (Suggestion("latency>", FIELDS["latency"].about),)


@given(st.text(st.sampled_from('ab:-.()" *>*model\\'), max_size=20), st.integers(-2, 25))
def test_anything_may_be_half_written(text: str, place: int) -> None:
    found = completing(text, place)
    assert 0 <= found.start <= found.end <= len(text)
