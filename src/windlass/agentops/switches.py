"""What is switched off, as those who decide about a call read it: anew for every call, so that a stop holds from the next call on, in every
process. Who sets a switch and lifts it: `stops.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from windlass.core.actor import Actor
from windlass.govern import audit
from windlass.store.tables import stops

ALL = "all"
GRANT = "grant/"  # and its whole id


def suspend(c: Connection, actor: Actor, project: str, subject: str, reason: str, now: int) -> None:
    """Stop one version of a tool because of what was found, in the transaction that found it. A stop that is there stays as it is."""
    if c.execute(select(stops).where(stops.c.project == project, stops.c.subject == subject)).first() is None:
        c.execute(insert(stops).values(project=project, subject=subject, reason=reason, actor="windlass", at_ns=now))
        audit.record(c, actor, "stops.set", project, subject, reason=reason)


def stopped(c: Connection, project: str, *subjects: str) -> str | None:
    """What stops a call that has to do with these (agents, `tool/name`, a tool's whole ref, `grant/id`), in a sentence; None where nothing
    does."""
    return next(iter(holding(c, project, subjects).values()), None)


def holding(c: Connection, project: str, subjects: Iterable[str]) -> dict[str, str]:
    """Which of these are stopped, and whether everything is, each in a sentence; the oldest stop first."""
    mine = (stops.c.project == project, stops.c.subject.in_((ALL, *subjects)))
    return {row.subject: sentence_of(row) for row in c.execute(select(stops).where(*mine).order_by(stops.c.at_ns))}


def sentence_of(row: Row[Any], whole: bool = False) -> str:
    """What stops, who did it and why. Models are told the first line of the reason; the rest is for people."""
    what = "everything" if row.subject == ALL else str(row.subject).partition("@")[0]
    if what.startswith(GRANT):
        what = f"grant {what[-8:]}"
    return f"{what} was stopped by {row.actor}: {row.reason if whole else str(row.reason).partition(chr(10))[0]}"
