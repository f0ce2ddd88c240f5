"""Rollouts: started by a verdict, stepped, taken back and stopped by people; what the watcher does of that by itself is here too.

While one runs the label stays on the base, and the executor puts each caller on an arm. Past its last share the label moves, by the
verdict that let the candidate out, and by what the rollout has shown.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, select

from windlass.core.actor import Actor
from windlass.core.errors import Conflict, Invalid
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.rollouts import (
    FIXED,
    Rollout,
    RolloutArm,
    RolloutChange,
    RolloutEvidence,
    RolloutGuard,
    RolloutPage,
    RolloutQuery,
    RolloutShow,
    RolloutStart,
)
from windlass.core.ref import Ref
from windlass.core.rollout import hundredths
from windlass.core.score import in_percent
from windlass.deploy.choosing import environment_of, release_of
from windlass.deploy.releases import Releases
from windlass.deploy.rollout_rows import at_share, ended, enter, find, keep, moves_of, refuse_second, rollout_of
from windlass.govern.permissions import guard
from windlass.registry.labels import current, move_environment
from windlass.store.meta import read, write
from windlass.store.tables import rollouts

WATCHER = Actor("rollout", "owner")  # who steps, stops and promotes by what was shown
DEFAULT_GUARDS = (RolloutGuard("error", 0.02), RolloutGuard("latency_s", 0.25, relative=True))
MOST_GUARDS, MOST_STEPS = 12, 20


class Rollouts:
    """Service of rollouts."""

    def __init__(self, engine: Engine, releases: Releases) -> None:
        self._engine = engine
        self._releases = releases

    def start(self, actor: Actor, asked: RolloutStart) -> Rollout:
        """Operation `rollouts.start`. Raises as `releases.promote`; `Conflict` where one is under way there, or nothing stands there to be
        compared with; `Invalid` for shares and guards that are none."""
        ref = release_of(asked.release, asked.project)
        guard(actor, "deploy", ref.project)
        environment = environment_of(asked.environment)
        steps, guards = _steps(asked), _guards(asked)
        with write(self._engine) as c:
            refuse_second(c, ref, environment)
            base = current(c, ref, environment)
            if base is None:
                said = f"nothing of release/{ref.name} is in {environment}, so there is nothing to compare with"
                raise Conflict(said, remedy=f"windlass promote {ref.name} puts the first one there")
            let = self._releases.let_out(c, actor, ref, environment, base, asked.digest, asked.verdict)
            candidate, now = let.target.digest or "", now_ns()
            share = hundredths(steps[0])
            made = Rollout(
                uuid7(), ref.project, ref.name, environment, asked.mode, asked.by, "running", candidate, base, let.verdict.id, steps, 0,
                (share,), guards, asked.error, asked.min_hours, asked.settle_s, actor.id, now, now, approved_by=let.approved,
            )  # fmt: skip
            made.arms = (RolloutArm("base", base, 100 - share / 100), RolloutArm("candidate", candidate, share / 100))
            if asked.mode == "shadow":
                made.arms[0].share = 100.0
            made.evidence = tuple(RolloutEvidence(g.metric, sentence="nothing measured yet") for g in guards)
            made.sentence = stage_sentence(made, 0)
            enter(c, actor, made, "start", f"verdict {let.verdict.id[-8:]} lets it out", verdict=let.verdict.id, mode=asked.mode)
            keep(c, made, next_ns=now)
            return _whole(c, made)

    def list(self, actor: Actor, query: RolloutQuery) -> RolloutPage:
        """Operation `rollouts.list`: newest first, without their steps."""
        guard(actor, "read", query.project)
        r = rollouts.c
        found = select(rollouts).where(r.project == query.project)
        if query.release:
            found = found.where(r.release == release_of(query.release, query.project).name)
        if query.running:
            found = found.where(r.status == "running")
        if query.cursor:
            found = found.where(r.id < query.cursor)
        with read(self._engine) as c:
            rows = c.execute(found.order_by(r.id.desc()).limit(query.limit + 1)).all()
        more = rows[query.limit - 1].id if len(rows) > query.limit else None
        return RolloutPage(items=tuple(map(rollout_of, rows[: query.limit])), next=more)

    def show(self, actor: Actor, query: RolloutShow) -> Rollout:
        """Operation `rollouts.show`. Raises `NotFound`, `Invalid`."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            return _whole(c, find(c, query.project, query.id))

    def step(self, actor: Actor, asked: RolloutChange) -> Rollout:
        """Operation `rollouts.step`: to the next share, or past the last one into the environment, for a reason that is recorded and before
        anything need be shown. Raises `Conflict` for one that is over."""
        with write(self._engine) as c:
            rollout, why = self._running(c, actor, asked)
            if rollout.step + 1 < len(rollout.steps):
                return _moved(c, actor, rollout, rollout.step + 1, "step", why)
            if rollout.mode == "shadow":
                said = f"a shadow answers nobody, and runs beside {rollout.share:g} % of calls already"
                raise Conflict(said, where=rollout.id, remedy="stop it, and start a canary")
            return _whole(c, complete(c, actor, rollout, why))

    def back(self, actor: Actor, asked: RolloutChange) -> Rollout:
        """Operation `rollouts.back`: to the share before; of one that took its environment, back to its base. Raises `Conflict` where there
        is nothing to go back to."""
        guard(actor, "deploy", asked.project)
        with write(self._engine) as c:
            found = find(c, asked.project, asked.id)
            if found.status == "promoted":
                return self._taken_back(c, actor, found, _reason(asked))
            rollout, why = self._running(c, actor, asked)
            if not rollout.step:
                raise Conflict("it is at its first share", where=rollout.id, remedy=f"windlass rollout stop {rollout.id[-8:]} ends it")
            return _moved(c, actor, rollout, rollout.step - 1, "back", why)

    def stop(self, actor: Actor, asked: RolloutChange) -> Rollout:
        """Operation `rollouts.stop`: everybody is answered by the base again. Raises `Conflict` for one that is over."""
        with write(self._engine) as c:
            rollout, why = self._running(c, actor, asked)
            over = ended(rollout, "stopped", f"Stopped by {actor.id}: {why}. The base answers everybody.")
            enter(c, actor, over, "stop", why)
            keep(c, over)
            return _whole(c, over)

    def _running(self, c: Connection, actor: Actor, asked: RolloutChange) -> tuple[Rollout, str]:
        """The one that is meant, and the reason."""
        guard(actor, "deploy", asked.project)
        rollout, why = find(c, asked.project, asked.id), _reason(asked)
        if rollout.status != "running":
            remedy = "windlass rollout back takes it back" if rollout.status == "promoted" else "start another"
            raise Conflict(f"this rollout is over: {rollout.status}", where=rollout.id, remedy=remedy)
        return rollout, why

    def _taken_back(self, c: Connection, actor: Actor, rollout: Rollout, why: str) -> Rollout:
        ref = Ref("release", rollout.release, None, None, rollout.project)
        if current(c, ref, rollout.environment) != rollout.candidate:
            said = f"{rollout.environment} has moved since this rollout took it"
            raise Conflict(said, where=rollout.id, remedy="windlass rollback goes back from what is there now")
        self._releases.back(c, actor, ref, rollout.environment, why)
        over = msgspec.structs.replace(rollout, status="stopped", sentence=f"Rolled back by {actor.id}: {why}. The base answers everybody.")
        enter(c, actor, over, "stop", why)
        keep(c, over)
        return _whole(c, over)


def complete(c: Connection, actor: Actor, rollout: Rollout, why: str, **evidence: Any) -> Rollout:
    """Give the environment to the candidate; a shadow ends there. `c` is a write transaction. Raises `Conflict` where the label moved."""
    if rollout.mode == "shadow":
        said = f"The candidate was {why}. It answered nobody: windlass rollout start {rollout.release} lets it."
        over = ended(rollout, "shown", said)
        enter(c, actor, over, "shown", why, **evidence)
        keep(c, over)
        return over
    target = Ref("release", rollout.release, rollout.candidate, None, rollout.project)
    reason = f"rollout {rollout.id[-8:]} by {rollout.started_by}: {why}"
    move_environment(
        c, actor, target, rollout.environment, rollout.base, how="rollout", verdict=rollout.verdict, reason=reason,
        approved=rollout.approved_by,
    )  # fmt: skip
    over = ended(rollout, "promoted", f"The candidate has taken {rollout.environment}: {why}.")
    enter(c, actor, over, "promote", why, verdict=rollout.verdict, **evidence)
    keep(c, over)
    return over


def stage_sentence(rollout: Rollout, waits_ns: int) -> str:
    """What one that runs does, and what it waits for."""
    who = "runs beside" if rollout.mode == "shadow" else "answers"
    whom = "calls" if rollout.mode == "shadow" else f"callers, by {rollout.by}"
    does = f"The candidate {who} {rollout.share:g} % of {whom}."
    if not any(sum(e.units) for e in rollout.evidence):
        return f"{does} Nothing was measured yet."
    still = [e for e in rollout.evidence if e.settled != "not worse"]
    if rollout.mode == "ab" and not still:
        return f"{does} It is shown not worse on everything; a person decides."
    if still:
        return f"{does} " + " ".join(f"{e.metric}: {e.sentence}." for e in still)
    return f"{does} It is shown not worse on everything, and stays here for {max(0.0, waits_ns / 3.6e12):.1f} more hours."


def worse_sentence(rollout: Rollout, worse: list[RolloutEvidence]) -> str:
    """Why the watcher stopped one."""
    said = "; ".join(f"{e.metric} {_amount(e, e.candidate)} against {_amount(e, e.base)} of the base, {_between(e)}" for e in worse)
    shown = f"Stopped by itself at {rollout.share:g} %: the candidate is shown worse by more than the margin"
    return f"{shown}: {said}. The base answers everybody."


def _between(e: RolloutEvidence) -> str:
    units = f"after {sum(e.units):,} callers"
    return f"{units}, difference from {_amount(e, e.low)} to {_amount(e, e.high)}, margin {_amount(e, e.margin)}"


def _amount(e: RolloutEvidence, value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "unknown"
    if e.metric == "error":
        return in_percent(value)
    return f"{value:.3g}" + {"latency_s": " s", "cost": " $"}.get(e.metric, "")


def _moved(c: Connection, actor: Actor, rollout: Rollout, step: int, kind: Any, why: str) -> Rollout:
    moved = at_share(rollout, step)
    share = moved.share
    moved.arms = tuple(
        msgspec.structs.replace(a, share=share if a.name == "candidate" else 100.0 if rollout.mode == "shadow" else 100.0 - share)
        for a in moved.arms
    )
    moved.sentence = f"{'Stepped up' if kind == 'step' else 'Taken back'} to {share:g} % by {actor.id}: {why}."
    enter(c, actor, moved, kind, why)
    keep(c, moved, next_ns=now_ns())
    return _whole(c, moved)


def _whole(c: Connection, rollout: Rollout) -> Rollout:
    return msgspec.structs.replace(rollout, moves=moves_of(c, rollout.id))


def _reason(asked: RolloutChange) -> str:
    """Raises `Invalid`."""
    if not (why := asked.why.strip()):
        raise Invalid("this needs a reason", where="why", remedy="say why in a sentence: it is recorded")
    return why


def _steps(asked: RolloutStart) -> tuple[float, ...]:
    """The shares at which both arms answer, rising. Raises `Invalid`."""
    given = asked.steps if asked.share is None else (asked.share, *(s for s in asked.steps if s > asked.share))
    steps = tuple(s for s in given if s < 100)
    for share in given:
        hundredths(share)
    if not steps and not (asked.mode == "shadow" and given):
        said = "at 100 % nobody is answered by the base, so there is nothing to compare with"
        raise Invalid(said, where="steps", remedy="begin with less, such as 5")
    steps = given if asked.mode == "shadow" else steps
    if list(steps) != sorted(set(steps)) or len(steps) > MOST_STEPS:
        raise Invalid(
            f"{', '.join(f'{s:g}' for s in given)} are no shares that rise", where="steps", remedy="give percent such as 5,25,50,100"
        )
    return steps


def _guards(asked: RolloutStart) -> tuple[RolloutGuard, ...]:
    """Raises `Invalid`."""
    guards = asked.guards or DEFAULT_GUARDS
    names = [g.metric for g in guards]
    if len(set(names)) < len(names) or len(names) > MOST_GUARDS:
        raise Invalid(f"guards are of different metrics, at most {MOST_GUARDS}", where="guards", remedy="name each once")
    for g in guards:
        _check(g)
    return guards


def _check(g: RolloutGuard) -> None:
    where = f"guards.{g.metric}"
    if not all(map(math.isfinite, (g.margin, g.low, g.high))):
        raise Invalid("a margin and the ends of a range are numbers", where=where, remedy="give finite ones")
    if g.metric in ("latency_s", "cost"):
        return
    if g.relative:
        raise Invalid(f"the margin of {g.metric} is an amount", where=where, remedy=f"give it as one, such as {g.metric}=0.02")
    if g.metric in FIXED and (g.low, g.high) != (0.0, 1.0):
        raise Invalid(f"{g.metric} lies between 0 and 1", where=where, remedy="leave its range out")
    if not g.low < g.high:
        raise Invalid(f"no value lies from {g.low:g} to {g.high:g}", where=where, remedy="give the least first")
    if g.margin >= g.high - g.low:
        raise Invalid(f"nothing can be worse by {g.margin:g} from {g.low:g} to {g.high:g}", where=where, remedy="give a smaller margin")
