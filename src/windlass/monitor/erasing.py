"""Erasure from what is watched: runs as monitors keep them, topics and maps that quote them, events and what was told of them."""

from __future__ import annotations

from sqlalchemy import Engine

from windlass.govern.erasure import Room, Swept, SweptRoom
from windlass.store.tables import deliveries, events, looks, metric_rules, monitors, sightings


def monitor_room(engine: Engine) -> Room:
    """Counts and sketches of a monitor stay: they tell of nobody alone."""
    return SweptRoom(engine, (
        Swept("runs of monitors", sightings, ("project", "monitor", "trace"), ("text", "session"), whole=True),
        Swept("monitors", monitors, ("project", "name"), ("body", "findings")),
        Swept("looks", looks, ("id",), ("body",)),
        Swept("events", events, ("id",), ("title", "sentence", "facts", "key", "note")),
        Swept("metrics of alerts", metric_rules, ("project", "alert"), ("body",)),
        Swept("deliveries", deliveries, ("id",), ("body", "attempts")),
    ))  # fmt: skip
