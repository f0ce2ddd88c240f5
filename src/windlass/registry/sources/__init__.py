"""Readers of data we do not own, one file for each kind of source. They know addresses, drivers and credentials; they know nothing of
pins, versions or where rows are kept. Drivers are loaded when a source of their kind is first read."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from windlass.core.errors import Invalid
from windlass.core.operations.pins import PinAdd
from windlass.core.pin import Snapshot, Spec
from windlass.registry.sources.bigquery import BigQuery
from windlass.registry.sources.folder import Folder
from windlass.registry.sources.names import Names
from windlass.registry.sources.postgresql import PostgreSql
from windlass.registry.sources.source import Incoming, Source, refuse_password
from windlass.registry.sources.url import Url

__all__ = ["Incoming", "Sources"]

SCHEMES = {
    "postgresql": "postgresql", "postgres": "postgresql", "alloydb": "postgresql", "bigquery": "bigquery",
    "http": "url", "https": "url", "file": "folder",
}  # fmt: skip


class Sources:
    """Every kind of source.

    Args:
        home: the data folder, which no pin may read; its `sources.toml` names sources.
        environ: where secrets are.
        folders: the folders that may be read, separated by commas; empty for any.
    """

    def __init__(self, home: Path, environ: Mapping[str, str], folders: str = "") -> None:
        self._names = Names(home / "sources.toml", environ)
        roots = tuple(Path(f.strip()).expanduser() for f in folders.split(",") if f.strip())
        kinds: tuple[Source, ...] = (PostgreSql(self._names), BigQuery(self._names), Url(self._names, home / "run"), Folder(home, roots))
        self._kinds = {kind.engine: kind for kind in kinds}

    def parse(self, asked: PinAdd) -> Spec:
        """What is asked, as it is recorded. Raises `Invalid`, `NotFound` for a name that `sources.toml` does not have."""
        address, name = asked.source.strip(), ""
        if "://" not in address and not address.startswith(("/", ".", "~")):
            name, address = address, self._names.get(address).url
        refuse_password(address)
        scheme = address.partition("://")[0].lower() if "://" in address else "file"
        if scheme not in SCHEMES:
            raise Invalid(f"nothing here reads {scheme}://", where="--from", remedy="sources: " + ", ".join(f"{s}://" for s in SCHEMES))
        return self._kinds[SCHEMES[scheme]].parse(address, asked, name)  # type: ignore[index]

    def repeatable(self, spec: Spec) -> bool:
        return self._kinds[spec.engine].repeatable

    def read(self, spec: Spec, at: Snapshot | None = None) -> AbstractContextManager[Incoming]:
        """Read what is pinned: at a snapshot, or as it is now. Raises as `Source` says."""
        return self._kinds[spec.engine].read(spec, at)
