"""Alerts over a real data folder, with a clock that a test moves and work that is done when it says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select

from windlass.core.actor import OWNER
from windlass.core.operations.alerts import AlertSet, AlertState, Event, EventDetail, EventShow
from windlass.jobs.durable import DurableJobs
from windlass.jobs.work import Jobs
from windlass.monitor.alerts import Alerts, Noted
from windlass.monitor.delivery import Deliveries
from windlass.monitor.due import deliveries_due
from windlass.store.home import Home
from windlass.store.meta import open_meta, read, write
from windlass.store.tables import handed_over

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECOND = 10**9


class Watch:
    """`now` is the time, in seconds after a beginning."""

    def __init__(self, path: Path, jobs: Jobs | None = None, **settings: str) -> None:
        self.home = Home(path / "home")
        self.environ = {"HOOK_SECRET": SECRET}
        self.now = 1_000_000.0
        self.engine = open_meta(self.home.database_url)
        self.deliveries = Deliveries(self.engine, self.environ, settings.get("smtp_url", ""), settings.get("smtp_from", ""), self.clock)
        self.alerts = Alerts(self.engine, jobs or DurableJobs(), self.deliveries, "https://windlass.example", self.clock)

    def clock(self) -> int:
        return int(self.now * SECOND)

    def set(self, name: str = "ops", **what: Any) -> AlertState:
        if what.get("webhook"):
            what.setdefault("secret", "HOOK_SECRET")
        return self.alerts.set(OWNER, AlertSet(name, **what))

    def event(self, **what: Any) -> Event:
        given = {
            "project": "default", "kind": "skew", "monitor": "inputs", "severity": "warning", "title": "inputs have moved",
            "sentence": "The questions asked are no longer those you tested with.", "path": "/monitors/inputs", "facts": {"p": 0.001},
            "at_ns": self.clock(),
        }  # fmt: skip
        return Event(**(given | what))

    def note(self, **what: Any) -> Noted:
        with write(self.engine) as c:
            return self.alerts.note(c, self.event(**what))

    def show(self, id: str) -> EventDetail:
        return self.alerts.show(OWNER, EventShow(id))

    def handed_over(self) -> list[tuple[str, str, str]]:
        with read(self.engine) as c:
            return [tuple(row) for row in c.execute(select(handed_over.c.kind, handed_over.c.project, handed_over.c.id)).all()]

    def due(self) -> list[tuple[str, str]]:
        with write(self.engine) as c:
            return deliveries_due(c, self.clock())

    def work(self) -> int:
        """Do what was handed over. Returns how much that was."""
        found = self.handed_over()
        with write(self.engine) as c:
            c.execute(delete(handed_over))
        for kind, project, id in found:
            assert kind == "delivery"
            self.run(project, id)
        return len(found)

    def run(self, project: str, id: str) -> None:
        asyncio.run(self.deliveries.run(project, id))

    def close(self) -> None:
        self.engine.dispose()


def find(home: Path, **what: Any) -> Noted:
    """Note an event in the store of a server that runs, as one of its monitors would."""
    engine = open_meta(Home(home).database_url)
    given = {
        "project": "default", "kind": "skew", "monitor": "questions", "severity": "warning", "title": "the questions have moved",
        "sentence": "What is asked in production is no longer what you tested with: 14 % of it is about decimals.",
        "path": "/traces", "facts": {"p": 0.0004, "asked": 1240, "tested": 120, "field": "question"},
    }  # fmt: skip
    try:
        alerts = Alerts(engine, DurableJobs(), Deliveries(engine, {}))
        with write(engine) as c:
            return alerts.note(c, Event(**(given | what)))
    finally:
        engine.dispose()
