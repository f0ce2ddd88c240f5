"""Switches: an agent, a tool or everything is stopped until somebody lifts it. They are read anew for every call, so that a stop holds from
the next call on, in every process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, insert, select, update

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound
from windlass.core.ids import now_ns
from windlass.core.operations.grants import Stop, StopLift, StopList, StopQuery, StopRequest
from windlass.core.ref import check_name
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.store.meta import read, write
from windlass.store.tables import stops

ALL = "all"


class Stops:
    """Service of the switches."""

    def __init__(self, engine: Engine, now: Callable[[], int] = now_ns) -> None:
        self._engine = engine
        self._now = now

    def set(self, actor: Actor, asked: StopRequest) -> Stop:
        """Operation `stops.set`; again changes the reason. Raises `Forbidden`, `Invalid`."""
        guard(actor, "write", asked.project)
        made = Stop(check_subject(asked.subject), asked.reason.strip(), actor.id, self._now())
        values = {"reason": made.reason, "actor": made.actor, "at_ns": made.at_ns}
        with write(self._engine) as c:
            mine = (stops.c.project == asked.project, stops.c.subject == made.subject)
            if not c.execute(update(stops).where(*mine).values(**values)).rowcount:
                c.execute(insert(stops).values(project=asked.project, subject=made.subject, **values))
            audit.record(c, actor, "stops.set", asked.project, made.subject, reason=made.reason)
        return made

    def lift(self, actor: Actor, asked: StopLift) -> Stop:
        """Operation `stops.lift`. Raises `Forbidden`, `NotFound`."""
        guard(actor, "deploy", asked.project)
        with write(self._engine) as c:
            mine = (stops.c.project == asked.project, stops.c.subject == asked.subject)
            if (row := c.execute(select(stops).where(*mine)).first()) is None:
                raise NotFound(f"{asked.subject!r} is not stopped", remedy="`windlass stops list` says what is")
            c.execute(delete(stops).where(*mine))
            audit.record(c, actor, "stops.lift", asked.project, asked.subject)
        return Stop(row.subject, row.reason, row.actor, row.at_ns, lifted=True)

    def list(self, actor: Actor, query: StopQuery) -> StopList:
        """Operation `stops.list`: newest first."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            found = c.execute(select(stops).where(stops.c.project == query.project).order_by(stops.c.at_ns.desc())).all()
        return StopList(tuple(Stop(r.subject, r.reason, r.actor, r.at_ns) for r in found))


def suspend(c: Connection, actor: Actor, project: str, subject: str, reason: str, now: int) -> None:
    """Stop one version of a tool because of what was found, in the transaction that found it. A stop that is there stays as it is."""
    if c.execute(select(stops).where(stops.c.project == project, stops.c.subject == subject)).first() is None:
        c.execute(insert(stops).values(project=project, subject=subject, reason=reason, actor="windlass", at_ns=now))
        audit.record(c, actor, "stops.set", project, subject, reason=reason)


def stopped(c: Connection, project: str, *subjects: str) -> str | None:
    """What stops a call that has to do with these (agents, `tool/name`, a tool's whole ref), in a sentence; None where nothing does."""
    mine = (stops.c.project == project, stops.c.subject.in_((ALL, *subjects)))
    found = c.execute(select(stops).where(*mine).order_by(stops.c.at_ns)).first()
    return None if found is None else sentence_of(found)


def sentence_of(row: Row[Any], whole: bool = False) -> str:
    """What stops, who did it and why. Models are told the first line of the reason; the rest is for people."""
    what = "everything" if row.subject == ALL else str(row.subject).partition("@")[0]
    return f"{what} was stopped by {row.actor}: {row.reason if whole else str(row.reason).partition(chr(10))[0]}"


def check_subject(text: str) -> str:
    """What may be stopped. Raises `Invalid`."""
    kind, _, name = text.rpartition("/")
    if kind not in ("", "agent", "tool", "index"):
        raise Invalid(f"{text!r} cannot be stopped", where="subject", remedy="write all, agent/name, tool/name, or an outside agent's name")
    check_name(name)
    return text
