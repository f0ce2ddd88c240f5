"""Alerts: what monitors found and nobody has acknowledged, who is told what, and what came of telling."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.alert import EVENT_KINDS, SEVERITIES, EventKind, Severity
from windlass.core.errors import Invalid
from windlass.core.operations.alerts import (
    ACKNOWLEDGE,
    ALERTS,
    EVENTS,
    SET_ALERT,
    SHOW_EVENT,
    TEST_ALERT,
    Acknowledge,
    AlertPage,
    AlertQuery,
    AlertSet,
    AlertState,
    AlertTest,
    EventDetail,
    EventPage,
    EventQuery,
    EventShow,
)
from windlass.doors.web.render import Asker, Handler, respond

STATES = ("open", "acknowledged", "all")
QUIET = ((0, "never quiet"), (900, "15 minutes"), (3600, "1 hour"), (21600, "6 hours"), (86400, "1 day"), (604800, "1 week"))


class AlertsContext(msgspec.Struct):
    """`edited` is the alert that the form begins with."""

    events: EventPage
    query: EventQuery
    alerts: AlertPage
    kinds: tuple[str, ...]
    severities: tuple[str, ...]
    quiet: tuple[tuple[int, str], ...]
    edited: AlertState | None = None


class EventContext(msgspec.Struct):
    detail: EventDetail


async def page(request: Request, ask: Asker) -> Response:
    given, project = request.query_params, ask.actor.project
    state, kind = given.get("state") or "open", given.get("kind") or None
    if state not in STATES:
        raise Invalid(f"{state!r} is no state of an event", where="state", remedy="states: " + ", ".join(STATES))
    if kind not in (None, "test", *EVENT_KINDS):
        raise Invalid(f"{kind!r} is no kind of event", where="kind", remedy="kinds: " + ", ".join(EVENT_KINDS))
    asked = EventQuery(project, cast(Any, state), kind, given.get("monitor") or None, cursor=given.get("cursor") or None, limit=30)
    events = await ask(EVENTS, asked)
    alerts = await ask(ALERTS, AlertQuery(project, limit=200))
    edited = next((a for a in alerts.items if a.name == given.get("edit")), None)
    quiet = QUIET if edited is None or edited.body.quiet in dict(QUIET) else (*QUIET, (edited.body.quiet, f"{edited.body.quiet:,} s"))
    context = AlertsContext(events, asked, alerts, EVENT_KINDS, SEVERITIES, quiet, edited)
    return respond(request, "alerts.html", context, nav="alerts", title="Alerts")


async def event(request: Request, ask: Asker) -> Response:
    detail = await ask(SHOW_EVENT, EventShow(request.path_params["id"], ask.actor.project))
    return respond(request, "event.html", EventContext(detail), nav="alerts", title=detail.state.event.title)


async def acknowledge(request: Request, ask: Asker) -> Response:
    form = await request.form()
    id = request.path_params["id"]
    await ask(ACKNOWLEDGE, Acknowledge(id, str(form.get("note") or "").strip(), ask.actor.project))
    return RedirectResponse(f"/alerts/{id}" if form.get("stay") else "/alerts", 303)


async def set_alert(request: Request, ask: Asker) -> Response:
    form = await request.form()

    def text(field: str) -> str:
        return str(form.get(field) or "").strip()

    def parts(field: str) -> tuple[str, ...]:
        return tuple(p for p in text(field).replace(",", " ").split() if p)

    asked = AlertSet(
        text("name"), cast(tuple[EventKind, ...], tuple(str(k) for k in form.getlist("events"))), parts("monitors"),
        cast(Severity, text("severity") or "warning"), bool(form.get("page")), text("webhook") or None, text("secret"), parts("email"),
        int(text("quiet")) if text("quiet").isdigit() else 3600, bool(form.get("off")), ask.actor.project,
    )  # fmt: skip
    try:
        asked = msgspec.convert(msgspec.to_builtins(asked), AlertSet)
    except msgspec.ValidationError as e:
        raise Invalid(f"the form is wrong: {e}", remedy="choose among what it offers") from e
    await ask(SET_ALERT, asked)
    return RedirectResponse("/alerts#rules", 303)


async def test(request: Request, ask: Asker) -> Response:
    """What came of it is the page of the event."""
    detail = await ask(TEST_ALERT, AlertTest(request.path_params["name"], ask.actor.project))
    return RedirectResponse(f"/alerts/{detail.state.event.id}", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/alerts", page), ("/alerts/{id}", event))
FORMS: tuple[tuple[str, Handler], ...] = (
    ("/alerts", set_alert),
    ("/alerts/{id}/acknowledge", acknowledge),
    ("/alerts/rules/{name}/test", test),
)
