"""The policy as people read it: what each role may do, and why somebody may or may not do something. It decides nothing: `permissions`
does, and is asked the same way here."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import cast, get_args

import msgspec

from windlass.core.actor import Actor, Role
from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations import OPERATIONS, Empty
from windlass.core.operations.policy import OperationRule, PolicyQuestion, PolicyTable, RoleRules, Ruling
from windlass.core.ref import check_name, parse_ref
from windlass.govern.actors import Actors, actor_of
from windlass.govern.people import PREFIX
from windlass.govern.permissions import PERMISSIONS, ROLES, guard, ruling
from windlass.govern.policy import PolicyFile

SAID = {
    "owner": "has the data folder or the owner's key, or a key of this role; the only one who reaches every project",
    "developer": "builds, tests and deploys in one project",
    "viewer": "looks at one project",
    "caller": "an application: calls releases and models through the gateway, sends traces",
    "run": "the code of one run, while it runs: what it calls comes back through the gateway",
    "grant": "an agent that runs elsewhere: the tools its grant names, and nothing else",
}


class Rulings:
    """Service of the policy."""

    def __init__(self, actors: Actors, policy: Callable[[], PolicyFile] = PolicyFile) -> None:
        self._actors = actors
        self._policy = policy

    def show(self, actor: Actor, params: Empty) -> PolicyTable:
        """Operation `policy.show`. Raises `Forbidden`."""
        guard(actor, "read", actor.project)
        roles = tuple(RoleRules(cast(Role, role), tuple(p for p in PERMISSIONS if p in may), SAID[role]) for role, may in ROLES.items())
        asked = tuple(OperationRule(name, op.permission, op.also) for name, op in sorted(OPERATIONS.items()))
        mine = tuple(r for r in self._policy().approval if actor.role == "owner" or r.project in (None, actor.project))
        return PolicyTable(PERMISSIONS, roles, asked, mine)

    def why(self, actor: Actor, question: PolicyQuestion) -> Ruling:
        """Operation `policy.why`. Of other people's keys an owner may ask. Raises `Forbidden`, `Invalid`, `NotFound`."""
        guard(actor, "read", question.project)
        operation = OPERATIONS.get(question.action)
        permission = operation.permission if operation else question.action
        if permission not in PERMISSIONS:
            near = difflib.get_close_matches(question.action, [*PERMISSIONS, *OPERATIONS], 1)
            remedy = f"did you mean {near[0]}?" if near else "`windlass policy show` lists operations and permissions"
            raise Invalid(f"{question.action!r} is no operation and no permission", where="action", remedy=remedy)
        project, subject = _subject(question)
        about = self._actor(actor, question)
        found = about if isinstance(about, Ruling) else ruling(about, permission, project, subject)
        who, role = (found.actor, found.role) if isinstance(about, Ruling) else (about.id, about.role)
        return msgspec.structs.replace(
            found,
            actor=who,
            role=role,
            permission=permission,
            project=project,
            subject=subject or "",
            also=operation.also if operation else "",
        )

    def _actor(self, actor: Actor, question: PolicyQuestion) -> Actor | Ruling:
        """Who is asked about; a ruling where their key holds no longer."""
        if question.actor == "me" or question.actor == actor.id:
            return actor
        if question.actor in get_args(Role):
            return Actor("whoever asks", cast(Role, question.actor), question.project)
        guard(actor, "admin", question.project)
        if question.actor.startswith(PREFIX) and self._actors.people:
            person = self._actors.people.find(question.actor)
            if person.role is None:
                return Ruling(False, "person", person.why, actor=person.id)
            return Actor(person.id, person.role, person.project)
        key = self._actors.key(question.actor.removeprefix("key:"))
        if key.revoked_ns or (key.expires_ns and key.expires_ns <= now_ns()):
            ended = "was revoked" if key.revoked_ns else "has expired"
            return Ruling(False, "key", f"the key {key.name!r} {ended}, and opens nothing", actor=f"key:{key.id}", role=key.role)
        return actor_of(key)


def _subject(question: PolicyQuestion) -> tuple[str, str | None]:
    """The project and the `kind/name` that are asked about."""
    if not question.subject:
        return check_name(question.project, what="project"), None
    if question.subject.startswith("model/"):  # a model's name has slashes of its own
        return question.project, question.subject
    ref = parse_ref(question.subject, project=question.project)
    return ref.project, f"{ref.kind}/{ref.name}"
