"""A way in from another machine: rows of evaluations, on a `Platform` over the same database and blobs, in a folder of its own.

`jobs.spread` makes one in each process of a Ray worker. Provider keys and the stores' passwords are in that machine's environment; none
goes over the network.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from pathlib import Path

import msgspec

import windlass
from windlass.core.errors import Invalid
from windlass.evaluate.experiments import Running
from windlass.evaluate.hands import Collected, Given, RowAsked, answered
from windlass.evaluate.outcomes import Result
from windlass.platform import Platform
from windlass.store.home import Home

KEPT = 4  # evaluations whose rows and target are kept ready


def open_rows(given: bytes) -> Rows:
    return Rows(msgspec.msgpack.decode(given, type=Given))


class Rows:
    """Does rows. Raises `Invalid` for another version of Windlass, and what opening the stores raises."""

    def __init__(self, given: Given) -> None:
        if given.version != windlass.__version__:
            remedy = f"install windlass=={given.version} there"
            raise Invalid(f"a worker has Windlass {windlass.__version__}, and the server {given.version}", where="ray", remedy=remedy)
        folder = Path(tempfile.mkdtemp(prefix="windlass-rows-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        home = Home(folder)
        for name, data in given.files.items():
            (home.path / name).write_bytes(data)
        self._records = Collected()
        self._platform = Platform(home, given.settings, name="rows", commands=False, records=self._records)
        self._running: dict[str, asyncio.Task[Running]] = {}

    async def do(self, work: bytes) -> bytes:
        return await answered(work, self._row, self._records)

    async def _row(self, asked: RowAsked) -> Result | None:
        running = await self._open(asked.project, asked.evaluation)
        return await running.one(asked.row, asked.repeat, asked.policy)

    async def _open(self, project: str, evaluation: str) -> Running:
        """Each evaluation once; one that could not be opened is tried anew."""
        if (task := self._running.get(evaluation)) is None or (task.done() and task.exception()):
            task = asyncio.ensure_future(self._platform.experiments.beside(project, evaluation))
            self._running[evaluation] = task
            while len(self._running) > KEPT:
                self._running.pop(next(iter(self._running)))
        return await asyncio.shield(task)
