"""Operations on the policy: what each role may do, and why somebody may or may not do something."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from windlass.core.actor import Role
from windlass.core.operations import Empty, Operation


class RoleRules(msgspec.Struct):
    """A role: what it may do, and who has it."""

    role: Role
    may: tuple[str, ...]
    said: str


class OperationRule(msgspec.Struct, omit_defaults=True):
    """What an operation needs; `also` says when it needs more."""

    operation: str
    permission: str
    also: str = ""


class ApprovalRule(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """So many `people`, besides whoever proposed it, approve a release of the project (of any, where it names none) before it moves to
    the environment; an approval is good for so many `hours`."""

    people: Annotated[int, msgspec.Meta(ge=1, le=20)]
    project: str | None = None
    environment: Literal["production", "staging"] = "production"
    hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 366)] = 24 * 7


class PolicyTable(msgspec.Struct):
    """Everything roles decide: what each may do, and what each operation needs; and the approvals that are demanded."""

    permissions: tuple[str, ...]
    roles: tuple[RoleRules, ...]
    operations: tuple[OperationRule, ...]
    approvals: tuple[ApprovalRule, ...] = ()


class PolicyQuestion(msgspec.Struct, omit_defaults=True):
    """May `actor` do `action` to `subject`? `actor` is `me`, a role, or a key by its id or the end of it, or a person by
    theirs; `action` an operation or a
    permission; `subject` a `kind/name`, or nothing for the project as a whole. Nothing is done."""

    actor: str
    action: str
    subject: str = ""
    project: str = "default"


class Ruling(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer, and the rule that gives it: `role` (what its role may do), `project` (that it is of another one), `scope` (that its key
    is for other things), `key` (that its key holds no longer), `person` (that they are blocked, or that no rule of `oidc.toml` lets them
    in), or `all`: no rule is against it. `also` says when the operation needs more than `permission`."""

    allowed: bool
    rule: Literal["all", "role", "project", "scope", "key", "person"]
    sentence: str
    actor: str = ""
    role: str = ""
    permission: str = ""
    project: str = ""
    subject: str = ""
    also: str = ""


POLICY = Operation("policy.show", "GET", Empty, PolicyTable, "read")
POLICY_WHY = Operation("policy.why", "GET", PolicyQuestion, Ruling, "read")
