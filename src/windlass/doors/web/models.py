"""Models: what can be called here, and the catalog with its filters; one model with every figure's source and date."""

from __future__ import annotations

import math
from typing import Any, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Invalid, NotFound
from windlass.core.operations import Empty
from windlass.core.operations.bakeoffs import BAKEOFFS, MEASURED, Bakeoff, BakeoffQuery, Measured, MeasuredQuery
from windlass.core.operations.discover import SEARCH, Capability, CatalogEntry, CatalogPage, CatalogQuery, Sort
from windlass.core.operations.runs import MODELS, ModelList
from windlass.doors.web.bakeoffs import context_of
from windlass.doors.web.frontier import Drawing
from windlass.doors.web.render import Asker, Handler, respond

FILTERS = ("search", "provider", "price", "context", "can", "licence", "region", "open", "ready", "sort", "cursor")


class ModelsContext(msgspec.Struct):
    """`models` where nothing is searched for, with what was measured here by model and the latest bake-off drawn; else `page`."""

    models: ModelList | None
    measured: dict[str, tuple[Measured, ...]]
    bakeoff: Bakeoff | None
    drawing: Drawing | None
    page: CatalogPage | None
    filters: dict[str, str]
    capabilities: tuple[str, ...]
    sorts: tuple[str, ...]


class ModelContext(msgspec.Struct):
    entry: CatalogEntry
    measured: tuple[Measured, ...]


async def models(request: Request, ask: Asker) -> Response:
    q = {k: v for k, v in request.query_params.items() if v}
    filters = {name: q.get(name, "") for name in FILTERS}
    found = page = latest = None
    measured: dict[str, tuple[Measured, ...]] = {}
    project = ask.actor.project
    if any(filters.values()):
        asked: dict[str, Any] = {
            "search": q.get("search"), "provider": q.get("provider"), "max_input_price": _number(q.get("price"), "price"),
            "min_context": _whole(q.get("context"), "number of tokens"), "can": [q["can"]] if q.get("can") in get_args(Capability) else [],
            "licence": q.get("licence"), "region": q.get("region"), "open_weights": True if q.get("open") else None,
            "available": bool(q.get("ready")), "sort": q["sort"] if q.get("sort") in get_args(Sort) else "id",
            "cursor": q.get("cursor"),
        }  # fmt: skip
        page = await ask(SEARCH, msgspec.convert(asked, CatalogQuery))
    else:
        found = await ask(MODELS, Empty())
        for m in (await ask(MEASURED, MeasuredQuery(project))).items:
            measured[m.model] = (*measured.get(m.model, ()), m)
        held = (await ask(BAKEOFFS, BakeoffQuery(project))).items
        latest = next((b for b in held if b.status == "done"), None)
    drawn = context_of(latest).drawing if latest else None
    context = ModelsContext(found, measured, latest, drawn, page, filters, get_args(Capability), get_args(Sort))
    return respond(request, "models.html", context, nav="models", title="Models")


def _number(text: str | None, what: str) -> float | None:
    """What was written into a field. A filter that is not understood is not passed over: the list would look as if it held."""
    try:
        number = float(text.replace(",", "")) if text else None
    except ValueError:
        number = math.nan
    if number is not None and not 0 <= number < math.inf:
        raise Invalid(f"{text!r} is no {what}", remedy="write a number from 0 on")
    return number


def _whole(text: str | None, what: str) -> int | None:
    number = _number(text, what)
    return None if number is None else int(number)


async def model(request: Request, ask: Asker) -> Response:
    id = request.path_params["id"]
    page = await ask(SEARCH, CatalogQuery(search=id.partition("/")[2] or id, provider=id.partition("/")[0] or None, limit=200))
    entry = next((e for e in page.items if e.id == id), None)
    if entry is None:
        raise NotFound(f"the catalog has no model {id}", remedy="search for it on the page of models")
    measured = await ask(MEASURED, MeasuredQuery(ask.actor.project, entry.id))
    return respond(request, "model.html", ModelContext(entry, measured.items), nav="models", title=id)


PAGES: tuple[tuple[str, Handler], ...] = (("/models", models), ("/models/{id:path}", model))
