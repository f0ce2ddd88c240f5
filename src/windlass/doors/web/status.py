"""The installation: its processes, whether the registry agrees with its bytes, and traces read anew."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.operations import Empty
from windlass.core.operations.registry import VERIFY, VerifyQuery, VerifyReport
from windlass.core.operations.system import STATUS, Status
from windlass.core.operations.traces import REMAP, Remapped, TraceRemap
from windlass.doors.web.render import Asker, Handler, respond


class StatusContext(msgspec.Struct):
    status: Status
    verified: VerifyReport | None = None
    remapped: Remapped | None = None


async def _page(request: Request, ask: Asker, verified: VerifyReport | None = None, remapped: Remapped | None = None) -> Response:
    context = StatusContext(await ask(STATUS, Empty()), verified, remapped)
    return respond(request, "status.html", context, nav="status", title="Installation")


async def show(request: Request, ask: Asker) -> Response:
    return await _page(request, ask)


async def verify(request: Request, ask: Asker) -> Response:
    return await _page(request, ask, await ask(VERIFY, VerifyQuery(ask.actor.project)))


async def remap(request: Request, ask: Asker) -> Response:
    """One step; the page asks again by itself until all is read."""
    return await _page(request, ask, remapped=await ask(REMAP, TraceRemap()))


PAGES: tuple[tuple[str, Handler], ...] = (("/status", show),)
FORMS: tuple[tuple[str, Handler], ...] = (("/status/verify", verify), ("/status/remap", remap))
