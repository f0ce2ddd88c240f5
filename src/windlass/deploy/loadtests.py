"""The service of load tests, and what they must have shown before a release moves; `loadtesting` does the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, insert, select, update

from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.errors import Conflict, Forbidden, Invalid
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.loadtests import LoadRequest, LoadRule, LoadTest, LoadTestId, LoadTestPage, LoadTestQuery
from windlass.core.ref import Ref, parse_ref
from windlass.evaluate.outcomes import whole_id
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.govern.policy import PolicyFile
from windlass.jobs.work import Jobs
from windlass.registry.versions import Versions
from windlass.store.meta import read, write
from windlass.store.tables import loadtests

OPEN = ("queued", "running")
HOUR_NS = 3600 * 10**9


class LoadTests:
    """Service of load tests. `policy`: what `policy.toml` says now."""

    def __init__(self, engine: Engine, versions: Versions, jobs: Jobs, policy: Callable[[], PolicyFile]) -> None:
        self._engine = engine
        self._versions = versions
        self._jobs = jobs
        self._policy = policy

    def start(self, actor: Actor, request: LoadRequest) -> LoadTest:
        """Operation `loadtests.start`. Raises `NotFound`; `Invalid` for what is no release, or objectives that so few calls cannot show."""
        guard(actor, "run", request.project)
        ref = parse_ref(request.target, project=request.project, kind="release")
        if ref.kind != "release":
            raise Invalid(f"{ref.short} is no release", where="target", remedy="what is let out is a release: answer:staging, answer@3f9a")
        if ref.digest is None and ref.label is None:
            ref = Ref("release", ref.name, None, "staging", ref.project)
        target, data = self._version(ref), self._version(parse_ref(request.data, project=request.project, kind="dataset"))
        _check(request)
        test = LoadTest(
            id=uuid7(), project=request.project, request=request, status="queued", created_ns=now_ns(), target=str(target.ref),
            data=str(data.ref), actor=actor.id,
        )  # fmt: skip
        with write(self._engine) as c:
            c.execute(
                insert(loadtests).values(
                    id=test.id, project=test.project, target=test.target, actor=_text(actor), body=_text(test), status=test.status,
                    created_ns=test.created_ns,
                )
            )  # fmt: skip
            audit.record(c, actor, "loadtests.start", test.project, test.target, per_second=request.objectives.per_second)
            self._jobs.hand_over(c, "load test", test.project, test.id)
        self._jobs.begin("load test", test.project, test.id)
        return test

    def _version(self, ref: Ref) -> Version:
        found = self._versions.resolve(ref)
        return self._versions.get(found.project, found.kind, found.name, found.digest or "")

    def show(self, actor: Actor, query: LoadTestId) -> LoadTest:
        """Operation `loadtests.show`. Raises `NotFound`, `Invalid` when ambiguous."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            return _find(c, query.project, query.id)

    def list(self, actor: Actor, query: LoadTestQuery) -> LoadTestPage:
        """Operation `loadtests.list`: newest first."""
        guard(actor, "read", query.project)
        t = loadtests.c
        found = select(t.body).where(t.project == query.project)
        found = found.where(t.id < query.cursor) if query.cursor else found
        with read(self._engine) as c:
            bodies = c.execute(found.order_by(t.id.desc()).limit(query.limit + 1)).scalars().all()
        items = tuple(decode(body) for body in bodies[: query.limit])
        return LoadTestPage(items=items, next=items[-1].id if len(bodies) > query.limit else None)

    def cancel(self, actor: Actor, query: LoadTestId) -> LoadTest:
        """Operation `loadtests.cancel`. Raises `Conflict` for one that has ended."""
        guard(actor, "run", query.project)
        with write(self._engine) as c:
            test = _find(c, query.project, query.id)
            if test.status not in OPEN:
                raise Conflict(f"this load test is {test.status}; there is nothing to cancel", where=test.id[-8:])
            test = msgspec.structs.replace(test, status="cancelled", finished_ns=now_ns())
            save(c, test)
            audit.record(c, actor, "loadtests.cancel", test.project, test.target, loadtest=test.id)
        return test

    def require(self, c: Connection, target: Ref, environment: str) -> str | None:
        """The load test that lets a release move to an environment, by its id; None where `policy.toml` demands none. Raises `Forbidden`
        saying what was not shown. `c` is the transaction that moves the label."""
        rules = self._policy().loads(target.project, environment)
        by = None
        for rule in rules:
            t = loadtests.c
            since = now_ns() - int(rule.hours * HOUR_NS)
            same = (t.project == target.project, t.target == str(target), t.created_ns >= since)
            tests = [decode(body) for body in c.execute(select(t.body).where(*same).order_by(t.id.desc())).scalars()]
            if (found := next((test for test in tests if test.passed and rule.is_met_by(test.request.objectives)), None)) is None:
                raise _not_shown(rule, target, environment, tests)
            by = found.id
        return by


def _not_shown(rule: LoadRule, target: Ref, environment: str, tests: list[LoadTest]) -> Forbidden:
    like = [test for test in tests if rule.is_met_by(test.request.objectives)]
    why = "; ".join(h.sentence for test in like[:1] for h in test.held if h.kept != "shown")
    had = f": {why}" if why else f", and none of {rule.hours:g} hours is there"
    limits = [f"--per-second {rule.per_second:g} --seconds {rule.seconds:g}"]
    limits += [f"--p95 {rule.p95_s:g}"] if rule.p95_s is not None else []
    limits += [f"--errors {rule.errors:g}"] if rule.errors is not None else []
    return Forbidden(
        f"{environment} needs a load test of {target.short} that was passed{had}",
        remedy=f"windlass loadtest start {target.name}@{(target.digest or '')[7:15]} --data NAME {' '.join(limits)}",
    )


def _check(request: LoadRequest) -> None:
    asked = request.objectives
    calls = asked.per_second * asked.seconds
    if asked.p95_s is not None and calls < 59:
        raise Invalid(
            f"{calls:g} calls cannot show how long 95 of 100 take", where="objectives.seconds",
            remedy=f"59 can: --seconds {59 / asked.per_second:.0f}",
        )  # fmt: skip
    if asked.errors is not None and (1 - asked.errors) ** calls > 0.05:
        raise Invalid(
            f"{calls:g} calls, even when none fails, cannot show that at most {100 * asked.errors:g} % do", where="objectives.seconds",
            remedy="three divided by the share are enough calls" if asked.errors else "no number of calls can show that none fails",
        )  # fmt: skip


def _find(c: Connection, project: str, id: str) -> LoadTest:
    whole = whole_id(c, loadtests, project, id, "load test")
    return decode(c.execute(select(loadtests.c.body).where(loadtests.c.id == whole)).scalar_one())


def taken_up(c: Connection, id: str) -> tuple[LoadTest, Actor]:
    """A load test, and on whose behalf it runs."""
    row = c.execute(select(loadtests.c.body, loadtests.c.actor).where(loadtests.c.id == id)).one()
    return decode(row.body), msgspec.json.decode(row.actor, type=Actor)


def save(c: Connection, test: LoadTest) -> None:
    c.execute(update(loadtests).where(loadtests.c.id == test.id).values(body=_text(test), status=test.status))


def decode(body: str) -> LoadTest:
    return msgspec.json.decode(body, type=LoadTest)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
