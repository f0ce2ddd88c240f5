"""The pieces of a reply, put into blocks that follow one another.

Chat completions may mix the pieces of several tool calls; Anthropic's events and OpenAI's responses are a series of blocks, each
opened, filled and closed before the next. A piece goes on at once wherever that order allows it. What comes while a call is open whose
arguments are no whole JSON object yet waits for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from windlass.core.message import CallDelta, Delta, ModelReply, ReasoningPart, TextPart, ToolCallPart


class Block(msgspec.Struct):
    """One block, as far as it came. `place` counts blocks from 0, `call` the reply's tool calls; `text` is of a call its arguments.
    Of a block that is `redacted` there is nothing but that."""

    kind: Literal["text", "reasoning", "call"]
    place: int
    call: int = -1
    id: str = ""
    name: str = ""
    text: str = ""
    signature: str = ""
    redacted: str = ""


class Step(msgspec.Struct, frozen=True):
    """What happens to a block: it opens, more of its text or its signature comes, it closes."""

    what: Literal["open", "text", "signature", "close"]
    block: Block
    more: str = ""


class Blocks:
    """Blocks of one reply. `made` are those that were opened."""

    def __init__(self) -> None:
        self.made: list[Block] = []
        self._open: Block | None = None
        self._waiting: list[Delta] = []
        self._closed: set[int] = set()  # calls

    def add(self, delta: Delta) -> Iterator[Step]:
        """What a piece does."""
        if delta.call is not None and delta.call.index in self._closed:  # its arguments are whole: this is space, or the reply fails
            return
        if self._waits(delta):
            self._waiting.append(delta)
            return
        yield from self._put(delta)
        if self._waiting and self._is_whole():
            yield from self._catch_up()

    def end(self, reply: ModelReply) -> Iterator[Step]:
        """What is left, with what the reply has and nobody streamed."""
        while self._waiting:
            yield from self._close()
            yield from self._catch_up()
        if reply.message.text and not any(b.kind == "text" for b in self.made):
            yield from self._put(Delta(reply.message.text))
        for index in range(len([b for b in self.made if b.kind == "call"]), len(reply.message.tool_calls)):
            call = reply.message.tool_calls[index]
            yield from self._put(Delta(call=CallDelta(index, call.id, call.name, msgspec.json.encode(call.arguments).decode())))
        yield from self._close()

    def _waits(self, delta: Delta) -> bool:
        block = self._open
        if block is None or block.kind != "call" or (delta.call is not None and delta.call.index == block.call):
            return False
        return bool(self._waiting) or not self._is_whole()

    def _is_whole(self) -> bool:
        """Whether nothing more can belong to the open block."""
        block = self._open
        if block is None or block.kind != "call":
            return True
        if not block.text.rstrip().endswith("}"):
            return False
        try:
            return isinstance(msgspec.json.decode(block.text), dict)
        except msgspec.DecodeError:
            return False

    def _catch_up(self) -> Iterator[Step]:
        """What waited, in its order, as far as blocks can follow one another."""
        while self._waiting and self._is_whole():
            first = self._waiting[0]
            taken = [d for d in self._waiting if d.call and first.call and d.call.index == first.call.index] or [first]
            self._waiting = [d for d in self._waiting if not any(d is t for t in taken)]
            for delta in taken:
                yield from self._put(delta)

    def _put(self, delta: Delta) -> Iterator[Step]:
        if delta.reasoning is not None:
            yield from self._think(delta.reasoning)
        if delta.text:
            if self._open is None or self._open.kind != "text":
                yield from self._begin(Block("text", len(self.made)))
            yield self._fill(delta.text)
        if (call := delta.call) is not None:
            if self._open is None or self._open.call != call.index:
                yield from self._begin(Block("call", len(self.made), call.index, call.id, call.name))
            if call.arguments:
                yield self._fill(call.arguments)

    def _think(self, piece: ReasoningPart) -> Iterator[Step]:
        block = self._open
        another = block is None or block.kind != "reasoning" or bool(block.signature and piece.text)
        if piece.redacted or another or (block and block.redacted):
            yield from self._begin(Block("reasoning", len(self.made), redacted=piece.redacted))
        assert self._open is not None
        if piece.text:
            yield self._fill(piece.text)
        if piece.signature:
            self._open.signature += piece.signature
            yield Step("signature", self._open, piece.signature)

    def _begin(self, block: Block) -> Iterator[Step]:
        yield from self._close()
        self.made.append(block)
        self._open = block
        yield Step("open", block)

    def _fill(self, text: str) -> Step:
        assert self._open is not None
        self._open.text += text
        return Step("text", self._open, text)

    def _close(self) -> Iterator[Step]:
        block, self._open = self._open, None
        if block is None:
            return
        self._closed |= {block.call} if block.kind == "call" else set()
        if block.kind == "call" and not block.text:  # a call without arguments: clients read them as JSON
            block.text = "{}"
            yield Step("text", block, "{}")
        yield Step("close", block)


def blocks_of(reply: ModelReply) -> list[Block]:
    """The blocks of a whole reply, in its own order."""
    blocks = Blocks()
    calls = 0
    for part in reply.message.parts:
        delta = Delta()
        if isinstance(part, ReasoningPart):
            delta = Delta(reasoning=part)
        elif isinstance(part, TextPart):
            delta = Delta(part.text)
        elif isinstance(part, ToolCallPart):
            delta = Delta(call=CallDelta(calls, part.id, part.name, msgspec.json.encode(part.arguments).decode()))
            calls += 1
        list(blocks.add(delta))
    list(blocks.end(reply))
    return blocks.made
