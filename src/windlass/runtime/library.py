"""Versions as runs read them: exact, kept in memory once read (they never change), with what they link to.

Knows the registry only by the few methods it needs of it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, Protocol

import msgspec

from windlass.core.artifacts import BODIES, Effects, Link, Version
from windlass.core.errors import NotFound, RunFailed, Unavailable
from windlass.core.ref import Ref
from windlass.govern.standby import SLOW_SECONDS, Standby

KEPT = 2048  # versions in memory


class Versions(Protocol):
    """The part of `registry.versions.Versions` that runs need. `snapshot` is the digest of the first snapshot a version
    came in, None when it came without one."""

    def get(self, project: str, kind: str, name: str, digest: str) -> Version: ...
    def resolve(self, ref: Ref) -> Ref: ...
    def snapshot(self, project: str, kind: str, name: str, digest: str) -> str | None: ...
    def effects(self, project: str, kind: str, name: str, digest: str) -> tuple[Effects, str]: ...


class Library:
    """Reads versions without blocking the event loop."""

    def __init__(self, versions: Versions, standby: Standby | None = None) -> None:
        self._versions = versions
        self._standby = standby
        self._kept: OrderedDict[Ref, Version] = OrderedDict()
        self._snapshots: dict[Ref, str] = {}
        self._effects: dict[Ref, tuple[Effects, str]] = {}

    async def find(self, ref: Ref) -> Version:
        """The version a ref points to now. Raises `NotFound`."""
        return await self.get(ref if ref.exact else await self._resolve(ref))

    async def _resolve(self, ref: Ref) -> Ref:
        """Where a label of a release points now; what the local copy says, where the store is away or does not answer in time."""
        said = self._standby.label(ref) if self._standby and ref.label and not ref.digest else None
        if said is None or self._standby is None:
            return await asyncio.to_thread(self._versions.resolve, ref)
        spare = Ref(ref.kind, ref.name, said, None, ref.project)
        if self._standby.away:
            return spare
        try:
            async with asyncio.timeout(SLOW_SECONDS):
                return await asyncio.to_thread(self._versions.resolve, ref)
        except (TimeoutError, Unavailable):
            return spare

    async def get(self, ref: Ref) -> Version:
        """The version of an exact ref."""
        if ref in self._kept:
            self._kept.move_to_end(ref)
            return self._kept[ref]
        version = await asyncio.to_thread(self._versions.get, ref.project, ref.kind, ref.name, ref.digest or "")
        self._kept[ref] = version
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return version

    async def linked(self, version: Version, link: Link) -> Version:
        return await self.get(Ref(link.kind, link.name, link.digest, None, version.project))

    async def part(self, version: Version, kind: str, digest: str) -> Version:
        """What a body names by digest, through the link that names it. Raises `NotFound` for a link that is missing."""
        for link in version.links:
            if link.digest == digest and link.kind == kind:
                return await self.linked(version, link)
        raise NotFound(f"{version.ref.short} has no link to its {kind} {digest}", remedy="windlass verify")

    async def named(self, version: Version, kind: str, name: str) -> Version:
        """What user code calls by name: among the links of the version that runs, and nowhere else."""
        usable = [link for link in version.links if link.relation == "uses"]
        for link in usable:
            if (link.kind, link.name) == (kind, name):
                return await self.linked(version, link)
        may = ", ".join(sorted(f"{link.kind}/{link.name}" for link in usable)) or "nothing"
        raise RunFailed(
            f"{version.ref.short} called {kind}/{name}, which is not among what it uses",
            remedy=f"it may call {may}; name what it calls where `push` can see it",
        )

    async def snapshot(self, version: Version) -> str:
        """The snapshot a version's code runs from. Raises `NotFound` when it came without one."""
        ref = version.ref
        if ref not in self._snapshots:
            found = await asyncio.to_thread(self._versions.snapshot, ref.project, ref.kind, ref.name, version.digest)
            if found is None:
                raise NotFound(f"{ref.short} has no snapshot of its code", remedy="push its workspace again")
            self._snapshots[ref] = found
        return self._snapshots[ref]

    async def effects(self, version: Version) -> tuple[Effects, str]:
        """The most that a version's code can do to the world, with all it calls; and which `kind/name` does it, where that is another."""
        ref = version.ref
        if ref not in self._effects:
            self._effects[ref] = await asyncio.to_thread(self._versions.effects, ref.project, ref.kind, ref.name, version.digest)
        return self._effects[ref]


def body_of(version: Version) -> Any:
    """A version's body as its type."""
    return msgspec.convert(version.body, BODIES[version.kind])
