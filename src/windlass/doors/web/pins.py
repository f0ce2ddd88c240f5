"""Pins: data of others with their clocks; what was read, of which state, what the source says now, and keeping it."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import error_from_dict
from windlass.core.ids import now_ns
from windlass.core.operations.datasets import Row
from windlass.core.operations.pins import (
    ADD_PIN,
    COMPARE_PIN,
    KEEP_PIN,
    PIN_JOB,
    PINS,
    READ_PIN,
    SHOW_PIN,
    PinAdd,
    PinCompare,
    PinDetail,
    PinDifference,
    PinJob,
    PinJobQuery,
    PinKeep,
    PinPage,
    PinQuery,
    PinRead,
    PinShow,
    PinState,
)
from windlass.core.operations.registry import VERSIONS, VersionPage, VersionQuery
from windlass.doors.web.render import Asker, Handler, query, respond

ROWS = 10


class PinsContext(msgspec.Struct):
    page: PinPage
    spent: dict[str, float]  # of the time between reading and deadline, in percent; for pins that have one


class PinContext(msgspec.Struct):
    """`rows` are some as they were pinned, where they are kept here; `difference` what a look at the source found."""

    detail: PinDetail
    versions: VersionPage
    spent: float | None
    rows: tuple[Row, ...] = ()
    difference: PinDifference | None = None
    said: str = ""


class PinJobContext(msgspec.Struct):
    job: PinJob


def _spent(pin: PinState, now: int) -> float | None:
    end, start = pin.record.snapshot.deadline_ns, pin.record.snapshot.at_ns
    return None if end is None or pin.rows else round(100 * min(1.0, max(0.0, (now - start) / max(1, end - start))), 2)


async def pins(request: Request, ask: Asker) -> Response:
    page = await ask(PINS, PinQuery(ask.actor.project, request.query_params.get("cursor") or None))
    now = now_ns()
    spent = {p.name: s for p in page.items if (s := _spent(p, now)) is not None}
    return respond(request, "pins.html", PinsContext(page, spent), nav="pins", title="Pins")


async def pin(request: Request, ask: Asker) -> Response:
    return await _page(request, ask, request.path_params["name"], None)


async def _page(request: Request, ask: Asker, name: str, difference: PinDifference | None) -> Response:
    project = ask.actor.project
    detail = await ask(SHOW_PIN, PinShow(name, project))
    versions = await ask(VERSIONS, VersionQuery(f"pin/{name}", project, request.query_params.get("older") or None))
    rows = (await ask(READ_PIN, PinRead(name, ROWS, project))).items if detail.pin.rows and not difference else ()
    said = request.query_params.get("said", "")
    context = PinContext(detail, versions, _spent(detail.pin, now_ns()), rows, difference, said)
    return respond(request, "pin.html", context, nav="pins", title=f"pin/{name}")


async def job(request: Request, ask: Asker) -> Response:
    """How far a reading is; what came of it once it has ended. A page that waits is sent there."""
    found = await ask(PIN_JOB, PinJobQuery(request.path_params["id"], ask.actor.project))
    waits = request.headers.get("hx-request") == "true"
    if found.status in ("queued", "running"):
        return respond(request, "pin_job.html", PinJobContext(found), nav="pins", title=f"Reading {found.name}")
    after = query(f"/pins/{found.name}", said=found.detail.message) if found.detail else f"/pins/jobs/{found.id}"
    if waits:
        return Response(headers={"HX-Redirect": after})
    if found.error:
        raise error_from_dict(found.error)
    return RedirectResponse(after, 303) if found.detail else await _page(request, ask, found.name, found.difference)


def _to(found: PinJob) -> Response:
    return RedirectResponse(f"/pins/jobs/{found.id}", 303)


async def add(request: Request, ask: Asker) -> Response:
    form = await request.form()

    def text(field: str) -> str:
        return str(form.get(field) or "").strip()

    key = tuple(k.strip() for k in (text("key") or "key").split(",") if k.strip())
    keep = True if form.get("keep") else None
    asked = PinAdd(text("name"), text("source"), text("query"), text("table"), key, keep=keep, project=ask.actor.project)
    return _to(await ask(ADD_PIN, asked))


async def compare(request: Request, ask: Asker) -> Response:
    return _to(await ask(COMPARE_PIN, PinCompare(request.path_params["name"], ask.actor.project)))


async def keep(request: Request, ask: Asker) -> Response:
    form: Any = await request.form()
    return _to(await ask(KEEP_PIN, PinKeep(request.path_params["name"], bool(form.get("now")), ask.actor.project)))


PAGES: tuple[tuple[str, Handler], ...] = (("/pins", pins), ("/pins/{name}", pin), ("/pins/jobs/{id}", job))
FORMS: tuple[tuple[str, Handler], ...] = (("/pins", add), ("/pins/{name}/compare", compare), ("/pins/{name}/keep", keep))
