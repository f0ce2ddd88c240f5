"""All that is known of one release, as evidence of it is written from."""

from __future__ import annotations

import msgspec

from windlass.core.artifacts import Version
from windlass.core.operations.audit import AuditEntry, AuditState
from windlass.core.operations.deploy import Move
from windlass.core.operations.discover import CatalogEntry
from windlass.core.operations.registry import Edge
from windlass.core.ref import Ref
from windlass.core.score import Verdict


class Made(msgspec.Struct, frozen=True):
    """A version, and who registered it when."""

    version: Version
    created_ns: int
    actor: str
    facts: CatalogEntry | None = None  # of a model, as far as the catalog knows it

    @property
    def ref(self) -> Ref:
        return self.version.ref


class Approved(msgspec.Struct, frozen=True):
    verdict: str
    actor: str
    at_ns: int
    note: str


class Gathered(msgspec.Struct, frozen=True):
    """All that is known of one release: itself first among `made`."""

    made: tuple[Made, ...]
    edges: tuple[Edge, ...]
    verdicts: tuple[Verdict, ...]
    gated_by: dict[str, str]  # verdict → actor
    moves: tuple[Move, ...]
    approvals: tuple[Approved, ...]
    audit: tuple[AuditEntry, ...]
    state: AuditState
    truncated: bool

    @property
    def release(self) -> Made:
        return self.made[0]

    def of(self, *kinds: str) -> list[Made]:
        return [m for m in self.made if m.version.kind in kinds]
