"""The API: one route for every `Operation`, blobs by digest, and one shape for every error.

    GET  /api/v1/<name>?…           parameters in the query string
    POST /api/v1/<name>             parameters as a JSON object
    PUT · GET /api/v1/blobs/<digest>
    GET  /api/v1/openapi.json

Knows how operations travel over HTTP; what they do, `platform.handlers` knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import functools
import hashlib
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, BinaryIO, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from windlass.core.actor import Actor
from windlass.core.digest import TAG, is_digest
from windlass.core.errors import Invalid, NotFound, TooLarge, Unauthenticated, Unavailable, WindlassError
from windlass.core.ids import uuid7
from windlass.core.operations import OPERATIONS, Operation
from windlass.core.operations.query import decode
from windlass.core.operations.runs import RUN
from windlass.doors.auth import headers_of, identify, linger, read_body
from windlass.doors.openapi import document
from windlass.govern.permissions import guard
from windlass.platform import Platform

HEARTBEAT_SECONDS = 15.0
JSON = "application/json"
_FIELD = re.compile(r"`\$\.?([^`]*)`\Z")
_MISSING = re.compile(r"missing required field `(\w+)`")
_log = logging.getLogger("windlass.api")

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]


@functools.cache
def _described() -> bytes:
    """What the API is, as JSON; made when first asked for, since it takes a quarter of what a small command takes."""
    return msgspec.json.encode(document())


def routes(platform: Platform, stopping: asyncio.Event) -> list[Route]:
    """Every route under `/api/v1`. Once `stopping` is set, runs that a caller waits for are told to end."""
    found = [Route(op.path, answering(_operation(platform, op, stopping)), methods=[op.verb]) for op in OPERATIONS.values()]
    blobs = _Blobs(platform)

    async def describe(request: Request) -> Response:
        return Response(await asyncio.to_thread(_described), media_type=JSON)

    async def nothing(request: Request) -> Response:
        path = request.url.path
        if op := next((op for op in OPERATIONS.values() if op.path == path), None):
            return http_error(request, HTTPException(405, headers={"Allow": op.verb}))
        near = difflib.get_close_matches(path, [op.path for op in OPERATIONS.values()], 1)
        remedy = f"did you mean {near[0]}?" if near else "/api/v1/openapi.json lists what there is"
        raise NotFound(f"there is nothing at {path}", where=path, remedy=remedy)

    return [
        *found,
        Route("/api/v1/blobs/{digest}", answering(blobs.get), methods=["GET"]),
        Route("/api/v1/blobs/{digest}", answering(blobs.put), methods=["PUT"]),
        Route("/api/v1/openapi.json", answering(describe), methods=["GET"]),
        Route("/api/{rest:path}", answering(nothing), methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    ]


def error_response(error: WindlassError) -> Response:
    """An error in the one shape."""
    headers: dict[str, str] = {}
    if (wait := error.details.get("retry_after_s")) is not None:
        headers["retry-after"] = str(max(0, round(wait)))
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return Response(msgspec.json.encode(error.as_dict()), error.status, headers, JSON)


def defect(path: str) -> WindlassError:
    """What is told of an exception that should not have been: a number under which the log has the rest. To be called
    where the exception is being handled."""
    number = uuid7()
    _log.exception("defect %s at %r", number, path)
    return WindlassError("something went wrong inside Windlass", remedy=f"the server's log has it under {number}", id=number)


def answering(endpoint: Endpoint) -> Endpoint:
    """The endpoint with whatever it raises answered in the one shape."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except WindlassError as e:
            return error_response(e)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception:
            return error_response(defect(request.url.path))

    return answer


def http_error(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself (a wrong method, mostly), in the one shape."""
    assert isinstance(error, HTTPException)
    wrong = Invalid(f"{request.method} is not how {request.url.path} is asked", where=request.url.path)
    if allowed := (error.headers or {}).get("Allow"):
        wrong.remedy = f"use {allowed}"
    response = error_response(wrong)
    response.status_code = error.status_code
    response.headers.update(error.headers or {})
    return response


def _operation(platform: Platform, operation: Operation[Any, Any], stopping: asyncio.Event) -> Endpoint:
    async def serve(request: Request) -> Response:
        actor = await identified(platform, request)
        params = await _params(operation, request, platform.settings.body_limit)
        if operation.streams:
            return await _events(request, platform.stream(operation, actor, params), stopping)
        asked = platform.ask(operation, actor, params)
        result = await (_while_wanted(request, asked, stopping) if operation is RUN else asked)
        return Response(msgspec.json.encode(result), media_type=JSON)

    return serve


async def _while_wanted(request: Request, work: Coroutine[Any, Any, T], stopping: asyncio.Event) -> T:
    """What the work comes to; it is cancelled when the caller leaves or the server stops. The body must have been read. Raises
    `ClientDisconnect`, `Unavailable`."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    ending = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({working, leaving, ending}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect if leaving.done() else _stopped()
    finally:
        for task in (working, leaving, ending):
            task.cancel()
        await asyncio.gather(working, leaving, ending, return_exceptions=True)


def _stopped() -> Unavailable:
    return Unavailable("the server stops", remedy="ask again when it is back", retry_after_s=2)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def identified(platform: Platform, request: Request) -> Actor:
    """Who asks. Raises `Unauthenticated`, `Forbidden`."""
    return await asyncio.to_thread(identify, platform.actors, request.method, headers_of(request.scope))


async def _params(operation: Operation[Any, Any], request: Request, limit: int) -> Any:
    try:
        if operation.verb == "GET":
            return decode(operation.params, request.query_params)
        return decode_body(operation.params, await read_body(request, limit))
    except RecursionError as e:
        raise Invalid("the parameters are nested too deeply", where="body") from e


def decode_body(kind: type[Any], data: bytes) -> Any:
    """Parameters from a JSON object. Raises `Invalid` with a sentence that names the field, also for one that is unknown."""
    try:
        given = msgspec.json.decode(data or b"{}", type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise Invalid(f"the body must be a JSON object: {e}", where="body") from e
    for name in given:
        if name not in kind.__struct_encode_fields__:
            near = difflib.get_close_matches(name, kind.__struct_encode_fields__, 1)
            remedy = f"did you mean {near[0]!r}?" if near else "fields: " + ", ".join(kind.__struct_encode_fields__)
            raise Invalid(f"{name!r} is not a parameter here", where=name, remedy=remedy)
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise _complaint(str(e)) from e


def _complaint(text: str) -> Invalid:
    """msgspec's words as ours: `Expected `int`, got `str` - at `$.limit`` → the field, and the sentence."""
    message, _, place = text.partition(" - at ")
    field = match[1] if (match := _FIELD.match(place)) else ""
    if missing := _MISSING.search(message):
        return Invalid(f"{missing[1]!r} is missing", where=f"{field}.{missing[1]}".lstrip("."))
    plain = message.replace("`", "'")
    return Invalid(plain[:1].lower() + plain[1:], where=field or "body")


async def _events(request: Request, pieces: AsyncIterator[Any], stopping: asyncio.Event) -> Response:
    """Server-sent events. What fails before the first piece, or within the first heartbeat, is told by the status."""
    first = asyncio.ensure_future(anext(pieces, None))
    try:
        await _while_wanted(request, asyncio.wait({first}, timeout=HEARTBEAT_SECONDS), stopping)
    except (asyncio.CancelledError, ClientDisconnect, Unavailable):
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        raise
    if first.done():
        first.result()
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_written(first, pieces, stopping), media_type="text/event-stream", headers=headers)


async def _written(following: asyncio.Future[Any], pieces: AsyncIterator[Any], stopping: asyncio.Event) -> AsyncGenerator[bytes, None]:
    """Events as bytes. When the client leaves, the generator is closed and with it the work."""
    ending = asyncio.ensure_future(stopping.wait())
    try:
        while True:
            await asyncio.wait({following, ending}, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not following.done() and ending.done():
                yield _event({"error": _stopped().as_dict()})
                return
            if not following.done():
                yield b": still here\n\n"
                continue
            try:
                piece = following.result()
            except WindlassError as e:
                yield _event({"error": e.as_dict()})
                return
            except Exception:
                yield _event({"error": defect("a stream").as_dict()})
                return
            if piece is None:
                return
            yield _event(piece)
            following = asyncio.ensure_future(anext(pieces, None))
    finally:
        ending.cancel()
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await following
        if close := getattr(pieces, "aclose", None):
            await close()


def _event(piece: Any) -> bytes:
    return b"data: " + msgspec.json.encode(piece) + b"\n\n"


class _Blobs:
    """Bytes in and out, by digest. A blob is hashed while it comes and kept only when it is what it was said to be."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._limit = platform.settings.blob_limit

    async def get(self, request: Request) -> Response:
        actor = await identified(self._platform, request)
        guard(actor, "read", actor.project)
        digest = _digest(request)
        pieces = self._platform.blobs.pieces(digest)
        first = await asyncio.to_thread(next, pieces)
        headers = {"etag": f'"{digest}"', "content-disposition": "attachment"}
        return StreamingResponse(_sent(first, pieces), media_type="application/octet-stream", headers=headers)

    async def put(self, request: Request) -> Response:
        actor = await identified(self._platform, request)
        guard(actor, "write", actor.project)
        digest = _digest(request)
        told = request.headers.get("content-length", "")
        if told.isdigit() and int(told) > self._limit:
            await linger(request.stream())
            raise self._too_large()
        path = self._platform.home.path / "run" / f"upload-{uuid7()}"
        try:
            with path.open("xb") as file:
                await self._receive(request, file, digest)
            await asyncio.to_thread(self._platform.blobs.put_file, path, digest)
        finally:
            path.unlink(missing_ok=True)
        return Response(msgspec.json.encode({"digest": digest}), 201, media_type=JSON)

    async def _receive(self, request: Request, file: BinaryIO, digest: str) -> None:
        hashed, size = hashlib.sha256(), 0
        try:
            stream = request.stream()
            async for piece in stream:
                size += len(piece)
                if size > self._limit:
                    await linger(stream)
                    raise self._too_large()
                hashed.update(piece)
                await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(file.flush)
        except OSError as e:
            raise Unavailable(f"the upload could not be kept: {e.strerror}", remedy="make room and try again") from e
        if TAG + hashed.hexdigest() != digest:
            raise Invalid(
                f"these {size:,} bytes are {TAG}{hashed.hexdigest()}", where="digest", remedy="send the bytes that the digest names"
            )

    def _too_large(self) -> TooLarge:
        return TooLarge(f"a blob has at most {self._limit:,} bytes here", where="body", remedy="raise WINDLASS_BLOB_LIMIT")


async def _sent(first: bytes, others: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """A blob's bytes. One that turns out damaged breaks off before its end, and so the connection."""
    piece: bytes | None = first
    while piece is not None:
        yield piece
        try:
            piece = await asyncio.to_thread(next, others, None)
        except WindlassError as e:
            _log.error("a download broke off: %s", e)
            raise


def _digest(request: Request) -> str:
    digest: str = request.path_params["digest"]
    if not is_digest(digest):
        raise Invalid(f"{digest[:100]!r} is not a whole digest", where="digest", remedy="write sha256: and 64 hex digits")
    return digest
