"""Batches: all, with a form to begin one, and one under way or ended."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid
from windlass.core.operations.batches import (
    BATCH,
    BATCHES,
    CANCEL_BATCH,
    RESUME_BATCH,
    START_BATCH,
    Batch,
    BatchId,
    BatchPage,
    BatchQuery,
    BatchRequest,
    BatchResume,
)
from windlass.core.operations.deploy import RELEASES, ReleaseQuery
from windlass.core.operations.registry import ARTIFACTS, ArtifactQuery, ArtifactSummary
from windlass.doors.web.render import Asker, Handler, respond


class BatchesContext(msgspec.Struct):
    """`targets` are releases by environment, as one names them."""

    page: BatchPage
    targets: tuple[str, ...]
    datasets: tuple[ArtifactSummary, ...]


class BatchContext(msgspec.Struct):
    batch: Batch


async def batches(request: Request, ask: Asker) -> Response:
    project = ask.actor.project
    page = await ask(BATCHES, BatchQuery(project, request.query_params.get("cursor") or None))
    releases = await ask(RELEASES, ReleaseQuery(project))
    targets = tuple(f"{r.name}:{environment}" for r in releases.items for environment in sorted(r.environments))
    datasets = await ask(ARTIFACTS, ArtifactQuery(project, "dataset"))
    return respond(request, "batches.html", BatchesContext(page, targets, datasets.items), nav="batches", title="Batches")


async def batch(request: Request, ask: Asker) -> Response:
    found = await ask(BATCH, BatchId(request.path_params["id"], ask.actor.project))
    return respond(request, "batch.html", BatchContext(found), nav="batches", title=f"Batch {found.id[-8:]}")


async def start(request: Request, ask: Asker) -> Response:
    form = {k: str(v).strip() for k, v in (await request.form()).items()}
    try:
        asked: dict[str, object] = {"target": form["target"], "data": form["data"], "project": ask.actor.project}
        asked |= {name: form[name] for name in ("into", "split") if form.get(name)}
        asked |= {name: float(form[name]) for name in ("per_minute", "budget") if form.get(name)}
        asked |= {name: int(form[name]) for name in ("concurrency", "rows") if form.get(name)}
        made = msgspec.convert(asked, BatchRequest)
    except (KeyError, ValueError, msgspec.ValidationError) as e:
        raise Invalid(f"no batch can be begun of this: {e}", remedy="go back and mend it") from e
    begun = await ask(START_BATCH, made)
    return RedirectResponse(f"/batches/{begun.id}", 303)


async def cancel(request: Request, ask: Asker) -> Response:
    found = await ask(CANCEL_BATCH, BatchId(request.path_params["id"], ask.actor.project))
    return RedirectResponse(f"/batches/{found.id}", 303)


async def resume(request: Request, ask: Asker) -> Response:
    form = await request.form()
    try:
        budget = float(str(form["budget"])) if form.get("budget") else None
        which = {"id": request.path_params["id"], "project": ask.actor.project}
        asked = msgspec.convert({**which, "budget": budget, "again": form.get("again") == "on"}, BatchResume)
    except (ValueError, msgspec.ValidationError) as e:
        raise Invalid(f"this is no budget: {e}", where="budget", remedy="write US dollars, such as 2.50") from e
    found = await ask(RESUME_BATCH, asked)
    return RedirectResponse(f"/batches/{found.id}", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/batches", batches), ("/batches/{id}", batch))
FORMS: tuple[tuple[str, Handler], ...] = (
    ("/batches", start),
    ("/batches/{id}/cancel", cancel),
    ("/batches/{id}/resume", resume),
)
