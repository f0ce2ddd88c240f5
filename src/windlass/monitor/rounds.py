"""When monitors look: whenever they are asked, and by themselves after a while. Light, since a process that has no work knows it too."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, update

from windlass.jobs.work import Jobs
from windlass.store.tables import monitors

WORK = "monitor"  # the kind of work


def ask_for_look(c: Connection, jobs: Jobs, project: str, name: str, id: str) -> None:
    """Hand a look over, in the transaction that says so."""
    m = monitors.c
    c.execute(update(monitors).where(m.project == project, m.name == name, m.status != "paused").values(status="looking"))
    jobs.hand_over(c, WORK, project, id)


def monitors_due(c: Connection, now: int, every_ns: int) -> list[tuple[str, str]]:
    """Project and name of the monitors whose next look has come; also of one whose look was asked for long ago and never came."""
    m = monitors.c
    found = select(m.project, m.name).where(m.status != "paused", func.coalesce(m.looked_ns, 0) <= now - every_ns)
    return [(row.project, row.name) for row in c.execute(found.order_by(m.project, m.name)).all()]
