"""Which attempts to deliver are due. Apart from `delivery.py`, so that a process that only looks whether there is work loads no client."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select, update

from windlass.core.operations.alerts import Attempt
from windlass.store.tables import deliveries

LEASE_NS = 120 * 10**9  # longer than any attempt


def deliveries_due(c: Connection, now: int) -> list[tuple[str, str]]:
    """`(project, id)` of work of the kind `delivery`; the same is not due again for a while. `c` is a write transaction."""
    d = deliveries.c
    found = []
    for row in c.execute(select(deliveries).where(d.next_ns <= now).order_by(d.next_ns)).all():
        c.execute(update(deliveries).where(d.id == row.id).values(next_ns=now + LEASE_NS))
        # a name of its own: work of the name before may have ended without a word, where the disk was full
        found.append((row.project, f"{first_work(row.id, len(attempts_of(row)))} {now // 10**9}"))
    return found


def first_work(delivery: str, made: int = 0) -> str:
    """The name of one attempt among all work: the delivery, and how many attempts were made before."""
    return f"{delivery} {made}"


def attempts_of(row: Row[Any]) -> tuple[Attempt, ...]:
    return msgspec.json.decode(row.attempts, type=tuple[Attempt, ...])
