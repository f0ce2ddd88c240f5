"""The watch over production: rows go in as they are received, a look comes out.

Error is split, so that the chance of any alarm ever, while production is as the evaluation rows are, is at most alpha (0.05): over the
distance to what was evaluated, each descriptor and the direction in which production moved, each an urn that may be looked at after every
row, and over at most sixteen comparisons of whole distributions after 250, 500, 1,000 … counted rows. The urns of distance and descriptors
spend three quarters of their part from the start and the rest on fresh starts every 5,000 rows. All of this is a union bound, so it does
not matter how they depend. What was alarmed once stays so until there is a new baseline. Rows in one portion or in many, and a watch
restored in between, give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from windlass.core.monitoring import Coverage, Evidence, Instrument, KernelLook, Look, Mix, Topic
from windlass.monitor import mix, topics
from windlass.monitor.baseline import DISTANCE, SCORES, Baseline
from windlass.monitor.coverage import coverage, quality
from windlass.monitor.descriptors import describe, moved
from windlass.monitor.direction import NAME as DIRECTION
from windlass.monitor.direction import TIE, Direction, DirectionState
from windlass.monitor.kernel import compare
from windlass.monitor.resolution import shows
from windlass.monitor.rows import Encode, Row, Thinning, ThinningState, draws, half, order, ties
from windlass.monitor.sample import Sample, SampleState
from windlass.monitor.settings import EPOCH, Settings, next_look, start_share
from windlass.monitor.urn import Ints, Side, Urn, UrnState
from windlass.monitor.vectors import Bools, Floats, Grid, grid, nearest, unit
from windlass.monitor.wording import judge

PORTION = 4096  # rows encoded and measured at once
TIMES, MOST = 8, 8000  # the sample of production has at most so many times the evaluation rows, and so many rows
OUTSIDE = 2000  # rows outside the region that are kept for topics
ENOUGH = 1000  # rows of a sample in which a topic is looked for
WITNESSES = 10


class Score(msgspec.Struct):
    """One score's urn from the start and its fresh one; the best evidence of any, with the part of the error each has counted in."""

    whole: UrnState
    fresh: UrnState
    best: float = -math.inf
    since: int | None = None
    effect: float = 0.0  # the largest of fresh starts that are over and alarmed


class State(msgspec.Struct):
    """Everything a watch remembers of production. No texts."""

    thinning: ThinningState
    scores: dict[str, Score]
    sample: SampleState
    outside: SampleState
    direction: DirectionState = msgspec.field(default_factory=DirectionState)
    seen: int = 0
    counted: int = 0
    halves: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    outside_rows: list[int] = msgspec.field(default_factory=lambda: [0, 0])  # by half
    groups: list[int] = []
    covered_groups: list[int] = []
    looks: list[KernelLook] = []
    other: Instrument | None = None
    first_event_ns: int | None = None
    last_event_ns: int | None = None


class Watch:
    """Holds production against one baseline.

    Args:
        baseline: the evaluation rows.
        settings: alpha and tolerances; they may not change during the life of a watch.
        state: what `state` gave, to go on from there.
    """

    def __init__(self, baseline: Baseline, settings: Settings | None = None, state: bytes | None = None) -> None:
        self.baseline = baseline
        self.settings = settings or Settings()
        self._state = msgspec.msgpack.decode(state, type=State) if state else State(ThinningState(), {}, SampleState(), SampleState())
        self._thinning = Thinning(frozenset(baseline.known_texts), self._state.thinning)
        if baseline.refusal:
            return
        s = self._state
        s.groups = s.groups or [0] * len(baseline.group_words)
        s.covered_groups = s.covered_groups or [0] * len(baseline.group_words)
        self._vectors, self._centres, self._known = baseline.vectors, baseline.group_centres, frozenset(baseline.known_words)
        self._sample = Sample(min(MOST, TIMES * baseline.rows), baseline.dimensions, s.sample)
        self._outside = Sample(OUTSIDE, baseline.dimensions, s.outside)
        drawn = draws(baseline.seed, baseline.keys[baseline.fit :])
        self._direction = Direction(baseline, ties(drawn, TIE), self.settings.error(DIRECTION), s.direction)
        self._whole = {name: self._urn(name, 0, s.scores[name].whole if name in s.scores else None) for name in SCORES}
        start = s.counted // EPOCH
        self._fresh = {name: self._urn(name, start, s.scores[name].fresh if name in s.scores else None) for name in SCORES}
        for name in SCORES:
            s.scores.setdefault(name, Score(self._whole[name].state, self._fresh[name].state))

    def _urn(self, name: str, start: int, state: UrnState | None = None) -> Urn:
        return Urn(self.baseline.cuts[name], side(name), -math.log(self.settings.error(name) * start_share(start)), state)

    @property
    def seen(self) -> int:
        """Rows that were taken, counted or not."""
        return self._state.seen

    @property
    def counted(self) -> int:
        """Rows that count."""
        return self._state.counted

    def state(self) -> bytes:
        """Everything there is to go on from; a watch made of it goes on as this one would."""
        s = self._state
        s.thinning = self._thinning.state
        if not self.baseline.refusal:
            s.sample, s.outside, s.direction = self._sample.state, self._outside.state, self._direction.kept()
            for name in SCORES:
                s.scores[name].whole, s.scores[name].fresh = self._whole[name].state, self._fresh[name].state
        return msgspec.msgpack.encode(s)

    def see(self, rows: Sequence[Row], encode: Encode, instrument: Instrument | None = None) -> None:
        """Take rows in the order they were received. `encode` is asked only for texts that count. Rows that were measured with another
        instrument than the baseline are not held against it; raises what `encode` raises, and then no row of its portion was taken."""
        s = self._state
        s.other = instrument if instrument is not None and instrument != self.baseline.instrument else None
        for start in range(0, len(rows), PORTION):
            portion = rows[start : start + PORTION]
            if s.other is not None or self.baseline.refusal:
                s.seen += len(portion)
                continue
            thinning = self._thinning.copy()  # taken only when the portion is
            kept = thinning.keep(portion)
            steps = grid(encode([row.text for row in kept])) if kept else np.zeros((0, self.baseline.dimensions), np.int16)
            self._thinning = thinning
            s.seen += len(portion)
            self._times(portion)
            self._take(kept, steps)

    def _times(self, rows: Sequence[Row]) -> None:
        s = self._state
        events = [row.event_ns for row in rows if row.event_ns is not None]
        if events:
            s.first_event_ns = min(events) if s.first_event_ns is None else min(s.first_event_ns, *events)
            s.last_event_ns = max(events) if s.last_event_ns is None else max(s.last_event_ns, *events)

    def _take(self, rows: Sequence[Row], steps: Grid) -> None:
        """Take rows that count, piece by piece, so that looks and fresh starts fall on the same row however rows come."""
        ids = [row.id for row in rows]
        drawn = draws(self.baseline.seed, ids)
        distances, _ = nearest(steps, self._vectors[: self.baseline.fit])
        values = {DISTANCE: distances, **describe([row.text for row in rows], self._known)}
        binned = {n: self.baseline.cuts[n].bins(values[n], ties(drawn, place)) for place, n in enumerate(SCORES)}
        away = binned[DISTANCE] >= self.baseline.beyond
        groups = nearest(steps, self._centres)[1]
        orders, halves = order(drawn), half(drawn)
        start = 0
        while start < len(rows):
            counted = self._state.counted
            due = (counted + EPOCH - counted % EPOCH, next_look(counted) or counted + len(rows), self._direction.due)
            stop = min(len(rows), *(start + at - counted for at in due))
            piece = slice(start, stop)
            self._direction.see(steps[piece], halves[piece], ties(drawn[piece], TIE))
            self._count(ids[piece], orders[piece], steps[piece], away[piece], groups[piece], halves[piece])
            self._score({n: b[piece] for n, b in binned.items()})
            start = stop

    def _count(self, ids: Sequence[str], orders: Floats, steps: Grid, away: Bools, groups: Ints, halves: Ints) -> None:
        s = self._state
        for h in (0, 1):
            s.halves[h] += int((halves == h).sum())
            s.outside_rows[h] += int((away & (halves == h)).sum())
        for g in range(len(s.groups)):
            s.groups[g] += int((groups == g).sum())
            s.covered_groups[g] += int(((groups == g) & ~away).sum())
        at = np.flatnonzero(away)
        self._outside.add([ids[i] for i in at.tolist()], orders[at], steps[at])
        due = next_look(s.counted)
        self._sample.add(ids, orders, steps)
        s.counted += len(ids)
        if s.counted == due:
            self._compare()

    def _score(self, binned: dict[str, Ints]) -> None:
        """Give the urns a piece, which does not reach over a fresh start."""
        s = self._state
        size = len(binned[DISTANCE])
        start = (s.counted - size) // EPOCH
        for name, bins in binned.items():
            score, whole, fresh = s.scores[name], self._whole[name], self._fresh[name]
            whole.see(bins)
            score.best = max(score.best, whole.state.best + math.log(start_share(0)))
            if start:
                fresh.see(bins)
                score.best = max(score.best, fresh.state.best + math.log(start_share(start)))
            crossed = [whole.state.crossed, fresh.state.crossed and fresh.state.crossed + start * EPOCH]
            score.since = score.since or min((c for c in crossed if c), default=None)
            if s.counted % EPOCH == 0:
                if fresh.state.crossed:
                    score.effect = max(score.effect, self._effect(name, fresh.state))
                self._fresh[name] = self._urn(name, s.counted // EPOCH)

    def _compare(self) -> None:
        """Whole distributions, at a scheduled look. A sample that was full starts anew, so that the next look is at later rows."""
        s, m = self._state, self.baseline.rows
        found = compare(unit(self._vectors), unit(self._sample.steps), self.baseline.seed + s.counted, self.settings.permutations)
        theirs, ours = np.argsort(-found.witness[m:], kind="stable"), np.argsort(found.witness[:m], kind="stable")
        s.looks.append(
            KernelLook(
                s.counted, len(self._sample), found.p, self.settings.look_error, found.mmd2, found.moved,
                tuple(self._sample.ids[i] for i in theirs[:WITNESSES]), tuple(self.baseline.keys[i] for i in ours[:WITNESSES]),
            )
        )  # fmt: skip
        if len(self._sample) >= self._sample.most:
            self._sample.clear()

    def _coverage(self, state: UrnState) -> Coverage:
        b = self.baseline
        return coverage(sum(state.counts[b.beyond :]), sum(state.counts), b.calibration, b.gaps_beyond)

    def _effect(self, name: str, state: UrnState) -> float:
        return self._coverage(state).uncovered if name == DISTANCE else moved(state.counts, self.baseline.cuts[name].gaps)

    def alarmed(self) -> int | None:
        """The counted row after which anything alarmed first, within a tolerance or not; None while nothing has."""
        s = self._state
        since = [score.since for score in s.scores.values()] + [s.direction.since] + [one.rows for one in s.looks if one.alarmed]
        return min((at for at in since if at is not None), default=None)

    def _evidence(self) -> tuple[Evidence, ...]:
        found = []
        for name in SCORES:
            score, whole, fresh = self._state.scores[name], self._whole[name], self._fresh[name]
            effects = [score.effect, self._effect(name, whole.state)]
            if fresh.state.crossed:
                effects.append(self._effect(name, fresh.state))
            e, p = math.exp(min(whole.log_e, 700)), math.exp(-max(0.0, score.best))
            found.append(Evidence(name, e, p, self.settings.error(name), max(effects), self.settings.tolerance(name), score.since))
        moved = self._direction.state
        e, p = math.exp(min(self._direction.log_e(), 700)), math.exp(-max(0.0, moved.best))
        level, tolerance = self.settings.error(DIRECTION), self.settings.tolerance(DIRECTION)
        return (*found, Evidence(DIRECTION, e, p, level, self._direction.effect(), tolerance, moved.since))

    def _covered(self) -> Coverage:
        """By distance; or by the direction, where that shows more to be uncovered."""
        by_distance, by_direction = self._coverage(self._whole[DISTANCE].state), self._direction.coverage()
        return by_direction if by_direction and by_direction.interval.low > by_distance.interval.low else by_distance

    def look(self) -> Look:
        """What the rows so far say. Looking changes nothing, so one may look as often as one likes."""
        s, b = self._state, self.baseline
        look = Look("no traffic", "", self.settings.alpha, s.seen, s.counted, self._thinning.dropped,
                    first_event_ns=s.first_event_ns, last_event_ns=s.last_event_ns)  # fmt: skip
        if not b.refusal:
            covered = self._covered()
            look = msgspec.structs.replace(
                look,
                evidence=self._evidence(),
                kernel=s.looks[-1] if s.looks else None,
                kernel_since=next((one.rows for one in s.looks if one.alarmed), None),
                coverage=covered,
                quality=quality(b.group_scores, b.group_sizes, s.covered_groups, covered.interval, b.bounds),
                mix=self.mix(),
                shows=shows(b.calibration, self.settings.error(DISTANCE) * start_share(0)),
            )
        call, sentence = judge(look, b, self.settings, s.other, max((one.moved for one in s.looks if one.alarmed), default=0.0))
        return msgspec.structs.replace(look, call=call, sentence=sentence)

    def mix(self) -> tuple[Mix, ...]:
        """Shares of the evaluation's topics, there and in production."""
        return mix.table(self.baseline.group_words, self.baseline.group_sizes, self._state.groups)

    def topics(self, texts: Callable[[Sequence[str]], dict[str, str]]) -> tuple[Topic, ...]:
        """What production asks that was not evaluated, the largest first. `texts` gives the texts of rows, as far as they still exist.
        The test of a topic holds for one look; so none counts as confirmed before the watch, whose error is of all looks, has alarmed."""
        if self.baseline.refusal:
            return ()
        found = self._topics(texts)
        return found if self.alarmed() is not None else tuple(msgspec.structs.replace(t, tier="candidate") for t in found)

    def _topics(self, texts: Callable[[Sequence[str]], dict[str, str]]) -> tuple[Topic, ...]:
        s, b = self._state, self.baseline
        calibration = self._vectors[b.fit :]
        drawn = draws(b.seed, b.keys[b.fit :])
        distances, _ = nearest(calibration, self._vectors[: b.fit])
        away = b.cuts[DISTANCE].bins(distances, ties(drawn, 0)) >= self.baseline.beyond
        if self._whole_sample:
            return self._together(calibration, away, texts)
        halves = half(draws(b.seed, self._outside.ids))
        outside = topics.Outside(self._outside.ids, self._outside.steps, halves, s.halves, s.outside_rows)
        return topics.find([topics.Region(outside, calibration[away], len(calibration))], texts, b.seed)

    def unlike(self, ids: Sequence[str], steps: Grid) -> list[bool]:
        """Which of these rows are unlike what was evaluated: far from all of it or, once a direction alarmed, far along that."""
        if not len(ids) or self.baseline.refusal:
            return [False] * len(ids)
        drawn = draws(self.baseline.seed, ids)
        distances, _ = nearest(steps, self._vectors[: self.baseline.fit])
        found: Bools = self.baseline.cuts[DISTANCE].bins(distances, ties(drawn, 0)) >= self.baseline.beyond
        if self._direction.state.since is not None:
            found = found | self._direction.outside(steps, ties(drawn, TIE))[0]
        marked: list[bool] = found.tolist()
        return marked

    @property
    def _whole_sample(self) -> bool:
        """Whether the sample of production is large enough to stand for it."""
        return len(self._sample) == self._state.counted or len(self._sample) >= ENOUGH

    def _together(self, calibration: Grid, away: Bools, texts: Callable[[Sequence[str]], dict[str, str]]) -> tuple[Topic, ...]:
        """Topics among rows of the sample that are far from what was evaluated, and where those are few, far along the direction."""
        b, ids, steps = self.baseline, self._sample.ids, self._sample.steps
        drawn = draws(b.seed, ids)
        halves = half(drawn)
        distances, _ = nearest(steps, self._vectors[: b.fit])
        far, ours = self._direction.outside(steps, ties(drawn, TIE))
        counts = [int((halves == h).sum()) for h in (0, 1)]

        def region(theirs: Bools, ours: Bools, dense: bool) -> topics.Region:
            at = np.flatnonzero(theirs)
            outside = [int((halves[at] == h).sum()) for h in (0, 1)]
            rows = topics.Outside([ids[i] for i in at.tolist()], steps[at], halves[at], counts, outside)
            return topics.Region(rows, calibration[ours], len(calibration), dense)

        beyond = b.cuts[DISTANCE].bins(distances, ties(drawn, 0)) >= b.beyond
        return topics.find([region(beyond, away, True), region(far, ours, False)], texts, b.seed)


def side(name: str) -> Side:
    """Which ends of a score count: farther than anything evaluated, and both of a descriptor."""
    return "above" if name == DISTANCE else "both"
