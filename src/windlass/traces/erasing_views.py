"""Erasure from saved views: a filter may name somebody."""

from __future__ import annotations

from sqlalchemy import Engine

from windlass.govern.erasure import Room, Swept, SweptRoom
from windlass.store.tables import saved_views


def view_room(engine: Engine) -> Room:
    return SweptRoom(engine, (Swept("saved views", saved_views, ("project", "owner", "name"), ("name", "asked"), whole=True),))
