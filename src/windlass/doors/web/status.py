"""The installation: its processes, its keys, and whether the registry agrees with its bytes."""

from __future__ import annotations

from typing import cast

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.actor import Role
from windlass.core.errors import Forbidden, Unavailable
from windlass.core.operations import Empty
from windlass.core.operations.registry import VERIFY, VerifyQuery, VerifyReport
from windlass.core.operations.system import KEY_CREATE, KEY_REVOKE, KEYS, STATUS, KeyInfo, KeyList, KeyQuery, KeyRequest, Status
from windlass.doors.web.render import Asker, Handler, respond


class StatusContext(msgspec.Struct):
    status: Status
    keys: KeyList
    made: KeyInfo | None = None
    verified: VerifyReport | None = None


async def _page(request: Request, ask: Asker, *, made: KeyInfo | None = None, verified: VerifyReport | None = None) -> Response:
    try:
        keys = await ask(KEYS, Empty())
    except (Forbidden, Unavailable):  # a page that says which store is away must not need it
        keys = KeyList(())
    context = StatusContext(await ask(STATUS, Empty()), keys, made, verified)
    return respond(request, "status.html", context, nav="status", title="Installation")


async def show(request: Request, ask: Asker) -> Response:
    return await _page(request, ask)


async def create_key(request: Request, ask: Asker) -> Response:
    """Shows the secret once, on the page that answers the form."""
    form = await request.form()
    asked = KeyRequest(str(form["name"]), cast(Role, str(form.get("role") or "caller")), ask.actor.project)
    return await _page(request, ask, made=await ask(KEY_CREATE, asked))


async def revoke_key(request: Request, ask: Asker) -> Response:
    await ask(KEY_REVOKE, KeyQuery(request.path_params["id"]))
    return RedirectResponse("/status", 303)


async def verify(request: Request, ask: Asker) -> Response:
    return await _page(request, ask, verified=await ask(VERIFY, VerifyQuery(ask.actor.project)))


PAGES: tuple[tuple[str, Handler], ...] = (("/status", show),)
FORMS: tuple[tuple[str, Handler], ...] = (
    ("/status/keys", create_key),
    ("/status/keys/{id}/revoke", revoke_key),
    ("/status/verify", verify),
)
