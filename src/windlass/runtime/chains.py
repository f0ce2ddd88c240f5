"""Code in runners: chains, and the bodies of tools and evaluators, started from the snapshot their version came in.

What the code calls by name is looked up among the links of its own version, and nowhere else. Knows how to run code, not
what the things it calls do: those it hands to `dispatch`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import platform
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from windlass.agentops.secrets import Secrets, hidden, hide_in
from windlass.core import span as names
from windlass.core.artifacts import Code, ToolBody, Version
from windlass.core.errors import Unavailable, WindlassError
from windlass.core.span import SpanKind
from windlass.runtime.components import Send
from windlass.runtime.context import Records, RunContext, step
from windlass.runtime.library import Library, body_of
from windlass.runtime.process import Ran
from windlass.runtime.runner import Runners
from windlass.sdk.frames import Start
from windlass.sdk.mcp import ENTRY as SERVER_ENTRY


def gateway_environment(address: str, token: str, evaluation: str | None = None) -> dict[str, str]:
    """The variables by which clients in a run find the gateway, with the run's token for a key, and by which spans of their own say
    that they belong to an evaluation. `address` has no path."""
    return {
        **({"OTEL_RESOURCE_ATTRIBUTES": f"{names.EVALUATION}={evaluation}"} if evaluation else {}),
        "WINDLASS_URL": address, "WINDLASS_KEY": token, "OPENAI_BASE_URL": f"{address}/v1", "OPENAI_API_KEY": token,
        "ANTHROPIC_BASE_URL": address, "ANTHROPIC_API_KEY": token,
    }  # fmt: skip


class Dispatch(Protocol):
    """Runs a version of any kind that code may call."""

    def __call__(self, version: Version, arguments: dict[str, Any], context: RunContext, send: Send | None = None) -> Awaitable[Any]: ...


class Linked:
    """`process.Calls` of one running version."""

    def __init__(
        self, library: Library, version: Version, context: RunContext, dispatch: Dispatch, secrets: dict[str, str] | None = None
    ) -> None:
        self._secrets = secrets or {}
        self._library = library
        self._version = version
        self._context = context
        self._dispatch = dispatch

    async def call(self, kind: str, name: str, arguments: dict[str, Any]) -> Any:
        return await self._dispatch(await self._library.named(self._version, kind, name), hidden(arguments, self._secrets), self._context)

    async def stream(self, kind: str, name: str, arguments: dict[str, Any], send: Send) -> Any:
        called = await self._library.named(self._version, kind, name)
        return await self._dispatch(called, hidden(arguments, self._secrets), self._context, send)


class Chains:
    """Runs code. `environment` gives the variables of one run: the gateway's address and the run's token."""

    def __init__(
        self,
        library: Library,
        runners: Runners,
        records: Records,
        environment: Callable[[RunContext], dict[str, str]] | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        self._library = library
        self._runners = runners
        self._records = records
        self._environment = environment or (lambda context: {})
        self._secrets = secrets or Secrets({})

    async def run(
        self, version: Version, arguments: dict[str, Any], context: RunContext, dispatch: Dispatch, send: Send | None = None
    ) -> Any:
        """Run a chain, tool or evaluator. A generator's values are sent as text as they come. Raises what the code raised."""
        kind: SpanKind = version.kind  # type: ignore[assignment]
        code: Code = body_of(version).code
        with step(self._records, context, f"{kind}/{version.name}", kind, versions=[str(version.ref)], input=arguments) as span:
            warnings = check_packages(code, version.ref.short)
            secrets = self._secrets.of(secret_names(version), version.ref.short)
            entry, given = started(version, arguments)
            start = Start(entry=entry, arguments=given, environment=self._environment(context) | secrets)
            calls = Linked(self._library, version, span.context.deeper(), dispatch, secrets)
            snapshot = await self._library.snapshot(version)

            async def yielded(value: Any) -> None:
                if send is not None:
                    value = hidden(value, secrets)
                    send(value if isinstance(value, str) else msgspec.json.encode(value).decode() + "\n")

            # a process that was given secrets serves this version alone: no other code is ever where they were
            alone = version.digest if secrets else ""
            try:
                async with self._runners.lease(snapshot, depth=context.depth, alone=alone) as runner:
                    ran: Ran = await runner.run(start, calls, yielded)
            except WindlassError as e:
                hide_in(e, secrets)
                raise
            if secrets:  # in a thread, since a large result takes a while
                ran = await asyncio.to_thread(_hide, ran, secrets)
            context.ledger.warnings.extend([*warnings, *ran.warnings])
            for warning in ran.warnings:
                span.event("warning", message=warning)
            if ran.printed:
                span.event("printed", text=ran.printed)
            span.output(ran.value)
            return ran.value


def started(version: Version, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What a runner is to run, with which arguments: of a server's tool, who speaks to the server."""
    body = body_of(version)
    if not isinstance(body, ToolBody) or body.mcp is None:
        return body.code.entry, arguments
    found = {"name": body.mcp.tool, "description": body.description, "parameters": body.parameters, "returns": body.mcp.returns}
    pinned = {"mcp": msgspec.to_builtins(body.mcp), "found": found, "secrets": list(body.secrets)}
    return SERVER_ENTRY, {"pinned": pinned, "arguments": arguments}


def _hide(ran: Ran, secrets: dict[str, str]) -> Ran:
    return Ran(hidden(ran.value, secrets), hidden(ran.printed, secrets), tuple(hidden(ran.warnings, secrets)))


def secret_names(version: Version) -> tuple[str, ...]:
    """What a version declares that it needs of the server's secrets: only tools do."""
    body = body_of(version)
    return body.secrets if isinstance(body, ToolBody) else ()


def check_packages(code: Code, who: str) -> list[str]:
    """Warnings where this environment differs from what the code was locked with. Raises `Unavailable` naming a package that
    is missing."""
    warnings = []
    for name, locked in code.packages.items():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            here = importlib.metadata.version(name)
            if here != locked:
                warnings.append(f"{who} was locked with {name} {locked}; this server has {here}")
            continue
        raise Unavailable(f"{who} needs {name} {locked}, which this server does not have", remedy=f"pip install {name}=={locked}")
    python = ".".join(platform.python_version_tuple()[:2])
    if not (code.python == python or code.python.startswith(python + ".")):
        warnings.append(f"{who} was made with Python {code.python}; this server runs it with {python}")
    return warnings
