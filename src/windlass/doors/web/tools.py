"""Tools: the catalog, and one tool with what changed from version to version and who uses which."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid
from windlass.core.operations.grants import LIFT_STOP, STOP, StopLift, StopRequest
from windlass.core.operations.tools import TOOL, TOOLS, ToolDetail, ToolName, ToolPage, ToolQuery
from windlass.core.untrusted import signs
from windlass.doors.web.render import Asker, Handler, respond


class ToolsContext(msgspec.Struct):
    page: ToolPage
    search: str


class ToolContext(msgspec.Struct):
    """`warnings`: signs that the newest description tries to command a model."""

    detail: ToolDetail
    warnings: list[str]


async def tools(request: Request, ask: Asker) -> Response:
    given = request.query_params
    search = (given.get("search") or "").strip()
    page = await ask(TOOLS, ToolQuery(ask.actor.project, search or None, given.get("cursor") or None))
    return respond(request, "tools.html", ToolsContext(page, search), nav="tools", title="Tools")


async def tool(request: Request, ask: Asker) -> Response:
    detail = await ask(TOOL, ToolName(request.path_params["name"], ask.actor.project))
    return respond(request, "tool.html", ToolContext(detail, signs(detail.tool.description)), nav="tools", title=f"tool/{detail.tool.name}")


async def suspend(request: Request, ask: Asker) -> Response:
    form, name = await request.form(), request.path_params["name"]
    reason = str(form.get("reason") or "").strip()
    if not reason:
        raise Invalid("a stop needs a reason", where="reason", remedy="say what is wrong, for the others")
    await ask(STOP, StopRequest(f"tool/{name}", reason[:2000], ask.actor.project))
    return RedirectResponse(f"/tools/{name}", 303)


async def resume(request: Request, ask: Asker) -> Response:
    name = request.path_params["name"]
    detail = await ask(TOOL, ToolName(name, ask.actor.project))
    await ask(LIFT_STOP, StopLift(detail.tool.stop or f"tool/{name}", ask.actor.project))
    return RedirectResponse(f"/tools/{name}", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/tools", tools), ("/tools/{name}", tool))
FORMS: tuple[tuple[str, Handler], ...] = (("/tools/{name}/suspend", suspend), ("/tools/{name}/resume", resume))
