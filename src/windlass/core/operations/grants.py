"""Operations on grants, and on the switches that stop agents and tools."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from windlass.core.grant import Bound, CallDecision, Grant, GrantedTool, Money, Spent
from windlass.core.operations import Limit, Operation, Page

LATEST = 2**62  # nanoseconds since 1970; what both the store and the policy can hold
Until = Annotated[int, msgspec.Meta(ge=0, le=LATEST)]
Sentence = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class GrantRequest(msgspec.Struct, omit_defaults=True):
    """What an agent may do for a task. `agent` is `agent/name`, or any name for an agent that runs elsewhere. A tool without a digest is
    taken as its newest version is now. Without `expires_ns` it ends in a day."""

    agent: str
    task: Sentence
    tools: Annotated[tuple[GrantedTool, ...], msgspec.Meta(min_length=1, max_length=500)]
    calls: Bound | None = None
    seconds: Bound | None = None
    dollars: Money | None = None
    expires_ns: Until | None = None
    project: str = "default"


class GrantState(msgspec.Struct, omit_defaults=True):
    """A grant as it stands. `digest` is over all it says; `spent` includes what calls under way have set aside; `denied` counts calls it
    was asked for and did not allow."""

    grant: Grant
    digest: str
    state: Literal["live", "expired", "revoked"]
    spent: Spent = Spent()
    denied: int = 0
    revoked_ns: int | None = None
    revoked_by: str = ""


class GrantQuery(msgspec.Struct, omit_defaults=True):
    """Newest first."""

    project: str = "default"
    agent: str | None = None
    state: Literal["live", "all"] = "all"
    cursor: str | None = None
    limit: Limit = 50


class GrantPage(Page):
    items: tuple[GrantState, ...]


class GrantId(msgspec.Struct, omit_defaults=True):
    """`id`, or the end of it where only one ends so."""

    id: str
    project: str = "default"


class TokenRequest(msgspec.Struct, omit_defaults=True):
    """`seconds` it is good for; no longer than its grant."""

    id: str
    seconds: Annotated[int, msgspec.Meta(ge=1, le=366 * 86_400)] = 3600
    project: str = "default"


class GrantToken(msgspec.Struct):
    """What an agent shows to use its grant, and nothing else. It is kept nowhere."""

    token: str
    grant: str
    agent: str
    expires_ns: int


class CallCheck(msgspec.Struct, omit_defaults=True):
    """Would this call be allowed now? Nothing is called and nothing spent. `tool` without a digest: its newest version."""

    id: str
    tool: str
    arguments: dict[str, Any] = {}
    agent: str | None = None
    project: str = "default"


class StopRequest(msgspec.Struct, omit_defaults=True):
    """`subject` is `all`, an agent (`agent/name`, or the name of one outside), a tool (`tool/name`), an index, or a grant (`grant/id`)."""

    subject: str
    reason: Sentence
    project: str = "default"


class StopLift(msgspec.Struct, omit_defaults=True):
    subject: str
    project: str = "default"


class Halted(msgspec.Struct):
    """A grant that lives, and that a stop halts."""

    id: str
    agent: str
    task: str


class Reach(msgspec.Struct, omit_defaults=True):
    """What a stop halts of what is there now: how many, and the first hundred of each."""

    agents: int = 0
    tools: int = 0
    grants: int = 0
    agent_names: tuple[str, ...] = ()
    tool_names: tuple[str, ...] = ()
    granted: tuple[Halted, ...] = ()


class Stop(msgspec.Struct, omit_defaults=True):
    """What is stopped since when, by whom and why. `lifted`: it was, and is no more. `reach`: where it was asked for."""

    subject: str
    reason: str
    actor: str
    at_ns: int
    lifted: bool = False
    reach: Reach | None = None


class StopQuery(msgspec.Struct, omit_defaults=True):
    """With `reach`, what each stop halts; with a `subject`, what a stop of that would."""

    project: str = "default"
    reach: bool = False
    subject: str | None = None


class StopList(msgspec.Struct, omit_defaults=True):
    items: tuple[Stop, ...]
    would: Reach | None = None


MAKE_GRANT = Operation("grants.make", "POST", GrantRequest, GrantState, "deploy")
GRANTS = Operation("grants.list", "GET", GrantQuery, GrantPage, "read")
GRANT = Operation("grants.show", "GET", GrantId, GrantState, "read")
REVOKE_GRANT = Operation("grants.revoke", "POST", GrantId, GrantState, "deploy")
GRANT_TOKEN = Operation("grants.token", "POST", TokenRequest, GrantToken, "deploy")
CHECK_CALL = Operation("grants.check", "POST", CallCheck, CallDecision, "read")
STOP = Operation("stops.set", "POST", StopRequest, Stop, "write")
LIFT_STOP = Operation("stops.lift", "POST", StopLift, Stop, "deploy")
STOPS = Operation("stops.list", "GET", StopQuery, StopList, "read")
