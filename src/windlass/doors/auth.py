"""Who may knock: the Host and Origin of a request, the session cookie, the one-time link and the log-in form.

A page on the web must not drive a server on this machine. So the name a request is sent to must be one of ours (DNS
rebinding), a request that changes something must not come from another origin, and one that rides on the cookie must say
where it comes from. Knows headers; who somebody is, `govern/actors` knows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from windlass.core.actor import Actor
from windlass.core.errors import Forbidden, TooLarge, Unauthenticated
from windlass.doors.loopback import is_address, is_loopback
from windlass.govern.actors import Actors
from windlass.govern.sessions import SESSION_SECONDS

Scope = MutableMapping[str, Any]
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
FORM_LIMIT = 10_000  # bytes
LINGER_BYTES = 1_000_000_000
LINGER_SECONDS = 10.0
WRONG_KEY_SECONDS = 0.5  # how long a wrong key at the log-in form waits for its answer


def headers_of(scope: Scope) -> dict[str, str]:
    """Header fields by lower-case name; several of one name are joined, so that none of two hosts or keys is believed."""
    found: dict[str, str] = {}
    for raw, content in scope["headers"]:
        name, value = raw.decode("latin-1").lower(), content.decode("latin-1")
        found[name] = f"{found[name]}{'; ' if name == 'cookie' else ', '}{value}" if name in found else value
    return found


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises `TooLarge` over `limit` bytes."""
    pieces: list[bytes] = []
    size = 0
    stream = request.stream()
    async for piece in stream:
        size += len(piece)
        if size > limit:
            await linger(stream)
            raise TooLarge(f"the request is larger than {limit:,} bytes", where="body", remedy="send less, or raise WINDLASS_BODY_LIMIT")
        pieces.append(piece)
    return b"".join(pieces)


async def linger(stream: AsyncIterator[bytes]) -> None:
    """Read on for a while before a refusal: a caller who is still sending would see a broken connection instead of it."""
    left = LINGER_BYTES
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(LINGER_SECONDS):
            async for piece in stream:
                left -= len(piece)
                if left < 0:
                    return


class Doorkeeper:
    """Turns away what comes to a wrong name or from a wrong place.

    Args:
        host: the address listened on.
        names: further names people reach this server by.
    """

    def __init__(self, host: str, names: frozenset[str] = frozenset()) -> None:
        self._names = LOOPBACK | {host.strip("[]").lower()} | names
        self._open = not is_loopback(host)

    def check(self, method: str, headers: Mapping[str, str]) -> None:
        """Raises `Forbidden` for a request that is not meant for this server or comes from another origin."""
        host = headers.get("host", "")
        if not self._ours(_name(host)):
            raise Forbidden(
                f"this server does not answer to the name {host[:100]!r}",
                where="Host",
                remedy="use its address, or set WINDLASS_NAMES to the names it has",
            )
        if method not in SAFE and not _same_origin(headers, host):
            raise Forbidden(
                "a page of another origin may not change anything here",
                where="Origin",
                remedy="open the server's own pages, or call it from a program with a key",
            )

    def _ours(self, name: str) -> bool:
        if name in self._names:
            return True
        # listening beyond this machine, any of its addresses may be used; rebinding needs a name
        return self._open and is_address(name)


def check_cookie_request(method: str, headers: Mapping[str, str]) -> None:
    """A request that changes something on the strength of a cookie must say where it comes from; browsers do.
    Raises `Forbidden`."""
    if method not in SAFE and "origin" not in headers and "sec-fetch-site" not in headers:
        raise Forbidden("a request with a cookie must say its origin", where="Origin", remedy="programs: give a key instead")


def identify(actors: Actors, method: str, headers: Mapping[str, str]) -> Actor:
    """Who sends this, by key or by cookie. Raises `Unauthenticated`, `Forbidden`."""
    actor = actors.authenticate(headers)
    if "authorization" not in headers and "x-api-key" not in headers:
        check_cookie_request(method, headers)
    return actor


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _same_origin(headers: Mapping[str, str], host: str) -> bool:
    """Programs send neither header; browsers send at least one with whatever changes something."""
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return False
    return headers.get("sec-fetch-site", "none") in ("same-origin", "none")


def _over_tls(request: Request) -> bool:
    """Whether the browser speaks TLS, also to a proxy in front of us: a form's origin says so."""
    return request.url.scheme == "https" or request.headers.get("origin", "").lower().startswith("https://")


class Login:
    """The one-time link, the log-in form and logging out."""

    def __init__(self, actors: Actors) -> None:
        self._actors = actors

    async def link(self, request: Request) -> Response:
        """`GET /?once=…`: spends the link and sets the cookie. Raises `Unauthenticated` for one that is spent."""
        if await asyncio.to_thread(self._actors.sessions.spend, request.query_params["once"]):
            return self._let_in(request, await asyncio.to_thread(self._actors.sessions.open))
        try:
            await asyncio.to_thread(self._actors.authenticate, headers_of(request.scope))
        except Unauthenticated:
            raise Unauthenticated("This link was used already, or is too old", remedy="`windlass link` prints a new one") from None
        return RedirectResponse("/", 303)

    async def form(self, request: Request) -> Response:
        """`POST /login` with the field `key`."""
        key = dict(parse_qsl((await read_body(request, FORM_LIMIT)).decode("utf-8", "replace"))).get("key", "").strip()
        try:
            cookie = await asyncio.to_thread(self._actors.log_in, key)
        except Unauthenticated as e:
            await asyncio.sleep(WRONG_KEY_SECONDS)
            raise Unauthenticated("This key is not known here", remedy=e.remedy) from None
        return self._let_in(request, cookie)

    async def out(self, request: Request) -> Response:
        """`POST /logout`. Raises `Forbidden` for a request that does not say where it comes from."""
        check_cookie_request(request.method, headers_of(request.scope))
        if secret := self._actors.session_secret(headers_of(request.scope)):
            await asyncio.to_thread(self._actors.sessions.close, secret)
        response = RedirectResponse("/", 303)
        response.delete_cookie(self._actors.cookie, httponly=True, samesite="strict")
        return response

    def _let_in(self, request: Request, cookie: str) -> Response:
        response = RedirectResponse("/", 303)
        response.set_cookie(
            self._actors.cookie, cookie, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=_over_tls(request)
        )  # fmt: skip
        return response
