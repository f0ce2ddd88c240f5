"""The rule: rows in, decisions out."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.core.artifacts import Guard
from windlass.core.score import GuardResult
from windlass.evaluate.gate import Judged, decide, judge, order

GUARD = Guard("right", "sha256:" + "0" * 64, margin=0.03, floor=0.6)
UNIT = (0.0, 1.0)


def paired(*pairs: tuple[float | None, float | None], low: float = 0.0) -> list[Judged]:
    """Rows from (base, candidate)."""
    return [Judged(f"r{i}", c, low if c is None else c, b) for i, (b, c) in enumerate(pairs)]


def verdict(rows, *, guard=GUARD, first=False, error=0.05, guards=1, bounds=UNIT) -> GuardResult:
    return judge(guard, rows, bounds, first=first, error=error, guards=guards)


def test_rows_that_cannot_differ_are_settled_without_a_doubt():
    found = verdict(paired(*[(1.0, 1.0)] * 247))
    assert found.decision == "promote"
    assert 98 <= found.settled_after <= 160
    assert found.difference == 0
    assert found.sentence == f"shown not worse after {found.settled_after} rows"


def test_few_rows_are_inconclusive_and_say_how_many_more():
    found = verdict(paired(*[(1.0, 1.0)] * 20))
    assert found.decision == "inconclusive"
    assert found.needs and 60 < found.needs < 200
    assert str(found.needs) in found.sentence


def test_better_is_promoted_and_worse_is_blocked():
    chance = random.Random(4)
    rows = [(0.0, 1.0)] * 40 + [(1.0, 0.0)] * 4 + [(1.0, 1.0)] * 156
    chance.shuffle(rows)
    assert verdict(paired(*rows)).decision == "promote"
    assert verdict(paired(*[(c, b) for b, c in rows])).decision == "block"


def test_what_the_first_rows_showed_all_rows_may_deny():
    """An unlucky order, as may happen: a verdict that its own figures contradict is none."""
    lucky_first = [(0.0, 1.0)] * 30 + [(1.0, 0.0)] * 40
    found = verdict(paired(*lucky_first))
    assert found.difference < -0.1
    assert (found.decision, found.settled_after) == ("inconclusive", None)
    assert "speaks for both" in found.sentence
    unlucky_first = [(c, b) for b, c in lucky_first]
    assert verdict(paired(*unlucky_first)).decision == "inconclusive"


def test_a_row_that_failed_speaks_against_promotion_and_never_for_a_block():
    good = [(1.0, 1.0)] * 150
    assert verdict(paired(*good)).decision == "promote"
    failed = verdict(paired(*[(1.0, None)] * 30, *good))
    assert failed.decision == "inconclusive"
    assert failed.unmeasured == 30
    only = verdict(paired(*[(1.0, None)] * 400))
    assert only.decision == "inconclusive"
    assert only.candidate is None
    assert only.sentence == "nothing was measured"


def test_a_row_that_failed_in_production_is_left_out():
    found = verdict(paired(*[(None, 1.0)] * 400))
    assert (found.decision, found.measured, found.unmeasured) == ("inconclusive", 0, 400)
    assert found.evidence == ()


def test_first_release_is_decided_by_its_floor():
    assert verdict([Judged(str(i), 1.0, 1.0) for i in range(30)], first=True).decision == "promote"
    assert verdict([Judged(str(i), float(i % 5 == 0), float(i % 5 == 0)) for i in range(60)], first=True).decision == "block"
    near = verdict([Judged(str(i), float(i % 5 < 3), float(i % 5 < 3)) for i in range(60)], first=True)
    assert near.decision == "inconclusive"
    assert near.sentence.endswith("at the floor") or "more rows" in near.sentence


def test_a_guard_without_a_floor_is_shown_and_does_not_decide():
    free = Guard("cites", GUARD.evaluator, margin=0.02)
    shown = verdict([Judged("a", 0.0, 0.0)], guard=free, first=True)
    assert shown.sentence == "has no floor: shown, not judged"
    held = verdict([Judged(str(i), 1.0, 1.0) for i in range(30)], first=True)
    assert decide([held, shown], first=True) == "promote"
    assert decide([shown], first=True) == "inconclusive"


@pytest.mark.parametrize(("margin", "floor"), [(0.03, 1.0), (0.03, 0.0), (1.0, None)])
def test_a_threshold_at_the_end_of_the_range_decides_nothing_and_says_so(margin, floor):
    """Of a release made before authoring refused it."""
    found = verdict(paired(*[(1.0, 1.0)] * 300), guard=Guard("right", "", margin=margin, floor=floor), first=floor is not None)
    assert found.decision == "inconclusive"
    assert "at the end of what scores can be, 0 to 1" in found.sentence


def test_all_must_hold_and_one_is_enough_to_block():
    def result(decision):
        return GuardResult("g", "e", decision, margin=0.1)

    assert decide([result("promote"), result("promote")], first=False) == "promote"
    assert decide([result("promote"), result("inconclusive")], first=False) == "inconclusive"
    assert decide([result("promote"), result("block")], first=False) == "block"
    assert decide([], first=False) == "inconclusive"


def test_evidence_for_both_sides_decides_nothing():
    rows = paired(*[(0.0, 1.0)] * 60, *[(1.0, 0.0)] * 400)
    found = verdict(rows)
    assert found.decision == "inconclusive"
    assert "both" in found.sentence


def test_several_guards_share_the_error_of_a_block():
    chance = random.Random(9)
    rows = [(1.0, 0.0)] * 14 + [(1.0, 1.0)] * 30
    chance.shuffle(rows)
    alone, many = verdict(paired(*rows)), verdict(paired(*rows), guards=50)
    assert alone.decision == "block"
    assert many.settled_after is None or many.settled_after > alone.settled_after


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0, None])), max_size=120))
def test_another_range_is_the_same_question(pairs):
    wide = Guard("right", GUARD.evaluator, margin=0.3)
    small = verdict(paired(*pairs))
    large = judge(
        wide,
        [Judged(r.row, None if r.candidate is None else 10 * r.candidate, 10 * r.pessimistic, 10 * r.base) for r in paired(*pairs)],
        (0.0, 10.0),
        first=False,
        error=0.05,
        guards=1,
    )
    assert (small.decision, small.settled_after) == (large.decision, large.settled_after)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=150), st.data())
def test_losing_a_row_never_helps(pairs, data):
    lost = data.draw(st.integers(0, len(pairs) - 1))
    whole = verdict(paired(*pairs))
    cut = verdict(paired(*[(b, None if i == lost else c) for i, (b, c) in enumerate(pairs)]))
    assert not (cut.decision == "promote" and whole.decision != "promote")
    assert not (cut.decision == "block" and whole.decision == "promote")


def test_nobody_chooses_the_order():
    rows = [f"q{i}" for i in range(50)]
    once = order(rows, "sha256:d", "release/a@1", 0)
    assert sorted(once) == sorted(rows)
    assert once == order(list(reversed(rows)), "sha256:d", "release/a@1", 0)
    assert once != order(rows, "sha256:d", "release/a@2", 0)
    assert once != order(rows, "sha256:d", "release/a@1", 1)


def test_the_picture_is_thinned_and_keeps_its_end():
    found = verdict(paired(*[(1.0, 1.0)] * 1001))
    assert len(found.evidence) <= 400
    assert found.evidence[-1][0] == 1001


@pytest.mark.parametrize("error", [0.01, 0.05, 0.2])
def test_the_interval_shown_is_the_one_that_decides(error):
    chance = random.Random(1)
    rows = paired(*[chance.choices([(0.0, 1.0), (1.0, 0.0), (1.0, 1.0)], (0.12, 0.05, 0.83))[0] for _ in range(200)])
    found = verdict(rows, error=error)
    assert found.interval.level == pytest.approx(1 - 2 * error)
    assert (found.interval.low > -0.03) == (found.settled_after is not None and found.decision == "promote")
