"""Verdicts: all, one led by its decision, and a gate under way."""

from __future__ import annotations

import math

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.operations.deploy import RELEASES, ReleaseApprovals, ReleaseQuery
from windlass.core.operations.evaluation import (
    GATE,
    GATE_JOB,
    VERDICT,
    VERDICTS,
    GateJob,
    GateRequest,
    IdQuery,
    VerdictPage,
    VerdictQuery,
)
from windlass.core.operations.registry import ARTIFACTS, ArtifactQuery, ArtifactSummary
from windlass.core.score import GuardResult, Verdict
from windlass.doors.web.releases import approvals
from windlass.doors.web.render import Asker, Handler, respond


class VerdictsContext(msgspec.Struct):
    page: VerdictPage
    suites: tuple[ArtifactSummary, ...]


class Curve(msgspec.Struct, frozen=True):
    """A guard's evidence as SVG points: x rows judged, y log of the odds; `end_x`, `end_y` where its name stands."""

    name: str
    points: str
    end_x: float
    end_y: float
    settled: bool


class VerdictContext(msgspec.Struct):
    """`standing` says whether the candidate can still be promoted by this verdict, or why not; `approvals` are those demanded first."""

    verdict: Verdict
    name: str
    curves: tuple[Curve, ...]
    better: int
    worse: int
    standing: str
    can_promote: bool
    approvals: ReleaseApprovals | None = None


class GateContext(msgspec.Struct):
    job: GateJob


CHART_TOP, CHART_BOTTOM, CHART_LEFT, CHART_RIGHT = 44.0, 170.0, 60.0, 560.0


def curve(guard: GuardResult, rows: int, threshold: float) -> Curve:
    """The evidence of a guard on a log scale where 1:1 is the base line and `threshold`:1 the dashed line."""
    top = math.log(threshold)
    points: list[tuple[float, float]] = []
    for row, evidence in ((0, 1.0), *guard.evidence):
        height = max(-0.15, min(1.2, math.log(max(evidence, 1e-12)) / top))
        x = CHART_LEFT + (CHART_RIGHT - CHART_LEFT) * row / max(1, rows)
        points.append((round(x, 1), round(CHART_BOTTOM - (CHART_BOTTOM - CHART_TOP) * height, 1)))
    text = " ".join(f"{x},{y}" for x, y in points)
    return Curve(guard.name, text, points[-1][0], points[-1][1], guard.decision == "promote")


async def verdicts(request: Request, ask: Asker) -> Response:
    q, project = request.query_params, ask.actor.project
    page = await ask(VERDICTS, VerdictQuery(project, q.get("suite") or None, cursor=q.get("cursor") or None))
    suites = await ask(ARTIFACTS, ArtifactQuery(project, "suite"))
    return respond(request, "verdicts.html", VerdictsContext(page, suites.items), nav="verdicts", title="Verdicts")


async def verdict(request: Request, ask: Asker) -> Response:
    project = ask.actor.project
    found = await ask(VERDICT, IdQuery(request.path_params["id"], project))
    name = found.candidate.partition("@")[0].rpartition("/")[2]
    releases = {r.name: r for r in (await ask(RELEASES, ReleaseQuery(project))).items}
    now = releases[name].environments.get(found.environment) if name in releases else None
    candidate, base = found.candidate.rpartition("@")[2], found.base.rpartition("@")[2] if found.base else None
    if found.decision != "promote":
        standing = ""
    elif now == candidate:
        standing = f"is in {found.environment}"
    elif now != base:
        standing = f"{found.environment} has moved since: gate again"
    else:
        standing = "ready"
    waits = await approvals(ask, name, found.id, found.environment) if standing == "ready" else None
    context = VerdictContext(
        verdict=found,
        name=name,
        curves=tuple(curve(g, found.rows, 1 / found.error) for g in found.guards if g.evidence),
        better=sum(c.candidate > c.base for c in found.changes),
        worse=sum(c.candidate < c.base for c in found.changes),
        standing=standing,
        can_promote=standing == "ready" and (waits is None or waits.enough),
        approvals=waits,
    )
    return respond(request, "verdict.html", context, nav="verdicts", title=f"{found.decision.capitalize()}: {name}")


async def gate(request: Request, ask: Asker) -> Response:
    job = await ask(GATE_JOB, IdQuery(request.path_params["id"], ask.actor.project))
    if job.verdict and not request.url.path.endswith(".json"):
        return RedirectResponse(f"/verdicts/{job.verdict.id}", 303)
    return respond(request, "gate.html", GateContext(job), nav="verdicts", title="A gate under way")


async def start(request: Request, ask: Asker) -> Response:
    form = await request.form()
    job = await ask(GATE, GateRequest(str(form["suite"]), str(form.get("candidate") or "") or None, ask.actor.project))
    return RedirectResponse(f"/gates/{job.id}", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/verdicts", verdicts), ("/verdicts/{id}", verdict), ("/gates/{id}", gate))
FORMS: tuple[tuple[str, Handler], ...] = (("/gates", start),)
