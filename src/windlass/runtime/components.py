"""Components: render the prompt, ask the model by the draw policy, read the answer against the output schema.

An answer that does not fit its schema fails the run with the reason; nothing is repaired behind the user's back. Every
request to a model, also an agent's, goes through `Asking.ask`, which writes the model's span.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from windlass.core.artifacts import ComponentBody, ModelBody, PromptBody, Version
from windlass.core.digest import short
from windlass.core.errors import ModelFailed, RunFailed, WindlassError
from windlass.core.message import Message, ModelReply, ModelRequest, TextPart
from windlass.govern.reservations import Held, Reservations, Wanted, released
from windlass.govern.sizes import tokens_of
from windlass.runtime.context import Records, RunContext, Step, shown, step
from windlass.runtime.draws import Draws
from windlass.runtime.library import Library, body_of
from windlass.runtime.models.choosing import Caller
from windlass.runtime.models.model import Model
from windlass.runtime.models.routed import drawn_by, lost_of, routed
from windlass.runtime.schema import check_arguments, complaint, object_of, text_field
from windlass.sdk.prompts import render_body

Send = Callable[[str], None]  # takes a piece of text as it comes
_FENCE = re.compile(r"\A\s*```[\w-]*[ \t]*\n(.*?)\n?[ \t]*```\s*\Z", re.DOTALL)


class Finds(Protocol):
    """`runtime.models.Models`."""

    async def choose(self, model_id: str, caller: Caller) -> Model: ...
    def priced(self, model: Model, project: str) -> tuple[str, str]: ...


class Rows(Protocol):
    """Rows of a dataset version, in the order of their keys (`registry.datasets.Datasets.rows`)."""

    def __call__(self, dataset: Version, /) -> Iterable[dict[str, Any]]: ...


class Asking:
    """Asks models: one span, one entry in the ledger for each answer. What is asked anew is held to the limits of whoever began the run."""

    def __init__(self, models: Finds, draws: Draws, records: Records, limits: Reservations | None = None) -> None:
        self._limits = limits
        self._models = models
        self._draws = draws
        self._records = records

    async def ask(self, model: Version, request: ModelRequest, context: RunContext, send: Send | None = None) -> ModelReply:
        """One answer. With `send`, text is passed on as it comes, unless the answer is a recorded one, which comes whole.
        Raises `ModelFailed`, also for a refusal; `Busy` for a limit that is reached."""
        with step(self._records, context, f"chat {request.model}", "model", versions=[str(model.ref)]) as span:
            span.set(operation="chat", provider=request.model.partition("/")[0], request_model=request.model)
            span.set(input_messages=shown(msgspec.to_builtins(request.messages)))
            chosen = await self._models.choose(request.model, context.caller())
            try:
                drawn = drawn_by(chosen, model.digest)
                reply = await self._draws.reply(request, drawn, context, lambda: self._held(chosen, request, span, send))
            except WindlassError:
                if (lost := lost_of(chosen)) != 0:
                    context.ledger.paid(lost)
                raise
            finally:
                span.span.attributes |= routed(chosen)
            context.ledger.enter(reply)
            _describe(span, reply)
            if reply.reused and send is not None:
                send(reply.message.text)
            if reply.stop == "refusal":
                raise ModelFailed(f"{request.model} refused to answer", remedy="see the trace for its words", refusal=True)
            return reply

    async def _held(self, model: Model, request: ModelRequest, span: Step, send: Send | None) -> ModelReply:
        held = await self._reserved(model, request, span.context) if self._limits and not self._limits.idle else None
        if held is None:
            return await _call(model, request, send)
        texts: list[str] = []

        def counting(text: str) -> None:
            texts.append(text)
            if send is not None:
                send(text)

        with released(held):
            try:
                reply = await _call(model, request, counting if send is not None else None)
            except BaseException as e:  # what came until then was used all the same, and the trace says so
                came = ModelReply(Message("assistant", (TextPart("".join(texts)),)), "error") if texts else None
                came, _ = held.settle(came, left=isinstance(e, asyncio.CancelledError))
                if came is not None:
                    _describe(span, came)
                    span.set(usage_estimated=True)
                raise
            settled, estimated = held.settle(reply)
            span.set(usage_estimated=estimated or None)
            return settled or reply

    async def _reserved(self, model: Model, request: ModelRequest, context: RunContext) -> Held | None:
        assert self._limits is not None
        actor, (provider, name) = context.actor, self._models.priced(model, context.project)
        release = context.release.partition("@")[0].rpartition("release/")[2] if context.release else None
        wanted = Wanted(
            context.project, actor.payer or actor.id, context.user, f"release/{release}" if release else None, request.model, provider, name
        )
        return await self._limits.reserve(wanted, lambda: tokens_of(request))


async def _call(model: Model, request: ModelRequest, send: Send | None) -> ModelReply:
    if send is None:
        return await model.complete(request)
    async with contextlib.aclosing(model.stream(request)) as deltas:  # type: ignore[type-var]
        async for delta in deltas:
            if delta.text:
                send(delta.text)
            if delta.reply is not None:
                return delta.reply
    raise ModelFailed(f"{request.model} ended its stream without an answer")


def _describe(span: Step, reply: ModelReply) -> None:
    usage = reply.usage
    span.set(response_model=reply.model or None, output_messages=shown(msgspec.to_builtins([reply.message])))
    span.set(input_tokens=usage.input, output_tokens=usage.output, cached_tokens=usage.cached, cost=reply.cost)
    span.set(route_upstream=reply.upstream, provider=reply.upstream.partition("/")[0] if reply.upstream else None)
    span.set(written_tokens=usage.cache_write, reasoning_tokens=usage.reasoning)
    span.set(reused=True if reply.reused else None, first_token=reply.first_token_ns / 1e9 if reply.first_token_ns else None)


class Components:
    """Runs components."""

    def __init__(self, library: Library, asking: Asking, rows: Rows, records: Records) -> None:
        self._library = library
        self._asking = asking
        self._rows = rows
        self._records = records

    async def input_schema(self, version: Version) -> dict[str, Any]:
        """The arguments of a component or an agent: its prompt's inputs."""
        prompt = await self._library.part(version, "prompt", body_of(version).prompt)
        return object_of(body_of(prompt).inputs)

    async def output_schema(self, version: Version) -> dict[str, Any] | None:
        """The schema a component or an agent answers by: its own, or its prompt's; None for plain text."""
        own: dict[str, Any] | None = body_of(version).output
        if own is not None:
            return own
        prompt: PromptBody = body_of(await self._library.part(version, "prompt", body_of(version).prompt))
        return prompt.output

    async def render(self, version: Version, arguments: dict[str, Any]) -> tuple[tuple[Message, ...], dict[str, Any], Version, Version]:
        """The messages and parameters of a component or agent, and its prompt and model. Raises `Invalid` for arguments that
        do not fit the prompt's inputs."""
        body = body_of(version)
        prompt = await self._library.part(version, "prompt", body.prompt)
        model = await self._library.part(version, "model", body.model)
        prompt_body: PromptBody = body_of(prompt)
        check_arguments(object_of(prompt_body.inputs), arguments, version.ref.short)
        messages = tuple(render_body(prompt_body, arguments, await self._fewshot(prompt, prompt_body)))
        parameters = {**body_of(model).parameters, **prompt_body.parameters, **body.parameters}
        return messages, parameters, prompt, model

    async def _fewshot(self, prompt: Version, body: PromptBody) -> list[dict[str, Any]]:
        if body.fewshot is None:
            return []
        link = next((x for x in prompt.links if x.digest == body.fewshot), None)
        if link is None:
            raise RunFailed(f"{prompt.ref.short} has no link to its examples {short(body.fewshot)}", remedy="windlass verify")
        examples = await self._library.linked(prompt, link)
        return await asyncio.to_thread(lambda: list(self._rows(examples)))

    async def run(self, version: Version, arguments: dict[str, Any], context: RunContext, send: Send | None = None) -> Any:
        """The answer: text, or a value of the output schema. Structured answers are not sent piece by piece.

        Raises `Invalid` for arguments, `ModelFailed`, and `RunFailed` for an answer that does not fit the schema.
        """
        body: ComponentBody = body_of(version)
        with step(self._records, context, f"component/{version.name}", "component", versions=[str(version.ref)], input=arguments) as span:
            messages, parameters, prompt, model = await self.render(version, arguments)
            schema = body.output if body.output is not None else body_of(prompt).output
            span.set(versions=[str(v.ref) for v in (version, prompt, model)])
            context.ledger.versions[str(prompt.ref)] = None
            request = ModelRequest(model_id(model), messages, parameters, output_schema=schema)
            reply = await self._asking.ask(model, request, span.context, send if schema is None else None)
            output = read_output(reply, schema, version.ref.short)
            span.output(output)
            if send is not None and schema is not None and isinstance(output, dict) and (field := text_field(schema)):
                send(str(output.get(field, "")))
            return output


def model_id(model: Version) -> str:
    """A model's id as `Models.find` takes it."""
    body: ModelBody = body_of(model)
    return f"{body.provider}/{body.model}"


def read_output(reply: ModelReply, schema: dict[str, Any] | None, who: str) -> Any:
    """The answer as a value of the schema; its text where there is none. A code fence around JSON is taken off.

    Raises `RunFailed` saying where the answer does not fit.
    """
    text = reply.message.text
    if schema is None:
        return text
    if reply.stop == "length":
        raise RunFailed(f"the answer of {who} was cut off at its limit of tokens", remedy="raise `max_tokens`", answer=shown(text)[:2000])
    fenced = _FENCE.match(text)
    try:
        value = msgspec.json.decode(fenced[1] if fenced else text)
    except (msgspec.DecodeError, UnicodeError) as e:
        raise RunFailed(f"the answer of {who} is not JSON: {e}", answer=shown(text)[:2000]) from e
    if (wrong := complaint(schema, value)) is not None:
        raise RunFailed(f"the answer of {who} does not fit its schema at {wrong}", answer=shown(text)[:2000])
    return value
