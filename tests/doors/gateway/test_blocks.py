"""Pieces of a reply in any order, as blocks that follow one another: nothing is lost, nothing waits that need not."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.message import CallDelta, Delta, Message, ModelReply, ReasoningPart, TextPart, ToolCallPart
from windlass.doors.gateway.blocks import Block, Blocks, Step, blocks_of

ARGUMENTS = st.dictionaries(st.text(max_size=5), st.recursive(st.integers() | st.text(max_size=5), st.lists, max_leaves=4), max_size=3)


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted(p % (len(text) + 1) for p in places)
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


@st.composite
def replies(draw: st.DrawFn) -> tuple[list[Delta], list[dict[str, object]]]:
    """Deltas of several calls, mixed, with text and reasoning among them; and the arguments of each call."""
    calls = draw(st.lists(ARGUMENTS, max_size=4))
    lanes: list[list[Delta]] = []
    for index, arguments in enumerate(calls):
        pieces = cut(json.dumps(arguments), draw(st.lists(st.integers(0, 99), max_size=4)))
        lanes.append(
            [Delta(call=CallDelta(index, f"id{index}", f"tool{index}")), *(Delta(call=CallDelta(index, arguments=p)) for p in pieces)]
        )
    lanes.append([Delta(t) for t in draw(st.lists(st.text("ab", min_size=1, max_size=3), max_size=3))])
    lanes.append([Delta(reasoning=ReasoningPart(t)) for t in draw(st.lists(st.text("xy", min_size=1, max_size=3), max_size=3))])
    mixed: list[Delta] = []
    begun = 0
    while any(lanes):
        open_ = [lane for i, lane in enumerate(lanes) if lane and (i <= begun or i >= len(calls))]
        lane = draw(st.sampled_from(open_))
        if lane[0].call is not None and lane[0].call.id:
            begun += 1
        mixed.append(lane.pop(0))
    return mixed, calls


def followed(steps: list[Step]) -> None:
    """Blocks open one after another, in the order of their places, and are filled while they are open."""
    open_: Block | None = None
    places = []
    for step in steps:
        if step.what == "open":
            assert open_ is None
            open_ = step.block
            places.append(step.block.place)
        else:
            assert open_ is step.block
            open_ = None if step.what == "close" else open_
    assert open_ is None and places == list(range(len(places)))


@given(replies())
def test_any_mixture_of_pieces_is_blocks_in_a_row(drawn: tuple[list[Delta], list[dict[str, object]]]) -> None:
    deltas, calls = drawn
    blocks = Blocks()
    steps = [s for d in deltas for s in blocks.add(d)]
    parts = tuple(ToolCallPart(f"id{i}", f"tool{i}", a) for i, a in enumerate(calls))
    steps += blocks.end(ModelReply(Message("assistant", (TextPart("".join(d.text for d in deltas)), *parts)), "stop"))
    followed(steps)
    found = {b.call: json.loads(b.text) for b in blocks.made if b.kind == "call"}
    assert found == dict(enumerate(calls))
    assert "".join(b.text for b in blocks.made if b.kind == "text") == "".join(d.text for d in deltas)
    thought = "".join(d.reasoning.text for d in deltas if d.reasoning)
    assert "".join(b.text for b in blocks.made if b.kind == "reasoning") == thought
    for block in blocks.made:
        told = "".join(s.more for s in steps if s.block is block and s.what == "text")
        assert told == block.text


@given(replies())
def test_what_need_not_wait_goes_on_at_once(drawn: tuple[list[Delta], list[dict[str, object]]]) -> None:
    """A piece is held back only while a call is open whose arguments are not whole."""
    blocks = Blocks()
    arguments: dict[int, str] = {}
    for delta in drawn[0]:
        steps = list(blocks.add(delta))
        if delta.call is not None:
            arguments[delta.call.index] = arguments.get(delta.call.index, "") + delta.call.arguments
        unfinished = [i for i, a in arguments.items() if not _whole(a)]
        piece = delta.text or (delta.reasoning.text if delta.reasoning else "") or (delta.call.arguments if delta.call else "")
        if piece and not [i for i in unfinished if delta.call is None or i != delta.call.index]:
            assert any(s.what == "text" and s.more == piece for s in steps)


def _whole(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def test_signatures_end_the_reasoning_they_are_of() -> None:
    blocks = Blocks()
    pieces = [
        ReasoningPart("a"),
        ReasoningPart(signature="1"),
        ReasoningPart(redacted="zz"),
        ReasoningPart("b"),
        ReasoningPart(signature="2"),
    ]
    steps = [s for p in pieces for s in blocks.add(Delta(reasoning=p))]
    steps += blocks.end(ModelReply(Message("assistant", ()), "stop"))
    followed(steps)
    assert [(b.text, b.signature, b.redacted) for b in blocks.made] == [("a", "1", ""), ("", "", "zz"), ("b", "2", "")]


def test_a_whole_reply_keeps_its_order() -> None:
    parts = (ReasoningPart("t", "s"), TextPart("a"), ToolCallPart("1", "f", {}), TextPart("b"), ToolCallPart("2", "g", {"x": [1]}))
    made = blocks_of(ModelReply(Message("assistant", parts), "tool_calls"))
    assert [(b.kind, b.text) for b in made] == [("reasoning", "t"), ("text", "a"), ("call", "{}"), ("text", "b"), ("call", '{"x":[1]}')]
    assert [msgspec.json.decode(b.text) for b in made if b.kind == "call"] == [{}, {"x": [1]}]


def test_calls_that_nobody_streamed_come_with_the_reply() -> None:
    blocks = Blocks()
    steps = list(blocks.add(Delta("Hi")))
    steps += blocks.end(ModelReply(Message("assistant", (TextPart("Hi"), ToolCallPart("1", "f", {"a": 1}))), "tool_calls"))
    followed(steps)
    assert [(b.kind, b.text) for b in blocks.made] == [("text", "Hi"), ("call", '{"a":1}')]
