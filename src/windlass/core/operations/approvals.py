"""Operations on approvals: calls that wait for a person."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page

State = Literal["waiting", "approved", "denied", "expired", "used", "given-up"]


class Approval(msgspec.Struct, omit_defaults=True):
    """One call that its grant does not allow by itself, and a person may let through, this once. `why` says what it misses. `approved`:
    somebody did, and the call has not gone on yet; `used`: it has; `given-up`: whoever waited for it is gone."""

    id: str
    grant: str
    agent: str
    task: str
    tool: str
    arguments: dict[str, Any]
    why: str
    state: State
    asked_ns: int
    expires_ns: int
    decided_ns: int | None = None
    decided_by: str = ""
    note: str = ""


class ApprovalQuery(msgspec.Struct, omit_defaults=True):
    """Newest first."""

    project: str = "default"
    state: Literal["waiting", "all"] = "waiting"
    cursor: str | None = None
    limit: Limit = 50


class ApprovalPage(Page):
    items: tuple[Approval, ...]
    waiting: int = 0  # of the whole project


class ApprovalDecision(msgspec.Struct, omit_defaults=True):
    """`id`, or the end of it where only one ends so."""

    id: str
    allow: bool
    note: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    project: str = "default"


APPROVALS = Operation("approvals.list", "GET", ApprovalQuery, ApprovalPage, "read")
DECIDE_APPROVAL = Operation("approvals.decide", "POST", ApprovalDecision, Approval, "deploy")
