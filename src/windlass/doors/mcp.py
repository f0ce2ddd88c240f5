"""`POST /mcp/{agent}`: the Model Context Protocol for agents that run elsewhere, over streamable HTTP.

The holder of a grant's token sees exactly its tools. No session is kept: each request is answered by the token it carries and the grant as
it is then, in the versions with a handshake (to 2025-11-25) and in those without (2026-07-28). What is decided about is the body;
headers that repeat it must agree.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

import windlass
from windlass.core.actor import Actor
from windlass.core.errors import Invalid
from windlass.doors.auth import read_body
from windlass.runtime.outside import Offered, Outside

T = TypeVar("T")
HANDSHAKE = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = ("2026-07-28",)
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
PARSE, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS, UNSUPPORTED, MISMATCH = -32700, -32600, -32601, -32602, -32022, -32020
PRIVATE = {"ttlMs": 0, "cacheScope": "private"}  # what a token sees is nobody else's, and holds only now
INFO = {"name": "windlass", "version": windlass.__version__}


class Message(msgspec.Struct):
    """One JSON-RPC request, or a notification where it has no id."""

    jsonrpc: str
    method: str
    id: str | int | None = None
    params: dict[str, Any] = {}


class Wrong(Exception):
    """A request that is not as the protocol has it."""

    def __init__(self, code: int, message: str, status: int = 400, **data: Any) -> None:
        super().__init__(message)
        self.code, self.status, self.data = code, status, data


class Mcp:
    """The door. `body_limit` in bytes."""

    def __init__(self, outside: Outside, body_limit: int) -> None:
        self._outside = outside
        self._limit = body_limit

    async def answer(self, request: Request, actor: Actor) -> Response:
        """Answer one request of somebody known. Raises `Forbidden`, `TooLarge`."""
        message: Message | None = None
        try:
            message = _read(await read_body(request, self._limit))
            _agree(message, request)
            if message.id is None:
                return Response(status_code=202)
            result = await _while_there(request, self._result(message, request, actor))
            return _json({"jsonrpc": "2.0", "id": message.id, "result": {"resultType": "complete", **result}})
        except Wrong as e:
            error = {"code": e.code, "message": str(e), **({"data": e.data} if e.data else {})}
            return _json({"jsonrpc": "2.0", "id": message.id if message else None, "error": error}, e.status)

    async def _result(self, message: Message, request: Request, actor: Actor) -> dict[str, Any]:
        agent, params = request.path_params["agent"], message.params
        if message.method == "ping":
            return {}
        # whoever asks anything is held against the grant, so that no method tells a stranger what is here
        tools = await self._outside.tools(actor, agent)
        if message.method == "initialize":
            asked = params.get("protocolVersion")
            version = asked if asked in HANDSHAKE else HANDSHAKE[-1]
            return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": INFO}
        if message.method == "server/discover":
            return {"supportedVersions": list(MODERN), "capabilities": {"tools": {}}, **PRIVATE}
        if message.method == "tools/list":
            listed = [_shown(t) for t in tools]
            return {"tools": listed, **PRIVATE}
        if message.method == "tools/call":
            name, arguments = params.get("name"), params.get("arguments") or {}
            if not isinstance(name, str) or not isinstance(arguments, dict):
                raise Wrong(INVALID_PARAMS, "a call has a name, and arguments that are an object", 200)
            told = await self._outside.call(actor, agent, name, arguments)
            return {"content": [{"type": "text", "text": told.text}], "isError": told.error}
        raise Wrong(NO_METHOD, f"{message.method[:100]!r} is not done here; tools/list and tools/call are", 200)


def _shown(tool: Offered) -> dict[str, Any]:
    """A tool as the protocol has it. Its hints are what its author declared."""
    writes = tool.effects == "write"
    hints = {"readOnlyHint": not writes, "destructiveHint": writes}
    schema = {"type": "object", **tool.parameters}
    return {"name": tool.name, "description": tool.description, "inputSchema": schema, "annotations": hints}


def _read(body: bytes) -> Message:
    try:
        message = msgspec.json.decode(body, type=Message)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as e:
        raise Wrong(PARSE, f"not a JSON-RPC request: {e}") from e
    if message.jsonrpc != "2.0":
        raise Wrong(INVALID_REQUEST, "jsonrpc is not 2.0")
    return message


def _agree(message: Message, request: Request) -> None:
    """The body is what counts; a header that says otherwise would let whoever stands between decide on another request."""
    meta = message.params.get("_meta")
    version = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
    if version is not None and version not in MODERN:
        asked = str(version)[:40]
        raise Wrong(UNSUPPORTED, f"version {asked!r} is not spoken here", supported=[*HANDSHAKE, *MODERN], requested=asked)
    named = message.params.get("name") if message.method == "tools/call" else None
    for header, said in (("mcp-method", message.method), ("mcp-name", named)):
        given = request.headers.get(header)
        if given is not None and said is not None and _plain(given) != said:
            raise Wrong(MISMATCH, f"the header {header} does not agree with the body")


def _plain(header: str) -> str:
    """A header's value; what would not survive in one comes as `=?base64?…?=`."""
    if header.startswith("=?base64?") and header.endswith("?="):
        with contextlib.suppress(ValueError):
            return base64.b64decode(header[9:-2], validate=True).decode()
    return header


async def _while_there(request: Request, work: Awaitable[T]) -> T:
    """The result, unless whoever asked goes away: then nothing more is done for them."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Invalid("whoever asked is gone")
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json", headers={"cache-control": "no-store"})
