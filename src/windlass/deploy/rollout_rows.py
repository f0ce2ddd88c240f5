"""Rollouts as they are kept: found, changed, ended. Light, since a process that only looks whether one is due reads it."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from windlass.core.actor import Actor
from windlass.core.digest import short
from windlass.core.errors import Conflict, Invalid, NotFound
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.rollouts import Rollout, RolloutMove, RolloutMoveKind, RolloutStatus
from windlass.core.ref import Ref
from windlass.core.rollout import WHOLE
from windlass.govern import audit
from windlass.store.tables import rollout_moves, rollout_units, rollouts

WORK = "rollout"  # the kind of work
LEASE_NS = 120 * 10**9  # after which a look that was handed over and never came is handed over again
SHORTEST = 6  # characters of an id
_decoder = msgspec.json.Decoder(Rollout)


def rollouts_due(c: Connection, now: int) -> list[tuple[str, str]]:
    """Project and id of those whose next look has come; the same is not due again for a while. `c` is a write transaction."""
    r = rollouts.c
    found = [(row.project, row.id) for row in c.execute(select(r.project, r.id).where(r.next_ns <= now).order_by(r.next_ns)).all()]
    for _, id in found:
        c.execute(update(rollouts).where(r.id == id).values(next_ns=now + LEASE_NS))
    return found


def is_due(c: Connection, now: int) -> bool:
    return c.execute(select(rollouts.c.id).where(rollouts.c.next_ns <= now).limit(1)).first() is not None


def rollout_of(row: Row[Any]) -> Rollout:
    return _decoder.decode(row.body)


def find(c: Connection, project: str, given: str) -> Rollout:
    """By its id, or the end of it. Raises `NotFound`, `Invalid`."""
    r = rollouts.c
    if len(given) < SHORTEST:
        raise Invalid(f"{given!r} is too short to be a rollout", remedy=f"give at least {SHORTEST} characters of its id")
    same = (r.id == given) | r.id.endswith(given, autoescape=True)
    rows = c.execute(select(rollouts).where(r.project == project, same).limit(2)).all()
    if len(rows) != 1:
        said = "fits several rollouts" if rows else f"is no rollout of project {project}"
        raise NotFound(f"{given!r} {said}", remedy="windlass rollout list shows those there are")
    return rollout_of(rows[0])


def running(c: Connection, ref: Ref | None = None, environment: str | None = None) -> list[Rollout]:
    """Those under way: all, or of a release in an environment."""
    r = rollouts.c
    found = select(rollouts).where(r.status == "running")
    if ref is not None:
        found = found.where(r.project == ref.project, r.release == ref.name, r.environment == environment)
    return [rollout_of(row) for row in c.execute(found.order_by(r.id)).all()]


def rolled_out(c: Connection, ref: Ref, at_ns: int) -> list[Rollout]:
    """Those by which a version of a release answered at a time, newest first."""
    r = rollouts.c
    found = select(rollouts).where(r.project == ref.project, r.release == ref.name, r.created_ns <= at_ns).order_by(r.id.desc())
    all_of = map(rollout_of, c.execute(found).all())
    return [one for one in all_of if one.candidate == ref.digest and (one.ended_ns is None or at_ns <= one.ended_ns)]


def keep(c: Connection, rollout: Rollout, *, next_ns: int | None = None, **more: Any) -> None:
    """Write one down as it is now. One that ended is not looked at any more, and what it was compared on is its evidence alone."""
    next_ns = next_ns if rollout.status == "running" else None
    body = msgspec.json.encode(msgspec.structs.replace(rollout, moves=())).decode()
    values = {"status": rollout.status, "body": body, "next_ns": next_ns, **more}
    if not c.execute(update(rollouts).where(rollouts.c.id == rollout.id).values(**values)).rowcount:
        fixed = {f: getattr(rollout, f) for f in ("id", "project", "release", "environment", "created_ns")}
        c.execute(insert(rollouts).values(**fixed, **values))
    if rollout.status != "running":
        c.execute(delete(rollout_units).where(rollout_units.c.rollout == rollout.id))


def enter(c: Connection, actor: Actor, rollout: Rollout, kind: RolloutMoveKind, why: str, **details: Any) -> None:
    """Record a step of it, in the transaction that takes it."""
    share = {"promote": WHOLE, "stop": 0, "supersede": 0, "shown": 0}.get(kind, rollout.shares[-1])
    at = now_ns()
    c.execute(insert(rollout_moves).values(id=uuid7(), rollout=rollout.id, kind=kind, share=share, why=why, actor=actor.id, at_ns=at))
    subject = f"release/{rollout.release}:{rollout.environment}"
    audit.record(
        c, actor, f"rollouts.{kind}", rollout.project, subject, rollout=rollout.id, share=share / 100, why=why, candidate=rollout.candidate,
        base=rollout.base, **details,
    )  # fmt: skip


def moves_of(c: Connection, id: str) -> tuple[RolloutMove, ...]:
    """Its steps, newest first."""
    m = rollout_moves.c
    rows = c.execute(select(rollout_moves).where(m.rollout == id).order_by(m.id.desc())).all()
    return tuple(RolloutMove(row.id, row.kind, row.share / 100, row.why, row.actor, row.at_ns) for row in rows)


def at_share(rollout: Rollout, step: int) -> Rollout:
    """The rollout at a step of its own, from now on."""
    return msgspec.structs.replace(
        rollout, step=step, shares=(*rollout.shares, round(rollout.steps[step] * 100)), stage_ns=now_ns()
    )  # fmt: skip


def ended(rollout: Rollout, status: RolloutStatus, sentence: str) -> Rollout:
    return msgspec.structs.replace(rollout, status=status, ended_ns=now_ns(), sentence=sentence)


def supersede(c: Connection, actor: Actor, ref: Ref, environment: str, why: str) -> None:
    """End what is under way there: the label moved by something else. `c` is the transaction that moves it."""
    for rollout in running(c, ref, environment):
        over = ended(
            rollout, "superseded", f"{environment} moved otherwise: {why}. Nobody is answered by the candidate because of it any more."
        )
        enter(c, actor, over, "supersede", why)
        keep(c, over)


def refuse_second(c: Connection, ref: Ref, environment: str) -> None:
    """Raises `Conflict` where one is under way."""
    for rollout in running(c, ref, environment):
        raise Conflict(
            f"a rollout of release/{ref.name}@{short(rollout.candidate)} to {environment} is under way", where=rollout.id,
            remedy=f"windlass rollout stop {rollout.id[-8:]} ends it",
        )  # fmt: skip
