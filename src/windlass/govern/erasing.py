"""Erasure from limits: one that is of somebody by name, and what is counted of whom."""

from __future__ import annotations

from sqlalchemy import Engine

from windlass.govern.erasure import Room, Swept, SweptRoom
from windlass.store.tables import limit_uses, limits


def limit_room(engine: Engine) -> Room:
    uses = Swept("uses of limits", limit_uses, ("project", "id", "began_ns", "who", "node"), ("who",), whole=True)
    return SweptRoom(engine, (Swept("limits", limits, ("project", "id"), ("subject",), whole=True), uses))
