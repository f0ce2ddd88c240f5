"""Routes of the pages. `build(ask)` gives one ASGI application; who acts is in `scope["state"]["actor"]`, put there by
`doors/auth`. A request by nobody gets the log-in page."""

from __future__ import annotations

import logging
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from windlass.core.actor import Actor
from windlass.core.errors import NotFound, Unauthenticated, WindlassError
from windlass.core.ids import uuid7
from windlass.doors.web import (
    alerts,
    approvals,
    artifacts,
    audit,
    bakeoffs,
    batches,
    calls,
    dashboards,
    dataset_runs,
    datasets,
    erasures,
    evaluations,
    evidence,
    grants,
    graph,
    home,
    indexes,
    ledger,
    limits,
    lineage,
    loadtests,
    logs,
    masking,
    metrics,
    models,
    monitors,
    people,
    pins,
    playground,
    policy,
    providers,
    releases,
    reviews,
    rollouts,
    routes,
    scores,
    sessions,
    sql,
    status,
    stops,
    tools,
    trace_lists,
    trace_pairs,
    trace_texts,
    trace_trees,
    traces,
    tuning,
    verdicts,
    views,
)
from windlass.doors.web.render import Ask, Asker, Handler, respond_error

log = logging.getLogger("windlass.web")

PAGES: tuple[tuple[str, Handler], ...] = (
    *home.PAGES,
    *artifacts.PAGES,
    *dataset_runs.PAGES,
    *datasets.PAGES,
    *pins.PAGES,
    *indexes.PAGES,
    *lineage.PAGES,
    *graph.PAGES,
    *evaluations.PAGES,
    *verdicts.PAGES,
    *reviews.PAGES,
    *releases.PAGES,
    *batches.PAGES,
    *loadtests.PAGES,
    *routes.PAGES,
    *providers.PAGES,
    *limits.PAGES,
    *rollouts.PAGES,
    *tools.PAGES,
    *grants.PAGES,
    *stops.PAGES,
    *approvals.PAGES,
    *sessions.PAGES,
    *alerts.PAGES,
    *trace_lists.PAGES,
    *dashboards.PAGES,
    *views.PAGES,
    *trace_pairs.PAGES,  # before what takes any id, as those
    *traces.PAGES,
    *trace_texts.PAGES,
    *trace_trees.PAGES,
    *logs.PAGES,
    *calls.PAGES,
    *ledger.PAGES,
    *sql.PAGES,
    *metrics.PAGES,
    *monitors.PAGES,
    *playground.PAGES,
    *models.PAGES,
    *bakeoffs.PAGES,
    *tuning.PAGES,
    *people.PAGES,
    *policy.PAGES,
    *audit.PAGES,
    *masking.PAGES,
    *erasures.PAGES,
    *evidence.PAGES,
    *status.PAGES,
)
FORMS: tuple[tuple[str, Handler], ...] = (
    *artifacts.FORMS,
    *datasets.FORMS,
    *pins.FORMS,
    *graph.FORMS,
    *evaluations.FORMS,
    *bakeoffs.FORMS,
    *tuning.FORMS,
    *verdicts.FORMS,
    *reviews.FORMS,
    *releases.FORMS,
    *batches.FORMS,
    *loadtests.FORMS,
    *routes.FORMS,
    *providers.FORMS,
    *limits.FORMS,
    *rollouts.FORMS,
    *tools.FORMS,
    *sessions.FORMS,
    *scores.FORMS,
    *views.FORMS,
    *grants.FORMS,
    *stops.FORMS,
    *approvals.FORMS,
    *monitors.FORMS,
    *alerts.FORMS,
    *people.FORMS,
    *audit.FORMS,
    *masking.FORMS,
    *erasures.FORMS,
    *status.FORMS,
    *ledger.FORMS,
)


def build(ask: Ask) -> Starlette:
    """All pages, each with its `.json` twin, all forms, and the static files."""

    def endpoint(handler: Handler):  # type: ignore[no-untyped-def]
        async def serve(request: Request) -> Response:
            try:
                state = request.scope.get("state", {})
                actor = state.get("actor")
                if not isinstance(actor, Actor):
                    raise Unauthenticated(state.get("why") or "You are not logged in")
                return await handler(request, Asker(ask, actor))
            except WindlassError as e:
                return respond_error(request, e)
            except Exception:
                number = uuid7()
                log.exception("defect %s at %s", number, request.url.path)
                defect = WindlassError("Something went wrong inside Windlass", remedy=f"the server's log has it under {number}")
                return respond_error(request, defect)

        return serve

    def missing(request: Request, _: Exception) -> Response:
        return respond_error(request, NotFound("There is no page here", where=request.url.path, remedy="start from the home page"))

    places: list[Route | Mount] = [Mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))]
    for path, handler in PAGES:
        places.append(Route(path, endpoint(handler), methods=["GET"]))
        places.append(Route("/index.json" if path == "/" else f"{path}.json", endpoint(handler), methods=["GET"]))
    places += [Route(path, endpoint(handler), methods=["POST"]) for path, handler in FORMS]
    # `.json` twins first, so that `/x/{name}.json` is not read as a name
    places.sort(key=lambda r: not getattr(r, "path", "").endswith(".json"))
    return Starlette(routes=places, exception_handlers={HTTPException: missing})
