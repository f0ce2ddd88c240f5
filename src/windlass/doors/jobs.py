"""The part of the server that works: evaluations and gates, durable by DBOS, on a `Platform` of its own.

What work has loaded stays in memory. So when there was none for a while, the process begins anew in its own place.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, select

from windlass.core.ids import now_ns, uuid7
from windlass.core.pin import HOUR_NS
from windlass.deploy.rollout_rows import WORK as ROLLOUT
from windlass.deploy.rollout_rows import is_due, rollouts_due
from windlass.doors.loopback import is_loopback
from windlass.jobs.durable import DurableJobs, work
from windlass.jobs.work import Work
from windlass.monitor.due import deliveries_due
from windlass.monitor.rounds import ask_for_look, monitors_due
from windlass.monitor.rules import WORK as METRIC_RULE
from windlass.monitor.rules import rules_due
from windlass.registry.pins_due import pins_due
from windlass.settings import load_settings
from windlass.store.home import Home
from windlass.store.meta import open_meta, read, store_url, write
from windlass.store.meta_postgres import unopened
from windlass.store.tables import handed_over

if TYPE_CHECKING:
    from windlass.platform import Platform

NICENESS = 5


class Load:
    """How much work is under way, and since when there is none."""

    def __init__(self) -> None:
        self.pieces = 0
        self.since = time.monotonic()

    def counted(self, work: Work) -> Work:
        """The same work, counted while it is under way."""

        async def do(project: str, id: str) -> None:
            self.pieces += 1
            try:
                await work(project, id)
            finally:
                self.pieces -= 1
                self.since = time.monotonic()

        return do

    def none(self, seconds: float) -> bool:
        """Whether there was none for so long."""
        return not self.pieces and time.monotonic() - self.since > seconds


def ask_regularly(engine: Engine, jobs: DurableJobs, monitor_seconds: float) -> None:
    """Pins whose source will forget them soon, asked again each hour until they are kept; monitors and alerts on metrics
    that have not looked for a while; deliveries that are to be tried again."""
    with write(engine) as c:
        for project, id in deliveries_due(c, now_ns()):
            jobs.hand_over(c, "delivery", project, id)
        for project, alert in rules_due(c, now_ns()):
            jobs.hand_over(c, METRIC_RULE, project, f"{alert} {uuid7()}")
        for project, pin in pins_due(c, now_ns()):
            id = f"{pin} {project} {now_ns() // HOUR_NS}"
            if c.execute(select(handed_over.c.id).where(handed_over.c.id == id)).first() is None:
                jobs.hand_over(c, "pin deadline", project, id)
        for project, monitor in monitors_due(c, now_ns(), int(monitor_seconds * 1e9)):
            ask_for_look(c, jobs, project, monitor, f"{monitor} {uuid7()}")


def ask_often(engine: Engine, jobs: DurableJobs) -> None:
    """Rollouts, which are stopped by what is found."""
    with read(engine) as c:
        if not is_due(c, now_ns()):
            return
    with write(engine) as c:
        for project, rollout in rollouts_due(c, now_ns()):
            jobs.hand_over(c, ROLLOUT, project, f"{rollout} {uuid7()}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="windlass.doors.jobs", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--host", required=True)
    given = parser.parse_args()
    os.environ.pop("WINDLASS_OWNER_KEY", None)
    os.nice(NICENESS - os.nice(0))  # who is being served comes first
    home = Home(given.home)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    made: list[Platform] = []
    load = Load()
    settings = load_settings(home.path)
    rest_seconds = settings.rest_seconds

    def works() -> Mapping[str, Work]:
        # opened on the loop that works, and only once there is work: until then this process is half as large
        if not made:
            from windlass.platform import Platform

            here = load_settings(home.path, {"host": given.host})
            made.append(Platform(home, here, address=given.address, name="jobs", commands=is_loopback(given.host)))
        return {kind: load.counted(piece) for kind, piece in made[0].works.by_kind().items()}

    async def close() -> None:
        await asyncio.gather(*(platform.close() for platform in made))

    engine = open_meta(store_url(home, settings.database))
    jobs = DurableJobs()
    regularly = partial(ask_regularly, engine, jobs, settings.monitor_seconds)
    often = partial(ask_often, engine, jobs)

    where = unopened(settings.database) if settings.database else home.jobs_url
    work(where, engine, works, ended, lambda: bool(made) and load.none(rest_seconds), close, regularly, often)
    if not ended.is_set():
        os.execv(sys.executable, sys.orig_argv)  # work that came meanwhile waits
    os._exit(0)  # threads of DBOS and of runs that were cut off; what they did is kept


if __name__ == "__main__":
    main()
