"""The pool of runners: warm processes by snapshot, at most so many at work at once, first come first served.

A run inside a run (a tool of an agent that a chain calls) leases at the next level, which has places of its own: so no
run ever waits for a place that it holds itself. Belongs to one event loop. What a runner does with a lease is in `process`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

from windlass.core.errors import RunFailed
from windlass.runtime.process import Runner, RunnerSettings
from windlass.runtime.snapshots import Blobs, Snapshots
from windlass.sdk.sandbox import isolation

DEEPEST = 8  # runs within runs
WARM = 2  # times as many runners as may run at once are kept: a gate runs two versions by turns, and one must not end the other's


class Runners:
    """Leases runners. `home/run/` holds their snapshots and scratch folders."""

    def __init__(self, home: Path, blobs: Blobs, settings: RunnerSettings | None = None) -> None:
        self.settings = settings or RunnerSettings()
        self._snapshots = Snapshots(home / "run" / "snapshots", blobs)
        self._scratch = home / "run" / "scratch" / str(os.getpid())
        self._idle: list[Runner] = []
        self._busy: set[Runner] = set()
        self._places: dict[int, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(self.settings.processes))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        _remove_orphans(self._scratch.parent)

    @contextlib.asynccontextmanager
    async def lease(self, snapshot: str, *, depth: int = 0, alone: str = "") -> AsyncIterator[Runner]:
        """A runner of this snapshot, warm where there is one; with a word `alone`, one that serves only leases with that word. Waits for
        a place in order of arrival; cancelling gives the place up. Raises `Unavailable` when none can be started, `RunFailed` for runs
        nested too deep."""
        if depth >= DEEPEST:
            raise RunFailed(f"runs are nested {depth} deep", remedy="look for a tool or agent that calls itself")
        self._check_loop()
        async with self._places[depth]:
            runner = await self._take(snapshot, f"{snapshot} {alone}".strip())
            self._busy.add(runner)
            try:
                yield runner
            finally:
                self._busy.discard(runner)
                await self._give_back(runner)

    def isolation(self) -> str:
        """What keeps a run from the rest of this machine, honestly: `faults only`, or what the system adds."""
        return isolation()

    @property
    def counts(self) -> dict[str, int]:
        """How many runners are busy and idle."""
        return {"busy": len(self._busy), "idle": len(self._idle)}

    async def close(self) -> None:
        """End every runner; runs under way fail."""
        self._closed = True
        runners = [*self._idle, *self._busy]
        self._idle.clear()
        await asyncio.gather(*(r.close() for r in runners))
        await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)

    def _check_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise RuntimeError("a pool of runners belongs to the event loop that used it first")

    async def _take(self, snapshot: str, key: str) -> Runner:
        for runner in reversed(self._idle):
            if runner.key == key:
                self._idle.remove(runner)
                if runner.alive:
                    return runner
                await runner.close()
                break
        while self._idle and len(self._idle) + len(self._busy) >= WARM * self.settings.processes:
            await self._idle.pop(0).close()
        folder = await asyncio.to_thread(self._snapshots.ensure, snapshot)
        runner = Runner(key, folder, self._scratch, self.settings)
        try:
            await runner.ready()
        except BaseException:
            await runner.close()
            raise
        return runner

    async def _give_back(self, runner: Runner) -> None:
        crowded = len(self._idle) + len(self._busy) >= WARM * self.settings.processes
        if self._closed or not runner.clean or (crowded and not self._idle):
            await runner.close()
            return
        runner.idle_since = time.monotonic()
        self._idle.append(runner)
        if crowded:
            await self._idle.pop(0).close()
        asyncio.get_running_loop().call_later(self.settings.idle_seconds + 0.01, self._reap)

    def _reap(self) -> None:
        """End runners that have been idle too long."""
        now = time.monotonic()
        stale = [r for r in self._idle if now - r.idle_since >= self.settings.idle_seconds]
        self._idle = [r for r in self._idle if r not in stale]
        for runner in stale:
            task = asyncio.ensure_future(runner.close())
            _closing.add(task)
            task.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()  # the loop holds tasks weakly


def _remove_orphans(folder: Path) -> None:
    """Scratch folders of servers that are gone."""
    if not folder.is_dir():
        return
    for found in folder.iterdir():
        if not found.name.isdigit() or not _alive(int(found.name)):
            shutil.rmtree(found, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
