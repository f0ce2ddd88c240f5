"""Checks with sentences, and the text field of an output."""

from __future__ import annotations

from typing import Any

import pytest

from windlass.core.errors import Invalid
from windlass.runtime.schema import check_arguments, complaint, object_of, text_of

ANSWER = {
    "type": "object",
    "properties": {"text": {"type": "string", "x-windlass-text": True}, "note": {"type": "string"}, "symbols": {"type": "array"}},
    "required": ["text"],
}


def test_a_complaint_names_the_field() -> None:
    assert complaint(ANSWER, {"text": "x", "symbols": []}) is None
    assert "text: 3 is not of type" in str(complaint(ANSWER, {"text": 3}))
    assert '"text" is a required property' in str(complaint(ANSWER, {}))
    with pytest.raises(Invalid, match="not a JSON Schema"):
        complaint({"type": "nonsense"}, 1)


def test_arguments_are_those_the_schema_lists() -> None:
    schema = object_of({"question": {"type": "string"}, "k": {"type": "integer", "default": 3}})
    check_arguments(schema, {"question": "q"}, "component/reply")
    for arguments, said in (
        ({"question": "q", "x": 1}, "takes no 'x'"),
        ({"k": 1}, "needs 'question'"),
        ({"question": 1}, "question: 1 is"),
    ):
        with pytest.raises(Invalid, match=said):
            check_arguments(schema, arguments, "component/reply")


@pytest.mark.parametrize(
    ("output", "schema", "text"),
    [
        ("plain", None, "plain"),
        (None, None, ""),
        ({"text": "shown", "note": "not"}, ANSWER, "shown"),
        ({"said": "only", "n": 1}, {"properties": {"said": {"type": "string"}, "n": {"type": "integer"}}}, "only"),
        ({"a": "1", "b": "2"}, {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}, '{"a":"1","b":"2"}'),
        ({"text": "by ref"}, {"$ref": "#/$defs/Answer", "$defs": {"Answer": ANSWER}}, "by ref"),
        ([1, 2], None, "[1,2]"),
        ({"text": 5}, ANSWER, '{"text":5}'),
        ({"text": "a dict says it", "n": 1}, {"type": "object"}, "a dict says it"),
        ({"text": "by its name", "b": "2"}, {"properties": {"text": {"type": "string"}, "b": {"type": "string"}}}, "by its name"),
        ({"b": "2"}, {}, '{"b":"2"}'),
    ],
)
def test_the_text_of_an_output(output: Any, schema: dict[str, Any] | None, text: str) -> None:
    assert text_of(output, schema) == text
