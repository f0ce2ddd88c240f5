"""Approvals: calls of tools that wait for a person, to be let through or denied, by mouse or by keyboard."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid
from windlass.core.operations.approvals import APPROVALS, DECIDE_APPROVAL, ApprovalDecision, ApprovalPage, ApprovalQuery
from windlass.core.untrusted import signs
from windlass.doors.web.render import Asker, Handler, respond


class ApprovalsContext(msgspec.Struct):
    """`warnings` by request: signs that its arguments try to command whoever reads them."""

    page: ApprovalPage
    state: str
    warnings: dict[str, list[str]]


async def page(request: Request, ask: Asker) -> Response:
    given = request.query_params
    state = "all" if given.get("state") == "all" else "waiting"
    found = await ask(APPROVALS, ApprovalQuery(ask.actor.project, cast(Any, state), given.get("cursor") or None))
    warnings = {a.id: told for a in found.items if (told := signs(msgspec.json.encode(a.arguments).decode()))}
    return respond(request, "approvals.html", ApprovalsContext(found, state, warnings), nav="approvals", title="Approvals")


async def decide(request: Request, ask: Asker) -> Response:
    form = await request.form()
    answer = form.get("answer")
    if answer not in ("allow", "deny"):
        raise Invalid("say whether it may go on", where="answer", remedy="answer allow or deny")
    note = str(form.get("note") or "").strip()[:2000]
    await ask(DECIDE_APPROVAL, ApprovalDecision(request.path_params["id"], answer == "allow", note, ask.actor.project))
    return RedirectResponse("/approvals", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/approvals", page),)
FORMS: tuple[tuple[str, Handler], ...] = (("/approvals/{id}", decide),)
