"""Stops: what is stopped, by whom and why, what each switch reaches, and what was stopped and lifted before."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid
from windlass.core.operations.audit import AUDIT, AuditPage, AuditQuery
from windlass.core.operations.grants import GRANTS, LIFT_STOP, STOP, STOPS, GrantQuery, Halted, StopLift, StopList, StopQuery, StopRequest
from windlass.core.operations.registry import ARTIFACTS, ArtifactQuery
from windlass.doors.web.render import Asker, Handler, respond


class StopsContext(msgspec.Struct, omit_defaults=True):
    """`history` is the audit's. `subject` was asked about, and `stops.would` is what a stop of it would halt. `agents`, `tools` and
    `grants` are what the form offers."""

    stops: StopList
    history: AuditPage
    agents: tuple[str, ...]
    tools: tuple[str, ...]
    grants: tuple[Halted, ...]
    subject: str = ""
    reason: str = ""


async def show(request: Request, ask: Asker) -> Response:
    given, project = request.query_params, ask.actor.project
    subject = (given.get("subject") or "").strip()
    stops = await ask(STOPS, StopQuery(project, reach=True, subject=subject or None))
    history = await ask(AUDIT, AuditQuery(project, action="stops.", cursor=given.get("cursor") or None, limit=20))
    agents = await ask(ARTIFACTS, ArtifactQuery(project, "agent", limit=200))
    tools = await ask(ARTIFACTS, ArtifactQuery(project, "tool", limit=200))
    live = (await ask(GRANTS, GrantQuery(project, state="live", limit=200))).items
    outside = sorted({g.grant.agent for g in live if "/" not in g.grant.agent})
    context = StopsContext(
        stops=stops,
        history=history,
        agents=(*(f"agent/{a.name}" for a in agents.items), *outside),
        tools=tuple(f"tool/{t.name}" for t in tools.items),
        grants=tuple(Halted(g.grant.id, g.grant.agent, g.grant.task) for g in live),
        subject=subject,
        reason=(given.get("reason") or "").strip(),
    )
    return respond(request, "stops.html", context, nav="stops", title="Stops")


async def stop(request: Request, ask: Asker) -> Response:
    form = await request.form()
    reason = str(form.get("reason") or "").strip()
    if not reason:
        raise Invalid("a stop needs a reason", where="reason", remedy="say what is wrong, for the others")
    await ask(STOP, StopRequest(str(form.get("subject") or "").strip(), reason[:2000], ask.actor.project))
    return RedirectResponse("/stops", 303)


async def lift(request: Request, ask: Asker) -> Response:
    form = await request.form()
    await ask(LIFT_STOP, StopLift(str(form.get("subject") or ""), ask.actor.project))
    return RedirectResponse("/stops", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/stops", show),)
FORMS: tuple[tuple[str, Handler], ...] = (("/stops", stop), ("/stops/lift", lift))
