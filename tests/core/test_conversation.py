"""What was said, as each library writes it down."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.core.conversation import Part, Turn, asked, gist, turns

ASKED, CALLED = Part("text", "Where is order 7?"), Part("call", '{\n  "order": 7\n}', "orders")
GAVE = Turn("tool", (Part("result", "shipped", "orders"),))
PIXEL = "iVBORw0KGgo="
CONVERSATIONS: dict[str, tuple[Any, list[Turn]]] = {
    "openai": (
        [
            {"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Where is order 7?"}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function",
             "function": {"name": "orders", "arguments": '{"order": 7}'}}]},
            {"role": "tool", "tool_call_id": "1", "name": "orders", "content": "shipped"},
        ],
        [Turn("system", (Part("text", "Be brief."),)), Turn("user", (ASKED,)), Turn("assistant", (CALLED,)), GAVE],
    ),
    "openai answer": ({"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]},
                      [Turn("assistant", (Part("text", "Hi"),))]),
    "openai responses": (
        {"instructions": "Be brief.", "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Where is order 7?"}]},
            {"type": "function_call", "call_id": "1", "name": "orders", "arguments": '{"order": 7}'},
            {"type": "function_call_output", "call_id": "1", "name": "orders", "output": "shipped"}]},
        [Turn("system", (Part("text", "Be brief."),)), Turn("user", (ASKED,)), Turn("assistant", (CALLED,)), GAVE],
    ),
    "anthropic": (
        {"system": "Be brief.", "messages": [
            {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                                         {"type": "text", "text": "Where is order 7?"}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"},
                                              {"type": "tool_use", "id": "1", "name": "orders", "input": {"order": 7}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "shipped"}]}]}]},
        [Turn("system", (Part("text", "Be brief."),)), Turn("user", (Part("image", f"data:image/png;base64,{PIXEL}"), ASKED)),
         Turn("assistant", (Part("thought", "hm"), CALLED)), Turn("user", (Part("result", "shipped"),))],
    ),
    "gemini": (
        {"contents": [{"role": "user", "parts": [{"text": "Where is order 7?"}]},
                      {"role": "model", "parts": [{"functionCall": {"name": "orders", "args": {"order": 7}}}]}]},
        [Turn("user", (ASKED,)), Turn("assistant", (CALLED,))],
    ),
    "gemini answer": (
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}}]},
        [Turn("assistant", (Part("text", "Hi"),))]),
    "langchain": (
        {"messages": [[
            {"lc": 1, "type": "constructor", "id": ["HumanMessage"], "kwargs": {"content": "Where is order 7?", "type": "human"}},
            {"lc": 1, "type": "constructor", "id": ["AIMessage"],
             "kwargs": {"content": "", "type": "ai", "tool_calls": [{"name": "orders", "args": {"order": 7}, "id": "1"}]}}]]},
        [Turn("user", (ASKED,)), Turn("assistant", (CALLED,))],
    ),
    "openinference": (
        [{"role": "user", "contents": [{"message_content": {"type": "text", "text": "Where is order 7?"}}]},
         {"role": "assistant", "tool_calls": [{"tool_call": {"function": {"name": "orders", "arguments": '{"order": 7}'}}}]}],
        [Turn("user", (ASKED,)), Turn("assistant", (CALLED,))],
    ),
    "genai": (
        [{"role": "user", "parts": [{"type": "text", "content": "Where is order 7?"},
                                    {"type": "blob", "modality": "image", "mime_type": "image/png", "content": PIXEL}]},
         {"role": "assistant", "parts": [{"type": "tool_call", "id": "1", "name": "orders", "arguments": {"order": 7}}]},
         {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "name": "orders", "response": "shipped"}]}],
        [Turn("user", (ASKED, Part("image", f"data:image/png;base64,{PIXEL}"))), Turn("assistant", (CALLED,)), GAVE],
    ),
    "vercel": (
        [{"role": "user", "content": [{"type": "text", "text": "Where is order 7?"}, {"type": "file", "filename": "a.pdf"}]},
         {"role": "assistant", "content": [{"type": "tool-call", "toolCallId": "1", "toolName": "orders", "input": {"order": 7}}]},
         {"role": "tool", "content": [{"type": "tool-result", "toolName": "orders", "output": "shipped"}]}],
        [Turn("user", (ASKED, Part("document", "a.pdf"))), Turn("assistant", (CALLED,)), GAVE],
    ),
    "a choice of OpenTelemetry": ([{"role": "assistant", "index": 0, "finish_reason": "stop", "content": "Hi"}],
                                  [Turn("assistant", (Part("text", "Hi"),))]),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_of_each_library_the_messages_are_read(name: str) -> None:
    told, expected = CONVERSATIONS[name]
    assert list(turns(json.dumps(told), "input")) == expected


@pytest.mark.parametrize(
    ("told", "parts"),
    [
        ("plain", [Part("text", "plain")]), ('"quoted"', [Part("text", "quoted")]), ('{"a": 1}', [Part("json", '{\n  "a": 1\n}')]),
        ("[1, 2]", [Part("json", "[\n  1,\n  2\n]")]), ("{broken", [Part("text", "{broken")]), ("5", [Part("text", "5")]),
    ],
)  # fmt: skip
def test_what_is_no_message_stays_as_it_is(told: str, parts: list[Part]) -> None:
    assert turns(told, "output") == (Turn("output", tuple(parts)),)


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "data:text/html;base64,PGI+", "data:image/svg+xml;base64,PHN2Zz4=", "https://elsewhere/x.png"]
)
def test_nothing_but_a_picture_is_a_picture(address: str) -> None:
    (turn,) = turns(json.dumps([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": address}}]}]), "input")
    assert not turn.parts[0].text.startswith("data:image/")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | st.sampled_from(["user", "image", "tool_use", "text", "ai"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["role", "content", "type", "parts", "messages", "tool_calls", "toolCalls", "function", "name", "message", "kwargs", "source",
             "image_url", "text", "choices", "input", "output", "arguments", "tool_call", "message_content", "functionCall", "system"]
        ), inner, max_size=5),
    max_leaves=30,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(values)
def test_whatever_is_sent_is_shown_somehow(value: Any) -> None:
    told = json.dumps(value)
    for turn in turns(told, "input"):
        assert isinstance(turn.role, str) and all(isinstance(p.text, str) and isinstance(p.name, str) for p in turn.parts)
    assert isinstance(gist(told), str)


def test_what_a_model_was_told_beside_its_messages_comes_first_and_once() -> None:
    messages = '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]'
    beside = '[{"type": "text", "content": "Of the shop."}]'
    assert [(t.role, t.text) for t in asked(messages, beside)] == [("system", "Of the shop."), ("system", "Be brief."), ("user", "Why?")]
    assert [t.text for t in asked(messages, '[{"type": "text", "content": "Be brief."}]')] == ["Be brief.", "Why?"]
    assert asked(messages, None) == turns(messages, "user") and [t.role for t in asked(None, "Be brief.")] == ["system"]


def test_what_a_search_gave_is_documents_with_all_that_is_known_of_them() -> None:
    found = [
        {"key": "a.b", "document": "a.b", "text": "It opens.", "span": [0, 9], "score": 13.844639},
        {"id": "doc-2", "content": "Closed.", "score": 0.5},
    ]
    (said,) = turns(json.dumps(found), "output")
    assert [(p.kind, p.name, p.text) for p in said.parts] == [
        ("document", "a.b · 13.8", 'It opens.\n{"span":[0,9]}'), ("document", "doc-2 · 0.5", "Closed."),
    ]  # fmt: skip
    (chained,) = turns('{"documents": [{"page_content": "x", "metadata": {"source": "f"}, "type": "Document"}]}', "output")
    assert [(p.kind, p.text) for p in chained.parts] == [("document", 'x\n{"metadata":{"source":"f"}}')]
    for other in ([{"id": 1, "content": "a"}, {"id": 2}], [{"text": "a", "weather": 1}], [], {"a": []}):
        assert all(p.kind != "document" for t in turns(json.dumps(other), "output") for p in t.parts), other


def test_of_a_function_that_takes_nothing_there_is_nothing_to_read() -> None:
    assert gist("{}") == "" and turns("{}", "input")[0].parts[0].text == "{}"
    assert gist("[]") == "[]"  # what was found: nothing


def test_what_lies_very_deep_is_shown_too() -> None:
    deep = "[" * 5_000 + "]" * 5_000
    assert turns(deep, "input")[0].parts
    assert gist(deep) == deep
    inner: Any = "x"
    for _ in range(50):
        inner = [{"role": "user", "content": [{"type": "text", "content": [inner]}]}]
    turns(json.dumps(inner), "input")
