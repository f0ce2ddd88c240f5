"""Alerts: what monitors found and nobody has acknowledged, who is told what, and what came of telling."""

from __future__ import annotations

from typing import Any, cast, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.alert import EVENT_KINDS, SEVERITIES, Aggregate
from windlass.core.errors import Invalid
from windlass.core.operations.alerts import (
    ACKNOWLEDGE,
    ALERTS,
    EVENTS,
    LOOK_ALERT,
    SET_ALERT,
    SHOW_EVENT,
    TEST_ALERT,
    Acknowledge,
    AlertLook,
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
from windlass.doors import format as words
from windlass.doors.web.render import Asker, Handler, respond

STATES = ("open", "acknowledged", "all")
WINDOWS = ((60, "1 minute"), (300, "5 minutes"), (900, "15 minutes"), (3600, "1 hour"), (21600, "6 hours"), (86400, "1 day"))
QUIET = ((0, "never quiet"), (900, "15 minutes"), (3600, "1 hour"), (21600, "6 hours"), (86400, "1 day"), (604800, "1 week"))


class AlertsContext(msgspec.Struct):
    """`edited` is the alert that the form begins with, or a `metric` that none watches yet."""

    events: EventPage
    query: EventQuery
    alerts: AlertPage
    kinds: tuple[str, ...]
    severities: tuple[str, ...]
    quiet: tuple[tuple[int, str], ...]
    aggregates: tuple[str, ...]
    windows: tuple[tuple[int, str], ...]
    metric: str = ""  # that the form begins with
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
    quiet = _with(QUIET, edited.body.quiet if edited else None)
    windows = _with(WINDOWS, edited.body.metric.window if edited and edited.body.metric else None)
    context = AlertsContext(
        events, asked, alerts, EVENT_KINDS, SEVERITIES, quiet, get_args(Aggregate), windows, given.get("metric", ""), edited
    )  # fmt: skip
    return respond(request, "alerts.html", context, nav="alerts", title="Alerts")


def _with(choices: tuple[tuple[int, str], ...], seconds: int | None) -> tuple[tuple[int, str], ...]:
    """The choices, and what is set where it is none of them."""
    return choices if seconds is None or seconds in dict(choices) else (*choices, (seconds, words.length(seconds * 10**9)))


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

    asked: dict[str, Any] = {
        "name": text("name"), "events": [str(k) for k in form.getlist("events")], "monitors": parts("monitors"),
        "severity": text("severity") or "warning", "page": bool(form.get("page")), "webhook": text("webhook") or None,
        "secret": text("secret"), "email": parts("email"), "quiet": int(text("quiet")) if text("quiet").isdigit() else 3600,
        "off": bool(form.get("off")), "project": ask.actor.project,
    }  # fmt: skip
    if text("metric"):
        rule: dict[str, Any] = {
            "name": text("metric"),
            "aggregate": text("aggregate"),
            "filter": text("filter"),
            "sparse": bool(form.get("sparse")),
        }
        rule |= {bound: _number(text(bound), bound) for bound in ("above", "below") if text(bound)}
        rule |= {"window": int(text("window"))} if text("window").isdigit() else {}
        asked["metric"] = rule | {field: text(field) for field in ("unit", "type") if text(field)}
    try:
        await ask(SET_ALERT, msgspec.convert(asked, AlertSet))
    except msgspec.ValidationError as e:
        raise Invalid(f"the form is wrong: {e}", remedy="choose among what it offers") from e
    return RedirectResponse("/alerts#rules", 303)


def _number(text: str, field: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Invalid(f"{text!r} is no number", where=field, remedy="write it as 0.5 or 1000, in the metric's unit") from None


async def look(request: Request, ask: Asker) -> Response:
    await ask(LOOK_ALERT, AlertLook(request.path_params["name"], ask.actor.project))
    return RedirectResponse("/alerts#rules", 303)


async def test(request: Request, ask: Asker) -> Response:
    """What came of it is the page of the event."""
    detail = await ask(TEST_ALERT, AlertTest(request.path_params["name"], ask.actor.project))
    return RedirectResponse(f"/alerts/{detail.state.event.id}", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/alerts", page), ("/alerts/{id}", event))
FORMS: tuple[tuple[str, Handler], ...] = (
    ("/alerts", set_alert),
    ("/alerts/{id}/acknowledge", acknowledge),
    ("/alerts/rules/{name}/look", look),
    ("/alerts/rules/{name}/test", test),
)
