"""What a rollout has shown so far: runs and scores as they come become units, units become evidence on each guard.

A unit (a user, a session, or one call) counts once at each share: by the mean of its calls until it has settled, with the chance that
it had of its arm. What cannot be measured of it does not count, and is told apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from windlass.core.operations.rollouts import FIXED, GuardState, Rollout, RolloutArm, RolloutEvidence, RolloutGuard
from windlass.core.rollout import Arm, arm_of, chance_of
from windlass.evaluate.two_arms import Bounded, Kept, Unbounded
from windlass.store.spans import Trial

POINTS = 120  # of one guard that are kept for the picture
MOST_RUNS = 100  # calls of one unit by which it is measured at one share, the first
WIDTH = math.log(1.1)  # of a step of the histogram of latencies
GUESSED_ERRORS = 0.05
ARMS: tuple[Arm, Arm] = ("base", "candidate")
_PLACE = re.compile("[0-9a-f]{16}")


class Call(msgspec.Struct, array_like=True):
    """One run of a unit. `seconds` None: it failed; `cost` None: nobody knows; `left_out`: it says nothing of the arms."""

    arm: Arm
    seconds: float | None
    cost: float | None
    left_out: bool = False


class Unit(msgspec.Struct):
    """Whoever is kept on an arm, at one share. `calls` by span, `scores` by name and span with the arm they are of; `done` are the guards
    it counted for."""

    unit: str
    stage: int
    first_ns: int
    chance: float
    calls: dict[str, Call] = {}
    scores: dict[str, dict[str, tuple[Arm, float]]] = {}
    done: list[str] = []
    settled: bool = False

    @property
    def place(self) -> int:
        return int(self.unit, 16)


class Tally(msgspec.Struct):
    """What one arm did. `slow` counts answered calls by the logarithm of their seconds."""

    calls: int = 0
    units: int = 0
    failed: int = 0
    cost: float = 0.0
    priced: int = 0
    seconds: float = 0.0
    slow: dict[str, int] = {}


class Shown(msgspec.Struct):
    """Evidence on one guard: over the whole rollout, and at the share it is at. `sums` are of values by arm, `unmeasured` units."""

    whole: Kept | None = None
    here: Kept | None = None
    sums: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0])
    counts: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    unmeasured: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    points: list[tuple[int, float, float, float]] = []


class AllShown(msgspec.Struct):
    """Everything, as it lies between two looks. `stage` is the share that `here` is of."""

    stage: int
    guards: dict[str, Shown] = {}
    tallies: list[Tally] = msgspec.field(default_factory=lambda: [Tally(), Tally()])


class Evidence:
    """The same during a look. What is of another share than the one it is at now begins anew."""

    def __init__(self, blob: bytes | None, rollout: Rollout) -> None:
        self._all = msgspec.msgpack.decode(blob, type=AllShown) if blob else AllShown(rollout.stage)
        self.tallies = self._all.tallies
        self.shown = {g.metric: self._all.guards.setdefault(g.metric, Shown()) for g in rollout.guards}
        if self._all.stage != rollout.stage:
            self._all.stage = rollout.stage
            for shown in self.shown.values():
                shown.here = None
        self.whole = {g.metric: _measured(g, self.shown[g.metric].whole) for g in rollout.guards}
        self.here = {g.metric: _measured(g, self.shown[g.metric].here) for g in rollout.guards}

    def dump(self) -> bytes:
        for metric, shown in self.shown.items():
            shown.whole, shown.here = self.whole[metric].kept(), self.here[metric].kept()
        return msgspec.msgpack.encode(self._all)


def is_of(rollout: Rollout, trial: Trial) -> bool:
    """Whether it is on the arm that the lot says: spans are sent by whoever may, and one that says otherwise is none of ours."""
    if not (trial.unit and _PLACE.fullmatch(trial.unit) and trial.stage and trial.stage.isdecimal() and trial.arm in ARMS):
        return False
    stage = int(trial.stage)
    if not 1 <= stage <= rollout.stage:
        return False
    drawn = arm_of(int(trial.unit, 16), rollout.shares[stage - 1])
    return trial.arm in ("base", drawn) if rollout.mode == "shadow" else trial.arm == drawn


def take(unit: Unit, trial: Trial, tallies: Sequence[Tally]) -> None:
    """Enter one run or score in its unit. The same run told again is the same run."""
    arm: Arm = "candidate" if trial.arm == "candidate" else "base"
    if trial.score is not None:
        of = unit.scores.setdefault(trial.score, {})
        of.pop(trial.span_id, None)
        if trial.value is not None and math.isfinite(trial.value):
            of[trial.span_id] = (arm, trial.value)
        return
    failed = trial.status == "error"
    seconds = None if failed else max(0.0, (trial.end_ns - trial.start_ns) / 1e9)
    told_before, first = trial.span_id in unit.calls, all(call.arm != arm for call in unit.calls.values())
    if told_before or len(unit.calls) < MOST_RUNS:
        unit.calls[trial.span_id] = Call(arm, seconds, trial.cost, trial.not_compared is not None)
    if told_before or trial.not_compared is not None:
        return
    tally = tallies[ARMS.index(arm)]
    tally.calls += 1
    tally.units += first
    tally.failed += failed
    if trial.cost is not None:
        tally.cost += trial.cost
        tally.priced += 1
    if seconds is not None:
        tally.seconds += seconds
        step = str(math.floor(math.log(max(seconds, 1e-6)) / WIDTH))
        tally.slow[step] = tally.slow.get(step, 0) + 1


def chance(rollout: Rollout, place: int, stage: int, seen: Iterable[int]) -> float:
    """Of being on the candidate at a stage, for a unit that was seen at others."""
    return chance_of(place, rollout.shares[stage - 1], (rollout.shares[s - 1] for s in seen))


def count(evidence: Evidence, rollout: Rollout, unit: Unit) -> None:
    """Let a unit that has settled count for the guards it has not counted for."""
    unit.settled = True
    if unit.stage != rollout.stage:
        return
    for guard in rollout.guards:
        if guard.metric not in unit.done:
            _count_for(guard, evidence, rollout, unit)


def _count_for(guard: RolloutGuard, evidence: Evidence, rollout: Rollout, unit: Unit) -> None:
    shown = evidence.shown[guard.metric]
    values = {arm: _value(guard, unit, arm) for arm in ARMS}
    paired = rollout.mode == "shadow"
    arm = arm_of(unit.place, rollout.shares[-1])
    wanted = ARMS if paired else (arm,)
    if any(values[a] is None for a in wanted):
        called = {call.arm for call in unit.calls.values()}
        if guard.metric in FIXED and called >= set(wanted):  # a score may still come, and so may the other of a pair
            unit.done.append(guard.metric)
            for a in wanted:
                shown.unmeasured[ARMS.index(a)] += values[a] is None
        return
    unit.done.append(guard.metric)
    if not paired and not 0.0 < unit.chance < 1.0:
        return
    for a in wanted:
        shown.sums[ARMS.index(a)] += values[a] or 0.0
        shown.counts[ARMS.index(a)] += 1
    harms = [None if (v := values[a]) is None else _harm(guard, v) for a in ARMS]
    for measured in (evidence.whole[guard.metric], evidence.here[guard.metric]):
        if paired:
            measured.see_pair(harms[1] or 0.0, harms[0] or 0.0)
        else:
            measured.see(arm == "candidate", unit.chance, harms[ARMS.index(arm)] or 0.0)


def _value(guard: RolloutGuard, unit: Unit, arm: Arm) -> float | None:
    """The mean over its calls on an arm; None where nothing was measured. A score outside its range is none."""
    if guard.metric not in FIXED:
        given = (v for a, v in unit.scores.get(guard.metric, {}).values() if a == arm and guard.low <= v <= guard.high)
        return _mean(given)
    calls = [call for call in unit.calls.values() if call.arm == arm and not call.left_out]
    if guard.metric == "error":
        return _mean(float(call.seconds is None) for call in calls)
    if guard.metric == "latency_s":
        return _mean(call.seconds for call in calls if call.seconds is not None)
    return _mean(call.cost for call in calls if call.cost is not None and math.isfinite(call.cost) and call.cost >= 0)


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def _harm(guard: RolloutGuard, value: float) -> float:
    """A value as harm: more is worse, and of what is bounded from 0 to 1."""
    if guard.metric in ("latency_s", "cost"):
        return value
    share = min(1.0, max(0.0, (value - guard.low) / (guard.high - guard.low)))
    return share if _more_is_worse(guard) else 1.0 - share


def _more_is_worse(guard: RolloutGuard) -> bool:
    return guard.metric in FIXED or guard.less_is_better


def _measured(guard: RolloutGuard, kept: Kept | None) -> Bounded | Unbounded:
    if guard.metric in ("latency_s", "cost"):
        return Unbounded(guard.margin, guard.relative, kept)
    return Bounded(guard.margin / (guard.high - guard.low), GUESSED_ERRORS if guard.metric == "error" else 0.5, kept)


def told(evidence: Evidence, rollout: Rollout) -> tuple[RolloutEvidence, ...]:
    """Each guard as it stands now."""
    return tuple(_told(guard, evidence, rollout) for guard in rollout.guards)


def _told(guard: RolloutGuard, evidence: Evidence, rollout: Rollout) -> RolloutEvidence:
    shown, whole, here = evidence.shown[guard.metric], evidence.whole[guard.metric], evidence.here[guard.metric]
    split = rollout.error / len(rollout.guards)
    means = [s / n if n else None for s, n in zip(shown.sums, shown.counts, strict=True)]
    scale = 1.0 if guard.metric in ("latency_s", "cost") else guard.high - guard.low
    settled: GuardState = "worse" if whole.worse(split) else "not worse" if here.not_worse(rollout.error) else "open"
    found = RolloutEvidence(
        guard.metric, settled, "", means[0], means[1], (shown.counts[0], shown.counts[1]), (shown.unmeasured[0], shown.unmeasured[1]),
        margin=guard.margin * (means[0] or 0.0) if guard.relative else guard.margin, needs=here.needs(rollout.error),
        limit=isinstance(whole, Unbounded),
    )  # fmt: skip
    estimate, interval = whole.estimate(), whole.interval(rollout.error, split)
    sign = 1.0 if _more_is_worse(guard) else -1.0
    if estimate is not None:
        found.difference = sign * estimate * scale
    if interval is not None and found.difference is not None:
        found.low, found.high = sorted(sign * end * scale for end in interval)
        point = (sum(shown.counts), found.low, found.difference, found.high)
        if not shown.points or shown.points[-1][0] != point[0]:
            shown.points = _thinned([*shown.points, point])
    found.points = tuple(shown.points)
    found.sentence = _sentence(found)
    return found


def _thinned(points: list[tuple[int, float, float, float]]) -> list[tuple[int, float, float, float]]:
    """At most `POINTS`, and always the last: every second of the older ones goes."""
    return points if len(points) <= POINTS else [*points[: POINTS // 2 * 2 : 2], *points[POINTS // 2 * 2 :]]


def _sentence(found: RolloutEvidence) -> str:
    if found.settled == "worse":
        return "shown worse by more than the margin"
    if found.settled == "not worse":
        return "shown not worse at this share"
    if not sum(found.units):
        return "nothing measured yet"
    if found.needs is None:
        return "what was seen so far does not lead to a decision"
    return f"about {found.needs:,} more callers like those seen would show it"


def arms(evidence: Evidence, rollout: Rollout) -> tuple[RolloutArm, ...]:
    share = rollout.share if rollout.status == "running" else 100.0 if rollout.status == "promoted" else 0.0
    mine = (0.0, share) if rollout.mode == "shadow" else (100.0 - share, share)
    shares = (100.0, mine[1]) if rollout.mode == "shadow" else mine
    return tuple(
        _arm(name, digest, share, tally)
        for name, digest, share, tally in zip(ARMS, (rollout.base, rollout.candidate), shares, evidence.tallies, strict=True)
    )


def _arm(name: str, digest: str, share: float, tally: Tally) -> RolloutArm:
    answered = sum(tally.slow.values())
    return RolloutArm(
        name, digest, share, tally.calls, tally.units, tally.failed, tally.cost, tally.priced,
        tally.seconds / answered if answered else None, _quantile(tally, 0.5), _quantile(tally, 0.95),
    )  # fmt: skip


def _quantile(tally: Tally, share: float) -> float | None:
    """To within a twentieth."""
    steps: list[Any] = sorted((int(step), n) for step, n in tally.slow.items())
    wanted, seen = share * sum(n for _, n in steps), 0
    for step, n in steps:
        seen += n
        if seen >= wanted:
            return math.exp((step + 0.5) * WIDTH)
    return None
