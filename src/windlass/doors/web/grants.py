"""Grants: what agents may do; one grant with what it allows, spent and denied, and a place to ask it."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid
from windlass.core.grant import CallDecision
from windlass.core.ids import now_ns
from windlass.core.operations.grants import (
    CHECK_CALL,
    GRANT,
    GRANT_TOKEN,
    GRANTS,
    MAKE_GRANT,
    REVOKE_GRANT,
    STOPS,
    CallCheck,
    GrantId,
    GrantPage,
    GrantQuery,
    GrantRequest,
    GrantState,
    GrantToken,
    StopQuery,
    TokenRequest,
)
from windlass.core.operations.registry import ARTIFACTS, ArtifactQuery
from windlass.doors.web.render import Asker, Handler, respond

HOURS = ((1, "1 hour"), (8, "8 hours"), (24, "1 day"), (168, "1 week"), (720, "30 days"))


class GrantsContext(msgspec.Struct):
    """`stops` is how many hold; `agents` and `tools` are names of the registry, for the form; `hours` what a grant may last."""

    page: GrantPage
    query: GrantQuery
    stops: int
    agents: tuple[str, ...]
    tools: tuple[str, ...]
    hours: tuple[tuple[int, str], ...]


class GrantContext(msgspec.Struct, omit_defaults=True):
    """`tried` is the call that was asked about and `decision` the answer; `token` was just made, and is shown this once."""

    state: GrantState
    tried: CallCheck | None = None
    decision: CallDecision | None = None
    token: GrantToken | None = None


async def page(request: Request, ask: Asker) -> Response:
    given, project = request.query_params, ask.actor.project
    query = GrantQuery(project, given.get("agent") or None, "all" if given.get("state") == "all" else "live", given.get("cursor") or None)
    found, stops = await ask(GRANTS, query), await ask(STOPS, StopQuery(project))
    agents = await ask(ARTIFACTS, ArtifactQuery(project, "agent", limit=200))
    tools = await ask(ARTIFACTS, ArtifactQuery(project, "tool", limit=200))
    context = GrantsContext(found, query, len(stops.items), tuple(a.name for a in agents.items), tuple(t.name for t in tools.items), HOURS)
    return respond(request, "grants.html", context, nav="grants", title="Grants")


async def grant(request: Request, ask: Asker) -> Response:
    """The page of a grant; with `tool` in the query, the decision about a call of it."""
    given = request.query_params
    state = await ask(GRANT, GrantId(request.path_params["id"], ask.actor.project))
    tried, decision = None, None
    if given.get("tool"):
        agent = given.get("agent") or None
        tried = CallCheck(state.grant.id, given["tool"], _object(given.get("arguments") or "{}"), agent, ask.actor.project)
        decision = await ask(CHECK_CALL, tried)
    return respond(request, "grant.html", GrantContext(state, tried, decision), nav="grants", title=state.grant.task[:60])


async def make(request: Request, ask: Asker) -> Response:
    form = await request.form()

    def text(field: str) -> str:
        return str(form.get(field) or "").strip()

    arguments = _object(text("arguments") or "{}")
    tools = [_tool(str(name), arguments.get(str(name)), text("on_miss")) for name in form.getlist("tools")]
    hours = int(text("hours")) if text("hours").isdigit() else 24
    asked: dict[str, Any] = {
        "agent": text("agent"), "task": text("task"), "tools": tools, "project": ask.actor.project,
        "expires_ns": now_ns() + min(hours, 24 * 366) * 3600 * 10**9, "calls": int(text("calls")) if text("calls").isdigit() else None,
    }  # fmt: skip
    if unknown := sorted(set(arguments) - {str(name) for name in form.getlist("tools")}):
        raise Invalid(f"{unknown[0]!r} is not among the tools", where="arguments", remedy="tick it, or leave it out")
    try:
        request_ = msgspec.convert(asked, GrantRequest)
    except msgspec.ValidationError as e:
        raise Invalid(f"the form is wrong: {e}", remedy="name a task, and tick at least one tool") from e
    made = await ask(MAKE_GRANT, request_)
    return RedirectResponse(f"/grants/{made.grant.id}", 303)


def _tool(name: str, schema: Any, on_miss: str) -> dict[str, Any]:
    made = {"tool": f"tool/{name}", "on_miss": on_miss or "deny"}
    return made | ({"arguments": schema} if schema is not None else {})


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as e:
        raise Invalid(f"not a JSON object: {e}", where="arguments", remedy='write {"order": "7"}') from e


async def revoke(request: Request, ask: Asker) -> Response:
    id = request.path_params["id"]
    await ask(REVOKE_GRANT, GrantId(id, ask.actor.project))
    return RedirectResponse(f"/grants/{id}", 303)


async def token(request: Request, ask: Asker) -> Response:
    """The page of the grant, with the token: it is in no address and in no history."""
    id, project = request.path_params["id"], ask.actor.project
    made = await ask(GRANT_TOKEN, TokenRequest(id, project=project))
    state = await ask(GRANT, GrantId(id, project))
    response = respond(request, "grant.html", GrantContext(state, token=made), nav="grants", title=state.grant.task[:60])
    response.headers["cache-control"] = "no-store"
    return response


PAGES: tuple[tuple[str, Handler], ...] = (("/grants", page), ("/grants/{id}", grant))
FORMS: tuple[tuple[str, Handler], ...] = (
    ("/grants", make),
    ("/grants/{id}/revoke", revoke),
    ("/grants/{id}/token", token),
)
