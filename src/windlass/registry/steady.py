"""Versions as runs read them, also while the store is away: those that releases use are in the local copy."""

from __future__ import annotations

from windlass.core.artifacts import Effects, Version
from windlass.core.errors import Unavailable
from windlass.core.ref import Ref
from windlass.govern.standby import Standby
from windlass.registry.versions import Versions


class SteadyVersions:
    """What `runtime.library` asks of versions. What the copy does not have raises `Unavailable`, as the store does."""

    def __init__(self, versions: Versions, standby: Standby) -> None:
        self._versions = versions
        self._standby = standby

    def get(self, project: str, kind: str, name: str, digest: str) -> Version:
        """Exact versions never change: one that the copy has is not asked for."""
        spare = self._standby.version(Ref(kind, name, digest, None, project))
        if spare is not None:
            return spare
        self._ask()
        return self._versions.get(project, kind, name, digest)

    def resolve(self, ref: Ref) -> Ref:
        self._ask()
        return self._versions.resolve(ref)

    def snapshot(self, project: str, kind: str, name: str, digest: str) -> str | None:
        self._ask()
        return self._versions.snapshot(project, kind, name, digest)

    def effects(self, project: str, kind: str, name: str, digest: str) -> tuple[Effects, str]:
        self._ask()
        return self._versions.effects(project, kind, name, digest)

    def _ask(self) -> None:
        """Raises `Unavailable` at once while the store is known to be away: nobody is to wait for it."""
        if why := self._standby.away:
            raise Unavailable(why, remedy="try again when it is back")
