"""The installation: its processes, and whether the registry agrees with its bytes."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.operations import Empty
from windlass.core.operations.registry import VERIFY, VerifyQuery, VerifyReport
from windlass.core.operations.system import STATUS, Status
from windlass.doors.web.render import Asker, Handler, respond


class StatusContext(msgspec.Struct):
    status: Status
    verified: VerifyReport | None = None


async def _page(request: Request, ask: Asker, verified: VerifyReport | None = None) -> Response:
    return respond(request, "status.html", StatusContext(await ask(STATUS, Empty()), verified), nav="status", title="Installation")


async def show(request: Request, ask: Asker) -> Response:
    return await _page(request, ask)


async def verify(request: Request, ask: Asker) -> Response:
    return await _page(request, ask, await ask(VERIFY, VerifyQuery(ask.actor.project)))


PAGES: tuple[tuple[str, Handler], ...] = (("/status", show),)
FORMS: tuple[tuple[str, Handler], ...] = (("/status/verify", verify),)
