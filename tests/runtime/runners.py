"""What the tests of runners share: a blob store, a snapshot of one file, a `Calls` that records."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from windlass.core.digest import canonical, digest_bytes
from windlass.core.errors import NotFound
from windlass.runtime.process import Ran
from windlass.runtime.runner import Runners
from windlass.sdk.frames import Start


class MemoryBlobs:
    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        digest = digest_bytes(data)
        self.blobs[digest] = data
        return digest

    def get(self, digest: str) -> bytes:
        return self.blobs[digest]

    def snapshot(self, files: dict[str, str]) -> str:
        return self.put(canonical({path: self.put(text.encode()) for path, text in files.items()}))


class Echo:
    """Answers every call with its name and arguments; `slow` waits until it is cancelled."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.cancelled: list[str] = []
        self.waiting = asyncio.Event()

    async def call(self, kind: str, name: str, arguments: dict[str, Any]) -> Any:
        self.asked.append((kind, name, arguments))
        if name == "nobody":
            raise NotFound("there is no component/nobody", remedy="ask somebody")
        if name == "slow":
            try:
                self.waiting.set()
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                self.cancelled.append(name)
                raise
        return {"name": name, **arguments}

    async def stream(self, kind: str, name: str, arguments: dict[str, Any], send: Callable[[str], None]) -> Any:
        self.asked.append((kind, name, arguments))
        for letter in name:
            send(letter)
            await asyncio.sleep(0)
        return name


async def once(
    runners: Runners, snapshot: str, function: str, calls: Echo | None = None, yielded: Any = None, seconds: float = 0, **arguments: Any
) -> Ran:
    """Lease, run `app:function`, give back."""
    async with runners.lease(snapshot) as runner:
        start = Start(entry=f"app:{function}", arguments=msgspec.to_builtins(arguments))
        return await runner.run(start, calls or Echo(), yielded, seconds)
