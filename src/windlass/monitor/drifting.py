"""Drift of production against its own past, whatever was evaluated: the runs a monitor saw in two windows of time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from sqlalchemy import Engine, select

from windlass.core.actor import Actor
from windlass.core.ids import now_ns
from windlass.core.operations.monitors import DriftQuery, DriftSeen, Exemplar, TopicSeen
from windlass.govern.permissions import guard
from windlass.monitor.monitors import body_of, read_monitor
from windlass.monitor.rows import Row
from windlass.registry.versions import Versions
from windlass.runtime.encoders import Encoders
from windlass.store.meta import read
from windlass.store.tables import sightings

HOUR_NS = 3600 * 10**9
MOST = 5_000  # runs of one window, the newest
SHOWN = 500  # characters of an exemplar


class Drifts:
    """Service of `monitors.drift`."""

    def __init__(self, engine: Engine, versions: Versions, encoders: Encoders, now: Callable[[], int] = now_ns) -> None:
        self._engine = engine
        self._versions = versions
        self._encoders = encoders
        self._now = now

    async def show(self, actor: Actor, query: DriftQuery) -> DriftSeen:
        """Operation `monitors.drift`. Raises `NotFound`."""
        guard(actor, "read", query.project)
        return await asyncio.to_thread(self._show, query)

    def _show(self, query: DriftQuery) -> DriftSeen:
        from windlass.monitor.drift import drift  # numpy: only where it is asked for

        name = query.name.removeprefix("monitor/")
        with read(self._engine) as c:
            rules = body_of(read_monitor(c, query.project, name))
        encoder = self._encoders.recorded(rules.encoder)
        until = self._now()
        since = until - int(query.hours * HOUR_NS)
        start = since - int((query.against or query.hours) * HOUR_NS)
        earlier, later = self._runs(query.project, name, start, since), self._runs(query.project, name, since, until)
        found = drift(earlier, later, encoder.encode, rules.seed, rules.error)
        texts = {r.id: r for r in later}
        topics = tuple(
            TopicSeen(t, tuple(Exemplar(id, texts[id].text[:SHOWN], texts[id].event_ns or 0) for id in t.exemplars if id in texts))
            for t in found.topics
        )  # fmt: skip
        return DriftSeen(found, topics)

    def _runs(self, project: str, name: str, since: int, until: int) -> Sequence[Row]:
        """Runs that began in a window, in the order they came."""
        k = sightings.c
        where = (k.project == project, k.monitor == name, k.start_ns >= since, k.start_ns < until)
        with read(self._engine) as c:
            rows = c.execute(select(k.trace, k.text, k.session, k.start_ns).where(*where).order_by(k.place.desc()).limit(MOST)).all()[::-1]
        return [Row(r.trace, r.text, r.session or "", r.start_ns) for r in rows]
