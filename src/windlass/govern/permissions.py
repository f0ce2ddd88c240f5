"""May this actor do this here? Default deny; every service method asks before it does anything."""

from __future__ import annotations

from windlass.core.actor import Actor
from windlass.core.errors import Forbidden

ROLES: dict[str, frozenset[str]] = {
    "owner": frozenset({"read", "write", "run", "deploy", "admin"}),
    "developer": frozenset({"read", "write", "run", "deploy"}),
    "viewer": frozenset({"read"}),
    "caller": frozenset({"call", "trace"}),
    "run": frozenset({"call", "trace"}),
    "grant": frozenset(),  # its holder asks the broker, which goes by the grant
}
# who may work with the parts may also call the gateway and send traces
_IMPLIED = {"owner": {"call", "trace"}, "developer": {"call", "trace"}}


# what a key with scopes may do without naming what it does it to: the gateway asks for the subject once it knows it
_UNSCOPED = frozenset({"call", "trace"})


def explain(actor: Actor, permission: str, project: str, subject: str | None = None) -> str | None:
    """Why not, in a sentence; None when the actor may. `subject` is the `kind/name` it is done to, where it is one thing."""
    allowed = ROLES.get(actor.role, frozenset()) | _IMPLIED.get(actor.role, set())
    if permission not in allowed:
        can = ", ".join(sorted(allowed)) or "do nothing"
        return f"{actor.id} is a {actor.role} and may not {permission}; a {actor.role} may {can}"
    if actor.role != "owner" and actor.project != project:
        return f"{actor.id} belongs to project {actor.project}, not {project}"
    if actor.scopes and subject not in actor.scopes and not (subject is None and permission in _UNSCOPED):
        return f"{actor.id} is only for {', '.join(actor.scopes)}, not for {subject or 'a whole project'}"
    return None


def guard(actor: Actor, permission: str, project: str, subject: str | None = None) -> None:
    """Raises `Forbidden` unless the actor may; see `explain`."""
    if (why := explain(actor, permission, project, subject)) is not None:
        raise Forbidden(why, remedy="use a key that may")
