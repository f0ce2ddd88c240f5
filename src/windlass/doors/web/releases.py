"""Releases: what stands where, and the timeline of promotions and roll-backs with their verdicts."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.operations.deploy import (
    HISTORY,
    PROMOTE,
    RELEASES,
    ROLLBACK,
    History,
    HistoryQuery,
    PromoteRequest,
    ReleaseList,
    ReleaseQuery,
    RollbackRequest,
)
from windlass.doors.web.render import Asker, Handler, respond


class ReleasesContext(msgspec.Struct):
    releases: ReleaseList
    history: History
    name: str


async def show(request: Request, ask: Asker) -> Response:
    q, project = request.query_params, ask.actor.project
    releases = await ask(RELEASES, ReleaseQuery(project))
    history = await ask(HISTORY, HistoryQuery(q.get("release") or None, None, project, q.get("cursor") or None))
    context = ReleasesContext(releases, history, q.get("release", ""))
    return respond(request, "releases.html", context, nav="releases", title="Releases")


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
FORMS: tuple[tuple[str, Handler], ...] = (("/releases/{name}/promote", promote), ("/releases/{name}/rollback", rollback))
