"""The schema of a granted tool's arguments: what is not listed is forbidden, and what would not be checked is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.agentops.arguments import LARGEST, LARGEST_CALL, closed, misfit, misfit_own
from windlass.core.errors import Invalid, WindlassError


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return {"properties": {"x": schema}}


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({}, {"to": "x"}),
        ({"properties": {"to": {}}}, {"to": "x", "bcc": "y"}),
        ({"properties": {"to": {"pattern": "a@b"}}}, {"to": "a@b, evil@x"}),
        ({"properties": {"to": {"pattern": "^a@b$"}}}, {"to": "a@b\n"}),
        ({"properties": {"to": {"pattern": "^a@b$"}}}, {"to": "x\na@b"}),
        ({"properties": {"to": {"pattern": "a|b"}}}, {"to": "ax"}),
        ({"properties": {"to": {"pattern": "a@b"}}}, {"to": ["evil@x"]}),  # JSON Schema lets what is no text through a pattern
        ({"properties": {"to": {"maxLength": 3}}}, {"to": {"evil": 1}}),
        ({"properties": {"n": {"maximum": 3}}}, {"n": "9"}),
        ({"properties": {"n": {"minItems": 0}}}, {"n": "9"}),
        ({"properties": {"o": {"type": "object"}}}, {"o": {"evil": 1}}),
        ({"properties": {"o": {"type": ["object", "null"]}}}, {"o": {"evil": 1}}),
        ({"properties": {"o": {"properties": {"a": {}}}}}, {"o": {"a": 1, "evil": 1}}),
        ({"properties": {"l": {"items": {"properties": {"a": {}}}}}}, {"l": [{"evil": 1}]}),
        ({"properties": {"l": {"anyOf": [{"properties": {"a": {}}}, {"type": "string"}]}}}, {"l": {"evil": 1}}),
        ({"properties": {"l": {"additionalProperties": {"pattern": "a"}}}}, {"l": {"x": "b"}}),
    ],
)
def test_what_is_not_listed_is_forbidden(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    assert misfit(closed(schema, "tool/x"), arguments) is not None


def test_what_is_told_to_be_open_is_open() -> None:
    assert misfit(closed({"additionalProperties": True}, "tool/x"), {"any": 1}) is None
    told = closed({"properties": {"o": {"type": "object", "additionalProperties": True}}}, "tool/x")
    assert misfit(told, {"o": {"any": 1}}) is None


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"propertise": {}}, "'propertise' would not be checked (did you mean 'properties'?)"),
        ({"properties": {"to": {"maxlength": 3}}}, "tool/x.properties.to.maxlength"),
        ({"properties": {"to": {"format": "email"}}}, "'format' would not be checked"),
        ({"properties": {"to": {"$ref": "#"}}}, "'$ref' would not be checked"),
        ({"properties": {"to": {"$ref": "http://127.0.0.1:1/schema"}}}, "retriev"),
        ({"patternProperties": {"a": {}}}, "'patternProperties' would not be checked"),
        ({"properties": {"to": {"not": {"const": 1}}}}, "'not' would not be checked"),
        ({"properties": {"to": {"pattern": "a)|(?:b"}}}, "not a JSON Schema that can be checked"),
        ({"properties": {"to": {"pattern": "(?=a)b"}}}, "not a JSON Schema that can be checked"),
        ({"properties": {"to": {"type": "text"}}}, "not a JSON Schema that can be checked"),
        ({"properties": {"to": {"pattern": "a", "maximum": 3}}}, "speaks of number and string at once"),
        ({"type": "array"}, "arguments are an object"),
        ({"required": ["to"]}, "'to' is required and not listed"),
        ({"properties": {"to": {"enum": ["x" * LARGEST]}}}, "at most 32,000 are read"),
        (deep(20), "nested deeper than 16"),
        (deep(50_000), "nested too deep"),
        ({"properties": {"to": {"const": float("nan")}}}, "holds what JSON cannot"),
        ([], "a JSON Schema, an object"),
    ],
    ids=lambda v: v[:40] if isinstance(v, str) else "",
)  # fmt: skip
def test_what_would_let_everything_through_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(WindlassError) as failure:
        closed(schema, "tool/x")
    assert said in str(failure.value)
    assert failure.value.status in (400, 413)


@given(st.sampled_from(["a", "a|b", "[a-z]+", "(?i)x", "^a", "b$", "a.*", "(a|b){2}", ".", "(?s)."]), st.text(max_size=4))
def test_a_pattern_means_the_whole_text(pattern: str, text: str) -> None:
    import re

    fits = misfit(closed({"properties": {"t": {"pattern": pattern}}}, "x"), {"t": text}) is None
    assert fits == (re.fullmatch(pattern, text) is not None and not (text.endswith("\n") and "$" in pattern))


def test_a_hostile_pattern_and_a_large_call_are_soon_answered() -> None:
    """Time is linear in the text: with a matcher that goes back, these 100,000 letters would take for ever."""
    assert misfit(closed({"properties": {"t": {"pattern": "(a+)+"}}}, "x"), {"t": "a" * 100_000 + "b"}) is not None
    assert misfit(closed({"properties": {"t": {}}}, "x"), {"t": "a" * LARGEST_CALL}) == "they are larger than 256,000 bytes"


def test_a_tools_own_schema_may_be_any_but_is_never_fetched_nor_open() -> None:
    recursive = {"properties": {"tree": {"$ref": "#"}}}
    assert misfit_own(recursive, {"tree": {"tree": {}}}) is None
    assert misfit_own({"$ref": "#"}, {"tree": 1}) == "'tree' is not among none"
    assert misfit_own({"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {}) is not None
    with pytest.raises(Invalid, match="disabled"):
        misfit_own({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, {"a": 1})
