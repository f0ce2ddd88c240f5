"""Labels: move by compare-and-set, with history. Environment labels move only through `move_environment`, which asks for a verdict
or a recorded reason; `deploy` alone calls it."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, insert, select, update

from windlass.core.actor import Actor
from windlass.core.digest import short
from windlass.core.errors import Conflict, Forbidden
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.registry import LabelMove, LabelState
from windlass.core.ref import ENVIRONMENTS, Ref, check_label, parse_ref
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.registry.versions import resolve
from windlass.store.meta import write
from windlass.store.tables import label_moves, labels


class Labels:
    """Service of branch labels."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def move(self, actor: Actor, params: LabelMove) -> LabelState:
        """Operation `labels.move`. Raises `Conflict` when the label points elsewhere than expected."""
        ref = parse_ref(params.ref, project=params.project)
        guard(actor, "admin" if ref.kind == "alert" else "write", ref.project)  # an older alert may reach outward
        label = check_label(ref.label or "")
        if label in ENVIRONMENTS:
            raise Forbidden(f"{label} is an environment; it moves only with a verdict", remedy="windlass gate, then windlass promote")
        with write(self._engine) as c:
            target = resolve(c, Ref(ref.kind, ref.name, params.digest, None, ref.project))
            expected = resolve(c, Ref(ref.kind, ref.name, params.expected, None, ref.project)).digest if params.expected else None
            at = move_label(c, actor, target, label, expected, how="branch")
            audit.record(c, actor, "labels.move", ref.project, f"{ref.kind}/{ref.name}:{label}", before=expected, after=target.digest)
        return LabelState(ref.kind, ref.name, label, target.digest or "", at, actor.id)


def current(c: Connection, ref: Ref, label: str) -> str | None:
    """What a label points to, None when it does not exist."""
    t = labels.c
    found: str | None = c.execute(
        select(t.digest).where(t.project == ref.project, t.kind == ref.kind, t.name == ref.name, t.label == label)
    ).scalar()
    return found


def move_label(
    c: Connection,
    actor: Actor,
    target: Ref,
    label: str,
    expected: str | None,
    *,
    how: str,
    verdict: str | None = None,
    reason: str | None = None,
) -> int:
    """Point a label at an exact version if it points to `expected` now (None: it does not exist). Returns when.

    `c` is a write transaction. Raises `Conflict` saying where it points.
    """
    before = current(c, target, label)
    if before != expected:
        there, wanted = (short(d) if d else "nothing" for d in (before, expected))
        raise Conflict(
            f"{target.kind}/{target.name}:{label} points to {there}, not to {wanted}: somebody moved it",
            remedy="look at what it points to now, and try again",
            current=before,
        )
    at = now_ns()
    t = labels.c
    where = (t.project == target.project, t.kind == target.kind, t.name == target.name, t.label == label)
    values = {"digest": target.digest, "moved_ns": at, "actor": actor.id}
    if before is None:
        key = {"project": target.project, "kind": target.kind, "name": target.name, "label": label}
        c.execute(insert(labels).values(**key, **values))
    else:
        c.execute(update(labels).where(*where).values(**values))
    c.execute(
        insert(label_moves).values(
            id=uuid7(),
            project=target.project,
            kind=target.kind,
            name=target.name,
            label=label,
            before=before,
            after=target.digest,
            how=how,
            verdict=verdict,
            reason=reason,
            at_ns=at,
            actor=actor.id,
        )
    )
    return at


def move_environment(
    c: Connection, actor: Actor, target: Ref, environment: str, expected: str | None, *, how: str, verdict: str | None, reason: str | None,
    approved: tuple[str, ...] = (),
) -> int:  # fmt: skip
    """Move an environment label of a release, audited with who `approved` it.

    Raises `Forbidden` without a verdict or a reason, `Conflict` as `move_label`."""
    if target.kind != "release" or environment not in ENVIRONMENTS:
        raise Forbidden(f"{environment!r} is no environment of a {target.kind}", remedy="environments: " + ", ".join(ENVIRONMENTS))
    if not verdict and not reason:
        raise Forbidden(f"{environment} moves only with a verdict", remedy="windlass gate, or give a reason with --override")
    at = move_label(c, actor, target, environment, expected, how=how, verdict=verdict, reason=reason)
    subject = f"release/{target.name}:{environment}"
    said = {"verdict": verdict, "reason": reason, **({"approved_by": list(approved)} if approved else {})}
    audit.record(c, actor, f"releases.{how}", target.project, subject, before=expected, after=target.digest, **said)
    return at
