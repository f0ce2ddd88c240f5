"""Policy: what each role may do, and one question explained."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Forbidden, Invalid, NotFound, WindlassError
from windlass.core.operations import OPERATIONS, Empty
from windlass.core.operations.policy import POLICY, POLICY_WHY, PolicyQuestion, PolicyTable, Ruling
from windlass.doors.web.render import Asker, Handler, respond


class PolicyContext(msgspec.Struct, omit_defaults=True):
    """`actions` are what can be asked about; `problem` why the question has no answer."""

    table: PolicyTable
    actions: tuple[str, ...]
    asked: PolicyQuestion | None = None
    ruling: Ruling | None = None
    problem: str = ""


async def show(request: Request, ask: Asker) -> Response:
    """With `actor` and `action` in the query, the question's answer."""
    table = await ask(POLICY, Empty())
    context = PolicyContext(table, (*table.permissions, *sorted(OPERATIONS)))
    given = {name: request.query_params.get(name, "").strip() for name in ("actor", "action", "subject")}
    if given["actor"] and given["action"]:
        context.asked = PolicyQuestion(given["actor"], given["action"], given["subject"], ask.actor.project)
        try:
            context.ruling = await ask(POLICY_WHY, context.asked)
        except (Forbidden, Invalid, NotFound) as e:
            context.problem = _sentence(e)
    return respond(request, "policy.html", context, nav="policy", title="Policy")


def _sentence(error: WindlassError) -> str:
    return f"{error.message}: {error.remedy}" if error.remedy else error.message


PAGES: tuple[tuple[str, Handler], ...] = (("/policy", show),)
