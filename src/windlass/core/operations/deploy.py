"""Operations that move environment labels, and what stands where."""

from __future__ import annotations

import msgspec

from windlass.core.operations import Limit, Operation, Page


class PromoteRequest(msgspec.Struct, omit_defaults=True):
    """Move an environment label of a release. Without `digest` the candidate of the newest promoting verdict against what
    the label points to now. `override` is the recorded reason for moving without a verdict."""

    release: str  # name
    environment: str = "production"
    digest: str | None = None
    verdict: str | None = None
    override: str | None = None
    project: str = "default"


class RollbackRequest(msgspec.Struct, omit_defaults=True):
    """Move back to what the label pointed to before; re-uses the verdict that let it out."""

    release: str
    environment: str = "production"
    project: str = "default"


class Move(msgspec.Struct, omit_defaults=True):
    """One move of an environment label."""

    id: str
    release: str
    environment: str
    before: str | None
    after: str
    kind: str  # promote, rollback, override
    at_ns: int
    actor: str
    verdict: str | None = None
    reason: str | None = None


class HistoryQuery(msgspec.Struct, omit_defaults=True):
    release: str | None = None
    environment: str | None = None
    project: str = "default"
    cursor: str | None = None
    limit: Limit = 50


class History(Page):
    items: tuple[Move, ...]


class ReleaseQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"


class ReleaseState(msgspec.Struct, omit_defaults=True):
    """A release name: what each environment points to, and the candidate that waits."""

    name: str
    entry: str  # kind/name it runs
    environments: dict[str, str] = {}
    since_ns: dict[str, int] = {}
    previous: dict[str, str] = {}  # by environment, what a roll-back goes to
    candidate: str | None = None
    last_verdict: str | None = None
    suite: str | None = None  # name of a suite that measures what it runs; None: nothing does, so that it cannot be gated


class ReleaseList(msgspec.Struct):
    items: tuple[ReleaseState, ...]


PROMOTE = Operation("releases.promote", "POST", PromoteRequest, Move, "deploy")
ROLLBACK = Operation("releases.rollback", "POST", RollbackRequest, Move, "deploy")
HISTORY = Operation("releases.history", "GET", HistoryQuery, History, "read")
RELEASES = Operation("releases.list", "GET", ReleaseQuery, ReleaseList, "read")
