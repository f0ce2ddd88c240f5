"""Grants: what one agent may do for one task; and the decision about one call of a tool.

A grant names tools by digest, so that a changed definition is another tool. Whatever it does not list is forbidden: tools, arguments,
calls over its budget, time after its end.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

OnMiss = Literal["deny", "ask"]
Answer = Literal["allow", "ask", "deny"]
# why a call was not simply allowed
Code = Literal[
    "",
    "odd",
    "stopped",
    "revoked",
    "expired",
    "agent",
    "tool",
    "definition",
    "arguments",
    "uses",
    "calls",
    "seconds",
    "dollars",
    "policy",
    "shadow",
]
ASKABLE: frozenset[str] = frozenset({"arguments", "uses"})  # a person may let such a call through, this once
MICRO = 1_000_000  # millionths of a dollar in a dollar

Bound = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Money = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class GrantedTool(msgspec.Struct, frozen=True, omit_defaults=True):
    """One tool of a grant: `tool` is `tool/name@digest`. `arguments` is the JSON Schema that a call's arguments must fit; None: whatever
    the tool's own definition takes. `uses` bounds its calls. One call may take `seconds` and `dollars`: so much is set aside when it
    is allowed, and what it did not need is given back."""

    tool: str
    arguments: dict[str, Any] | None = None
    uses: Bound | None = None
    on_miss: OnMiss = "deny"
    seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 30
    dollars: Money = 0.0


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `agent` (`agent/name`, or the name of an agent outside) may do for one `task`. `calls`, `seconds` and `dollars` bound all its
    calls together; None: no bound. Times are UTC nanoseconds."""

    id: str
    agent: str
    task: str
    tools: tuple[GrantedTool, ...]
    project: str = "default"
    calls: Bound | None = None
    seconds: Bound | None = None
    dollars: Money | None = None
    expires_ns: int | None = None
    approved_by: str = ""
    created_ns: int = 0


class Spent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What calls under a grant have spent or set aside: calls, milliseconds, millionths of a dollar, and `uses` by `tool/name@digest`."""

    calls: int = 0
    milliseconds: int = 0
    microdollars: int = 0
    uses: dict[str, int] = {}


class CallDecision(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer about one call, with a sentence: `why` it is so, and what would mend it."""

    answer: Answer
    why: str
    code: Code = ""
    remedy: str = ""
