"""What a piece of long work is, and how it is handed over. Knows nothing of what the work does.

A piece of work is a kind, a project and an id; everything else about it is in the tables, where it also keeps how far it came. So
doing it again after a crash is going on with it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from sqlalchemy import Connection

from windlass.core.errors import StoreAway, WindlassError

Work = Callable[[str, str], Awaitable[object]]  # project, id

PAUSES = (0.5, 1.0, 2.0, 5.0, 15.0)  # seconds between looks whether the store is back

log = logging.getLogger(__name__)


class Jobs(Protocol):
    """Where work is handed over: `hand_over` in the transaction that makes it, so that what is there will be done; `begin` after it."""

    def hand_over(self, c: Connection, kind: str, project: str, id: str) -> None: ...
    def begin(self, kind: str, project: str, id: str) -> None: ...
    async def close(self) -> None: ...


async def bring_to_its_end(works: Callable[[], Mapping[str, Work]], kind: str, project: str, id: str) -> None:
    """Do a piece of work, and when the store went away under it, go on with it once that is back."""
    for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
        try:
            await works()[kind](project, id)
        except StoreAway as e:
            log.warning("%s %s waits %g s for the store: %s", kind, id, pause, e.message)
            await asyncio.sleep(pause)
            continue
        except WindlassError as e:  # it is kept where the work is
            log.warning("%s %s: %s", kind, id, e)
        except Exception:
            log.exception("%s %s ended in a defect", kind, id)
        return


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
        await bring_to_its_end(self._works, kind, project, id)

    async def close(self) -> None:
        """Cancel what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
