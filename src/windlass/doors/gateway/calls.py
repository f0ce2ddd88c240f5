"""One call of a model through the gateway, from its first byte to its span.

Knows what a trace of a call says; does not know how the call is made. The span is built and recorded after the response is
out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from windlass.core import span as names
from windlass.core.actor import Actor
from windlass.core.ids import now_ns, span_id, trace_id
from windlass.core.message import FilePart, ImagePart, Message, ModelReply, Usage
from windlass.core.span import Span, parse_traceparent
from windlass.govern.reservations import Held, Wanted
from windlass.runtime.context import RunContext, shown
from windlass.runtime.models import Caller

LIKELY_BYTES_A_TOKEN = 4  # of UTF-8, where nobody counted; what is set aside before a call is `govern.sizes`, rather too much


class Call:
    """What is known of a call so far; `run` is the run whose code makes it, if any. Times are UTC nanoseconds;
    `first_ns` is when the first byte of the answer came."""

    def __init__(self, actor: Actor, headers: Mapping[str, str], operation: str, run: RunContext | None = None) -> None:
        parent = parse_traceparent(headers.get("traceparent")) or (run.parent if run else None)
        self.actor = actor
        self.operation = operation
        self.parent = parent
        self.trace_id = parent.trace_id if parent else run.trace if run else trace_id()
        self.span_id = span_id()
        self.start_ns = now_ns()
        self.first_ns: int | None = None
        self.model = ""
        self.provider = ""
        self.session = headers.get("windlass-session")
        self.user = headers.get("windlass-user")
        self.run = run
        self.held: Held | None = None  # what it set aside under limits
        self.left = False  # whether the client went before the answer was whole
        self.run_attributes = run.attributes() if run else {names.EVALUATION: actor.evaluation}

    def wanted(self, model: str, provider: str = "", name: str = "", release: str | None = None) -> Wanted:
        """The call as limits see it: one of a run counts against those of whoever began the run."""
        run, actor = self.run, self.actor
        payer = actor.payer or (run.actor.id if run else actor.id)
        within = release or (run.release if run else None) or actor.release
        known = f"release/{within.partition('@')[0].rpartition('release/')[2]}" if within else None
        return Wanted(actor.project, payer, self.user or (run.user if run else None) or actor.user, known, model, provider, name)

    def caller(self) -> Caller:
        """For whom a model is asked; inside a run of an evaluation it is the row."""
        return Caller(self.actor.project, self.trace_id, self.user, self.session, self.run.caller().row if self.run else None)

    def span(
        self, messages: tuple[Message, ...] | None, reply: ModelReply | None, problem: str = "", *, estimated: bool = False,
        more: Mapping[str, Any] | None = None,
    ) -> Span:  # fmt: skip
        """The finished span. `problem` says why the call failed; `estimated` that tokens nobody told were counted by the text; `more` are
        further attributes. What the call set aside is settled by what the span says."""
        if self.held is not None:
            reply, estimated = self.held.settle(reply, estimated, left=self.left)
        said: dict[str, Any] = {
            names.KIND: "model",
            names.PROJECT: self.actor.project,
            names.ACTOR: self.actor.id,
            names.OPERATION: self.operation,
            names.PROVIDER: self.provider or None,
            names.REQUEST_MODEL: self.model or None,
            names.SESSION: self.session,
            names.USER: self.user,
            names.FIRST_TOKEN: (self.first_ns - self.start_ns) / 1e9 if self.first_ns else None,
            **self.run_attributes,
        }
        if messages:
            said[names.INPUT_MESSAGES] = shown(msgspec.to_builtins(messages))
            said[names.INPUT] = shown(next((m.text for m in reversed(messages) if m.role == "user" and m.text), messages[-1].text))
        if reply is not None:
            said |= _answer(reply, estimated)
        said |= more or {}
        return Span(
            trace_id=self.trace_id, span_id=self.span_id, name=f"{self.operation} {self.model}".strip(), start_ns=self.start_ns,
            end_ns=now_ns(), parent=self.parent.span_id if self.parent else None, status="error" if problem else "ok",
            status_message=problem, attributes={k: v for k, v in said.items() if v is not None}, project=self.actor.project,
        )  # fmt: skip


def counted(told: Usage, messages: tuple[Message, ...] | None, size: int, pieces: int) -> Usage:
    """The tokens of an answer that broke off: as many as the provider told; else one for every four bytes of what was asked, and of what
    was said so far (`size`), but at least one for each of its pieces. They are marked as estimated wherever they are kept."""
    asked = sum(len(msgspec.json.encode(p)) for m in messages or () for p in m.parts if not isinstance(p, ImagePart | FilePart))
    given = told.input if told.input is not None else -(-asked // LIKELY_BYTES_A_TOKEN)
    return msgspec.structs.replace(told, input=given, output=max(pieces, -(-size // LIKELY_BYTES_A_TOKEN), told.output or 0))


def _answer(reply: ModelReply, estimated: bool) -> dict[str, Any]:
    said: dict[str, Any] = {
        names.RESPONSE_MODEL: reply.model or None,
        names.INPUT_TOKENS: reply.usage.input,
        names.OUTPUT_TOKENS: reply.usage.output,
        names.CACHED_TOKENS: reply.usage.cached,
        names.WRITTEN_TOKENS: reply.usage.cache_write,
        names.REASONING_TOKENS: reply.usage.reasoning,
        names.COST: reply.cost,
        names.USAGE_ESTIMATED: estimated or None,
        "gen_ai.response.id": reply.response_id,
        "gen_ai.response.finish_reasons": [reply.stop],
    }
    if reply.message.parts:
        said[names.OUTPUT] = shown(reply.message.text or msgspec.to_builtins(reply.message.tool_calls))
        said[names.OUTPUT_MESSAGES] = shown(msgspec.to_builtins((reply.message,)))
    return said
