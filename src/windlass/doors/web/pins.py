"""Pins: data of others with their clocks; what was read, of which state, what the source says now, and keeping it."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.ids import now_ns
from windlass.core.operations.pins import (
    ADD_PIN,
    KEEP_PIN,
    PINS,
    READ_PIN,
    SHOW_PIN,
    PinAdd,
    PinDetail,
    PinKeep,
    PinPage,
    PinQuery,
    PinRead,
    PinReadRequest,
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
    """`read` holds the rows as pinned where they can be had here, or what a look at the source found just now."""

    detail: PinDetail
    versions: VersionPage
    spent: float | None
    read: PinRead | None
    said: str = ""


def _spent(pin: PinState, now: int) -> float | None:
    end, start = pin.record.snapshot.deadline_ns, pin.record.snapshot.at_ns
    return None if end is None or pin.rows else round(100 * min(1.0, max(0.0, (now - start) / max(1, end - start))), 2)


async def pins(request: Request, ask: Asker) -> Response:
    page = await ask(PINS, PinQuery(ask.actor.project, request.query_params.get("cursor") or None))
    now = now_ns()
    spent = {p.name: s for p in page.items if (s := _spent(p, now)) is not None}
    return respond(request, "pins.html", PinsContext(page, spent), nav="pins", title="Pins")


async def pin(request: Request, ask: Asker) -> Response:
    name, project = request.path_params["name"], ask.actor.project
    detail = await ask(SHOW_PIN, PinShow(name, project))
    read = await ask(READ_PIN, PinReadRequest(name, False, ROWS, project)) if detail.pin.rows else None
    return await _page(request, ask, detail, read)


async def _page(request: Request, ask: Asker, detail: PinDetail, read: PinRead | None) -> Response:
    versions = await ask(VERSIONS, VersionQuery(f"pin/{detail.pin.name}", ask.actor.project))
    context = PinContext(detail, versions, _spent(detail.pin, now_ns()), read, request.query_params.get("said", ""))
    return respond(request, "pin.html", context, nav="pins", title=f"pin/{detail.pin.name}")


async def add(request: Request, ask: Asker) -> Response:
    form = await request.form()

    def text(field: str) -> str:
        return str(form.get(field) or "").strip()

    key = tuple(k.strip() for k in (text("key") or "key").split(",") if k.strip())
    asked = PinAdd(
        text("name"), text("source"), text("query"), text("table"), key, keep=True if form.get("keep") else None, project=ask.actor.project
    )
    found = await ask(ADD_PIN, asked)
    return RedirectResponse(query(f"/pins/{found.pin.name}", said=found.message), 303)


async def again(request: Request, ask: Asker) -> Response:
    """Ask the source, and show what differs."""
    name, project = request.path_params["name"], ask.actor.project
    read = await ask(READ_PIN, PinReadRequest(name, True, ROWS, project))
    return await _page(request, ask, await ask(SHOW_PIN, PinShow(name, project)), read)


async def keep(request: Request, ask: Asker) -> Response:
    form: Any = await request.form()
    found = await ask(KEEP_PIN, PinKeep(request.path_params["name"], bool(form.get("now")), ask.actor.project))
    return RedirectResponse(query(f"/pins/{found.pin.name}", said=found.message), 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/pins", pins), ("/pins/{name}", pin))
FORMS: tuple[tuple[str, Handler], ...] = (("/pins", add), ("/pins/{name}/again", again), ("/pins/{name}/keep", keep))
