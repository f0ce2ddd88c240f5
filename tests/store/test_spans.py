"""What a person reads of a span's input or output."""

from __future__ import annotations

import json

import pytest

from windlass.store.spans import readable

MESSAGES = [
    {"role": "user", "content": "first"},
    {"role": "assistant", "content": "well"},
    {"role": "user", "parts": [{"type": "text", "text": "and"}, {"type": "image", "url": "x"}, {"type": "text", "content": "then?"}]},
]


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        (None, ""),
        ("plain words", "plain words"),
        ('"quoted"', "quoted"),
        ('{"question": "How?"}', "How?"),
        ('{"text": "said", "other": "not"}', "said"),
        ('{"a": "1", "b": "2"}', '{"a": "1", "b": "2"}'),
        (json.dumps(MESSAGES), "and\nthen?"),
        (json.dumps({"messages": MESSAGES, "model": "x"}), "and\nthen?"),
        (json.dumps(MESSAGES[1:2]), "well"),
        ('[{"type": "text", "text": "a part"}]', "a part"),
        ('{"args": ["How?"], "kwargs": {}}', "How?"),
        ('{"args": ["How?"], "kwargs": {"a": "b"}}', '{"args": ["How?"], "kwargs": {"a": "b"}}'),
        ('[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{\\"a\\": 1}"}}]}]', 'calls f { "a": 1 }'),
        ("[1, 2]", "[1, 2]"),
        ("[]", "[]"),
        ('{"messages": [{"role": "user", "content": null}]}', '{"messages": [{"role": "user", "content": null}]}'),
        ('{"messages": [{"role": "user", "content": 5}]}', '{"messages": [{"role": "user", "content": 5}]}'),
        ("5", "5"),
        ("x" * 500, "x" * 400 + "…"),
    ],
)
def test_what_a_person_reads_of_an_input(kept, shown):
    assert readable(kept) == shown
