"""Servers of the Model Context Protocol as sources of tools: what one says of its tools is read when a workspace is pushed, and pinned;
at each call it is read again, and a tool that is not what was pinned is not called.

Runs where the workspace's own code runs: beside `push`, and in a runner. What a server says is never trusted: its hints are not read, its
names, descriptions and schemas are bounded, its results are text or nothing. Needs `windlass[mcp]`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from windlass.core.artifacts import McpServer, McpTool
from windlass.core.digest import canonical
from windlass.core.errors import Invalid, RunFailed, TooLarge, Unavailable, WindlassError
from windlass.sdk.definitions import Definition
from windlass.sdk.tool import Hosted

ENTRY = "windlass.sdk.mcp:call"  # what a runner runs
LIST_SECONDS = 30.0
MOST_TOOLS, LARGEST, DEEPEST = 500, 64_000, 32  # tools of a server; bytes and depth of one definition
RESULT = 2_000_000  # characters of a result
PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "SYSTEMROOT")


class ServerTool(Hosted, Definition):
    """One tool of a server. Made by `mcp`."""

    kind = "tool"

    def __init__(self, server: str, tool: str) -> None:
        super().__init__(artifact_name(server, tool))
        self.server = server
        self.tool = tool

    def __call__(self, **arguments: Any) -> str:
        """Call it, where a host is bound. Raises `Unavailable` where none is."""
        return str(self._hosted(self.kind, self.name, arguments))


class Found(msgspec.Struct, frozen=True):
    """What a server says of one of its tools."""

    name: str
    description: str
    parameters: dict[str, Any]
    returns: dict[str, Any] | None = None


def mcp(server: str, *tools: str) -> tuple[ServerTool, ...]:
    """Tools of a server that `windlass.toml` names under `[mcp.SERVER]`: `tools=[*w.mcp("shop", "look", "refund")]`. Each changes the world
    unless `read` in `windlass.toml` says that it only reads."""
    if not tools:
        raise Invalid(f"which tools of {server!r}?", remedy=f'name them: w.mcp("{server}", "look")')
    return tuple(ServerTool(server, tool) for tool in tools)


def artifact_name(server: str, tool: str) -> str:
    """What a server's tool is called here: lower case, and what names do not hold as `-`."""
    return f"{server}-{''.join(c if c.isascii() and (c.isalnum() or c in '._-') else '-' for c in tool)}".lower()


async def definitions(server: McpServer, secrets: dict[str, str]) -> dict[str, Found]:
    """What a server says of its tools, by name. Raises `Invalid` for what cannot be pinned, `RunFailed` where it does not answer."""
    try:
        async with asyncio.timeout(LIST_SECONDS), _opened(server, secrets) as client:
            return await _list(client)
    except TimeoutError as e:
        raise RunFailed(f"it did not say within {LIST_SECONDS:g} s what its tools are", remedy="start it by hand and see") from e


async def call(pinned: dict[str, Any], arguments: dict[str, Any]) -> Any:
    """Call a pinned tool, as a runner does. Raises `RunFailed`; its details have `changed`, the definition it has now (None: none), where
    that is not the pinned one, before or after the call."""
    tool = msgspec.convert(pinned["mcp"], McpTool)
    was = msgspec.convert(pinned["found"], Found)
    secrets = {name: os.environ[name] for name in pinned["secrets"]}
    async with _opened(tool.server, secrets) as client:
        _check(tool.tool, was, await _list(client))
        try:
            result = await client.call_tool_mcp(tool.tool, arguments)
        except WindlassError:
            raise
        except Exception as e:
            raise RunFailed(f"its server failed: {_said(e)}", remedy="see what it printed") from e
        _check(tool.tool, was, await _list(client))
    return _result(result)


def _check(name: str, was: Found, now: dict[str, Found]) -> None:
    if now.get(name) != was:
        changed = msgspec.to_builtins(now[name]) if name in now else None
        raise RunFailed("its server defines it otherwise now than when it was pushed", remedy="look at what changed; push", changed=changed)


@asynccontextmanager
async def _opened(server: McpServer, secrets: dict[str, str]) -> AsyncIterator[Any]:
    """A connection. Raises `Unavailable` without the library, `RunFailed` where nobody answers."""
    os.environ["FASTMCP_CHECK_FOR_UPDATES"] = "off"
    try:
        from fastmcp import Client
        from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
    except ImportError as e:
        raise Unavailable("tools of a server need fastmcp, which is not installed", remedy='pip install "windlass[mcp]"') from e
    transport: Any
    if server.url:
        headers = {"Authorization": f"Bearer {secrets[server.bearer]}"} if server.bearer else {}
        transport = StreamableHttpTransport(server.url, headers=headers)
    else:
        program = sys.executable if server.command[0] in ("python", "python3") else server.command[0]
        environment = {name: os.environ[name] for name in PASSED if name in os.environ} | secrets
        transport = StdioTransport(program, list(server.command[1:]), environment, os.getcwd(), keep_alive=False)  # noqa: PTH109
    client: Any = Client(transport, log_handler=_quiet, message_handler=None, cache=False, init_timeout=LIST_SECONDS)
    try:
        opened = await client.__aenter__()
    except Exception as e:
        raise RunFailed(f"its server cannot be reached: {_said(e)}", remedy="start it by hand and see") from e
    try:
        yield opened
    finally:
        await client.__aexit__(None, None, None)


async def _quiet(message: Any) -> None:
    """What a server logs is nobody's here."""


async def _list(client: Any) -> dict[str, Found]:
    try:
        tools = await client.list_tools(max_pages=50)
    except Exception as e:
        raise RunFailed(f"its server does not say what its tools are: {_said(e)}", remedy="start it by hand and see") from e
    if len(tools) > MOST_TOOLS:
        raise TooLarge(f"its server has {len(tools):,} tools; at most {MOST_TOOLS} are read")
    found: dict[str, Found] = {}
    for tool in tools:
        if tool.name in found:
            raise Invalid(f"its server has two tools named {tool.name[:100]!r}")
        said = tool.model_dump(mode="json", by_alias=True)
        found[tool.name] = Found(tool.name, tool.description or "", said.get("inputSchema") or {}, said.get("outputSchema"))
    return found


def check_found(found: Found, where: str) -> None:
    """Raises `Invalid`, `TooLarge` for a definition that cannot be pinned."""
    try:
        size = len(canonical(msgspec.to_builtins(found)))
    except RecursionError as e:
        raise Invalid("its definition is nested too deep", where=where) from e
    if size > LARGEST:
        raise TooLarge(f"its definition is {size:,} bytes; at most {LARGEST:,} are read", where=where)
    if not found.description.strip():
        raise Invalid("its server does not say what it is for; a model could not know", where=where)
    _walk(found.parameters, found.parameters, where, ())


def _walk(schema: Any, root: Any, where: str, through: tuple[str, ...], depth: int = 0) -> None:
    """A schema that ends: every reference stays in it and none leads back to itself."""
    if depth > DEEPEST:
        raise Invalid(f"its parameters are nested deeper than {DEEPEST}", where=where)
    if isinstance(schema, list):
        for each in schema:
            _walk(each, root, where, through, depth + 1)
    if not isinstance(schema, dict):
        return
    for word, value in schema.items():
        if word in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str):
            if value in through:
                raise Invalid(f"its parameters refer to themselves: {value[:100]}", where=where)
            _walk(_at(root, value, where), root, where, (*through, value), depth + 1)
        else:
            _walk(value, root, where, through, depth + 1)


def _at(root: Any, ref: str, where: str) -> Any:
    found = root
    if not ref.startswith("#/"):
        raise Invalid(f"its parameters refer to {ref[:100]!r}, which is not in them", where=where)
    for part in ref[2:].split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or part not in found:
            raise Invalid(f"its parameters refer to {ref[:100]!r}, which is not in them", where=where)
        found = found[part]
    return found


def _result(result: Any) -> str:
    """The text of a result. Raises `RunFailed` for what its server calls an error, what is no text, and what is too much."""
    kinds = sorted({block.type for block in result.content if block.type != "text"})
    text = "\n".join(block.text for block in result.content if block.type == "text")
    if result.is_error:
        raise RunFailed(f"its server says: {text[:2000] or 'it failed'}")
    if kinds:
        raise RunFailed(f"it returned what is no text: {', '.join(kinds)}")
    if len(text) > RESULT:
        raise RunFailed(f"it returned {len(text):,} characters; at most {RESULT:,} are read")
    return text


def _said(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:500]
