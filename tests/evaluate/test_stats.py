"""The bets are held against exact enumeration, simulation and independent implementations."""

from __future__ import annotations

import itertools
import random
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from windlass.evaluate.stats import STAKES, WEIGHTS, Bet, crossing, mean_interval, score_interval, wilson

DIFFERENCES = (-1.0, 0.0, 1.0)


def chance_of_crossing(law: dict[float, float], rows: int, bet: Bet, error: float) -> float:
    """The exact chance that capital ever reaches 1/error within so many rows, by walking every sequence."""
    total = 0.0
    for sequence in itertools.product(law, repeat=rows):
        walk = Bet(*bet)
        chance = 1.0
        for value in sequence:
            chance *= law[value]
        if any(walk.see(v) >= 1 / error for v in sequence):
            total += chance
    return total


@pytest.mark.parametrize(
    ("law", "margin"),
    [
        ({-1.0: 0.10, 0.0: 0.80, 1.0: 0.05}, 0.05),
        ({-1.0: 0.30, 0.0: 0.45, 1.0: 0.25}, 0.05),
        ({-1.0: 0.35, 0.0: 0.50, 1.0: 0.15}, 0.20),
        ({-1.0: 0.03, 0.0: 0.97}, 0.03),
        ({-1.0: 0.50, 1.0: 0.50}, 0.0),
    ],
)
@pytest.mark.parametrize("error", [0.5, 0.3, 0.1])
def test_a_candidate_worse_by_the_margin_is_promoted_at_most_as_often_as_stated(law, margin, error):
    scale = sum(law.values())
    law = {k: v / scale for k, v in law.items()}
    mean = sum(k * v for k, v in law.items())
    if mean > -margin:  # push it to the edge of the claim
        law[-1.0] += (mean + margin) / 1.0
        law[max(law)] -= mean + margin
    assert sum(k * v for k, v in law.items()) <= -margin + 1e-12
    assert chance_of_crossing(law, 8, (-1.0, 1.0, -margin, "above"), error) <= error + 1e-12


@pytest.mark.parametrize("error", [0.5, 0.2])
def test_one_as_good_as_the_floor_is_blocked_at_most_as_often_as_stated(error):
    law = {0.0: 0.4, 1.0: 0.6}
    assert chance_of_crossing(law, 12, (0.0, 1.0, 0.6, "below"), error) <= error
    assert chance_of_crossing(law, 12, (0.0, 1.0, 0.6, "above"), error) <= error


def test_capital_is_a_martingale_at_the_null():
    law = {-1.0: 0.2, 0.0: 0.65, 1.0: 0.15}  # mean -0.05
    expected = 0.0
    for sequence in itertools.product(law, repeat=6):
        bet = Bet(-1, 1, -0.05, "above")
        chance = 1.0
        for value in sequence:
            bet.see(value)
            chance *= law[value]
        expected += chance * bet.capital
    assert expected == pytest.approx(1.0, abs=1e-9)


def test_peeking_at_every_row_does_not_promote_what_is_worse():
    """The rule that everybody uses, a paired t-test looked at often, promotes a fifth of these (research: 22 % at 500)."""
    chance, runs = random.Random(11), 700
    promoted = sum(crossing(chance.choices(DIFFERENCES, (0.10, 0.85, 0.05), k=300), -1, 1, -0.05, "above", 0.05) for _ in range(runs))
    assert promoted / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_it_has_power():
    chance, runs = random.Random(5), 200
    better = sum(crossing(chance.choices(DIFFERENCES, (0.02, 0.88, 0.10), k=247), -1, 1, -0.03, "above", 0.05) for _ in range(runs))
    worse = sum(crossing(chance.choices(DIFFERENCES, (0.15, 0.83, 0.02), k=247), -1, 1, -0.03, "below", 0.05) for _ in range(runs))
    assert better / runs > 0.9
    assert worse / runs > 0.9


@pytest.mark.parametrize(("k", "n", "low", "high"), [(40, 60, 0.540569, 0.772707), (0, 30, 0.0, 0.113513), (30, 30, 0.886487, 1.0)])
def test_wilson_is_wilsons(k, n, low, high):
    found = wilson(k, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    assert (found.low, found.high) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-9)


def peer_interval(values, low, high, level):
    """The same sequence by brute force: every null on a fine grid, all stakes at once, in logarithms."""
    x, error, kept = np.asarray(values), (1 - level) / 2, []
    for null in np.linspace(low, high, 4001)[1:-1]:
        alive = True
        for sign, reach in ((1, null - low), (-1, high - null)):
            growth = np.cumsum(np.log1p(np.outer(sign * (x - null), np.array(STAKES) / reach)), axis=0)
            alive = alive and np.max(np.exp(np.minimum(growth, 700)) @ np.array(WEIGHTS)) < 1 / error
        if alive:
            kept.append(null)
    return min(kept), max(kept)


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_is_what_no_bet_refutes(seed):
    chance = random.Random(seed)
    values = [chance.choice(DIFFERENCES) * chance.random() for _ in range(120)]
    found = mean_interval(values, -1, 1, 0.9)
    low, high = peer_interval(values, -1, 1, 0.9)
    assert found.low == pytest.approx(low, abs=1e-3)
    assert found.high == pytest.approx(high, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=80), st.sampled_from([0.02, 0.05, 0.1, 0.3]))
def test_the_interval_and_the_gate_agree(values, margin):
    """Shown not worse at 5 %, and not worse as seen, exactly when the lower end at 90 % lies above minus the margin."""
    found = mean_interval(values, -1, 1, 0.9)
    shown = crossing(values, -1, 1, -margin, "above", 0.05) and fmean(values) > -margin
    assert shown == (found.low > -margin) or abs(found.low + margin) < 1e-4


def test_intervals_cover_the_truth():
    chance, runs, covered = random.Random(3), 200, 0
    for _ in range(runs):
        values = [chance.betavariate(0.4, 0.6) for _ in range(80)]
        found = mean_interval(values, 0, 1, 0.9)
        covered += found.low <= 0.4 <= found.high
    assert covered / runs >= 0.9


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_scale_does_not_matter(values):
    small, large = mean_interval(values, 0, 1), mean_interval([10 * v for v in values], 0, 10)
    assert (10 * small.low, 10 * small.high) == pytest.approx((large.low, large.high), abs=1e-4)


def test_an_interval_holds_its_mean_whatever_came_first() -> None:
    """Bad luck at the beginning refutes what the mean is in the end; nobody should be shown a mean outside its interval."""
    values = [0.0] * 8 + [1.0] * 40
    found = mean_interval(values, 0, 1, 0.9)
    assert found.low < fmean(values) == found.high
    both = mean_interval([0.0] * 12 + [1.0] * 300, 0, 1, 0.9)
    assert both.low <= fmean([0.0] * 12 + [1.0] * 300) <= both.high


def test_scores_of_all_or_nothing_have_wilsons_interval():
    assert score_interval([1.0] * 40 + [0.0] * 20, 0, 1) == wilson(40, 60)
    assert score_interval([0.5, 1.0], 0, 1).anytime
    assert score_interval([], 0, 1) is None


def test_how_many_more_rows_is_told_about_right():
    pattern = [-1.0, 1.0, 1.0, *[0.0] * 17]
    bet, seen, asked = Bet(-1, 1, -0.03, "above"), [], None
    for number, value in enumerate(itertools.cycle(pattern), 1):
        seen.append(value)
        if bet.see(value) >= 20:
            break
        if number == 60:
            asked = bet.needs(seen, 0.05)
    assert asked is not None
    assert 0.7 < asked / (number - 60) < 1.6


def test_what_lies_at_the_margin_is_never_settled():
    bet, seen = Bet(-1, 1, -0.05, "above"), [-1.0, *[0.0] * 19] * 10
    for value in seen:
        bet.see(value)
    assert bet.needs(seen, 0.05) is None


def test_a_bet_without_a_stake_is_refused():
    with pytest.raises(ValueError, match="no bet"):
        Bet(0, 1, 0, "above")
    with pytest.raises(ValueError, match="no bet"):
        Bet(0, 1, 1, "below")


def test_weights_are_a_bet():
    assert sum(WEIGHTS) == pytest.approx(1)
    assert all(0 < stake < 1 for stake in STAKES)
