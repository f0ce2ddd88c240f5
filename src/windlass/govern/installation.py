"""How the installation does: its processes, what it holds, which providers it can call. Operation `system.status`.

What the supervisor tells of its processes is in a file; what the rooms count comes through callables.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from windlass.core.actor import Actor
from windlass.core.errors import Unavailable
from windlass.core.ids import now_ns
from windlass.core.operations import Empty
from windlass.core.operations.system import Forwarding, Ledger, Queue, Status
from windlass.govern.permissions import guard
from windlass.govern.processes import Process, grpc_told, read_processes, resident
from windlass.store.health import Health

STALLED = "can take nothing now, and what comes in waits in the journal: is the disk full? logs/projector.log says more"


class Installation:
    """Answers for the installation.

    Args:
        home: the data folder.
        version: of Windlass.
        address: where the server answers, None in process.
        health: of the stores.
        ingest, ledger, forwarding, providers: what other rooms say of themselves.
        serving: what calls go by while the store is away; empty while it answers.
    """

    def __init__(
        self, home: Path, version: str, address: str | None, *,
        health: Health, ingest: Callable[[], Awaitable[Mapping[str, int]]], ledger: Callable[[], Ledger],
        forwarding: Callable[[], Mapping[str, Forwarding]], providers: Callable[[], Mapping[str, str]],
        serving: Callable[[], str] = str,
    ) -> None:  # fmt: skip
        self._home = home
        self._version = version
        self._address = address
        self._health = health
        self._ingest = ingest
        self._ledger = ledger
        self._forwarding = forwarding
        self._providers = providers
        self._serving = serving
        self._began = time.monotonic()

    async def status(self, actor: Actor, params: Empty) -> Status:
        """Operation `system.status`: also where a store is away, and which. Raises `Forbidden`."""
        guard(actor, "read", actor.project)
        found, processes = await asyncio.gather(asyncio.to_thread(self._health.stores), asyncio.to_thread(self.processes))
        stores, counts, waiting, ingest, queues, ledger = dict(found), dict[str, int](), 0, dict[str, int](), dict[str, Queue](), None
        with contextlib.suppress(Unavailable):  # its store says so
            counts, waiting, queues, ledger = await asyncio.to_thread(self._kept)
        try:
            ingest = dict(await self._ingest())
            stores["spans"] = msgspec.structs.replace(stores["spans"], bytes=ingest.pop("store_bytes", None))
            if ingest.pop("stalled", 0):
                stores["spans"] = msgspec.structs.replace(stores["spans"], state=STALLED)
        except Unavailable as e:
            stores["spans"] = msgspec.structs.replace(stores["spans"], state=e.message)
        return Status(
            version=self._version, home=str(self._home), address=self._address, uptime_s=time.monotonic() - self._began,
            processes=processes, counts=counts, stores=stores, waiting=waiting, queues=queues, ledger=ledger, ingest=ingest,
            libraries=self._health.libraries(), providers=dict(self._providers()), serving=self._serving(),
            grpc=grpc_told(self._home), forwarding=dict(await asyncio.to_thread(self._forwarding)),
        )  # fmt: skip

    def _kept(self) -> tuple[dict[str, int], int, dict[str, Queue], Ledger]:
        """What the tables say. Raises `Unavailable`."""
        return self._health.counts(), self._health.waiting(), self._health.queues(now_ns()), self._ledger()

    def processes(self) -> dict[str, dict[str, Any]]:
        """Each process with its state and its resident bytes."""
        found = read_processes(self._home) or {"this process": Process(os.getpid(), "running", 0)}
        return {name: {**msgspec.to_builtins(p), "rss": resident(p.pid)} for name, p in found.items()}
