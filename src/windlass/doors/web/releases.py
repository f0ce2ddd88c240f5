"""Releases: what stands where, and the timeline of promotions and roll-backs with their verdicts."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Conflict, Forbidden, NotFound
from windlass.core.operations.deploy import (
    APPROVE,
    HISTORY,
    PROMOTE,
    RELEASE_APPROVALS,
    RELEASES,
    ROLLBACK,
    WITHDRAW,
    ApprovalsQuery,
    ApproveRequest,
    History,
    HistoryQuery,
    PromoteRequest,
    ReleaseApprovals,
    ReleaseList,
    ReleaseQuery,
    RollbackRequest,
)
from windlass.core.operations.rollouts import ROLLOUTS, Rollout, RolloutQuery
from windlass.doors.web.render import Asker, Handler, respond


class ReleasesContext(msgspec.Struct):
    """`approvals` are those that are demanded before what may be promoted is, by release; `rollouts` those under way."""

    releases: ReleaseList
    history: History
    name: str
    approvals: dict[str, ReleaseApprovals]
    rollouts: tuple[Rollout, ...] = ()


async def show(request: Request, ask: Asker) -> Response:
    q, project = request.query_params, ask.actor.project
    releases = await ask(RELEASES, ReleaseQuery(project))
    history = await ask(HISTORY, HistoryQuery(q.get("release") or None, None, project, q.get("cursor") or None))
    asked = {r.name: await approvals(ask, r.name) for r in releases.items if r.candidate}
    under_way = await ask(ROLLOUTS, RolloutQuery(project, q.get("release") or None, running=True))
    demanded = {name: a for name, a in asked.items() if a}
    context = ReleasesContext(releases, history, q.get("release", ""), demanded, under_way.items)
    return respond(request, "releases.html", context, nav="releases", title="Releases")


async def approvals(ask: Asker, release: str, verdict: str | None = None, environment: str = "production") -> ReleaseApprovals | None:
    """How its approvals stand; None where none is demanded, or where nothing may be promoted."""
    try:
        found = await ask(RELEASE_APPROVALS, ApprovalsQuery(release, verdict, environment, ask.actor.project))
    except (Conflict, Forbidden, NotFound):
        return None
    return found if found.needed else None


async def _asked(request: Request, ask: Asker) -> ApproveRequest:
    form = await request.form()
    note, environment = str(form.get("note") or "")[:2000], str(form.get("environment") or "production")
    return ApproveRequest(request.path_params["name"], str(form.get("verdict") or "") or None, note, environment, ask.actor.project)


async def approve(request: Request, ask: Asker) -> Response:
    found = await ask(APPROVE, await _asked(request, ask))
    return RedirectResponse(f"/verdicts/{found.verdict}", 303)


async def withdraw(request: Request, ask: Asker) -> Response:
    found = await ask(WITHDRAW, await _asked(request, ask))
    return RedirectResponse(f"/verdicts/{found.verdict}", 303)


async def promote(request: Request, ask: Asker) -> Response:
    form = await request.form()
    asked = PromoteRequest(
        request.path_params["name"],
        str(form.get("environment") or "production"),
        digest=str(form.get("digest") or "") or None,
        verdict=str(form.get("verdict") or "") or None,
        override=str(form.get("override") or "") or None,
        project=ask.actor.project,
    )
    await ask(PROMOTE, asked)
    return RedirectResponse("/releases", 303)


async def rollback(request: Request, ask: Asker) -> Response:
    form = await request.form()
    environment = str(form.get("environment") or "production")
    await ask(ROLLBACK, RollbackRequest(request.path_params["name"], environment, ask.actor.project))
    return RedirectResponse("/releases", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/releases", show),)
FORMS: tuple[tuple[str, Handler], ...] = (
    ("/releases/{name}/promote", promote),
    ("/releases/{name}/approve", approve),
    ("/releases/{name}/withdraw", withdraw),
    ("/releases/{name}/rollback", rollback),
)
