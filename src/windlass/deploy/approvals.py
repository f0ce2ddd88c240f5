"""Approvals of a release: so many people besides whoever proposed it, before it moves to an environment that demands them.

An approval is for one release and one verdict. It counts while it is not withdrawn, not too old, and whoever gave it still may deploy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, delete, func, insert, select

from windlass.core.actor import Actor
from windlass.core.digest import short
from windlass.core.errors import Forbidden, Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.deploy import ApprovalsQuery, ApproveRequest, ReleaseApproval, ReleaseApprovals
from windlass.core.operations.policy import ApprovalRule
from windlass.core.ref import Ref, parse_ref
from windlass.core.score import Verdict
from windlass.deploy.choosing import chosen, environment_of, release_of
from windlass.govern import audit
from windlass.govern.actors import people
from windlass.govern.permissions import guard
from windlass.govern.policy import PolicyFile
from windlass.registry.labels import current
from windlass.store.meta import read, write
from windlass.store.tables import gates, label_moves, release_approvals, versions

Able = Callable[[Connection, str, str], dict[str, str]]
HOUR_NS = 3600 * 10**9


class ReleaseApprovers:
    """Service of approvals of releases. `policy` is read whenever it is asked, so that a change of the file holds at once; `able` says who
    may do something now."""

    def __init__(self, engine: Engine, policy: Callable[[], PolicyFile], now: Callable[[], int] = now_ns, able: Able = people) -> None:
        self._engine = engine
        self._policy = policy
        self._now = now
        self._able = able

    def show(self, actor: Actor, query: ApprovalsQuery) -> ReleaseApprovals:
        """Operation `releases.approvals`. Raises `NotFound`, and as `releases.promote` where nothing may be promoted."""
        ref = release_of(query.release, query.project)
        guard(actor, "read", ref.project)
        with read(self._engine) as c:
            verdict = self._verdict(c, query)
            return self._standing(c, actor, verdict)

    def approve(self, actor: Actor, request: ApproveRequest) -> ReleaseApprovals:
        """Operation `releases.approve`; again renews it. Raises `Forbidden` for whoever proposed it and for a machine, `Invalid` where
        nobody demands approvals, `Conflict` when the environment has moved since the verdict."""
        ref = release_of(request.release, request.project)
        guard(actor, "deploy", ref.project)
        with write(self._engine) as c:
            verdict = self._verdict(c, request)
            rule = self._policy().demanded(verdict.project, verdict.environment)
            if rule is None:
                raise Invalid(
                    f"nobody demands approvals for {verdict.environment} of project {verdict.project}", where="policy.toml",
                    remedy=f"windlass promote {ref.name}, or demand them with [[approval]]",
                )  # fmt: skip
            if actor.id in _proposers(c, verdict):
                raise Forbidden(f"you proposed {_named(verdict)}: you pushed it, or had it gated", remedy="somebody else must approve it")
            if actor.id not in self._able(c, "deploy", verdict.project):
                raise Forbidden(f"{actor.id} is a machine, and approves no release", remedy="somebody who logs in or has a key does")
            c.execute(delete(release_approvals).where(*_mine(actor, verdict)))
            c.execute(
                insert(release_approvals).values(
                    project=verdict.project, verdict=verdict.id, actor=actor.id, candidate=verdict.candidate, at_ns=self._now(),
                    note=request.note.strip(),
                )
            )  # fmt: skip
            audit.record(
                c, actor, "releases.approve", verdict.project, verdict.candidate, verdict=verdict.id, environment=verdict.environment,
                note=request.note.strip(),
            )  # fmt: skip
            return self._standing(c, actor, verdict)

    def withdraw(self, actor: Actor, request: ApproveRequest) -> ReleaseApprovals:
        """Operation `releases.withdraw`: one's own approval, as long as the release has not moved. Raises `Invalid` when there is none."""
        ref = release_of(request.release, request.project)
        guard(actor, "deploy", ref.project)
        with write(self._engine) as c:
            verdict = self._verdict(c, request)
            if not c.execute(delete(release_approvals).where(*_mine(actor, verdict))).rowcount:
                raise Invalid(
                    f"you have not approved {_named(verdict)} by this verdict", remedy=f"windlass approvers {ref.name} says who has"
                )
            audit.record(c, actor, "releases.withdraw", verdict.project, verdict.candidate, verdict=verdict.id, note=request.note.strip())
            return self._standing(c, actor, verdict)

    def require(self, c: Connection, actor: Actor, verdict: Verdict) -> tuple[str, ...]:
        """Who approved it. Raises `Forbidden`, in a sentence that names who could, unless enough people did. `c` is the transaction
        that moves the label."""
        found = self._standing(c, actor, verdict)
        if not found.enough:
            raise Forbidden(found.sentence, remedy=f"windlass approve {parse_ref(verdict.candidate, project=verdict.project).name}")
        return tuple(a.actor for a in found.given if a.counts)

    def enough(self, c: Connection, actor: Actor, verdict: Verdict) -> bool:
        return self._standing(c, actor, verdict).enough

    def refuse_override(self, actor: Actor, project: str, environment: str) -> None:
        """Raises `Forbidden` for one who may not go past approvals or load tests that are demanded: an owner may, with a reason that is
        recorded."""
        policy = self._policy()
        rule = policy.demanded(project, environment)
        if actor.role == "owner" or not (rule or policy.loads(project, environment)):
            return
        needs, remedy = (_many(rule.people), "windlass approve") if rule else ("a load test that was passed", "windlass loadtest start")
        raise Forbidden(
            f"{environment} of project {project} needs {needs}, which only an owner may override", remedy=f"{remedy}, or ask an owner"
        )

    def _verdict(self, c: Connection, asked: ApprovalsQuery | ApproveRequest) -> Verdict:
        """The one that would let the release out now."""
        ref, environment = release_of(asked.release, asked.project), environment_of(asked.environment)
        return chosen(c, ref, environment, current(c, ref, environment), ref.digest, asked.verdict)

    def _standing(self, c: Connection, actor: Actor, verdict: Verdict) -> ReleaseApprovals:
        ref = parse_ref(verdict.candidate, project=verdict.project)
        found = ReleaseApprovals(ref.name, verdict.environment, ref.digest or "", verdict.id)
        rule = self._policy().demanded(verdict.project, verdict.environment)
        if rule is None:
            found.sentence = f"no approval is demanded for {verdict.environment}"
            return found
        able, proposed = self._able(c, "deploy", verdict.project), _proposers(c, verdict)
        r = release_approvals.c
        rows = c.execute(
            select(release_approvals)
            .where(r.project == verdict.project, r.verdict == verdict.id, r.candidate == verdict.candidate)
            .order_by(r.at_ns)
        ).all()
        found.needed = rule.people
        moved = _moved(c, ref, verdict.environment)
        found.given = tuple(self._given(row, moved, rule, able, proposed) for row in rows)
        counted = {a.actor for a in found.given if a.counts}
        found.proposed_by = tuple(proposed)
        found.could = tuple(able[id] for id in able if id not in counted and id not in proposed)
        found.enough = len(counted) >= rule.people
        found.may = actor.id in able and actor.id not in proposed
        found.mine = actor.id in counted
        found.sentence = _sentence(found, rule, [able[id] for id in able if id in counted])
        return found

    def _given(self, row: Row[Any], moved: int, rule: ApprovalRule, able: dict[str, str], proposed: list[str]) -> ReleaseApproval:
        """An approval as it counts now; `moved` is when the environment last did."""
        expires = row.at_ns + rule.hours * HOUR_NS
        why_not = ""
        if row.actor not in able:
            why_not = "may not deploy any more"
        elif row.actor in proposed:
            why_not = "proposed it"
        elif expires <= self._now():
            why_not = f"older than {rule.hours} hours"
        elif row.at_ns <= moved:
            why_not = f"given before {rule.environment} moved"
        return ReleaseApproval(row.actor, able.get(row.actor, row.actor), row.at_ns, expires, row.note, why_not)


def _sentence(found: ReleaseApprovals, rule: ApprovalRule, counted: list[str]) -> str:
    """How it stands, and who could help."""
    what = (
        f"{found.environment} needs {_many(rule.people)} of release/{found.release}@{short(found.digest)} by verdict {found.verdict[-8:]}"
    )
    has = f"{what}, and has {len(counted)}" + (f" ({', '.join(counted)})" if counted else "")
    if found.enough:
        return has
    if len(counted) + len(found.could) < rule.people:
        who = f"only {', '.join(found.could)} could" if found.could else "nobody else may deploy here"
        return f"{has}; {who}, which is too few: make a key with `windlass keys create NAME --role developer`"
    return f"{has}; {', '.join(found.could)} could approve it"


def _moved(c: Connection, ref: Ref, environment: str) -> int:
    """When an environment of a release last moved; 0 where it never did. An approval lets out once."""
    m = label_moves.c
    where = (m.project == ref.project, m.kind == ref.kind, m.name == ref.name, m.label == environment)
    found: int | None = c.execute(select(func.max(m.at_ns)).where(*where)).scalar()
    return found or 0


def _many(people: int) -> str:
    return "1 approval" if people == 1 else f"{people} approvals"


def _named(verdict: Verdict) -> str:
    return parse_ref(verdict.candidate, project=verdict.project).short


def _mine(actor: Actor, verdict: Verdict) -> tuple[ColumnElement[bool], ...]:
    r = release_approvals.c
    return r.project == verdict.project, r.verdict == verdict.id, r.actor == actor.id


def _proposers(c: Connection, verdict: Verdict) -> list[str]:
    """Who pushed the release first, and who had it gated."""
    ref = parse_ref(verdict.candidate, project=verdict.project)
    v = versions.c
    pushed = c.execute(
        select(v.actor).where(v.project == ref.project, v.kind == ref.kind, v.name == ref.name, v.digest == ref.digest)
    ).scalars()
    gated = c.execute(select(gates.c.actor).where(gates.c.project == verdict.project, gates.c.verdict == verdict.id)).scalars()
    return list(dict.fromkeys([*pushed, *gated]))
