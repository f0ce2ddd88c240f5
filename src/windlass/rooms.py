"""Which rooms hold something of a person: what `platform.py` passes to erasures. One that is missing here keeps what it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from windlass.agentops.erasing import approval_room
from windlass.deploy.erasing import batch_room
from windlass.evaluate.erasing import EvaluationRoom
from windlass.govern.erasing import limit_room
from windlass.govern.erasure import Room
from windlass.monitor.erasing import monitor_room
from windlass.registry.erasing import RowRoom
from windlass.runtime.erasing import DrawRoom
from windlass.traces.erasing import TraceRoom
from windlass.traces.erasing_views import view_room
from windlass.tune.erasing import TuneRoom

if TYPE_CHECKING:
    from windlass.platform import Platform


def rooms_of(p: Platform) -> tuple[Room, ...]:
    """In the order in which they are asked: of traces come rows, of rows evaluations, and whoever quotes either comes after."""
    return (
        TraceRoom(p.spans, p.journal, p.home.path / "journal"),
        RowRoom(p.engine, p.blobs, p.packs, p.rows, p.edits),
        EvaluationRoom(p.engine),
        batch_room(p.engine),
        DrawRoom(p.engine),
        monitor_room(p.engine),
        approval_room(p.engine),
        view_room(p.engine),
        limit_room(p.engine),
        TuneRoom(p.engine, p.home.path / "tunes"),
    )
