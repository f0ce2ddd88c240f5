"""Verdicts: kept for ever, listed and found."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, Engine, insert, select

from windlass.core.actor import Actor
from windlass.core.operations.evaluation import IdQuery, VerdictPage, VerdictQuery
from windlass.core.score import Verdict
from windlass.evaluate.outcomes import whole_id
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.store.meta import read
from windlass.store.tables import verdicts

_decoder = msgspec.json.Decoder(Verdict)


class Verdicts:
    """Service of verdicts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list(self, actor: Actor, query: VerdictQuery) -> VerdictPage:
        """Operation `verdicts.list`: newest first, without their rows and evidence."""
        guard(actor, "read", query.project)
        limit = query.limit
        v = verdicts.c
        found = select(v.body).where(v.project == query.project)
        if query.suite:
            name = query.suite.removeprefix("suite/")
            found = found.where(v.suite == query.suite if "@" in name else v.suite.contains(f"suite/{name}@", autoescape=True))
        if query.decision:
            found = found.where(v.decision == query.decision)
        if query.cursor:
            found = found.where(v.id < query.cursor)
        with read(self._engine) as c:
            bodies = c.execute(found.order_by(v.id.desc()).limit(limit + 1)).scalars().all()
        items = tuple(_brief(_decoder.decode(b)) for b in bodies[:limit])
        return VerdictPage(items=items, next=items[-1].id if len(bodies) > limit else None)

    def show(self, actor: Actor, query: IdQuery) -> Verdict:
        """Operation `verdicts.show`."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            return load_verdict(c, query.project, query.id)


def load_verdict(c: Connection, project: str, given: str) -> Verdict:
    """A verdict by its id or a part of it. Raises `NotFound`, `Invalid` when ambiguous."""
    whole = whole_id(c, verdicts, project, given, "verdict")
    return _decoder.decode(c.execute(select(verdicts.c.body).where(verdicts.c.id == whole)).scalar_one())


def newest_verdict(c: Connection, project: str, candidate: str, base: str | None, environment: str, decision: str) -> Verdict | None:
    """The newest verdict of this decision about exactly these two; None when there is none."""
    v = verdicts.c
    body = c.execute(
        select(v.body)
        .where(
            v.project == project, v.candidate == candidate, v.environment == environment, v.decision == decision,
            v.base.is_(None) if base is None else v.base == base,
        )
        .order_by(v.id.desc())
        .limit(1)
    ).scalar()  # fmt: skip
    return None if body is None else _decoder.decode(body)


def keep_verdict(c: Connection, actor: Actor, verdict: Verdict) -> None:
    """Keep a verdict, audited. `c` is a write transaction."""
    c.execute(
        insert(verdicts).values(
            id=verdict.id, project=verdict.project, suite=verdict.suite, candidate=verdict.candidate, base=verdict.base,
            environment=verdict.environment, decision=verdict.decision, body=msgspec.json.encode(verdict).decode(),
            created_ns=verdict.created_ns,
        )
    )  # fmt: skip
    audit.record(
        c, actor, "gate.verdict", verdict.project, verdict.candidate, verdict=verdict.id, decision=verdict.decision, base=verdict.base
    )


def _brief(verdict: Verdict) -> Verdict:
    guards = tuple(msgspec.structs.replace(g, evidence=()) for g in verdict.guards)
    return msgspec.structs.replace(verdict, guards=guards, changes=(), manifest={})
