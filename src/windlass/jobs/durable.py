"""Work in a process of its own, by DBOS: a queue and durable workflows in the relational store's engine (SQLite here, PostgreSQL later).

Work is handed over by a row in the transaction that makes it; the process that works takes the row to DBOS. A workflow is one piece
of work under its own id, so taking it twice does it once; after a crash DBOS starts it again, and the work goes on from the tables.
Nothing but kind, project and id goes through DBOS.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, delete, insert, select

from windlass.core.errors import WindlassError
from windlass.jobs.work import Work
from windlass.store.meta import read, write
from windlass.store.tables import handed_over

if TYPE_CHECKING:
    from dbos import DBOSClient

QUEUE = "work"
SHORT = "short work"  # a queue of its own for what must not wait behind hours of evaluation
KINDS_OF_SHORT = ("delivery",)
WORKFLOW = "windlass.work"
AT_ONCE = 4  # pieces of work in one process
POLL_SECONDS = 0.2
ROUND_SECONDS = 30.0
# Recovery belongs to whoever holds the data folder, whatever version of Windlass began the work.
APPLICATION = {"name": "windlass", "application_version": "1"}

log = logging.getLogger(__name__)


class DurableJobs:
    """Hands work over to the process that works, whether it is there now or not."""

    def hand_over(self, c: Connection, kind: str, project: str, id: str) -> None:
        c.execute(insert(handed_over).values(id=id, kind=kind, project=project))

    def begin(self, kind: str, project: str, id: str) -> None:
        pass

    async def close(self) -> None:
        pass


def take(engine: Engine, client: DBOSClient) -> int:
    """Bring what was handed over to DBOS. Returns how much that was. Killed between the two, it is brought again, and done once."""
    with read(engine) as c:
        found = c.execute(select(handed_over.c.id, handed_over.c.kind, handed_over.c.project).order_by(handed_over.c.id)).all()
    for id, kind, project in found:
        queue = SHORT if kind in KINDS_OF_SHORT else QUEUE
        client.enqueue(
            {"queue_name": queue, "workflow_name": WORKFLOW, "workflow_id": id, "app_version": APPLICATION["application_version"]},
            kind, project, id,
        )  # fmt: skip
        with write(engine) as c:
            c.execute(delete(handed_over).where(handed_over.c.id == id))
    return len(found)


def work(
    database_url: str, engine: Engine, works: Callable[[], Mapping[str, Work]], ended: threading.Event, rests: Callable[[], bool],
    close: Callable[[], Any], regularly: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Do work until `ended` is set or `rests` is true. Work cut off by the end of this process is begun again by the next.

    `works` is called on the loop that works, when the first piece comes; `close` is a coroutine function for the end of it;
    `regularly` is called at the beginning and twice a minute, to hand over what has fallen due.
    """
    from dbos import DBOS, DBOSClient

    logging.getLogger("dbos").setLevel(logging.WARNING)
    DBOS(config={**APPLICATION, "system_database_url": database_url, "executor_id": "local", "log_level": "WARNING"})  # type: ignore[typeddict-item]
    loops: list[asyncio.AbstractEventLoop] = []

    @DBOS.workflow(name=WORKFLOW)
    async def one(kind: str, project: str, id: str) -> None:
        loops[:] = [asyncio.get_running_loop()]
        try:
            await works()[kind](project, id)
        except WindlassError as e:  # it is kept where the work is
            log.warning("%s %s: %s", kind, id, e)
        except Exception:
            log.exception("%s %s ended in a defect", kind, id)

    DBOS.launch()
    for queue in (QUEUE, SHORT):
        DBOS.register_queue(queue, worker_concurrency=AT_ONCE, polling_interval_sec=POLL_SECONDS)
    client = DBOSClient(system_database_url=database_url)
    said, next_round = "", 0.0
    while not ended.wait(POLL_SECONDS) and not rests():
        try:
            if time.monotonic() >= next_round:
                next_round = time.monotonic() + ROUND_SECONDS
                regularly()
            take(engine, client)
            said = ""
        except Exception as e:  # it stays where it is, and is taken later
            if said != (said := f"{type(e).__name__}: {e}"):
                log.warning("work that was handed over cannot be taken now: %s", said)
    if loops:
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(close(), loops[0]).result(5)
    client.destroy()
    DBOS.destroy(workflow_completion_timeout_sec=0)
