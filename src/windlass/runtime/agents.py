"""The agent loop: ask the model, run the tools it names, tell it what they said, until it answers or a limit is met.

It runs in the server; tool bodies run in runners, as the broker lets them. A call that is not allowed, a tool's failure, an unknown tool
and arguments that do not fit are told to the model and count against its limits. A limit that is met fails the run and says what was
spent; an agent that is stopped fails at its next call.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec

from windlass.agentops.broker import Refused
from windlass.core import span as names
from windlass.core.artifacts import AgentBody, IndexBody, ToolBody, Version
from windlass.core.errors import Forbidden, Invalid, NotFound, RunFailed
from windlass.core.grant import Grant
from windlass.core.message import Message, ModelReply, ModelRequest, ToolCallPart, ToolResultPart, ToolSpec
from windlass.core.trajectory import CallMade
from windlass.runtime.brokering import Brokering, Tools, Usable, own_grant, refusal, running
from windlass.runtime.chains import Dispatch
from windlass.runtime.components import Asking, Components, Send, model_id, read_output
from windlass.runtime.context import Records, RunContext, step
from windlass.runtime.library import Library, body_of
from windlass.runtime.schema import check_arguments, text_of

SEARCH: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "description": "What to search for."},
        "k": {"type": "integer", "minimum": 1, "maximum": 20, "description": "How many passages to return.", "default": 5},
    },
    "required": ["query"],
}


class AgentLimits(msgspec.Struct, frozen=True):
    """What one run of an agent may spend: questions to its model, calls of tools, seconds, tokens (None: no bound)."""

    steps: int = 8
    tool_calls: int = 24
    seconds: float = 120.0
    tokens: int | None = None


class Spent:
    """What one run of an agent has spent so far."""

    def __init__(self, limits: AgentLimits, context: RunContext) -> None:
        self.limits = limits
        self.steps = 0
        self.tool_calls = 0
        self._ledger = context.ledger
        self._before = context.ledger.tokens

    @property
    def tokens(self) -> int:
        return self._ledger.tokens - self._before

    def met(self) -> str | None:
        """The limit that is met before another step, in words."""
        if self.steps >= self.limits.steps:
            return f"its {self.limits.steps} steps"
        if self.tool_calls > self.limits.tool_calls:
            return f"its {self.limits.tool_calls} tool calls"
        if self.limits.tokens is not None and self.tokens >= self.limits.tokens:
            return f"its {self.limits.tokens} tokens"
        return None

    def failure(self, who: str, what: str) -> RunFailed:
        return RunFailed(
            f"{who} used up {what} without an answer: {self.steps} steps, {self.tool_calls} tool calls, {self.tokens} tokens",
            remedy="raise its limits, or see in the trace where it goes in circles",
            steps=self.steps, tool_calls=self.tool_calls, tokens=self.tokens, cost=self._ledger.total,
        )  # fmt: skip


class Agents:
    """Runs agents."""

    def __init__(self, library: Library, components: Components, asking: Asking, brokering: Brokering, records: Records) -> None:
        self._library = library
        self._components = components
        self._asking = asking
        self._brokering = brokering
        self._records = records

    async def run(
        self, version: Version, arguments: dict[str, Any], context: RunContext, dispatch: Dispatch, send: Send | None = None
    ) -> Any:
        """The answer: text, or a value of the output schema. Raises `Invalid`, `ModelFailed`, and `RunFailed` for a limit that
        is met or an answer that does not fit."""
        body: AgentBody = body_of(version)
        limits = agent_limits(body.limits, version.ref.short)
        with step(self._records, context, f"agent/{version.name}", "agent", versions=[str(version.ref)], input=arguments) as span:
            spent = Spent(limits, context)
            try:
                async with asyncio.timeout(limits.seconds):
                    output = await self._loop(version, body, arguments, span.context, dispatch, spent, send)
            except TimeoutError as e:
                raise spent.failure(version.ref.short, f"its {limits.seconds:g} s") from e
            span.output(output)
            return output

    async def _loop(
        self, version: Version, body: AgentBody, arguments: dict[str, Any], context: RunContext, dispatch: Dispatch, spent: Spent,
        send: Send | None,
    ) -> Any:  # fmt: skip
        messages, parameters, prompt, model = await self._components.render(version, arguments)
        schema = body.output if body.output is not None else body_of(prompt).output
        tools = await self._tools(version, body)
        specs, own = tuple(t.spec for t in tools.values()), own_grant(version, tools)
        while True:
            if (met := spent.met()) is not None:
                raise spent.failure(version.ref.short, met)
            spent.steps += 1
            with step(self._records, context, f"step {spent.steps}", "span", versions=[str(prompt.ref)]) as span:
                span.set(step=spent.steps)
                request = ModelRequest(model_id(model), messages, parameters, specs, schema)
                reply = await self._asking.ask(model, request, span.context)
                if not reply.message.tool_calls:
                    return self._answer(reply, schema, version, send)
                calls = reply.message.tool_calls
                results = [await self._use(call, version, own, tools, span.context, dispatch, spent) for call in calls]
            messages = (*messages, reply.message, Message("tool", tuple(results)))

    def _answer(self, reply: ModelReply, schema: dict[str, Any] | None, version: Version, send: Send | None) -> Any:
        output = read_output(reply, schema, version.ref.short)
        if send is not None:
            send(text_of(output, schema))
        return output

    async def _use(
        self, call: ToolCallPart, agent: Version, own: Grant, tools: Tools, context: RunContext, dispatch: Dispatch, spent: Spent
    ) -> ToolResultPart:
        """Run one tool. What the model or the tool did wrong is told to the model; what is wrong with us is raised."""
        spent.tool_calls += 1
        who = f"agent/{agent.name}"
        about = context.deciding({names.TOOL_NAME: call.name, names.TOOL_CALL: call.id, names.CALLER: who})
        made = CallMade(call.name, call.arguments, who)
        context.ledger.tool_calls.append(made)
        try:
            if spent.tool_calls > spent.limits.tool_calls:
                raise Invalid("no tool calls are left; answer now")
            if call.name not in tools:
                raise NotFound(f"there is no tool {call.name!r}", remedy="the tools are " + (", ".join(tools) or "none"))
            check_arguments(tools[call.name].spec.parameters, call.arguments, call.name)
            run = running(made, partial(dispatch, tools[call.name].version, call.arguments))
            return ToolResultPart(call.id, await self._brokering.call(who, own, call.name, tools, call.arguments, about, run))
        except (RunFailed, Invalid, NotFound, Forbidden) as e:
            if isinstance(e, Refused):
                made.outcome, about = "refused", about.deciding(refusal(e))
            with step(self._records, about, f"told: {call.name}", "span", input=call.arguments) as span:
                span.output(str(e))
            if isinstance(e, Refused) and e.halts:
                raise
            return ToolResultPart(call.id, f"error: {e}", error=True)

    async def _tools(self, version: Version, body: AgentBody) -> Tools:
        """The tools by the names a model calls them by, in the order of the agent's links."""
        found: Tools = {}
        for digest in body.tools:
            link = next((x for x in version.links if x.digest == digest and x.kind in ("tool", "index")), None)
            if link is None:
                raise NotFound(f"{version.ref.short} has no link to its tool {digest}", remedy="windlass verify")
            tool = await self._library.linked(version, link)
            spec = spec_of(tool)
            if spec.name in found:
                raise Invalid(f"{version.ref.short} has two tools named {spec.name!r}")
            found[spec.name] = Usable(spec, tool, *await self._library.effects(tool))
        return found


def spec_of(tool: Version) -> ToolSpec:
    """A tool or an index as a model sees it."""
    body: ToolBody | IndexBody = body_of(tool)
    if isinstance(body, ToolBody):
        return ToolSpec(body.name, body.description, body.parameters)
    return ToolSpec(f"search_{tool.name}".replace(".", "_"), f"Search {tool.name} for passages about a question.", SEARCH)


def agent_limits(limits: dict[str, Any], who: str) -> AgentLimits:
    """An agent's limits. Raises `Invalid` naming one that is no limit."""
    if unknown := sorted(set(limits) - set(AgentLimits.__struct_fields__)):
        raise Invalid(f"{unknown[0]!r} is not a limit of an agent", where=who, remedy=", ".join(AgentLimits.__struct_fields__))
    try:
        return msgspec.convert(limits, AgentLimits)
    except msgspec.ValidationError as e:
        raise Invalid(f"the limits are malformed: {e}", where=who) from e
