"""Who asks MLflow's interface, what they ask, and how theirs are answered.

GET /version                        which of its servers this stands for: to one of today spans are sent by OTLP
GET /api/3.0/mlflow/server-info     that there are no workspaces: the key says whose project it is
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations import Operation
from windlass.doors import api
from windlass.doors.auth import headers_of
from windlass.doors.foreign_datasets import began
from windlass.doors.otlp import Intake
from windlass.doors.otlp.http import Body
from windlass.doors.otlp.intake import Share, wait_after
from windlass.doors.otlp.senders import Sender
from windlass.doors.otlp.wire import PROTOBUF, SIGNALS
from windlass.platform import Platform
from windlass.sdk.importing.prompt_links import PromptLinks
from windlass.traces import mlflow_records as records

SERVER = "3.17.2"  # whose interface this is
V2, V3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
SENDER = Sender(V3, ("bearer", "basic"))
_CODES = {
    400: "INVALID_PARAMETER_VALUE", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_CONFLICT", 413: "INVALID_PARAMETER_VALUE", 429: "REQUEST_LIMIT_EXCEEDED", 503: "TEMPORARILY_UNAVAILABLE",
}  # fmt: skip

Asked = Mapping[str, Any]
Ask = Callable[[Actor, Asked], Awaitable[Any]]
P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R")


class Unserved(NotFound):
    """Theirs has it, and this has not."""

    status = 501


class Taken(Invalid):
    """There is one already. Their client goes on where the code is this."""


class Door:
    """Args:
    platform: does what is asked.
    intake: knows who asks, by the key that stands for theirs, and keeps what they say of traces.
    links: knows which versions of prompts traces name.
    """

    def __init__(self, platform: Platform, intake: Intake, links: PromptLinks) -> None:
        self.platform = platform
        self._intake = intake
        self._links = links

    def route(self, verb: str, path: str, ask: Ask, needs: str | None = None, *, sends: bool = False) -> Route:
        """`needs` is a permission; None where the operations behind it ask for theirs. What `sends` is counted as OTLP is."""

        async def answer(request: Request) -> Response:
            actor = None
            if sends:
                self._intake.came("traces")
            try:
                actor = await self._intake.admit(SENDER, headers_of(request.scope), needs)
                with self._intake.share() as share:
                    said = await ask(actor, {**await _said(request, share, self._intake.limit), **request.path_params})
                return Response(msgspec.json.encode(said), media_type=api.JSON)
            except ClientDisconnect:
                return Response(status_code=499)
            except Exception as e:
                error = e if isinstance(e, WindlassError) else api.defect(request.url.path)
                if sends:
                    self._intake.turned_away("traces", error, actor)
                return refused(error)

        return Route(path, answer, methods=[verb])

    async def ask(self, operation: Operation[P, R], actor: Actor, params: P) -> R:
        return await self.platform.ask(operation, actor, params)

    async def keep(self, actor: Actor, made: Sequence[Span], experiment: str = "", *, linked: bool = False) -> None:
        """Spans of theirs, on disk. Of those that are `linked`, the prompts they name become versions. Raises `Invalid` for what cannot be
        kept, `Unavailable`."""
        sent = records.request(made, experiment).SerializeToString()
        answer = ExportTraceServiceResponse.FromString(
            await self._intake.take(SIGNALS["traces"], actor.project, sent, PROTOBUF, "", linked)
        )
        if answer.partial_success.rejected_spans:
            raise Invalid(answer.partial_success.error_message, where="spans")

    async def refs(self, actor: Actor, named: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """The exact refs of those prompts that are here, by name and number."""
        asked = list(named)
        return await asyncio.to_thread(self._links.refs, actor.project, asked) if asked else {}

    async def began(self, actor: Actor, trace: str) -> int:
        """When a trace did, so that what is said of it stands at its beginning; now where nothing of it has come."""
        return await began(self.platform, actor.project, trace) or now_ns()


def refused(error: WindlassError) -> Response:
    """An error in their form."""
    code = "NOT_IMPLEMENTED" if isinstance(error, Unserved) else _CODES.get(error.status, "INTERNAL_ERROR")
    code = "RESOURCE_ALREADY_EXISTS" if isinstance(error, Taken) else code
    answer = Response(msgspec.json.encode({"error_code": code, "message": str(error)}), error.status, media_type=api.JSON)
    if (wait := wait_after(error)) is not None:
        answer.headers["retry-after"] = str(wait)
    return answer


def text_in(asked: Asked, field: str, *, empty: bool = False) -> str:
    """Raises `Invalid`."""
    value = asked.get(field)
    if not isinstance(value, str) or not (value or empty):
        raise Invalid("this must be told, as text", where=field)
    return value


def cursor_in(asked: Asked) -> str | None:
    """Where to go on. Raises `Invalid`."""
    return text_in(asked, "page_token") if asked.get("page_token") else None


def listed(asked: Asked, field: str) -> list[Any]:
    """What is asked once or several times."""
    value = asked.get(field) or []
    return value if isinstance(value, list) else [value]


def number_in(asked: Asked, field: str, usual: int, most: int) -> int:
    """How many are wanted at once, at most `most`. Raises `Invalid`."""
    value = asked.get(field) or usual
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:9])
    if not isinstance(value, int) or value is True or value < 1:
        raise Invalid(f"{str(value)[:20]!r} is no number of them", where=field, remedy=f"give 1 to {most}")
    return min(value, most)


async def _said(request: Request, share: Share, limit: int) -> dict[str, Any]:
    """What is asked: of a GET its address, where a name that comes again is a list; else the body. Raises `Invalid`, `TooLarge`, `Busy`."""
    if request.method == "GET":
        made: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            made[name] = [*listed(made, name), value] if name in made else value
        return made
    try:
        told = msgspec.json.decode(await Body(request.receive).whole(share, "", limit) or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Invalid(f"the body must be JSON: {e}", where="body") from e
    if not isinstance(told, dict):
        raise Invalid("the body must be an object", where="body")
    return told


async def version(request: Request) -> Response:
    return Response(SERVER, media_type="text/plain")


async def server_info(request: Request) -> Response:
    return Response(msgspec.json.encode({"store_type": "SqlStore", "workspaces_enabled": False}), media_type=api.JSON)


async def unserved(request: Request) -> Response:
    """Whatever else of theirs is asked for."""
    remedy = "traces, feedback and prompts are; docs/tracing.md says what else is, and where runs, models and datasets have their place"
    return refused(Unserved("this of MLflow's interface is not served here", where=request.url.path, remedy=remedy))
