"""Bake-offs: all, and one led by its recommendation, with the frontier drawn."""

from __future__ import annotations

import math

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.operations.bakeoffs import BAKEOFF, BAKEOFFS, DISCOVER, Bakeoff, BakeoffPage, BakeoffQuery, BakeoffRequest
from windlass.core.operations.evaluation import IdQuery
from windlass.core.operations.registry import ARTIFACTS, ArtifactQuery, ArtifactSummary
from windlass.doors.web.frontier import Drawing, draw
from windlass.doors.web.render import Asker, Handler, respond


class BakeoffContext(msgspec.Struct):
    bakeoff: Bakeoff
    guards: tuple[str, ...]
    drawing: Drawing | None


class BakeoffsContext(msgspec.Struct):
    page: BakeoffPage
    suites: tuple[ArtifactSummary, ...]


def context_of(found: Bakeoff, guard: str | None = None) -> BakeoffContext:
    guards = tuple(s.name for s in next((a.guards for a in found.arms if a.guards), ()))
    shown = guard if guard in guards else guards[0] if guards else ""
    chosen = found.recommendation.model if found.recommendation else None
    return BakeoffContext(found, guards, draw(found.arms, shown, chosen) if shown else None)


async def bakeoff(request: Request, ask: Asker) -> Response:
    found = await ask(BAKEOFF, IdQuery(request.path_params["id"], ask.actor.project))
    return respond(request, "bakeoff.html", context_of(found, request.query_params.get("guard")), nav="bakeoffs", title="Bake-off")


async def bakeoffs(request: Request, ask: Asker) -> Response:
    q, project = request.query_params, ask.actor.project
    page = await ask(BAKEOFFS, BakeoffQuery(project, q.get("suite") or None, q.get("cursor") or None))
    suites = await ask(ARTIFACTS, ArtifactQuery(project, "suite"))
    return respond(request, "bakeoffs.html", BakeoffsContext(page, suites.items), nav="bakeoffs", title="Bake-offs")


async def start(request: Request, ask: Asker) -> Response:
    form = await request.form()
    named = tuple(m.strip() for m in str(form.get("models") or "").replace("\n", ",").split(",") if m.strip())
    budget = str(form.get("budget") or "1")
    asked = {
        "suite": str(form["suite"]), "models": named, "project": ask.actor.project, "budget": float(budget) if _number(budget) else -1.0,
        "data_class": str(form.get("data_class") or "") or None, "part": str(form.get("part") or "").strip() or None,
    }  # fmt: skip
    begun = await ask(DISCOVER, msgspec.convert(asked, BakeoffRequest))
    return RedirectResponse(f"/bakeoffs/{begun.id}", 303)


def _number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


PAGES: tuple[tuple[str, Handler], ...] = (("/bakeoffs", bakeoffs), ("/bakeoffs/{id}", bakeoff))
FORMS: tuple[tuple[str, Handler], ...] = (("/bakeoffs", start),)
