"""May this actor do this here? Default deny; every service method asks before it does anything."""

from __future__ import annotations

from windlass.core.actor import Actor
from windlass.core.errors import Forbidden
from windlass.core.operations.policy import Ruling

PERMISSIONS = ("read", "write", "run", "deploy", "admin", "call", "trace")
# what is in no row here is denied; who may work with the parts may also call the gateway and send traces
ROLES: dict[str, frozenset[str]] = {
    "owner": frozenset(PERMISSIONS),
    "developer": frozenset({"read", "write", "run", "deploy", "call", "trace"}),
    "viewer": frozenset({"read"}),
    "caller": frozenset({"call", "trace"}),
    "run": frozenset({"call", "trace"}),
    "grant": frozenset(),  # its holder asks the broker, which goes by the grant
}
# what a key with scopes may do without naming what it does it to: the gateway asks for the subject once it knows it
_UNSCOPED = frozenset({"call", "trace"})


def ruling(actor: Actor, permission: str, project: str, subject: str | None = None) -> Ruling:
    """Whether the actor may, and by which rule. `subject` is the `kind/name` it is done to, where it is one thing."""
    allowed = ROLES.get(actor.role, frozenset())
    role = f"{'an' if actor.role == 'owner' else 'a'} {actor.role}"
    if permission not in allowed:
        can = ", ".join(sorted(allowed)) or "do nothing"
        return Ruling(False, "role", f"{actor.id} is {role} and may not {permission}; {role} may {can}")
    if actor.role != "owner" and actor.project != project:
        return Ruling(False, "project", f"{actor.id} belongs to project {actor.project}, not {project}")
    if actor.scopes and subject not in actor.scopes and not (subject is None and permission in _UNSCOPED):
        return Ruling(False, "scope", f"{actor.id} is only for {', '.join(actor.scopes)}, not for {subject or 'a whole project'}")
    return Ruling(True, "all", f"{actor.id} is {role}, and {role} may {permission} in project {project}")


def explain(actor: Actor, permission: str, project: str, subject: str | None = None) -> str | None:
    """Why not, in a sentence; None when the actor may. As `ruling`."""
    found = ruling(actor, permission, project, subject)
    return None if found.allowed else found.sentence


def guard(actor: Actor, permission: str, project: str, subject: str | None = None) -> None:
    """Raises `Forbidden` unless the actor may; see `ruling`."""
    if (why := explain(actor, permission, project, subject)) is not None:
        raise Forbidden(why, remedy="use a key that may")
