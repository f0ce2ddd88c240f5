"""The watcher of rollouts: reads what came, lets it count, and decides. A look takes its trials in portions, each in one transaction with
how far it read, so that one that is cut off anywhere goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection, Engine, Row, insert, select, update

from windlass.core.ids import now_ns
from windlass.core.operations.rollouts import Rollout, RolloutEvidence
from windlass.core.ref import Ref
from windlass.deploy import rollout_evidence as shown
from windlass.deploy.rollout_evidence import Evidence, Unit
from windlass.deploy.rollout_rows import at_share, ended, enter, keep, rollout_of, supersede
from windlass.deploy.rollouts import WATCHER, complete, stage_sentence, worse_sentence
from windlass.registry.labels import current
from windlass.store.meta import read, write
from windlass.store.spans import Trial, TrialQuery, Trials
from windlass.store.tables import rollout_units, rollouts

PORTION = 2000  # trials, or units that have settled, of one transaction
HOUR_NS = 3600 * 10**9


class Told(Protocol):
    """Who is told of what the watcher did."""

    def stopped(self, c: Connection, rollout: Rollout, sentence: str) -> Callable[[], None]: ...
    def promoted(self, c: Connection, rollout: Rollout, sentence: str) -> Callable[[], None]: ...


class RolloutWatch:
    """Looks at rollouts.

    Args:
        trials: what came of a rollout, from a cursor on.
        told: notes an event in the transaction that it is about; returns what is to be done after it.
        every_s: seconds after which it looks again.
    """

    def __init__(
        self, engine: Engine, trials: Callable[[TrialQuery], Awaitable[Trials]], told: Told, every_s: float,
        now: Callable[[], int] = now_ns,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._trials = trials
        self._told = told
        self._every_ns = int(every_s * 1e9)
        self._now = now

    async def run(self, project: str, id: str) -> None:
        """Look once. `id` begins with the rollout's."""
        rollout, more = id.partition(" ")[0], True
        while more:
            cursor = await asyncio.to_thread(self._cursor, rollout)
            if cursor is None:
                return
            came = await self._trials(TrialQuery(project, rollout, cursor or None, PORTION))
            more = await asyncio.to_thread(self._look, rollout, cursor, came)

    def _cursor(self, id: str) -> str | None:
        """How far was read; None where it does not run."""
        with read(self._engine) as c:
            row = c.execute(select(rollouts.c.status, rollouts.c.arrived).where(rollouts.c.id == id)).first()
        return (row.arrived or "") if row is not None and row.status == "running" else None

    def _look(self, id: str, cursor: str, came: Trials) -> bool:
        """Take a portion. Returns whether there is more."""
        after: list[Callable[[], None]] = []
        with write(self._engine) as c:
            row = c.execute(select(rollouts).where(rollouts.c.id == id)).one()
            if row.status != "running" or (row.arrived or "") != cursor:
                return False  # it ended, or somebody else has looked meanwhile
            rollout = rollout_of(row)
            ref = Ref("release", rollout.release, None, None, rollout.project)
            if current(c, ref, rollout.environment) != rollout.base:
                supersede(c, WATCHER, ref, rollout.environment, "the label does not point to the rollout's base any more")
                return False
            evidence = Evidence(row.evidence, rollout)
            more = self._take(c, rollout, evidence, came) or came.more
            rollout = msgspec.structs.replace(
                rollout, looked_ns=self._now(), evidence=shown.told(evidence, rollout), arms=shown.arms(evidence, rollout)
            )  # fmt: skip
            rollout = rollout if more else self._decide(c, rollout, after)
            rollout = msgspec.structs.replace(rollout, arms=shown.arms(evidence, rollout))
            again = self._now() + (0 if more else self._every_ns)
            keep(c, rollout, next_ns=again, evidence=evidence.dump(), arrived=came.cursor or None)
        for done in after:
            done()
        return more

    def _take(self, c: Connection, rollout: Rollout, evidence: Evidence, came: Trials) -> bool:
        """Enter trials in their units, and let those count that have settled. Returns whether more have."""
        trials = [t for t in came.items if shown.is_of(rollout, t)]
        units = _units(c, rollout, trials)
        for trial in trials:
            shown.take(units[trial.unit or "", int(trial.stage or 0)], trial, evidence.tallies)
        settled = self._now() - int(rollout.settle_s * 1e9)
        u = rollout_units.c
        due = select(rollout_units).where(u.rollout == rollout.id, u.open == 1, u.first_ns <= settled).order_by(u.first_ns, u.unit)
        rows = c.execute(due.limit(PORTION + 1)).all()
        waiting = {(row.unit, row.stage): _unit(row) for row in rows[:PORTION]}
        units = waiting | units
        for unit in sorted(units.values(), key=lambda one: (one.first_ns, one.unit)):
            if unit.settled or unit.first_ns <= settled or rollout.mode == "shadow":
                shown.count(evidence, rollout, unit)
        _keep_units(c, rollout, units.values())
        return len(rows) > PORTION

    def _decide(self, c: Connection, rollout: Rollout, after: list[Callable[[], None]]) -> Rollout:
        """Stop, step up, or wait and say for what."""
        found = rollout.evidence
        if worse := [e for e in found if e.settled == "worse"]:
            sentence = worse_sentence(rollout, worse)
            over = ended(rollout, "stopped", sentence)
            enter(c, WATCHER, over, "stop", sentence, evidence=_facts(worse))
            after.append(self._told.stopped(c, over, sentence))
            return over
        waits = int(rollout.min_hours * HOUR_NS) - (self._now() - rollout.stage_ns)
        if rollout.mode == "ab" or any(e.settled != "not worse" for e in found) or waits > 0:
            return msgspec.structs.replace(rollout, sentence=stage_sentence(rollout, waits))
        why = f"shown not worse at {rollout.share:g} % on {', '.join(e.metric for e in found)}, at error {rollout.error:g}"
        if rollout.step + 1 < len(rollout.steps):
            stepped = at_share(rollout, rollout.step + 1)
            stepped = msgspec.structs.replace(stepped, sentence=f"Stepped up to {stepped.share:g} %: {why}.")
            enter(c, WATCHER, stepped, "step", why, evidence=_facts(found))
            return stepped
        over = complete(c, WATCHER, rollout, why, evidence=_facts(found))
        after.append(self._told.promoted(c, over, over.sentence))
        return over


def _facts(found: Sequence[RolloutEvidence]) -> list[dict[str, Any]]:
    """Figures behind a decision, for the record."""
    kept = ("metric", "base", "candidate", "difference", "low", "high", "margin")
    return [{k: getattr(e, k) for k in kept if getattr(e, k) is not None} | {"units": list(e.units)} for e in found]


def _units(c: Connection, rollout: Rollout, trials: Sequence[Trial]) -> dict[tuple[str, int], Unit]:
    """The units of these trials by name and stage, those that are new too."""
    names = sorted({t.unit for t in trials if t.unit})
    known: dict[tuple[str, int], Unit] = {}
    u = rollout_units.c
    for n in range(0, len(names), 500):
        rows = c.execute(select(rollout_units).where(u.rollout == rollout.id, u.unit.in_(names[n : n + 500]))).all()
        known |= {(row.unit, row.stage): _unit(row) for row in rows}
    for trial in sorted(trials, key=lambda t: int(t.stage or 0)):
        key = (trial.unit or "", int(trial.stage or 0))
        if key not in known:
            seen = [stage for name, stage in known if name == key[0]]
            known[key] = Unit(key[0], key[1], trial.start_ns, shown.chance(rollout, int(key[0], 16), key[1], seen))
    wanted = {(t.unit or "", int(t.stage or 0)) for t in trials}
    return {key: unit for key, unit in known.items() if key in wanted}


def _unit(row: Row[Any]) -> Unit:
    return msgspec.json.decode(row.body, type=Unit)


def _keep_units(c: Connection, rollout: Rollout, units: Iterable[Unit]) -> None:
    u = rollout_units.c
    for unit in units:
        values = {"open": int(not unit.settled), "body": msgspec.json.encode(unit).decode()}
        here = (u.rollout == rollout.id, u.unit == unit.unit, u.stage == unit.stage)
        if not c.execute(update(rollout_units).where(*here).values(**values)).rowcount:
            fixed = {"rollout": rollout.id, "unit": unit.unit, "stage": unit.stage, "first_ns": unit.first_ns}
            c.execute(insert(rollout_units).values(**fixed, **values))
