"""Answers that are made here: a model that speaks another dialect (or is the baseline), and a release.

Both are translated: the caller's request into our words, the reply into the caller's dialect, whole or as a stream. The
first piece is awaited before the status goes out, so that a failure is told by the status wherever it can be.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Protocol

import msgspec

from windlass.core.errors import Invalid, ModelFailed, WindlassError, error_from_dict
from windlass.core.ids import now_ns
from windlass.core.message import Delta, Message, ModelReply, ModelRequest, TextPart, Usage
from windlass.core.operations.runs import RunPiece, RunResult
from windlass.core.ref import ENVIRONMENTS, Ref
from windlass.doors.gateway import wire_anthropic, wire_openai
from windlass.doors.gateway.calls import Call
from windlass.doors.gateway.exchange import ClientGone, Exchange
from windlass.runtime.context import Records, RunContext
from windlass.runtime.models import Model


class Runs(Protocol):
    """`runtime.execute.Executor`, as far as the gateway needs it."""

    async def execute(self, target: Ref, given: Any, context: RunContext) -> RunResult: ...

    def execute_stream(self, target: Ref, given: Any, context: RunContext) -> AsyncGenerator[RunPiece, None]: ...

    def running(self, run: str) -> RunContext | None: ...

    async def knows(self, target: Ref) -> bool: ...


class Writer(Protocol):
    def start(self) -> bytes: ...
    def text(self, text: str) -> bytes: ...
    def end(self, reply: ModelReply, usage: bool = True) -> Any: ...


class Face(Protocol):
    """A dialect as its clients see it: `wire_openai`, `wire_anthropic`."""

    def request_of(self, body: dict[str, Any], keep: Any) -> ModelRequest: ...
    def reply_body(self, reply: ModelReply, model: str, usage: bool = True) -> bytes: ...
    def error_body(self, error: WindlassError, status: int) -> bytes: ...
    def error_event(self, error: WindlassError, status: int) -> bytes: ...
    @property
    def StreamWriter(self) -> type[Any]: ...


CHAT = ("/chat/completions", "/messages")  # the paths that can be translated
FACES: dict[str, Face] = {"openai": wire_openai, "anthropic": wire_anthropic}


async def answer_model(
    exchange: Exchange, call: Call, model: Model, face: Face, request: ModelRequest, body: dict[str, Any], records: Records
) -> None:
    """Ask a model in its own dialect and answer in the caller's; the span is recorded when the answer is out."""
    reply: ModelReply | None = None
    texts: list[str] = []
    problem = ""
    try:
        async with exchange.watched():
            if body.get("stream"):
                writer = face.StreamWriter(call.model, call.span_id, body)
                async with contextlib.aclosing(_texts(model.stream(request), call)) as deltas:
                    reply = await _write(exchange, deltas, writer, texts)
            else:
                reply = await model.complete(request)
                call.first_ns = now_ns()
                await exchange.respond(200, face.reply_body(reply, call.model))
    except ClientGone:
        problem = "the client left before its answer was whole"
        call.left = True
    except WindlassError as e:
        problem = e.message
        raise
    finally:
        estimated = reply is None and bool(texts)
        if estimated:
            reply = ModelReply(Message("assistant", (TextPart("".join(texts)),)), "error", Usage(output=len(texts)))
        records.record([call.span(request.messages, reply, problem, estimated=estimated)])


async def _texts(deltas: AsyncIterator[Delta], call: Call) -> AsyncGenerator[Delta, None]:
    async with contextlib.aclosing(deltas) as open_deltas:  # type: ignore[type-var]
        async for delta in open_deltas:
            call.first_ns = call.first_ns or now_ns()
            yield delta


async def _write(exchange: Exchange, deltas: AsyncGenerator[Delta, None], writer: Writer, texts: list[str]) -> ModelReply:
    """Write a stream; its reply."""
    async for delta in deltas:
        if not exchange.begun:
            await exchange.begin()
            await exchange.write(writer.start())
        if delta.text:
            texts.append(delta.text)
            await exchange.write(writer.text(delta.text))
        if delta.reply is not None:
            await exchange.write(b"".join(writer.end(delta.reply, delta.reply.usage.input is not None)))
            await exchange.end()
            return delta.reply
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
                await exchange.respond(200, face.reply_body(_reply(result), call.model, usage=result.usage is not None))
                return
            writer = face.StreamWriter(call.model, call.span_id, body)
            async with contextlib.aclosing(_deltas(runs.execute_stream(target, given, context))) as deltas:
                await _write(exchange, deltas, writer, [])


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
            await exchange.respond(200, msgspec.json.encode(result.output), headers)
