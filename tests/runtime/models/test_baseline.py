"""The baseline model: frozen by vectors, and the rules it promises, as properties."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.core.errors import ModelFailed
from windlass.core.message import Message, ModelReply, ModelRequest, ToolResultPart, ToolSpec, assistant, system, user
from windlass.runtime.models import Bars
from windlass.runtime.models.baseline import answer
from windlass.runtime.models.baseline_reader import NO_ANSWER, NO_CONTEXT
from windlass.runtime.models.baseline_text import count_tokens, sentences, stem, terms

VECTORS = Path(__file__).with_name("baseline_vectors.json")
PASSAGES = {
    "asyncio.timeout": "Timeout async context manager.\n\nUseful when you want to apply timeout logic around a block of code.",
    "asyncio.gather": "Return a future aggregating results from the given coroutines. They run at the same time.",
    "shlex.split": "Split the string *s* using shell-like syntax.",
    "str.split": "Return a list of the substrings in the string, using sep as the separator string.",
    "random.shuffle": "Shuffle list x in place, and return None.",
    "time.sleep": "Delay execution for a given number of seconds.",
}
ANSWER = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "symbols": {"type": "array", "items": {"type": "string"}}},
    "required": ["text", "symbols"],
}


def ask(question: str, told: str = "Answer only from the passages.", schema: Any = None, passages: dict[str, str] = PASSAGES) -> ModelReply:
    context = "\n".join(f"[{key}] {text}" for key, text in passages.items())
    return answer(ModelRequest("baseline", (system(told), user(f"{question}\n\n{context}")), output_schema=schema))


def symbols(question: str, told: str = "", passages: dict[str, str] = PASSAGES) -> list[str]:
    found = json.loads(ask(question, told, ANSWER, passages).message.text)["symbols"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("vector", json.loads(VECTORS.read_text("utf-8")), ids=lambda v: v["name"])
def test_frozen(vector: dict[str, Any]) -> None:
    """`model/baseline@1` never changes: a difference here is a new number, not a new vector."""
    reply = answer(msgspec.convert(vector["request"], ModelRequest))
    told = {"parts": reply.message.parts, "stop": reply.stop, "usage": reply.usage, "id": reply.response_id}
    assert msgspec.json.decode(msgspec.json.encode(told)) == vector["reply"]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80), st.lists(st.tuples(st.from_regex(r"[a-z_.]{1,20}", fullmatch=True), st.text(max_size=200)), max_size=6))
def test_it_says_only_what_stands_in_its_context(question: str, rows: list[tuple[str, str]]) -> None:
    given_text = dict(rows)
    reply = ask(question, schema=ANSWER, passages=given_text)
    found = json.loads(reply.message.text)
    whole = " ".join((question + "\n" + "\n".join(given_text.values())).split())
    if found["text"] not in (NO_ANSWER, NO_CONTEXT):
        for sentence in sentences("\n".join(given_text.values())):
            found["text"] = found["text"].replace(sentence, "")
        assert all(word in whole for word in found["text"].split())
    assert reply.cost == 0 and reply.message == ask(question, schema=ANSWER, passages=given_text).message


def test_it_finds_what_is_there_and_says_when_nothing_is() -> None:
    strict = "Answer only from the passages. If they don't answer it, say so."
    assert symbols("How do I split a shell command?", strict) == ["shlex.split"]
    assert ask("How do I bake bread?", strict).message.text == NO_ANSWER
    assert ask("How do I bake bread?", strict, passages={}).message.text == NO_CONTEXT
    assert json.loads(ask("How do I bake bread?", strict, ANSWER).message.text) == {"text": NO_ANSWER, "symbols": []}


def test_told_to_abstain_it_needs_firmer_ground() -> None:
    question = "Which function will delay the departure of a train?"
    assert symbols(question, "Answer from the passages.") == ["time.sleep"]
    for told in ("If they don't answer it, say so.", "If no passage answers it, reply that you don't know.", "Do not guess."):
        assert symbols(question, told) == []


def test_the_number_of_sentences_and_symbols_is_as_told() -> None:
    question = "How can coroutines run at the same time and return results?"
    assert len(sentences(ask(question, "Answer with one sentence.").message.text.split(" [")[0])) == 1
    assert ask(question, "Use at most two sentences.").message.text.count(".") >= 2
    wide = {"a.one": "Read the file quickly.", "b.two": "Read the file slowly.", "c.three": "Read the file backwards."}
    assert len(symbols("How to read the file?", "At most 3 sentences.", wide)) == 3
    assert len(symbols("How to read the file?", "At most 3 sentences, naming one symbol.", wide)) == 1


def test_order_and_number_of_passages_matter() -> None:
    same = {"a.x": "Read the file.", "b.x": "Read the file."}
    one = "Answer with one sentence."
    assert symbols("read the file", one, same) == ["a.x"]
    assert symbols("read the file", one, dict(reversed(same.items()))) == ["b.x"]


def test_examples_and_hints_teach_it_words() -> None:
    question = "How do I mix up the order of my cards?"
    assert symbols(question, "If they don't answer it, say so.") == []
    hint = "If they don't answer it, say so.\nmix up, jumble -> shuffle in place"
    assert symbols(question, hint) == ["random.shuffle"]
    example = "If they don't answer it, say so.\n\nQ: How do I mix up the order of songs?\nA: Use shuffle. [random.shuffle]"
    assert symbols(question, example) == ["random.shuffle"]
    misleading = example.replace("[random.shuffle]", "[time.sleep]")
    assert symbols(question, misleading) != ["random.shuffle"]
    turns = (user("How do I mix up the order of songs?"), assistant('{"text": "…", "symbols": ["random.shuffle"]}'))
    context = "\n".join(f"[{k}] {t}" for k, t in PASSAGES.items())
    request = ModelRequest("baseline", (system("Do not guess."), *turns, user(f"{question}\n{context}")), output_schema=ANSWER)
    assert json.loads(answer(request).message.text)["symbols"] == ["random.shuffle"]


def test_a_symbol_that_is_named_is_meant() -> None:
    assert symbols("What does `str.split` do?", "Answer with one sentence.") == ["str.split"]
    assert symbols("Tell me about random.shuffle please", "Answer with one sentence.") == ["random.shuffle"]


SCHEMAS: list[dict[str, Any]] = [
    ANSWER,
    {"type": "string", "maxLength": 20},
    {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
    {
        "type": "object",
        "properties": {"answered": {"type": "boolean"}, "unanswerable": {"type": "boolean"}},
        "required": ["answered", "unanswerable"],
    },
    {
        "type": "object",
        "properties": {"confidence": {"type": "number", "minimum": 0, "maximum": 1}, "n": {"type": "integer"}},
        "required": ["confidence", "n"],
    },
    {"type": "object", "properties": {"kind": {"enum": ["other", "splitting text", "time"]}}, "required": ["kind"]},
    {
        "type": "object",
        "properties": {"text": {"type": ["string", "null"]}, "source": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
        "required": ["text"],
    },
    {
        "$defs": {
            "Cite": {
                "type": "object",
                "properties": {"symbol": {"type": "string"}, "quote": {"type": "string"}},
                "required": ["symbol", "quote"],
            }
        },
        "type": "object",
        "properties": {"text": {"type": "string"}, "citations": {"type": "array", "items": {"$ref": "#/$defs/Cite"}}},
        "required": ["text", "citations"],
        "additionalProperties": False,
    },
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"const": 3}}, "required": ["b"]},
        ]
    },
]


@pytest.mark.parametrize("question", ["How do I split a shell command?", "How do I bake bread?"])
@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_a_filled_schema_is_always_valid(schema: dict[str, Any], question: str) -> None:
    jsonschema_rs.validate(schema, json.loads(ask(question, "Do not guess.", schema).message.text))


def test_fields_are_filled_by_their_names() -> None:
    found = json.loads(ask("How do I split a shell command?", schema=SCHEMAS[7]).message.text)
    assert found["citations"] == [{"symbol": "shlex.split", "quote": PASSAGES["shlex.split"]}]
    assert json.loads(ask("How do I split a shell command?", schema=SCHEMAS[3]).message.text) == {"answered": True, "unanswerable": False}
    assert json.loads(ask("How do I bake bread?", "Do not guess.", SCHEMAS[6]).message.text)["text"] is None
    assert json.loads(ask("How do I split a shell command?", schema=SCHEMAS[5]).message.text) == {"kind": "splitting text"}


def test_a_schema_beyond_its_rules_is_an_error_that_names_the_place() -> None:
    schema = {"type": "object", "properties": {"date": {"type": "string", "pattern": "^\\d{4}$"}}, "required": ["date"]}
    with pytest.raises(ModelFailed, match="cannot fill") as e:
        ask("How do I split a shell command?", schema=schema)
    assert e.value.where == "/date"


TOOLS = (
    ToolSpec(
        "search_documentation",
        "Search the documentation for passages about a question.",
        {"type": "object", "properties": {"query": {"type": "string"}, "k": {"type": "integer"}}, "required": ["query"]},
    ),
    ToolSpec(
        "read_entry",
        "The documentation of one module, class or function, by its qualified name.",
        {"type": "object", "properties": {"symbol": {"type": "string"}}, "required": ["symbol"]},
    ),
    ToolSpec(
        "evaluate_literal",
        "Evaluate a literal expression of numbers and lists.",
        {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
    ),
)


def work(question: str, results: dict[str, str]) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Play the tools until it answers: the calls it made, and the answer."""
    messages: list[Message] = [system("Use the tools."), user(question)]
    calls = []
    for _ in range(8):
        reply = answer(ModelRequest("baseline", tuple(messages), tools=TOOLS))
        if reply.stop != "tool_calls":
            return calls, reply.message.text
        call = reply.message.tool_calls[0]
        calls.append((call.name, call.arguments))
        messages += [reply.message, Message("tool", (ToolResultPart(call.id, results[call.name]),))]
    raise AssertionError("it never stopped")


def test_as_an_agent_it_chooses_the_tool_that_fits_and_answers_from_the_result() -> None:
    found = "[shlex.split] Split the string *s* using shell-like syntax.\n[str.split] Return a list of the substrings."
    entry = "Delay execution for a given number of seconds."
    results = {"search_documentation": found, "read_entry": entry, "evaluate_literal": "1027"}
    assert work("What is 2**10 + 3?", results) == ([("evaluate_literal", {"expression": "2**10 + 3"})], "1027")
    assert work("Evaluate [1, 2, 3] for me", results)[0] == [("evaluate_literal", {"expression": "[1, 2, 3]"})]
    calls, text = work("What does `time.sleep` do?", results)
    assert calls == [("read_entry", {"symbol": "time.sleep"})] and text == f"{entry} [time.sleep]"
    question = "How can I split a shell command?"
    calls, text = work(question, results)
    assert (
        calls == [("search_documentation", {"query": question})] and text == "Split the string *s* using shell-like syntax. [shlex.split]"
    )


def test_as_an_agent_it_always_stops() -> None:
    nothing = {"search_documentation": "[]", "read_entry": "There is no entry.", "evaluate_literal": "no"}
    calls, text = work("How do I bake bread with yeast and patience?", nothing)
    assert (len(calls) <= len(TOOLS) and NO_ANSWER in text) or NO_CONTEXT in text


async def test_a_stream_is_the_answer_in_words() -> None:
    request = ModelRequest("baseline", (user("How do I split a shell command?\n[shlex.split] Split the string using shell-like syntax."),))
    deltas = [d async for d in Bars().find("baseline").stream(request)]
    assert deltas[-1].reply is not None and len(deltas) > 5
    assert (
        "".join(d.text for d in deltas) == deltas[-1].reply.message.text == (await Bars().find("baseline").complete(request)).message.text
    )


def test_max_tokens_and_stop_are_kept() -> None:
    request = ModelRequest(
        "baseline", (user("split a shell command\n[shlex.split] Split the string using shell-like syntax."),), {"max_tokens": 5}
    )
    reply = answer(request)
    assert reply.stop == "length" and count_tokens(reply.message.text) <= 5
    assert answer(msgspec.structs.replace(request, parameters={"stop": ["using"]})).message.text == "Split the string "


def test_text_is_cut_as_documented() -> None:
    assert count_tokens("Hello, world! extraordinary") == 7
    assert {stem(w) for w in ("parse", "parsing", "parsed", "parses")} == {"pars"}
    assert {stem(w) for w in ("stop", "stopped", "stopping", "stops")} == {"stop"}
    assert terms("readInto os.path read_text") == ["read", "readinto", "os", "path", "read", "text", "readtext"]
    assert sentences("One. Two, e.g. this. Three?\n\n>>> code()\n1\n\n- item") == ["One.", "Two, e.g. this.", "Three?", "- item"]
