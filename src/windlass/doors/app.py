"""One ASGI application for all doors. It only assembles: who knocks is `auth`'s affair, what happens behind is each door's.

/healthz   /api/v1   /v1 and /invoke: gateway   …/v1/traces, logs, metrics: OTLP   /api/public: Langfuse's   /mcp/{agent}
/api/v1/private: Opik's   /version, /api/2.0 and /api/3.0: MLflow's   /login /logout   everything else: pages
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

import windlass
from windlass.core.errors import Unauthenticated, WindlassError
from windlass.doors import api, mlflow, opik_about
from windlass.doors.auth import Doorkeeper, Login, headers_of, identify
from windlass.doors.gateway import Gateway
from windlass.doors.langfuse import Langfuse
from windlass.doors.langfuse_datasets import LangfuseDatasets
from windlass.doors.mcp import Mcp
from windlass.doors.openid import OpenIdLogin
from windlass.doors.opik import Opik
from windlass.doors.opik_datasets import OpikDatasets
from windlass.doors.opik_experiments import OpikExperiments
from windlass.doors.opik_prompts import OpikPrompts
from windlass.doors.otlp import Intake, Otlp
from windlass.doors.web import app as web
from windlass.doors.web.render import respond_error, respond_login
from windlass.govern.openid import looks_like_token
from windlass.govern.permissions import guard
from windlass.platform import Platform
from windlass.sdk.importing.prompt_links import PromptLinks

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
PAGE_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
NO_STORE = (b"cache-control", b"no-store")


class Application:
    """The doors of one process. The hot paths are found by their path before anything else is asked."""

    def __init__(self, platform: Platform, host: str = "127.0.0.1") -> None:
        self.platform = platform
        self._stopping = asyncio.Event()
        self._doorkeeper = Doorkeeper(host, frozenset(n.strip().lower() for n in platform.settings.names.split(",") if n.strip()))
        # a cookie must say where it comes from here too, whatever the method
        self._openid = OpenIdLogin(platform.actors, platform.people, platform.settings.public_url)
        known = functools.partial(identify, platform.actors, "POST")
        self._gateway = Gateway(
            models=platform.models, runs=platform.executor, records=platform.records, authenticate=known,
            guard=guard, listed=platform.listed, keep=platform.blobs.put, body_limit=platform.settings.body_limit,
            limits=platform.reservations,
        )  # fmt: skip
        settings = platform.settings
        self._links = PromptLinks(platform.prompts.ref_of)
        self.intake = Intake(platform.journal, known, guard, settings.otlp_limit, settings.otlp_pending, platform.masking, self._links)
        self._otlp = Otlp(self.intake)
        self._mcp = Mcp(platform.outside, platform.settings.body_limit)
        self._rest = self._assemble()

    def stop(self) -> None:
        """End what somebody waits for, and tell them so."""
        self._stopping.set()
        self._gateway.stop()
        self.intake.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        headers = headers_of(scope)
        try:
            self._doorkeeper.check(scope["method"], headers)
        except WindlassError as e:
            await (self._otlp.refusing(e) if Otlp.serves(scope) else api.error_response(e))(scope, receive, send)
            return
        if looks_like_token(
            (headers.get("authorization", "")[7:] or headers.get("x-api-key", "")).strip()
        ):  # its provider may have to be asked, which is not for the loop
            with contextlib.suppress(WindlassError):
                await asyncio.to_thread(self.platform.actors.authenticate, headers)
        if path == "/healthz":
            await self._health()(scope, receive, send)
        elif Otlp.serves(scope):
            await self._otlp(scope, receive, send)
        elif Gateway.serves(path):
            await self._gateway(scope, receive, send)
        else:
            await self._slow(scope, receive, send, headers)

    async def _slow(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        """API and pages: with who asks in the scope, and strict headers on what goes out."""
        path: str = scope["path"]
        page = not path.startswith("/api/")
        static = path.startswith("/static/")
        if page and not static:
            try:
                actor = await asyncio.to_thread(identify, self.platform.actors, scope["method"], headers)
                scope["state"] = {**scope.get("state", {}), "actor": actor}
            except WindlassError as e:  # the page of somebody unknown is the log-in page
                why = e.message if self.platform.actors.session_secret(headers) and "authorization" not in headers else ""
                scope["state"] = {
                    **scope.get("state", {}),
                    "why": why[:1].upper() + why[1:],
                    "ways": self._openid.ways(path, scope["query_string"]),
                }

        async def sealed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                names = {k.lower() for k, _ in message["headers"]}
                extra = [*HEADERS, *(PAGE_HEADERS if page else ()), *(() if static or b"cache-control" in names else (NO_STORE,))]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self._rest(scope, receive, sealed)

    def _assemble(self) -> ASGI:
        login = Login(self.platform.actors)
        pages = web.build(self.platform.ask)
        opik = Opik(self.platform, self.intake)

        async def front(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/" and scope["method"] == "GET" and b"once=" in scope["query_string"]:
                request = Request(scope, receive)
                await (await _paged(login.link)(request))(scope, receive, send)
            else:
                await pages(scope, receive, send)

        return Starlette(
            routes=[
                *Langfuse(self.platform, self.intake).routes(),
                *LangfuseDatasets(self.platform, self.intake).routes(),
                *OpikExperiments(self.platform, self.intake, opik.began).routes(),
                *OpikDatasets(self.platform, self.intake).routes(),
                *OpikPrompts(self.platform, self.intake).routes(),
                *opik.routes(),
                *opik_about.routes(self.intake),
                *mlflow.routes(self.platform, self.intake, self._links),
                *api.routes(self.platform, self._stopping),
                Route("/mcp/{agent:path}", self._agent, methods=["GET", "POST", "DELETE"]),
                Route("/login", _paged(login.form), methods=["POST"]),
                Route("/login/{name}", _paged(self._openid.begin, respond_login), methods=["GET"]),
                Route("/login/{name}/back", _paged(self._openid.back, respond_login), methods=["GET"]),
                Route("/logout", _paged(login.out), methods=["POST"]),
                Mount("/", front),
            ],
            exception_handlers={HTTPException: api.http_error},
        )

    async def _agent(self, request: Request) -> Response:
        if request.method != "POST":  # there is no stream to listen to, and no session to end
            return Response(status_code=405, headers={"allow": "POST"})
        try:
            actor = await asyncio.to_thread(identify, self.platform.actors, "POST", headers_of(request.scope))
            return await self._mcp.answer(request, actor)
        except WindlassError as e:
            return api.error_response(e)
        except Exception:
            return api.error_response(api.defect(request.url.path))

    def _health(self) -> Response:
        """200 while this answers; the other parts as their supervisor last saw them."""
        parts = {name: process["state"] for name, process in self.platform.installation.processes().items()}
        return Response(msgspec.json.encode({"status": "ok", "version": windlass.__version__, "parts": parts}), media_type=api.JSON)


def _paged(endpoint: api.Endpoint, refuse: Callable[[Request, WindlassError], Response] = respond_error) -> api.Endpoint:
    """An endpoint for browsers: its errors are pages, at the status that fits."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Unauthenticated as e:
            return respond_login(request, e)
        except WindlassError as e:
            return refuse(request, e)

    return answer
