"""Agents that run elsewhere: they see the tools of their grant, and call them through the broker. What they show is the grant's token."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec

from windlass.agentops.broker import Refused
from windlass.agentops.grants import Grants
from windlass.core import span as names
from windlass.core.actor import Actor
from windlass.core.errors import Forbidden, Invalid, NotFound, RunFailed, Unavailable
from windlass.core.grant import Grant
from windlass.core.ids import uuid7
from windlass.core.message import ToolSpec
from windlass.core.ref import Ref, parse_ref
from windlass.runtime.agents import spec_of
from windlass.runtime.brokering import Brokering, Tools, Usable, refusal
from windlass.runtime.context import Records, RunContext, step
from windlass.runtime.execute import Executor
from windlass.runtime.library import Library
from windlass.runtime.schema import check_arguments


class Offered(msgspec.Struct, frozen=True):
    """A tool as the holder of a grant sees it: its parameters are what the grant allows of them."""

    name: str
    description: str
    parameters: dict[str, Any]
    effects: str


class Told(msgspec.Struct, frozen=True):
    """What came of a call, as the agent reads it."""

    text: str
    error: bool = False


class Outside:
    """Serves the holders of grants. Nothing here is kept between two requests: each is answered by the grant as it is then."""

    def __init__(self, grants: Grants, library: Library, brokering: Brokering, executor: Executor, records: Records) -> None:
        self._grants = grants
        self._library = library
        self._brokering = brokering
        self._executor = executor
        self._records = records

    async def tools(self, actor: Actor, agent: str) -> list[Offered]:
        """The tools of the grant, by name. Raises `Forbidden` for another's token, or a grant that is over."""
        grant = await asyncio.to_thread(self._grants.opened, actor, agent)
        allowed = {t.tool: t.arguments for t in grant.tools}
        found = []
        for name, tool in sorted((await self._tools(grant)).items()):
            narrowed = allowed[str(tool.version.ref)]
            found.append(Offered(name, tool.spec.description, tool.spec.parameters if narrowed is None else narrowed, tool.effects))
        return found

    async def call(self, actor: Actor, agent: str, name: str, arguments: dict[str, Any]) -> Told:
        """Call a tool. Raises as `tools`; whatever else is wrong is told to the agent."""
        grant = await asyncio.to_thread(self._grants.opened, actor, agent)
        # all that is done under a grant is one session: it is one task
        context = RunContext(actor=actor, project=grant.project, grant=grant.id, agents=(grant.agent,), session=grant.id)
        context = context.deciding({names.TOOL_NAME: name[:100], names.TOOL_CALL: uuid7(), names.CALLER: grant.agent})
        try:
            tools = await self._tools(grant)
            if name not in tools:
                raise NotFound(f"there is no tool {name[:100]!r}", remedy="the tools are " + ", ".join(sorted(tools)))
            check_arguments(tools[name].spec.parameters, arguments, name)
            body = partial(self._run, tools[name].version.ref, arguments)
            return Told(await self._brokering.call(grant.agent, None, name, tools, arguments, context, body))
        except (RunFailed, Invalid, NotFound, Unavailable, Forbidden) as e:
            about = context.deciding(refusal(e)) if isinstance(e, Refused) else context
            with step(self._records, about, f"told: {name[:100]}", "request", input=arguments) as span:
                span.output(str(e))
            return Told(f"error: {e}", error=True)

    async def _run(self, tool: Ref, arguments: dict[str, Any], context: RunContext) -> Any:
        return (await self._executor.execute(tool, arguments, context)).output

    async def _tools(self, grant: Grant) -> Tools:
        """The grant's tools by the names agents call them by. Of two with one name neither is offered: nobody could tell which ran."""
        found: Tools = {}
        twice: set[str] = set()
        for granted in grant.tools:
            tool = await self._library.find(parse_ref(granted.tool, project=grant.project))
            spec: ToolSpec = spec_of(tool)
            if spec.name in found:
                twice.add(spec.name)
            found[spec.name] = Usable(spec, tool, *await self._library.effects(tool))
        return {name: each for name, each in found.items() if name not in twice}
