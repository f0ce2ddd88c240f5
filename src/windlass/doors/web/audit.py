"""Audit: what was done, by whom, to what; and whether the record of it still is what was written."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Forbidden
from windlass.core.ids import now_ns
from windlass.core.operations.audit import AUDIT, VERIFY_AUDIT, AuditPage, AuditQuery, AuditState, AuditVerify
from windlass.doors.web.render import Asker, Handler, respond

HOURS = {"1h": 1, "24h": 24, "7d": 168, "30d": 720}
AT_ONCE = 20_000  # entries that are verified whenever the page is looked at; more, when somebody asks


class AuditContext(msgspec.Struct, omit_defaults=True):
    """`state` is what verifying came to; None for somebody who may not, and for a long audit until it is asked for."""

    page: AuditPage
    filters: dict[str, str]
    state: AuditState | None = None
    may_verify: bool = True


async def _page(request: Request, ask: Asker, *, verified: bool) -> Response:
    given = {name: request.query_params.get(name, "").strip() for name in ("actor", "action", "subject", "last")}
    since = now_ns() - HOURS[given["last"]] * 3600 * 10**9 if given["last"] in HOURS else None
    actor, action, subject = (given[name] or None for name in ("actor", "action", "subject"))
    cursor = request.query_params.get("cursor") or None
    page = await ask(AUDIT, AuditQuery(ask.actor.project, actor, action, subject, since, cursor=cursor))
    context = AuditContext(page, given)
    try:
        if verified or not page.items or page.items[0].seq <= AT_ONCE:
            context.state = await ask(VERIFY_AUDIT, AuditVerify())
    except Forbidden:
        context.may_verify = False
    return respond(request, "audit.html", context, nav="audit", title="Audit")


async def show(request: Request, ask: Asker) -> Response:
    return await _page(request, ask, verified=False)


async def verify(request: Request, ask: Asker) -> Response:
    return await _page(request, ask, verified=True)


PAGES: tuple[tuple[str, Handler], ...] = (("/audit", show),)
FORMS: tuple[tuple[str, Handler], ...] = (("/audit/verify", verify),)
