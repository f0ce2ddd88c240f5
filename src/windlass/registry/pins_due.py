"""Which pins must be kept soon. Beside `pins.py`, since the part that asks each minute need not hold what reads sources."""

from __future__ import annotations

from sqlalchemy import Connection, select

from windlass.core.artifacts import DatasetBody, make_version
from windlass.core.dataset import FORM
from windlass.core.pin import SOON_NS, Snapshot, due
from windlass.core.ref import MAIN, Ref
from windlass.registry import labels
from windlass.registry.registration import is_registered
from windlass.store.tables import pin_looks


def pins_due(c: Connection, now: int) -> list[tuple[str, str]]:
    """`(project, name@digest)` of the pins whose source will forget them soon and whose rows are not kept."""
    k = pin_looks.c
    found = []
    for look in c.execute(select(pin_looks).where(k.deadline_ns.between(now, now + SOON_NS))).all():
        soon = due(now, Snapshot(0, deadline_ns=look.deadline_ns))
        newest = labels.current(c, Ref("pin", look.name, None, None, look.project), MAIN) == look.digest
        kept = ("dataset", look.name, make_version("dataset", look.name, DatasetBody(look.rows, look.counted, FORM)).digest)
        if soon and newest and not is_registered(c, look.project, kept):
            found.append((look.project, f"{look.name}@{look.digest}"))
    return found
