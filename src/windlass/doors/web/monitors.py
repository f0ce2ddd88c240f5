"""Monitors: all and what they say; one as a report that needs no statistics to be read; quality over time by version."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.operations.deploy import RELEASES, ReleaseQuery
from windlass.core.operations.monitors import (
    DRIFT,
    LOOK_NOW,
    MONITOR,
    MONITORS,
    PAUSE_MONITOR,
    QUALITY,
    SET_MONITOR,
    DriftQuery,
    DriftSeen,
    MonitorDetail,
    MonitorName,
    MonitorPage,
    MonitorPause,
    MonitorQuery,
    MonitorRequest,
    QualityOverTime,
    QualityQuery,
)
from windlass.core.operations.registry import ARTIFACTS, ArtifactQuery
from windlass.doors.web.render import Asker, Handler, respond
from windlass.doors.web.watching import (
    BandDrawing,
    EvidenceDrawing,
    MapDrawing,
    QualityDrawing,
    coverage,
    drawn_map,
    evidence,
    quality,
)


class MonitorsContext(msgspec.Struct):
    """`suites` and `encoders` are what a new monitor can be made of."""

    page: MonitorPage
    suites: tuple[str, ...]


class MonitorContext(msgspec.Struct):
    detail: MonitorDetail
    evidence: EvidenceDrawing | None
    coverage: BandDrawing | None
    map: MapDrawing | None
    suite_dataset: str  # where reviewed rows go: the name of the dataset
    drift: DriftSeen | None = None


class QualityContext(msgspec.Struct):
    """`release` of those that there are; `found` None where there is none."""

    releases: tuple[str, ...]
    release: str
    hours: int
    found: QualityOverTime | None
    drawings: tuple[QualityDrawing, ...]


async def monitors(request: Request, ask: Asker) -> Response:
    project = ask.actor.project
    page = await ask(MONITORS, MonitorQuery(project, request.query_params.get("cursor") or None))
    suites = await ask(ARTIFACTS, ArtifactQuery(project, "suite", limit=200))
    return respond(request, "monitors.html", MonitorsContext(page, tuple(s.name for s in suites.items)), nav="monitors", title="Monitors")


async def monitor(request: Request, ask: Asker) -> Response:
    return await _page(request, ask, None)


async def drift(request: Request, ask: Asker) -> Response:
    """The page of the monitor, with what changed in the last hours on top."""
    hours = request.query_params.get("hours", "")
    asked = DriftQuery(request.path_params["name"], ask.actor.project, float(hours) if hours.replace(".", "", 1).isdigit() else 168)
    return await _page(request, ask, await ask(DRIFT, asked))


async def _page(request: Request, ask: Asker, found: DriftSeen | None) -> Response:
    detail = await ask(MONITOR, MonitorName(request.path_params["name"], ask.actor.project))
    state = detail.monitor
    dataset = state.dataset.partition("@")[0].rpartition("/")[2] if state.dataset else ""
    context = MonitorContext(
        detail, evidence(detail.looks), coverage(detail.looks), drawn_map(detail.points, detail.kept, state.dataset), dataset, found
    )
    return respond(request, "monitor.html", context, nav="monitors", title=f"monitor/{state.name}")


async def quality_page(request: Request, ask: Asker) -> Response:
    q, project = request.query_params, ask.actor.project
    releases = tuple(r.name for r in (await ask(RELEASES, ReleaseQuery(project))).items)
    release = q.get("release") or (releases[0] if releases else "")
    given = q.get("hours", "")
    hours = int(given) if given.isdigit() and 0 < int(given) <= 24 * 366 else 24 * 14
    found = await ask(QUALITY, QualityQuery(project, release, hours=hours)) if release else None
    context = QualityContext(releases, release, hours, found, quality(found) if found else ())
    return respond(request, "quality.html", context, nav="quality", title="Quality over time")


async def add(request: Request, ask: Asker) -> Response:
    form = await request.form()

    def text(field: str) -> str:
        return str(form.get(field) or "").strip()

    given = {"name": text("name"), "suite": text("suite"), "project": ask.actor.project, "encoder": text("encoder") or "words"}
    if text("sample"):
        given["sample"] = text("sample")
    made = await ask(SET_MONITOR, msgspec.convert(given, MonitorRequest, strict=False))
    await ask(LOOK_NOW, MonitorName(made.name, ask.actor.project))
    return RedirectResponse(f"/monitors/{made.name}", 303)


async def look(request: Request, ask: Asker) -> Response:
    name = request.path_params["name"]
    await ask(LOOK_NOW, MonitorName(name, ask.actor.project))
    return RedirectResponse(f"/monitors/{name}", 303)


async def pause(request: Request, ask: Asker) -> Response:
    form = await request.form()
    name = request.path_params["name"]
    await ask(PAUSE_MONITOR, MonitorPause(name, form.get("paused") == "1", ask.actor.project))
    return RedirectResponse(f"/monitors/{name}", 303)


PAGES: tuple[tuple[str, Handler], ...] = (
    ("/monitors", monitors), ("/monitors/{name}", monitor), ("/monitors/{name}/drift", drift), ("/quality", quality_page),
)  # fmt: skip
FORMS: tuple[tuple[str, Handler], ...] = (("/monitors", add), ("/monitors/{name}/look", look), ("/monitors/{name}/pause", pause))
