"""Switches: an agent, a tool, a grant or everything is stopped until somebody lifts it. Whoever decides about a call reads them by
`switches.py`; what each of them halts, `reach.py` finds."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Engine, delete, insert, select, update

from windlass.agentops.grants import find
from windlass.agentops.reach import Reaching
from windlass.agentops.switches import GRANT
from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound
from windlass.core.ids import now_ns
from windlass.core.operations.grants import Stop, StopLift, StopList, StopQuery, StopRequest
from windlass.core.ref import check_name
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.store.meta import read, write
from windlass.store.tables import stops


class Stops:
    """Service of the switches."""

    def __init__(self, engine: Engine, now: Callable[[], int] = now_ns) -> None:
        self._engine = engine
        self._now = now

    def set(self, actor: Actor, asked: StopRequest) -> Stop:
        """Operation `stops.set`; again changes the reason. Raises `Forbidden`, `Invalid`, `NotFound` for a grant that is not there."""
        guard(actor, "write", asked.project)
        with write(self._engine) as c:
            made = Stop(_subject(c, asked.project, asked.subject), asked.reason.strip(), actor.id, self._now())
            values = {"reason": made.reason, "actor": made.actor, "at_ns": made.at_ns}
            mine = (stops.c.project == asked.project, stops.c.subject == made.subject)
            if not c.execute(update(stops).where(*mine).values(**values)).rowcount:
                c.execute(insert(stops).values(project=asked.project, subject=made.subject, **values))
            audit.record(c, actor, "stops.set", asked.project, made.subject, reason=made.reason)
        return made

    def lift(self, actor: Actor, asked: StopLift) -> Stop:
        """Operation `stops.lift`. Raises `Forbidden`, `NotFound`."""
        guard(actor, "deploy", asked.project)
        with write(self._engine) as c:
            subject = _subject(c, asked.project, asked.subject) if asked.subject.startswith(GRANT) else asked.subject
            mine = (stops.c.project == asked.project, stops.c.subject == subject)
            if (row := c.execute(select(stops).where(*mine)).first()) is None:
                raise NotFound(f"{asked.subject!r} is not stopped", remedy="`windlass stops list` says what is")
            c.execute(delete(stops).where(*mine))
            audit.record(c, actor, "stops.lift", asked.project, subject, reason=row.reason)
        return Stop(row.subject, row.reason, row.actor, row.at_ns, lifted=True)

    def list(self, actor: Actor, query: StopQuery) -> StopList:
        """Operation `stops.list`: newest first. Raises `Forbidden`; `Invalid` and `NotFound` for a `subject` that cannot be stopped."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            found = c.execute(select(stops).where(stops.c.project == query.project).order_by(stops.c.at_ns.desc())).all()
            items = tuple(Stop(r.subject, r.reason, r.actor, r.at_ns) for r in found)
            if not query.reach and query.subject is None:
                return StopList(items)
            reaching = Reaching(c, query.project, self._now())
            for item in items:
                item.reach = reaching.of(item.subject)
            would = None if query.subject is None else reaching.of(_subject(c, query.project, query.subject))
        return StopList(items, would)


def _subject(c: Connection, project: str, text: str) -> str:
    """What may be stopped; a grant by its whole id. Raises `Invalid`, `NotFound`."""
    if text.startswith(GRANT):
        return GRANT + str(find(c, project, text.removeprefix(GRANT)).id)
    kind, _, name = text.rpartition("/")
    if kind not in ("", "agent", "tool", "index"):
        remedy = "write all, agent/name, tool/name, grant/id, or an outside agent's name"
        raise Invalid(f"{text!r} cannot be stopped", where="subject", remedy=remedy)
    check_name(name)
    return text
