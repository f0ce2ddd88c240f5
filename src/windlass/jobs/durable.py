"""Work in a process of its own, by DBOS: a queue and durable workflows in the relational store's engine (SQLite here, PostgreSQL later).

A workflow is one piece of work under its own id, so handing it over twice does it once; after a crash DBOS starts it again, and
the work goes on from the tables. Nothing but kind, project and id goes through DBOS.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from windlass.core.errors import Unavailable, WindlassError
from windlass.jobs.work import Work

QUEUE = "work"
WORKFLOW = "windlass.work"
AT_ONCE = 4  # pieces of work in one process
# Recovery belongs to whoever holds the data folder, whatever version of Windlass began the work.
APPLICATION = {"name": "windlass", "application_version": "1"}

log = logging.getLogger(__name__)


class DurableJobs:
    """Hands work over. DBOS is loaded with the first piece."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._client: Any = None

    def submit(self, kind: str, project: str, id: str) -> None:
        """Raises `Unavailable` when the queue cannot be written."""
        from dbos import DBOSClient

        try:
            if self._client is None:
                self._client = DBOSClient(system_database_url=self._url)
            options = {
                "queue_name": QUEUE,
                "workflow_name": WORKFLOW,
                "workflow_id": id,
                "app_version": APPLICATION["application_version"],
            }
            self._client.enqueue(options, kind, project, id)
        except Exception as e:
            raise Unavailable(
                f"the work could not be handed over: {type(e).__name__}", remedy="is `jobs` running? see windlass status"
            ) from e

    async def close(self) -> None:
        if self._client is not None:
            self._client.destroy()


def work(database_url: str, works: Callable[[], Mapping[str, Work]], wait: Callable[[], None], close: Callable[[], Any]) -> None:
    """Do work until `wait` returns. Work cut off by the end of this process is begun again by the next.

    `works` is called on the loop that works, when the first piece comes; `close` is a coroutine function for the end of it.
    """
    from dbos import DBOS

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
    DBOS.register_queue(QUEUE, worker_concurrency=AT_ONCE, polling_interval_sec=0.2)
    wait()
    if loops:
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(close(), loops[0]).result(5)
    DBOS.destroy(workflow_completion_timeout_sec=0)
