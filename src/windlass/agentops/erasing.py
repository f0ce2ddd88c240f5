"""Erasure from what waited for a person: the arguments of calls, and what was noted about them."""

from __future__ import annotations

from sqlalchemy import Engine

from windlass.govern.erasure import Room, Swept, SweptRoom
from windlass.store.tables import approvals


def approval_room(engine: Engine) -> Room:
    return SweptRoom(engine, (Swept("approvals", approvals, ("id",), ("body", "note")),))
