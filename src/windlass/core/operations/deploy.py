"""Operations that move environment labels, and what stands where."""

from __future__ import annotations

from typing import Annotated

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
    kind: str  # promote, rollback, override, rollout
    at_ns: int
    actor: str
    verdict: str | None = None
    reason: str | None = None
    approved_by: tuple[str, ...] = ()


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


class ApproveRequest(msgspec.Struct, omit_defaults=True):
    """Approve, or withdraw one's approval: of what would be promoted now, or of what a `verdict` is about."""

    release: str
    verdict: str | None = None
    note: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    environment: str = "production"
    project: str = "default"


class ApprovalsQuery(msgspec.Struct, omit_defaults=True):
    release: str
    verdict: str | None = None
    environment: str = "production"
    project: str = "default"


class ReleaseApproval(msgspec.Struct, omit_defaults=True):
    """One person's approval. `why_not` says why it counts no longer."""

    actor: str
    name: str
    at_ns: int
    expires_ns: int
    note: str = ""
    why_not: str = ""

    @property
    def counts(self) -> bool:
        return not self.why_not


class ReleaseApprovals(msgspec.Struct, omit_defaults=True):
    """How the approvals of one release by one verdict stand. `could` are names of those who could give one; `may` and `mine` are of
    whoever asks: whether they may approve it, and whether they have."""

    release: str
    environment: str
    digest: str
    verdict: str
    needed: int = 0
    given: tuple[ReleaseApproval, ...] = ()
    proposed_by: tuple[str, ...] = ()
    could: tuple[str, ...] = ()
    enough: bool = True
    may: bool = False
    mine: bool = False
    sentence: str = ""


PROMOTE = Operation(
    "releases.promote",
    "POST",
    PromoteRequest,
    Move,
    "deploy",
    also="the approvals that policy.toml demands; an override past them: an owner",
)
ROLLBACK = Operation("releases.rollback", "POST", RollbackRequest, Move, "deploy")
HISTORY = Operation("releases.history", "GET", HistoryQuery, History, "read")
RELEASES = Operation("releases.list", "GET", ReleaseQuery, ReleaseList, "read")
APPROVE = Operation("releases.approve", "POST", ApproveRequest, ReleaseApprovals, "deploy", also="not by whoever proposed it")
WITHDRAW = Operation("releases.withdraw", "POST", ApproveRequest, ReleaseApprovals, "deploy")
RELEASE_APPROVALS = Operation("releases.approvals", "GET", ApprovalsQuery, ReleaseApprovals, "read")
