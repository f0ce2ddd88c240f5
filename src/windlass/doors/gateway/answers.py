"""Answers that are made here: a model that speaks another dialect (or is the baseline), and a release.

Both are translated: the caller's request into our words, the reply into the caller's dialect, whole or as a stream. The
first piece is awaited before the status goes out, so that a failure is told by the status wherever it can be.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Protocol

import msgspec

from windlass.core.errors import Invalid, ModelFailed, WindlassError, error_from_dict
from windlass.core.ids import now_ns
from windlass.core.message import Delta, Message, ModelReply, ModelRequest, TextPart, Usage
from windlass.core.operations.runs import RunPiece, RunResult
from windlass.core.ref import ENVIRONMENTS, Ref
from windlass.core.span import Span
from windlass.doors.gateway import wire_anthropic, wire_openai, wire_responses
from windlass.doors.gateway.calls import Call, counted
from windlass.doors.gateway.exchange import ClientGone, Exchange
from windlass.runtime.context import Records, RunContext
from windlass.runtime.models import Model, Price


class Runs(Protocol):
    """`runtime.execute.Executor`, as far as the gateway needs it."""

    async def execute(self, target: Ref, given: Any, context: RunContext) -> RunResult: ...

    def execute_stream(self, target: Ref, given: Any, context: RunContext) -> AsyncGenerator[RunPiece, None]: ...

    def running(self, run: str) -> RunContext | None: ...

    async def knows(self, target: Ref) -> bool: ...


class Writer(Protocol):
    def start(self) -> bytes: ...
    def piece(self, delta: Delta) -> bytes: ...
    def end(self, reply: ModelReply, usage: bool = True) -> bytes: ...
    def error(self, error: WindlassError, status: int) -> bytes: ...


class Face(Protocol):
    """An interface as its clients see it: `wire_openai`, `wire_responses`, `wire_anthropic`."""

    def request_of(self, body: dict[str, Any], keep: Any) -> ModelRequest: ...
    def reply_body(self, reply: ModelReply, model: str, asked: dict[str, Any], usage: bool = True) -> bytes: ...
    def error_body(self, error: WindlassError, status: int) -> bytes: ...
    def error_event(self, error: WindlassError, status: int) -> bytes: ...
    @property
    def StreamWriter(self) -> type[Any]: ...


FACES: dict[str, Face] = {"/chat/completions": wire_openai, "/responses": wire_responses, "/messages": wire_anthropic}  # by path


async def answer_model(
    exchange: Exchange, call: Call, model: Model, face: Face, request: ModelRequest, body: dict[str, Any], records: Records, price: Price
) -> None:
    """Ask a model in its own dialect and answer in the caller's; the span is recorded when the answer is out."""
    translation = Translation(face, request, body, price)
    try:
        async with exchange.watched():
            await translation.carry(exchange, call, model)
    except ClientGone:
        translation.problem = "the client left before its answer was whole"
        call.left = True
    except WindlassError as e:
        translation.problem = e.message
        raise
    finally:
        records.record([translation.span(call)])


class Translation:
    """One request in the caller's dialect, and the answer of a model that speaks another."""

    def __init__(self, face: Face, request: ModelRequest, body: dict[str, Any], price: Price) -> None:
        self.problem = ""
        self.reply: ModelReply | None = None
        self.stream = bool(body.get("stream"))
        self._face = face
        self._request = request
        self._body = body
        self._price = price
        self._said = Said()
        self._model: Model | None = None  # that was asked last

    async def carry(self, exchange: Exchange, call: Call, model: Model, timeout_s: float | None = None) -> None:
        """Ask the model, and write its answer. Raises what the model raises."""
        self._model = model
        if self.stream:
            writer = self._face.StreamWriter(call.model, call.span_id, self._body)
            async with contextlib.aclosing(_timed(model.stream(self._request, timeout_s=timeout_s), call)) as deltas:
                self.reply = await _write(exchange, deltas, writer, self._said)
            return
        self.reply = reply = await model.complete(self._request, timeout_s=timeout_s)
        call.first_ns = now_ns()
        named = msgspec.structs.replace(reply, response_id=reply.response_id or call.span_id)
        await exchange.respond(200, self._face.reply_body(named, call.model, self._body, reply.usage.input is not None))

    def span(self, call: Call, more: Mapping[str, Any] | None = None, lost: float | None = 0.0) -> Span:
        """The span of the call; `more` are further attributes, `lost` the dollars of attempts before."""
        reply, said, model = self.reply, self._said, self._model
        estimated = reply is None and said.pieces > 0 and model is not None
        if estimated and model is not None:
            usage = counted(Usage(), self._request.messages, said.size, said.pieces)
            cost = self._price(model.provider, model.id.partition("/")[2], usage, call.start_ns)
            reply = ModelReply(Message("assistant", (TextPart("".join(said.texts)),)), "error", usage, cost=cost)
        if reply is not None and lost != 0:
            reply = msgspec.structs.replace(reply, cost=None if lost is None or reply.cost is None else reply.cost + lost)
        return call.span(self._request.messages, reply, self.problem, estimated=estimated, more=more)


class Said:
    """What has gone out of an answer; `size` in bytes."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.pieces = 0
        self.size = 0

    def add(self, delta: Delta) -> None:
        told = (delta.text, delta.reasoning.text if delta.reasoning else "", delta.call.arguments if delta.call else "")
        self.pieces += 1
        self.size += sum(len(t.encode()) for t in told)
        if delta.text:
            self.texts.append(delta.text)


async def _timed(deltas: AsyncIterator[Delta], call: Call) -> AsyncGenerator[Delta, None]:
    async with contextlib.aclosing(deltas) as open_deltas:  # type: ignore[type-var]
        async for delta in open_deltas:
            call.first_ns = call.first_ns or now_ns()
            yield delta


async def _write(exchange: Exchange, deltas: AsyncGenerator[Delta, None], writer: Writer, said: Said) -> ModelReply:
    """Write a stream; its reply."""
    async for delta in deltas:
        if not exchange.begun:
            exchange.error_event = writer.error
            await exchange.begin()
            await exchange.write(writer.start())
        if delta.reply is not None:
            await exchange.write(writer.end(delta.reply, delta.reply.usage.input is not None))
            await exchange.end()
            return delta.reply
        said.add(delta)
        if piece := writer.piece(delta):
            await exchange.write(piece)
    raise ModelFailed("the model stopped without an answer")


def run_context(call: Call, target: Ref) -> RunContext:
    """The context of a run for a caller, in the caller's trace. What a run's own code asks for stays under the run's grant and agents."""
    environment = target.label if target.label in ENVIRONMENTS else None
    return RunContext(
        actor=call.actor,
        trace=call.trace_id,
        parent=call.parent,
        project=target.project,
        environment=environment,
        evaluation=call.actor.evaluation,
        session=call.session,
        user=call.user,
        grant=call.run.grant if call.run else None,
        agents=call.run.agents if call.run else (),
    )


async def answer_release(exchange: Exchange, call: Call, runs: Runs, target: Ref, face: Face, body: dict[str, Any], keep: Any) -> None:
    """Run a release on the caller's messages and answer in the caller's dialect. The executor writes the trace."""
    request = face.request_of(body, keep)
    if request.tools:
        raise Invalid("a release brings its own tools", where="tools", remedy="leave them out, or call a raw model")
    given = {"messages": [msgspec.to_builtins(m) for m in request.messages]}
    context = run_context(call, target)
    with contextlib.suppress(ClientGone):
        async with exchange.watched():
            if not body.get("stream"):
                result = await runs.execute(target, given, context)
                await exchange.respond(200, face.reply_body(_reply(result), call.model, body, usage=result.usage is not None))
                return
            writer = face.StreamWriter(call.model, call.span_id, body)
            async with contextlib.aclosing(_deltas(runs.execute_stream(target, given, context))) as deltas:
                await _write(exchange, deltas, writer, Said())


async def _deltas(pieces: AsyncGenerator[RunPiece, None]) -> AsyncGenerator[Delta, None]:
    async with contextlib.aclosing(pieces) as open_pieces:
        async for piece in open_pieces:
            if piece.error is not None:
                raise error_from_dict(piece.error)
            if piece.text:
                yield Delta(piece.text)
            if piece.result is not None:
                yield Delta(reply=_reply(piece.result))


def _reply(result: RunResult) -> ModelReply:
    return ModelReply(
        Message("assistant", (TextPart(result.text),)),
        "stop",
        result.usage or Usage(),
        result.target,
        result.run,
        result.duration_ns,
        cost=result.cost,
    )


async def answer_invoke(exchange: Exchange, call: Call, runs: Runs, target: Ref, given: Any) -> None:
    """Typed JSON in, the output as JSON out; the versions that made it in a header."""
    with contextlib.suppress(ClientGone):
        async with exchange.watched():
            result = await runs.execute(target, given, run_context(call, target))
            headers = [(b"content-type", b"application/json"), (b"windlass-target", result.target.encode())]
            if result.cost is not None:
                headers.append((b"windlass-cost", f"{result.cost:.10f}".rstrip("0").rstrip(".").encode()))
            await exchange.respond(200, msgspec.json.encode(result.output), headers)
