"""What a piece of long work is, and how it is handed over. Knows nothing of what the work does.

A piece of work is a kind, a project and an id; everything else about it is in the tables, where it also keeps how far it came. So
doing it again after a crash is going on with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from sqlalchemy import Connection

from windlass.core.errors import WindlassError

Work = Callable[[str, str], Awaitable[object]]  # project, id

log = logging.getLogger(__name__)


class Jobs(Protocol):
    """Where work is handed over: `hand_over` in the transaction that makes it, so that what is there will be done; `begin` after it."""

    def hand_over(self, c: Connection, kind: str, project: str, id: str) -> None: ...
    def begin(self, kind: str, project: str, id: str) -> None: ...
    async def close(self) -> None: ...


class LoopJobs:
    """Work done on an event loop of this process: for a command that works without a server. What is under way when the process
    ends is gone on with by whoever is asked for it next."""

    def __init__(self, works: Callable[[], Mapping[str, Work]], loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._works = works
        self._loop = loop
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def hand_over(self, c: Connection, kind: str, project: str, id: str) -> None:
        pass

    def begin(self, kind: str, project: str, id: str) -> None:
        """From any thread."""
        self._loop().call_soon_threadsafe(self._start, kind, project, id)

    def _start(self, kind: str, project: str, id: str) -> None:
        if id not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._do(kind, project, id), name=f"{kind} {id}")
            self._tasks[id] = task
            task.add_done_callback(lambda _: self._tasks.pop(id, None))

    async def _do(self, kind: str, project: str, id: str) -> None:
        try:
            await self._works()[kind](project, id)
        except WindlassError as e:  # it is kept where the work is
            log.warning("%s %s: %s", kind, id, e)
        except Exception:
            log.exception("%s %s ended in a defect", kind, id)

    async def close(self) -> None:
        """Cancel what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
