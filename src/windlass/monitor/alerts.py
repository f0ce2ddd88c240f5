"""Alerts: events are noted in the transaction of whoever found something, with a delivery for each address that is to be told, so that
nothing found is lost and nothing is told twice under another name. An alert is an artifact; its branch `main` is what holds now.

The same event again (project, monitor, kind, key, severity) while all alerts for it are quiet is counted on the one that is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from windlass.core.actor import Actor
from windlass.core.alert import EVENT_KINDS, QUIET_SECONDS, SEVERITIES, concerns
from windlass.core.artifacts import AlertBody, Version, make_version
from windlass.core.errors import Conflict, Invalid, NotFound
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.alerts import (
    Acknowledge,
    AlertPage,
    AlertQuery,
    AlertSet,
    AlertState,
    AlertTest,
    Event,
    EventDetail,
    EventPage,
    EventQuery,
    EventShow,
    EventState,
)
from windlass.core.ref import Ref, check_name
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.jobs.work import Jobs
from windlass.monitor.delivery import KIND, TRIES, Deliveries, delivery_of
from windlass.monitor.due import LEASE_NS, first_work
from windlass.monitor.mail import check_address
from windlass.monitor.message import compose
from windlass.monitor.rules import checked_rule, look_of, watch
from windlass.monitor.variables import check_variable
from windlass.monitor.webhook import check_url
from windlass.registry import labels
from windlass.registry.registration import register
from windlass.registry.versions import fetch
from windlass.store.meta import read, write
from windlass.store.point_conditions import condition_of
from windlass.store.span_filters import DUCKDB
from windlass.store.tables import deliveries, events
from windlass.store.tables import labels as label_table

MAIN = "main"
LONGEST_TITLE, LONGEST_SENTENCE = 200, 2000
SHOWN_DELIVERIES = 200
WHOLE, SHORTEST = 36, 6  # characters of an event's id


class Noted(msgspec.Struct, frozen=True):
    """What `note` wrote: the event, which may be one that was there, and the work it made."""

    event: str
    project: str
    work: tuple[str, ...] = ()


class Alerts:
    """Service of events and of the alerts that are for them.

    Args:
        address: where people reach the pages; empty where nobody does.
        now: the time, in nanoseconds since 1970.
    """

    def __init__(self, engine: Engine, jobs: Jobs, sending: Deliveries, address: str = "", now: Callable[[], int] = now_ns) -> None:
        self._engine = engine
        self._jobs = jobs
        self._sending = sending
        self._address = address.rstrip("/")
        self._now = now

    # what other services call

    def note(self, c: Connection, event: Event) -> Noted:
        """Write an event down and hand over what is to be told of it. `c` is the write transaction in which it was found."""
        event = _tidy(event)
        found = [v for v in alerts_of(c, event.project) if _is_for(v, event)]
        quiet = min((_body(v).quiet for v in found), default=QUIET_SECONDS)
        if (same := self._again(c, event, quiet)) is not None:
            return Noted(same, event.project)
        self._insert(c, event, found)
        work = [w for v in found if self._may_tell(c, event, v) for w in self._tell(c, event, v)]
        return Noted(event.id, event.project, tuple(work))

    def begin(self, noted: Noted) -> None:
        """After the transaction of `note`."""
        for work in noted.work:
            self._jobs.begin(KIND, noted.project, work)

    def over(self, c: Connection, project: str, kind: str, key: str, by: str, note: str) -> None:
        """What was found is over: acknowledge it for whoever ended it, where nobody did. `c` is the write transaction in which it ended."""
        e = events.c
        mine = (e.project == project, e.kind == kind, e.key == key, e.acknowledged_ns.is_(None))
        c.execute(update(events).where(*mine).values(acknowledged_ns=self._now(), acknowledged_by=by, note=note))

    def state(self, project: str, name: str) -> AlertState:
        """An alert as it stands. Raises `NotFound`."""
        with read(self._engine) as c:
            return self._state(c, _alert(c, project, name))

    def body(self, c: Connection, project: str, name: str) -> AlertBody:
        """An alert as it holds now. Raises `NotFound`."""
        return _body(_alert(c, project, name))

    # operations

    def set(self, actor: Actor, asked: AlertSet) -> AlertState:
        """Operation `alerts.set`. Raises `Forbidden` for one who may not make the server reach outward, or change what does."""
        guard(actor, "write", asked.project)
        version = make_version("alert", check_name(asked.name), _checked(asked), project=asked.project)
        with write(self._engine) as c:
            before = labels.current(c, version.ref, MAIN)
            was = _body(fetch(c, Ref("alert", version.name, before, None, asked.project))) if before else None
            if any(b is not None and (b.webhook or b.email) for b in (was, _body(version))):
                guard(actor, "admin", asked.project)
            register(c, actor, version)
            if before != version.digest:
                labels.move_label(c, actor, version.ref, MAIN, before, how="branch")
            body = _body(version)
            watch(c, asked.project, version.name, None if body.off else body.metric, self._now())
            audit.record(c, actor, "alerts.set", asked.project, f"alert/{version.name}", before=before, after=version.digest)
            return self._state(c, version)

    def list(self, actor: Actor, query: AlertQuery) -> AlertPage:
        """Operation `alerts.list`: by name."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            found = alerts_of(c, query.project, query.cursor or "", query.limit + 1)
            items = tuple(self._state(c, v) for v in found[: query.limit])
        return AlertPage(items=items, next=items[-1].name if len(found) > query.limit else None)

    def events(self, actor: Actor, query: EventQuery) -> EventPage:
        """Operation `alerts.events`: newest first."""
        guard(actor, "read", query.project)
        e = events.c
        found = select(events).where(e.project == query.project, e.severity.in_(SEVERITIES[SEVERITIES.index(query.severity) :]))
        if query.state != "all":
            found = found.where(e.acknowledged_ns.is_(None) if query.state == "open" else e.acknowledged_ns.is_not(None))
        for column, wanted in ((e.kind, query.kind), (e.monitor, query.monitor)):
            found = found.where(column == wanted) if wanted else found
        if query.cursor:
            found = found.where(e.id < query.cursor)
        with read(self._engine) as c:
            rows = c.execute(found.order_by(e.id.desc()).limit(query.limit + 1)).all()
            waiting = c.execute(select(func.count()).where(e.project == query.project, e.acknowledged_ns.is_(None))).scalar_one()
        more = rows[query.limit - 1].id if len(rows) > query.limit else None
        return EventPage(items=tuple(map(_event_state, rows[: query.limit])), next=more, open=waiting)

    def show(self, actor: Actor, query: EventShow) -> EventDetail:
        """Operation `alerts.show`. Raises `NotFound`."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            return _detail(c, query.project, query.id)

    def acknowledge(self, actor: Actor, asked: Acknowledge) -> EventState:
        """Operation `alerts.acknowledge`. The first who does is on record. Raises `NotFound`, `Conflict` for a note that comes later."""
        guard(actor, "write", asked.project)
        e = events.c
        with write(self._engine) as c:
            row = _event(c, asked.project, asked.id)
            state = _event_state(row)
            if state.state == "acknowledged":
                if asked.note and asked.note != state.note:
                    raise Conflict(f"{state.acknowledged_by} acknowledged it already", where=asked.id, remedy="read what was noted then")
                return state
            values = {"acknowledged_ns": self._now(), "acknowledged_by": actor.id, "note": asked.note}
            c.execute(update(events).where(e.id == row.id).values(**values))
            audit.record(c, actor, "alerts.acknowledge", asked.project, f"event/{row.id}", note=asked.note)
            return _event_state(_event(c, asked.project, row.id))

    async def test(self, actor: Actor, asked: AlertTest) -> EventDetail:
        """Operation `alerts.test`: an event of the kind `test` through one alert, each address once. Raises `NotFound`."""
        guard(actor, "write", asked.project)
        noted = await asyncio.to_thread(self._note_test, actor, asked)
        await asyncio.gather(*(self._sending.run(asked.project, work) for work in noted.work))
        return await asyncio.to_thread(self.show, actor, EventShow(noted.event, asked.project))

    def _note_test(self, actor: Actor, asked: AlertTest) -> Noted:
        name = asked.name.removeprefix("alert/")
        said = f"{actor.id} tests alert/{name}. Nothing is wrong."
        event = Event(project=asked.project, kind="test", monitor=name, severity="info", title="a test", sentence=said)
        with write(self._engine) as c:
            version = _alert(c, asked.project, name)
            self._insert(c, event, [], done=f"alert/{name}", note="a test")
            audit.record(c, actor, "alerts.test", asked.project, f"alert/{name}", event=event.id)
            work = self._tell(c, event, version, tries=1, hand_over=False)
        return Noted(event.id, asked.project, tuple(work))

    # parts of note

    def _again(self, c: Connection, event: Event, quiet: int) -> str | None:
        """Count a repetition on the event that is there, within the quiet time of it. Returns its id."""
        e = events.c
        last = c.execute(select(events).where(*_same(event)).order_by(e.id.desc()).limit(1)).first()
        if last is None or event.at_ns - last.at_ns >= quiet * 10**9:
            return None
        values = {"times": last.times + 1, "last_ns": max(last.last_ns, event.at_ns)}
        c.execute(update(events).where(e.id == last.id).values(**values))
        return str(last.id)

    def _insert(self, c: Connection, event: Event, found: Sequence[Version], *, done: str = "", note: str = "") -> None:
        """An event that alerts are for and none of them wants on the page is acknowledged from the beginning."""
        if found and not any(_body(v).page for v in found):
            done, note = f"alert/{found[0].name}", "it is only sent, as the alert says"
        values = {
            f: getattr(event, f) for f in ("id", "project", "kind", "monitor", "key", "severity", "title", "sentence", "path", "release")
        }
        c.execute(
            insert(events).values(
                **values, at_ns=event.at_ns, last_ns=event.at_ns, times=1, facts=msgspec.json.encode(event.facts).decode(),
                acknowledged_ns=self._now() if done else None, acknowledged_by=done, note=note,
            )
        )  # fmt: skip

    def _may_tell(self, c: Connection, event: Event, alert: Version) -> bool:
        """Whether an alert with a longer quiet time than others has not told this event within it."""
        e, d = events.c, deliveries.c
        told = select(func.max(e.at_ns)).select_from(events.join(deliveries, d.event == e.id)).where(*_same(event), d.alert == alert.name)
        last = c.execute(told).scalar()
        return last is None or event.at_ns - last >= _body(alert).quiet * 10**9

    def _tell(self, c: Connection, event: Event, alert: Version, *, tries: int = TRIES, hand_over: bool = True) -> Iterable[str]:
        """Write the deliveries of one alert. Returns the work they are."""
        body, now, work = _body(alert), self._now(), []
        message = compose(event, alert.name, self._address).decode()
        for channel, address in [("webhook", body.webhook)] * bool(body.webhook) + [("email", a) for a in body.email]:
            id = uuid7()
            gone = hand_over and _gone(c, alert, str(address))
            c.execute(
                insert(deliveries).values(
                    id=id, project=event.project, event=event.id, alert=alert.name, digest=alert.digest, channel=channel, address=address,
                    secret=body.secret if channel == "webhook" else "", body=message, status="stopped" if gone else "waiting", tries=tries,
                    attempts="[]", next_ns=None if gone else now + LEASE_NS, created_ns=now,
                )
            )  # fmt: skip
            if gone:
                continue
            work.append(first_work(id))
            if hand_over:
                self._jobs.hand_over(c, KIND, event.project, work[-1])
        return work

    def _state(self, c: Connection, version: Version) -> AlertState:
        d, t = deliveries.c, label_table.c
        set_by = c.execute(
            select(t.moved_ns, t.actor).where(t.project == version.project, t.kind == "alert", t.name == version.name, t.label == MAIN)
        ).one()
        mine = select(deliveries).where(d.project == version.project, d.alert == version.name)
        last = c.execute(mine.order_by(d.id.desc()).limit(1)).first()
        body = _body(version)
        problems = list(self._sending.problems(body))
        addresses = [a for a in (body.webhook, *body.email) if a]
        problems += [f"{a} wants nothing more: give the alert another address, or test it" for a in addresses if _gone(c, version, a)]
        return AlertState(
            version.name, str(version.ref), body, set_by.moved_ns, set_by.actor, tuple(problems), delivery_of(last) if last else None,
            look_of(c, version.project, version.name) if body.metric else None,
        )  # fmt: skip


def alerts_of(c: Connection, project: str, after: str = "", limit: int | None = None) -> list[Version]:
    """The alerts of a project as they hold now, by name."""
    t = label_table.c
    found = select(t.name, t.digest).where(t.project == project, t.kind == "alert", t.label == MAIN, t.name > after).order_by(t.name)
    rows = c.execute(found.limit(limit) if limit else found).all()
    return [fetch(c, Ref("alert", r.name, r.digest, None, project)) for r in rows]


def _alert(c: Connection, project: str, name: str) -> Version:
    """Raises `NotFound`."""
    version = next((v for v in alerts_of(c, project) if v.name == name), None)
    if version is None:
        raise NotFound(f"there is no alert/{name}", remedy="windlass alert list shows those there are")
    return version


def _is_for(alert: Version, event: Event) -> bool:
    body = _body(alert)
    if body.metric is not None:  # for what it finds itself
        return not body.off and event.kind == "metric" and event.monitor == alert.name
    return not body.off and concerns(event.kind, event.monitor, event.severity, body.events, body.monitors, body.severity)


def _checked(asked: AlertSet) -> AlertBody:
    """The body of an alert, in one form. Raises `Invalid` naming the field, `Forbidden` for an address nobody may ask."""
    if "test" in asked.events:
        raise Invalid("a test is sent through one alert by name", where="events", remedy="events: " + ", ".join(EVENT_KINDS))
    webhook = (asked.webhook or "").strip() or None
    if webhook:
        check_url(webhook)
        check_variable(asked.secret)
    elif asked.secret:
        raise Invalid("there is no webhook to sign", where="secret", remedy="name a webhook too, or leave out the secret")
    addresses = tuple(dict.fromkeys(check_address(a.strip()) for a in asked.email if a.strip()))
    monitors = tuple(sorted({check_name(m.strip(), what="monitor's name") for m in asked.monitors if m.strip()}))
    kinds = tuple(k for k in EVENT_KINDS if k in asked.events)
    rule = checked_rule(asked.metric) if asked.metric else None
    if rule is not None:
        condition_of(rule.filter, DUCKDB)
        if kinds or monitors:
            remedy = "leave out events and monitors, or make two alerts"
            raise Invalid("an alert on a metric is for what it finds itself", where="events" if kinds else "monitors", remedy=remedy)
    return AlertBody(kinds, monitors, asked.severity, asked.page, webhook, asked.secret, addresses, asked.quiet, asked.off, rule)


def _tidy(event: Event) -> Event:
    """One line for a title, and an end to both texts: they go into headers and onto pages, and must not undo what found them."""
    title = "".join(ch for ch in " ".join(event.title.split()) if ch.isprintable())[:LONGEST_TITLE]
    sentence = event.sentence[:LONGEST_SENTENCE].encode(errors="replace").decode()
    path = event.path if event.path.startswith("/") and not event.path.startswith("//") else "/alerts"  # a page of ours, no address
    return msgspec.structs.replace(event, title=title, sentence=sentence, path=path)


def _same(event: Event) -> tuple[Any, ...]:
    e = events.c
    return (
        e.project == event.project, e.monitor == event.monitor, e.kind == event.kind, e.key == event.key, e.severity == event.severity,
    )  # fmt: skip


def _gone(c: Connection, alert: Version, address: str) -> bool:
    """Whether the receiver said at the last attempt that it wants nothing more of this version of the alert."""
    d = deliveries.c
    mine = select(d.status).where(
        d.project == alert.project, d.alert == alert.name, d.digest == alert.digest, d.address == address, d.attempts != "[]"
    )
    return c.execute(mine.order_by(d.id.desc()).limit(1)).scalar() == "stopped"


def _body(version: Version) -> AlertBody:
    return msgspec.convert(version.body, AlertBody)


def _event(c: Connection, project: str, id: str) -> Row[Any]:
    """By its id, or by the end of it as people see it. Raises `NotFound`."""
    e = events.c
    same = e.id == id if len(id) == WHOLE else e.id.endswith(id, autoescape=True)
    rows = c.execute(select(events).where(e.project == project, same).limit(2)).all() if len(id) >= SHORTEST else []
    if len(rows) != 1:
        said = "several events end so" if rows else "there is no such event"
        raise NotFound(said, where=id, remedy="windlass alert events lists those there are")
    return rows[0]


def _detail(c: Connection, project: str, id: str) -> EventDetail:
    state = _event_state(_event(c, project, id))
    d = deliveries.c
    rows = c.execute(select(deliveries).where(d.event == state.event.id).order_by(d.id).limit(SHOWN_DELIVERIES)).all()
    return EventDetail(state, tuple(map(delivery_of, rows)))


def _event_state(row: Row[Any]) -> EventState:
    event = Event(
        project=row.project, kind=row.kind, monitor=row.monitor, severity=row.severity, title=row.title, sentence=row.sentence,
        path=row.path,        facts=msgspec.json.decode(row.facts), key=row.key, release=row.release, id=row.id, at_ns=row.at_ns,
    )  # fmt: skip
    state: Literal["open", "acknowledged"] = "open" if row.acknowledged_ns is None else "acknowledged"
    return EventState(event, state, row.times, row.last_ns, row.acknowledged_ns, row.acknowledged_by, row.note)
