"""Operations on alerts: what monitors and alerts on metrics find, whom it is told to, and what came of telling."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from windlass.core.alert import LONGEST_QUIET, QUIET_SECONDS, Channel, EventKind, MetricRule, Severity
from windlass.core.artifacts import AlertBody
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations import Limit, Operation, Page


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something a monitor found, or an alert on a metric, which stands as its `monitor` then. `title` is a few words, `sentence` says it
    in full, `path` is the page that shows it, `facts` are the figures behind it, never a secret. `key` tells two findings of one kind
    by one monitor apart (a topic, a field): the same key again is the same event again. `release` is the ref of what runs, where that
    is known."""

    project: str
    kind: EventKind
    monitor: str
    severity: Severity
    title: str
    sentence: str
    path: str = "/alerts"
    facts: dict[str, Any] = {}
    key: str = ""
    release: str | None = None
    id: str = msgspec.field(default_factory=uuid7)
    at_ns: int = msgspec.field(default_factory=now_ns)


class EventState(msgspec.Struct, omit_defaults=True):
    """An event as it stands: it was found `times` times, last at `last_ns`; open until somebody acknowledges it."""

    event: Event
    state: Literal["open", "acknowledged"]
    times: int
    last_ns: int
    acknowledged_ns: int | None = None
    acknowledged_by: str = ""
    note: str = ""


class EventPage(Page):
    items: tuple[EventState, ...]
    open: int = 0  # of the whole project


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try to deliver. `status` is what the receiver answered, where it answered with a number; `said` is what came of it."""

    at_ns: int
    outcome: Literal["delivered", "failed"]
    said: str
    status: int | None = None
    took_ms: int = 0


class Delivery(msgspec.Struct, omit_defaults=True):
    """One event on its way to one address. `id` is the same at every attempt (`webhook-id`, `Message-ID`). `stopped`: tried no more
    before its attempts were used up, since the receiver wants none."""

    id: str
    alert: str
    channel: Channel
    to: str
    status: Literal["waiting", "delivered", "failed", "stopped"]
    attempts: tuple[Attempt, ...]
    created_ns: int
    next_ns: int | None = None


class EventDetail(msgspec.Struct, omit_defaults=True):
    state: EventState
    deliveries: tuple[Delivery, ...]


class EventQuery(msgspec.Struct, omit_defaults=True):
    """Newest first. `severity`: at least so bad."""

    project: str = "default"
    state: Literal["open", "acknowledged", "all"] = "all"
    kind: EventKind | None = None
    monitor: str | None = None
    severity: Severity = "info"
    cursor: str | None = None
    limit: Limit = 50


class EventShow(msgspec.Struct, omit_defaults=True):
    id: str
    project: str = "default"


class Acknowledge(msgspec.Struct, omit_defaults=True):
    id: str
    note: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    project: str = "default"


class AlertSet(msgspec.Struct, omit_defaults=True):
    """An alert as it is to be from now on, whole. `secret` is the name of a variable of the server's environment that holds what a
    webhook is signed with; `quiet` are seconds in which the same event of the same monitor is not told again; `page`: events that it
    is for stay open on the page until somebody acknowledges them; `off`: it is for nothing any more. With a `metric` it watches that, and
    is for what it finds itself: `events` and `monitors` stay empty, and `severity` is how bad that is."""

    name: str
    events: tuple[EventKind, ...] = ()
    monitors: tuple[str, ...] = ()
    severity: Severity = "warning"
    page: bool = True
    webhook: str | None = None
    secret: str = ""
    email: tuple[str, ...] = ()
    quiet: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_QUIET)] = QUIET_SECONDS
    off: bool = False
    metric: MetricRule | None = None
    project: str = "default"


class AlertQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"
    cursor: str | None = None
    limit: Limit = 50


class MetricLook(msgspec.Struct, omit_defaults=True):
    """What an alert on a metric says of it. `unmeasured`: nothing was measured, or not enough is known, and that is not 0; `value` is None
    then. `cannot look`: the rule cannot be asked, as `said` says. `problem`: why the last look came to nothing, where what it says is of
    one before. Since `since_ns` it says so; it looked last at `looked_ns`."""

    status: Literal["not looked yet", "ok", "found", "unmeasured", "cannot look"] = "not looked yet"
    said: str = ""
    value: float | None = None
    unit: str = ""
    since_ns: int | None = None
    looked_ns: int | None = None
    problem: str = ""


class AlertLook(msgspec.Struct, omit_defaults=True):
    name: str
    project: str = "default"


class AlertState(msgspec.Struct, omit_defaults=True):
    """An alert as it stands. `problems` say what keeps it from reaching somebody now; `last` is its newest delivery; `look` is what one on
    a metric says."""

    name: str
    ref: str
    body: AlertBody
    set_ns: int
    actor: str
    problems: tuple[str, ...] = ()
    last: Delivery | None = None
    look: MetricLook | None = None


class AlertPage(Page):
    items: tuple[AlertState, ...]


class AlertTest(msgspec.Struct, omit_defaults=True):
    name: str
    project: str = "default"


SET_ALERT = Operation("alerts.set", "POST", AlertSet, AlertState, "write", also="one that tells somebody outside, or did: admin")
ALERTS = Operation("alerts.list", "GET", AlertQuery, AlertPage, "read")
EVENTS = Operation("alerts.events", "GET", EventQuery, EventPage, "read")
SHOW_EVENT = Operation("alerts.show", "GET", EventShow, EventDetail, "read")
ACKNOWLEDGE = Operation("alerts.acknowledge", "POST", Acknowledge, EventState, "write")
LOOK_ALERT = Operation("alerts.look", "POST", AlertLook, AlertState, "write")
TEST_ALERT = Operation("alerts.test", "POST", AlertTest, EventDetail, "write")
