"""Environment labels of releases: promote by a verdict, roll back by the verdict that let the old one out, or override with a reason.

A verdict counts only for exactly what it compared: the candidate, against what the label points to at the moment it moves.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, Row, select

from windlass.core.actor import Actor
from windlass.core.digest import short
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound
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
from windlass.evaluate.verdicts import load_verdict, newest_verdict
from windlass.govern.permissions import guard
from windlass.registry.labels import current, move_environment
from windlass.registry.versions import fetch, newest, resolve
from windlass.store.meta import read, write
from windlass.store.tables import label_moves, labels, links, verdicts, versions

HOW = ("promote", "rollback", "override")


class Releases:
    """Service of environment labels."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def promote(self, actor: Actor, request: PromoteRequest) -> Move:
        """Operation `releases.promote`. Raises `Forbidden` without a verdict or a reason, `Conflict` when the label has moved since
        the verdict, `NotFound`, `Invalid`."""
        ref = _release(request.release, request.project)
        guard(actor, "deploy", ref.project)
        environment = _environment(request.environment)
        with write(self._engine) as c:
            now = current(c, ref, environment)
            if request.override is not None:
                return self._override(c, actor, ref, environment, now, request)
            verdict = self._verdict(c, ref, environment, now, request)
            target = resolve(c, parse_ref(verdict.candidate, project=ref.project))
            move_environment(c, actor, target, environment, now, how="promote", verdict=verdict.id, reason=None)
            return _latest(c, target, environment)

    def _override(self, c: Connection, actor: Actor, ref: Ref, environment: str, now: str | None, request: PromoteRequest) -> Move:
        reason = (request.override or "").strip()
        if not reason:
            raise Invalid("an override needs a reason", where="--override", remedy="say why in a sentence: it is recorded")
        target = resolve(c, Ref("release", ref.name, request.digest or ref.digest, None, ref.project))
        move_environment(c, actor, target, environment, now, how="override", verdict=None, reason=reason)
        return _latest(c, target, environment)

    def _verdict(self, c: Connection, ref: Ref, environment: str, now: str | None, request: PromoteRequest) -> Verdict:
        """The verdict that lets a candidate out now."""
        base = str(Ref("release", ref.name, now, None, ref.project)) if now else None
        if request.verdict:
            verdict = load_verdict(c, ref.project, request.verdict)
            _check(verdict, ref, environment, base)
            return verdict
        digest = request.digest or ref.digest
        if digest:
            candidate = resolve(c, Ref("release", ref.name, digest, None, ref.project))
        else:
            candidate = self._let_through(c, ref, environment, base) or resolve(c, ref)
        if candidate.digest == now:
            raise Conflict(f"{candidate.short} is what {environment} runs already", remedy="push a change and gate it")
        found = newest_verdict(c, ref.project, str(candidate), base, environment, "promote")
        if found is None:
            raise _no_verdict(c, candidate, base, environment)
        return found

    def _let_through(self, c: Connection, ref: Ref, environment: str, base: str | None) -> Ref | None:
        """The candidate of the newest promoting verdict against what is there now."""
        v = verdicts.c
        like = str(Ref("release", ref.name, None, None, ref.project)) + "@"
        found = c.execute(
            select(v.candidate)
            .where(
                v.project == ref.project, v.candidate.startswith(like, autoescape=True), v.environment == environment,
                v.decision == "promote", v.base.is_(None) if base is None else v.base == base,
            )
            .order_by(v.id.desc())
            .limit(1)
        ).scalar()  # fmt: skip
        return parse_ref(found, project=ref.project) if found else None

    def rollback(self, actor: Actor, request: RollbackRequest) -> Move:
        """Operation `releases.rollback`: to what stood there before the newest move that was no roll-back of it. Raises `NotFound`
        when there is nothing to go back to, `Conflict` when somebody moves it at the same time."""
        ref = _release(request.release, request.project)
        guard(actor, "deploy", ref.project)
        environment = _environment(request.environment)
        with write(self._engine) as c:
            moves = _moves(c, ref, environment)
            now = current(c, ref, environment)
            if now is None:
                raise NotFound(f"nothing of release/{ref.name} is in {environment}", remedy="windlass history shows what was")
            before = _before(moves, now)
            if before is None:
                raise NotFound(f"release/{ref.name} has nothing to go back to in {environment}", remedy="windlass history shows what was")
            let_out = next((m for m in moves if m.after == before and m.how in ("promote", "override")), None)
            target = Ref("release", ref.name, before, None, ref.project)
            verdict = let_out.verdict if let_out else None
            reason = f"roll-back from {short(now)}"
            move_environment(c, actor, target, environment, now, how="rollback", verdict=verdict, reason=reason)
            return _latest(c, target, environment)

    def history(self, actor: Actor, query: HistoryQuery) -> History:
        """Operation `releases.history`: moves of environment labels, newest first."""
        guard(actor, "read", query.project)
        limit = query.limit
        m = label_moves.c
        found = select(label_moves).where(m.project == query.project, m.kind == "release", m.how.in_(HOW))
        if query.release:
            found = found.where(m.name == _release(query.release, query.project).name)
        if query.environment:
            found = found.where(m.label == _environment(query.environment))
        if query.cursor:
            found = found.where(m.id < query.cursor)
        with read(self._engine) as c:
            rows = c.execute(found.order_by(m.id.desc()).limit(limit + 1)).all()
        return History(items=tuple(_move(r) for r in rows[:limit]), next=rows[limit - 1].id if len(rows) > limit else None)

    def list(self, actor: Actor, query: ReleaseQuery) -> ReleaseList:
        """Operation `releases.list`."""
        guard(actor, "read", query.project)
        v = versions.c
        with read(self._engine) as c:
            names = c.execute(select(v.name).where(v.project == query.project, v.kind == "release").distinct().order_by(v.name)).scalars()
            suites = _suites(c, query.project)
            return ReleaseList(tuple(self._state(c, Ref("release", name, None, None, query.project), suites) for name in names.all()))

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


def _release(given: str, project: str) -> Ref:
    ref = parse_ref(given, project=project, kind="release")
    if ref.kind != "release":
        raise Invalid(f"{given!r} is a {ref.kind}; what stands in an environment is a release", remedy=f"try release/{ref.name}")
    return ref


def _environment(name: str) -> str:
    if name not in ENVIRONMENTS:
        raise Invalid(f"{name!r} is no environment", remedy="environments: " + ", ".join(ENVIRONMENTS))
    return name


def _check(verdict: Verdict, ref: Ref, environment: str, base: str | None) -> None:
    """Raises unless the verdict lets its candidate out here and now."""
    named = f"verdict {verdict.id[-8:]}"
    candidate = parse_ref(verdict.candidate, project=ref.project)
    if (candidate.kind, candidate.name) != ("release", ref.name) or (ref.digest and ref.digest != candidate.digest):
        raise Invalid(f"{named} is about {candidate.short}, not about {ref.short}", remedy="name its own release")
    if verdict.decision != "promote":
        raise Forbidden(f"{named} says {verdict.decision}", remedy="gate a better candidate, or give a reason with --override")
    if verdict.environment != environment:
        raise Forbidden(f"{named} is about {verdict.environment}, not {environment}", remedy=f"gate it against {environment}")
    if verdict.base != base:
        there = parse_ref(base, project=ref.project).short if base else "nothing"
        raise Conflict(f"{environment} has moved since {named}: it runs {there} now", remedy="gate against what is there now")


def _no_verdict(c: Connection, candidate: Ref, base: str | None, environment: str) -> Forbidden | Conflict:
    """Why this candidate may not go out, in a sentence."""
    v = verdicts.c
    row = c.execute(
        select(v.id, v.decision, v.base)
        .where(v.project == candidate.project, v.candidate == str(candidate), v.environment == environment)
        .order_by(v.id.desc())
        .limit(1)
    ).first()
    if row is None:
        return Forbidden(f"{candidate.short} has no verdict for {environment}", remedy="windlass gate, or give a reason with --override")
    if row.base != base:
        return Conflict(f"{environment} has moved since {candidate.short} was gated", remedy="gate it against what is there now")
    return Forbidden(
        f"the gate said {row.decision} of {candidate.short} (verdict {row.id[-8:]})",
        remedy="mend it and gate again, or give a reason with --override",
    )


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
    return _move(_moves(c, target, environment)[0])


def _move(row: Row[Any]) -> Move:
    return Move(row.id, row.name, row.label, row.before, row.after, row.how, row.at_ns, row.actor, row.verdict, row.reason)
