"""Logging in by an OpenID provider: the way there and the way back. Who somebody is, `govern/people` knows.

What a browser keeps of a log-in under way is a cookie, signed, that comes along when the provider sends people back (`Lax`). The session's
own cookie does not (`Strict`), nor in a redirect from there: so the way back ends on a page of ours, which goes on by itself.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Unavailable
from windlass.doors.auth import headers_of
from windlass.doors.loopback import is_loopback
from windlass.doors.web.render import LandedContext, LoginWay, query, respond
from windlass.govern.actors import Actors
from windlass.govern.openid import LOGIN_SECONDS
from windlass.govern.people import People

AT_ONCE = 4  # log-ins that wait for a provider at a time: one that hangs must not hold up everybody else
LONGEST_BACK = 1000


class OpenIdLogin:
    """`GET /login/{name}` and `GET /login/{name}/back`.

    Args:
        actors: who somebody is.
        people: whom providers vouch for.
        public_url: where people reach the pages; empty on this machine.
    """

    def __init__(self, actors: Actors, people: People, public_url: str) -> None:
        self._actors = actors
        self._people = people
        self._public = public_url.rstrip("/")
        self._cookie = f"{actors.cookie}_login"
        self._waiting = asyncio.Semaphore(AT_ONCE)

    def ways(self, path: str, query_string: bytes) -> tuple[LoginWay, ...]:
        """The buttons of the log-in page at an address, to which one comes back."""
        back = f"{path}?{query_string.decode('latin-1')}" if query_string else path
        if not _local(back) or path.startswith("/login") or b"once=" in query_string:
            back = "/"
        given = {} if back == "/" else {"back": back}
        return tuple(LoginWay(title, query(f"{self._public}/login/{name}", **given)) for name, title in self._people.ways())

    async def begin(self, request: Request) -> Response:
        """Send somebody to the provider. Raises `Unauthenticated`, `Unavailable`."""
        name = request.path_params["name"]
        redirect = f"{self._base(request)}/login/{name}/back"
        back = request.query_params.get("back", "/")
        async with self._waiting:
            url, pending = await asyncio.to_thread(self._people.openid.begin, name, redirect, back if _local(back) else "/")
        response = RedirectResponse(url, 303)
        response.set_cookie(
            self._cookie, self._actors.tokens.login(pending), max_age=LOGIN_SECONDS, path="/login", httponly=True, samesite="lax",
            secure=redirect.startswith("https://"),
        )  # fmt: skip
        return response

    async def back(self, request: Request) -> Response:
        """Somebody the provider sent back. Raises `Unauthenticated`, `Forbidden` for one whom no rule lets in, `Unavailable`."""
        pending = self._actors.tokens.read_login(_cookie(request, self._cookie))
        async with self._waiting:
            secret, seconds = await asyncio.to_thread(self._people.log_in, request.path_params["name"], pending, dict(request.query_params))
        assert pending  # else nobody is let in
        response = respond(request, "landed.html", LandedContext(pending.back), nav="", title="Logged in")
        secure = pending.redirect.startswith("https://")
        response.set_cookie(self._actors.cookie, secret, max_age=seconds, httponly=True, samesite="strict", secure=secure)
        response.delete_cookie(self._cookie, path="/login", httponly=True, samesite="lax")
        return response

    def _base(self, request: Request) -> str:
        """Where the provider sends people back to. What a request says of it counts on this machine alone."""
        if self._public:
            return self._public
        host = headers_of(request.scope).get("host", "")
        if is_loopback(urlsplit(f"//{host}").hostname or ""):
            return f"http://{host}"
        raise Unavailable("this server does not know where people reach it", where="public_url", remedy="set WINDLASS_PUBLIC_URL")


def _cookie(request: Request, name: str) -> str:
    for pair in headers_of(request.scope).get("cookie", "").split(";"):
        found, _, value = pair.strip().partition("=")
        if found == name:
            return value
    return ""


def _local(path: str) -> bool:
    """Whether a path leads to a page here, and nowhere else however a browser reads it."""
    plain = path.isascii() and path.isprintable() and "\\" not in path and len(path) <= LONGEST_BACK
    return plain and path.startswith("/") and not path.startswith("//")
