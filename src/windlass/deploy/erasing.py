"""Erasure from batches and load tests: what kept a row from its answer may quote it. The answers are rows, and go with them."""

from __future__ import annotations

from sqlalchemy import Engine

from windlass.govern.erasure import Room, Swept, SweptRoom
from windlass.store.tables import batch_parts, batches, loadtests


def batch_room(engine: Engine) -> Room:
    return SweptRoom(engine, (
        Swept("batches", batches, ("id",), ("body",)),
        Swept("load tests", loadtests, ("id",), ("body",)),
        Swept("parts of batches", batch_parts, ("batch", "number"), ("body",)),
    ))  # fmt: skip
