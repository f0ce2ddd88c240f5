"""Environment labels of releases: promote by a verdict, roll back by the verdict that let the old one out, or override with a reason.

A verdict counts only for exactly what it compared: the candidate, against what the label points to at the moment it moves.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, select

from windlass.core.actor import Actor
from windlass.core.digest import short
from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.deploy import (
    History,
    HistoryQuery,
    Move,
    PromoteRequest,
    ReleaseList,
    ReleaseQuery,
    ReleaseState,
    RollbackRequest,
)
from windlass.core.ref import ENVIRONMENTS, Ref, parse_ref
from windlass.core.score import Verdict
from windlass.deploy.approvals import ReleaseApprovers
from windlass.deploy.choosing import chosen, environment_of, release_of, same_again
from windlass.deploy.loadtests import LoadTests
from windlass.deploy.rollout_rows import supersede
from windlass.govern.permissions import guard
from windlass.registry.labels import current, move_environment
from windlass.registry.versions import fetch, newest, resolve
from windlass.store.meta import read, write
from windlass.store.tables import label_moves, labels, links, release_approvals, verdicts, versions

HOW = ("promote", "rollback", "override", "rollout")
LET_OUT = ("promote", "override", "rollout")
BY_VERDICT = ("promote", "rollout")


class LetOut(NamedTuple):
    """A release that may go out, by which verdict, and who approved it."""

    target: Ref
    verdict: Verdict
    approved: tuple[str, ...]


class Releases:
    """Service of environment labels."""

    def __init__(self, engine: Engine, approvers: ReleaseApprovers, loadtests: LoadTests) -> None:
        self._engine = engine
        self._approvers = approvers
        self._loadtests = loadtests

    def promote(self, actor: Actor, request: PromoteRequest) -> Move:
        """Operation `releases.promote`. Raises `Forbidden` without a verdict or a reason, or without the approvals or load tests that are
        demanded; `Conflict` when the label has moved since the verdict; `NotFound`, `Invalid`."""
        ref = release_of(request.release, request.project)
        guard(actor, "deploy", ref.project)
        environment = environment_of(request.environment)
        with write(self._engine) as c:
            now = current(c, ref, environment)
            if request.override is not None:
                return self._override(c, actor, ref, environment, now, request)
            let = self.let_out(c, actor, ref, environment, now, request.digest, request.verdict)
            supersede(c, actor, ref, environment, f"{let.target.short} was promoted")
            by = let.verdict.id
            move_environment(c, actor, let.target, environment, now, how="promote", verdict=by, reason=None, approved=let.approved)
            return _latest(c, let.target, environment)

    def let_out(
        self, c: Connection, actor: Actor, ref: Ref, environment: str, now: str | None, digest: str | None, verdict: str | None
    ) -> LetOut:  # fmt: skip
        """What may go to an environment that points to `now`, by which verdict and whose approvals. Raises as `promote`."""
        found = self._verdict(c, actor, ref, environment, now, digest or ref.digest, verdict)
        approved = self._approvers.require(c, actor, found)
        target = resolve(c, parse_ref(found.candidate, project=ref.project))
        self._loadtests.require(c, target, environment)
        return LetOut(target, found, approved)

    def _override(self, c: Connection, actor: Actor, ref: Ref, environment: str, now: str | None, request: PromoteRequest) -> Move:
        reason = (request.override or "").strip()
        if not reason:
            raise Invalid("an override needs a reason", where="--override", remedy="say why in a sentence: it is recorded")
        self._approvers.refuse_override(actor, ref.project, environment)
        target = resolve(c, Ref("release", ref.name, request.digest or ref.digest, None, ref.project))
        supersede(c, actor, ref, environment, f"{target.short} was put there by an override")
        move_environment(c, actor, target, environment, now, how="override", verdict=None, reason=reason)
        return _latest(c, target, environment)

    def _verdict(
        self, c: Connection, actor: Actor, ref: Ref, environment: str, now: str | None, digest: str | None, named: str | None
    ) -> Verdict:  # fmt: skip
        """The verdict that lets a candidate out now; of several about the same two, one that is approved."""
        found = chosen(c, ref, environment, now, digest, named)
        if named is None and not self._approvers.enough(c, actor, found):
            return next((v for v in same_again(c, found) if self._approvers.enough(c, actor, v)), found)
        return found

    def rollback(self, actor: Actor, request: RollbackRequest) -> Move:
        """Operation `releases.rollback`: to what stood there before the newest move that was no roll-back of it. Raises `NotFound`
        when there is nothing to go back to, `Conflict` when somebody moves it at the same time."""
        ref = release_of(request.release, request.project)
        guard(actor, "deploy", ref.project)
        environment = environment_of(request.environment)
        with write(self._engine) as c:
            return self.back(c, actor, ref, environment)

    def back(self, c: Connection, actor: Actor, ref: Ref, environment: str, why: str = "") -> Move:
        """Move back to what stood there before, in a transaction that is under way. Raises as `rollback`."""
        moves = _moves(c, ref, environment)
        now = current(c, ref, environment)
        if now is None:
            raise NotFound(f"nothing of release/{ref.name} is in {environment}", remedy="windlass history shows what was")
        before = _before(moves, now)
        if before is None:
            raise NotFound(f"release/{ref.name} has nothing to go back to in {environment}", remedy="windlass history shows what was")
        let_out = next((m for m in moves if m.after == before and m.how in LET_OUT), None)
        target = Ref("release", ref.name, before, None, ref.project)
        verdict = let_out.verdict if let_out else None
        reason = f"roll-back from {short(now)}" + (f": {why}" if why else "")
        supersede(c, actor, ref, environment, f"it was rolled back to {short(before)}")
        move_environment(c, actor, target, environment, now, how="rollback", verdict=verdict, reason=reason)
        return _latest(c, target, environment)

    def history(self, actor: Actor, query: HistoryQuery) -> History:
        """Operation `releases.history`: moves of environment labels, newest first."""
        guard(actor, "read", query.project)
        limit = query.limit
        m = label_moves.c
        found = select(label_moves).where(m.project == query.project, m.kind == "release", m.how.in_(HOW))
        if query.release:
            found = found.where(m.name == release_of(query.release, query.project).name)
        if query.environment:
            found = found.where(m.label == environment_of(query.environment))
        if query.cursor:
            found = found.where(m.id < query.cursor)
        with read(self._engine) as c:
            rows = c.execute(found.order_by(m.id.desc()).limit(limit + 1)).all()
            approved = _approved(c, rows[:limit])
        return History(
            items=tuple(_move(r, approved.get(r.id, ())) for r in rows[:limit]), next=rows[limit - 1].id if len(rows) > limit else None
        )

    def list(self, actor: Actor, query: ReleaseQuery) -> ReleaseList:
        """Operation `releases.list`."""
        guard(actor, "read", query.project)
        v = versions.c
        with read(self._engine) as c:
            names = c.execute(select(v.name).where(v.project == query.project, v.kind == "release").distinct().order_by(v.name)).scalars()
            suites = _suites(c, query.project)
            return ReleaseList(tuple(self._state(c, Ref("release", name, None, None, query.project), suites) for name in names.all()))

    def names(self, project: str, environment: str) -> builtins.list[str]:
        """Names of the releases that stand in an environment, sorted."""
        t = labels.c
        wanted = select(t.name).where(t.project == project, t.kind == "release", t.label == environment)
        with read(self._engine) as c:
            return sorted(c.execute(wanted).scalars())

    def _state(self, c: Connection, ref: Ref, suites: dict[str, str]) -> ReleaseState:
        t = labels.c
        there = c.execute(
            select(t.label, t.digest, t.moved_ns).where(
                t.project == ref.project, t.kind == "release", t.name == ref.name, t.label.in_(ENVIRONMENTS)
            )
        ).all()
        environments = {label: digest for label, digest, _ in there}
        candidate = newest(c, ref)
        k = links.c
        entry = c.execute(
            select(k.to_kind, k.to_name).where(
                k.project == ref.project, k.kind == "release", k.name == ref.name, k.digest == candidate, k.role == "entry"
            )
        ).first()
        verdict = c.execute(
            select(verdicts.c.id)
            .where(
                verdicts.c.project == ref.project,
                verdicts.c.candidate.startswith(str(Ref("release", ref.name, None, None, ref.project)) + "@", autoescape=True),
            )
            .order_by(verdicts.c.id.desc())
            .limit(1)
        ).scalar()
        waits = candidate if candidate not in environments.values() else None
        runs = f"{entry[0]}/{entry[1]}" if entry else ""
        since = {label: at for label, _, at in there}
        back = {label: _before(_moves(c, ref, label), digest) for label, digest in environments.items()}
        previous = {label: digest for label, digest in back.items() if digest}
        return ReleaseState(ref.name, runs, environments, since, previous, waits, verdict, suites.get(runs))


def _suites(c: Connection, project: str) -> dict[str, str]:
    """By what they measure, the names of the suites as they are now."""
    v = versions.c
    names = c.execute(select(v.name).where(v.project == project, v.kind == "suite").distinct().order_by(v.name)).scalars().all()
    found: dict[str, str] = {}
    for name in names:
        body = fetch(c, Ref("suite", name, newest(c, Ref("suite", name, None, None, project)), None, project)).body
        if isinstance(body["target"], str):
            found.setdefault(body["target"], name)
    return found


def _moves(c: Connection, ref: Ref, environment: str) -> list[Row[Any]]:
    m = label_moves.c
    return list(
        c.execute(
            select(label_moves)
            .where(m.project == ref.project, m.kind == "release", m.name == ref.name, m.label == environment)
            .order_by(m.id.desc())
        ).all()
    )


def _before(moves: list[Row[Any]], now: str) -> str | None:
    """What stood there before `now` came: a second roll-back goes back further, not to and fro."""
    return next((m.before for m in moves if m.after == now and m.how != "rollback"), None)


def _latest(c: Connection, target: Ref, environment: str) -> Move:
    move = _moves(c, target, environment)[0]
    return _move(move, _approved(c, [move]).get(move.id, ()))


def moves_of(c: Connection, ref: Ref) -> list[Move]:
    """Moves of a release's environments, newest first, with who approved each promotion."""
    m = label_moves.c
    where = (m.project == ref.project, m.kind == "release", m.name == ref.name, m.how.in_(HOW))
    rows = c.execute(select(label_moves).where(*where).order_by(m.id.desc())).all()
    approved = _approved(c, rows)
    return [_move(row, approved.get(row.id, ())) for row in rows]


def _approved(c: Connection, moves: Sequence[Row[Any]]) -> dict[str, tuple[str, ...]]:
    """By move, who had approved what was promoted by it."""
    r = release_approvals.c
    wanted = {m.verdict for m in moves if m.how in BY_VERDICT and m.verdict}
    given = c.execute(select(r.verdict, r.actor, r.at_ns).where(r.verdict.in_(wanted)).order_by(r.at_ns)).all() if wanted else []
    return {m.id: tuple(g.actor for g in given if g.verdict == m.verdict and g.at_ns <= m.at_ns) for m in moves if m.how in BY_VERDICT}


def _move(row: Row[Any], approved: tuple[str, ...] = ()) -> Move:
    return Move(row.id, row.name, row.label, row.before, row.after, row.how, row.at_ns, row.actor, row.verdict, row.reason, approved)
