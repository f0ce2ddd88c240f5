"""How Opik's SDK is heard and answered: its key, bodies of any size, errors in its form."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, WindlassError
from windlass.core.operations.traces import TEXT, TextShow
from windlass.core.span import StoredSpan, make_whole
from windlass.doors import api
from windlass.doors.auth import headers_of
from windlass.doors.otlp import Intake
from windlass.doors.otlp.http import Body
from windlass.doors.otlp.intake import INLINE, Share
from windlass.doors.otlp.senders import RAW, Sender
from windlass.doors.otlp.unpacking import ENCODINGS
from windlass.platform import Platform

SENDER = Sender("/api/v1/private", (RAW, "bearer"))
BASE = SENDER.base
LARGEST_PAGE = 2_000  # items of one, as their SDK asks
TOLD = 5  # of what is not kept, in one answer

T = TypeVar("T")
Told = dict[str, Any]


class Heard(NamedTuple):
    """What was sent, by whom. `size` is that of the body, in bytes."""

    request: Request
    actor: Actor
    said: Told
    size: int


Endpoint = Callable[[Heard], Awaitable[Any]]


class Partly(Invalid):
    """Some of what was sent is not kept; the rest is."""

    def __init__(self, wrong: list[str], where: str) -> None:
        some = "; ".join(wrong[:TOLD]) + (f"; and {len(wrong) - TOLD} more" if len(wrong) > TOLD else "")
        super().__init__(some, where=where, remedy="what is not named here was kept")


async def aside(size: int, work: Callable[..., T], *given: Any) -> T:
    """Work on a body of so many bytes: of a big one on a thread, so that others are answered meanwhile."""
    return await asyncio.to_thread(work, *given) if size > INLINE else work(*given)


async def heard(request: Request, actor: Actor, share: Share, limit: int, listed: str = "") -> Heard:
    """The body, which is an object; `listed` is its field that may be long. Raises `Invalid`, `TooLarge`, `Busy`."""
    encoding = headers_of(request.scope).get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", *ENCODINGS):
        raise Invalid(f"{encoding[:100]!r} is not an encoding we read", remedy=f"send {', '.join(ENCODINGS)}, or none")
    data = await Body(request.receive).whole(share, encoding if encoding in ENCODINGS else "", limit)
    return Heard(request, actor, await aside(len(data), decoded, data, listed), len(data))


def decoded(data: bytes, listed: str = "") -> Told:
    """What a body says; nothing of an empty one. Of the list that may be long one entry after the other: nobody else gets a turn while one
    piece of JSON is read. Raises `Invalid`."""
    try:
        said = msgspec.json.decode(data, type=dict[str, msgspec.Raw]) if data else {}
        return {name: _each(raw) if name == listed else msgspec.json.decode(raw) for name, raw in said.items()}
    except msgspec.ValidationError as e:
        raise Invalid("the body must be an object", where="body", remedy="send what Opik's SDK does") from e
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Invalid(f"the body must be JSON: {e}", where="body") from e


def _each(raw: msgspec.Raw) -> Any:
    if memoryview(raw)[:1].tobytes() != b"[":
        return msgspec.json.decode(raw)
    return [msgspec.json.decode(one) for one in msgspec.json.decode(raw, type=list[msgspec.Raw])]


def serving(intake: Intake, endpoint: Endpoint, listed: str = "", needs: str | None = None) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint with what is sent to it, and what it gives or raises as theirs does. `needs` is what its key must be allowed; None where
    the operations that it asks for say so."""

    async def answer(request: Request) -> Response:
        try:
            actor = await intake.admit(SENDER, headers_of(request.scope), needs)
            with intake.share() as share:
                said = await endpoint(await heard(request, actor, share, intake.limit, listed))
        except Exception as e:
            return refusal(e if isinstance(e, WindlassError) else api.defect(request.url.path))
        if isinstance(said, Response):
            return said
        return Response(status_code=204) if said is None else told(said)

    return answer


def told(said: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(said), status, media_type=api.JSON)


def refusal(error: WindlassError) -> Response:
    """An error as theirs are told, `{code, message, errors}`, with our own shape beside."""
    answer = api.error_response(error)
    answer.body = msgspec.json.encode({"code": error.status, "message": str(error), "errors": [str(error)], **error.as_dict()})
    answer.headers["content-length"] = str(len(answer.body))
    return answer


async def made_whole(platform: Platform, actor: Actor, span: StoredSpan) -> StoredSpan:
    """A span with its long texts, which are shortened where many are told."""
    asked = (
        TextShow(span.trace_id, span.span_id, of, actor.project)  # type: ignore[arg-type]
        for of in span.cut
    )
    make_whole(span, {one.of: (await platform.ask(TEXT, actor, one)).text for one in asked})
    return span


def page_of(request: Request, largest: int = LARGEST_PAGE) -> tuple[int, int]:
    """Which page, from 1, and how many on one. Raises `Invalid`."""
    asked = request.query_params
    return _number(asked.get("page") or "1", "page", 10**9), _number(asked.get("size") or "10", "size", largest)


def _number(text: str, where: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:12]) <= most):
        raise Invalid(f"{text[:20]!r} is no {where}", where=where, remedy=f"give a number from 1 to {most:,}")
    return int(text)


def text_of(said: Told, field: str) -> str:
    """A field that must be a text with something in it. Raises `Invalid`."""
    value = said.get(field)
    if not isinstance(value, str) or not value.strip():
        raise Invalid(f"there is no {field}", where=field, remedy="give it as a text")
    return value


def number_of(score: Told) -> float:
    """The value of a score. Raises `Invalid`."""
    value = score.get("value")
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    except OverflowError:
        pass
    raise Invalid("a score of Opik's is a number", where="value")


def not_taken(said: Told, **why: str) -> None:
    """Raises `Invalid` for a field that says something and is not taken; `why` has what to do instead."""
    for field, remedy in why.items():
        if said.get(field) not in (None, "", [], {}):
            raise Invalid("this is not taken here", where=field, remedy=remedy)
