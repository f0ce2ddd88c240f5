"""How the installation does: its processes, what it holds, which providers it can call. Operation `system.status`.

What the supervisor tells of its processes is in a file; what the rooms count comes through callables.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from windlass.core.actor import Actor
from windlass.core.errors import Unavailable
from windlass.core.operations import Empty
from windlass.core.operations.system import Status
from windlass.govern.permissions import guard
from windlass.govern.processes import Process, read_processes, resident


class Installation:
    """Answers for the installation.

    Args:
        home: the data folder.
        version: of Windlass.
        address: where the server answers, None in process.
        counts, ingest, providers: what other rooms say of themselves.
    """

    def __init__(
        self, home: Path, version: str, address: str | None, *, counts: Callable[[], Mapping[str, int]],
        ingest: Callable[[], Awaitable[Mapping[str, int]]], providers: Callable[[], Mapping[str, str]],
    ) -> None:  # fmt: skip
        self._home = home
        self._version = version
        self._address = address
        self._counts = counts
        self._ingest = ingest
        self._providers = providers
        self._began = time.monotonic()

    async def status(self, actor: Actor, params: Empty) -> Status:
        """Operation `system.status`. Raises `Forbidden`."""
        guard(actor, "read", actor.project)
        counts, processes = await asyncio.gather(asyncio.to_thread(self._counts), asyncio.to_thread(self.processes))
        try:
            ingest = dict(await self._ingest())
        except Unavailable:  # its process says why
            ingest = {}
        return Status(
            version=self._version, home=str(self._home), address=self._address, uptime_s=time.monotonic() - self._began,
            processes=processes, counts=dict(counts), ingest=ingest, providers=dict(self._providers()),
        )  # fmt: skip

    def processes(self) -> dict[str, dict[str, Any]]:
        """Each process with its state and its resident bytes."""
        found = read_processes(self._home) or {"this process": Process(os.getpid(), "running", 0)}
        return {name: {**msgspec.to_builtins(p), "rss": resident(p.pid)} for name, p in found.items()}
