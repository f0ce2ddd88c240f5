"""Intervals are held against simulation with a known truth, and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta, betabinom

from windlass.core.score import Interval
from windlass.monitor.coverage import PRIOR, coverage, missed_interval, quality, rate_interval


def test_the_rates_that_are_left_are_those_the_mixture_does_not_refute() -> None:
    """By a fine grid, with scipy's beta-binomial; the number of orders cancels."""
    hits, rows, level = 17, 230, 0.95
    rates = np.linspace(0, 1, 100_001)[1:-1]
    mixture = betabinom.logpmf(hits, rows, *PRIOR) - (math.lgamma(rows + 1) - math.lgamma(hits + 1) - math.lgamma(rows - hits + 1))
    kept = rates[mixture - hits * np.log(rates) - (rows - hits) * np.log1p(-rates) < math.log(1 / (1 - level))]
    found = rate_interval(hits, rows, level)
    assert (found.low, found.high) == (pytest.approx(kept.min(), abs=2e-5), pytest.approx(kept.max(), abs=2e-5))


@pytest.mark.parametrize("rate", [0.02, 0.08, 0.5])
def test_the_rate_lies_in_its_interval_at_every_look(rate) -> None:
    chance, worlds, missed = np.random.default_rng(4), 300, 0
    looks = np.unique(np.geomspace(1, 3000, 60).astype(int))
    for _ in range(worlds):
        hits = np.cumsum(chance.random(3000) < rate)
        intervals = [rate_interval(int(hits[n - 1]), int(n), 0.9) for n in looks]
        missed += any(not i.low <= rate <= i.high for i in intervals)
    assert missed / worlds <= 0.1


@pytest.mark.parametrize(("hits", "rows"), [(0, 0), (0, 10), (10, 10), (1, 1), (0, 1_000_000)])
def test_rates_at_the_ends_have_intervals(hits, rows) -> None:
    found = rate_interval(hits, rows)
    assert 0 <= found.low <= (hits / rows if rows else 0.5) <= found.high <= 1


def test_what_evaluation_rows_miss_is_betas() -> None:
    found = missed_interval(250, 13, 0.9)
    assert beta.cdf(found.high, 13, 238) - beta.cdf(found.low, 13, 238) == pytest.approx(0.9)
    chance, inside = np.random.default_rng(2), 0
    for _ in range(2000):
        missed = 1 - np.sort(chance.random(250))[237]  # the 95 % rank: 13 gaps lie beyond
        inside += found.low <= missed <= found.high
    assert inside / 2000 == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(("calibration", "unseen"), [(50, 0.0), (250, 0.0), (250, 0.07), (500, 0.2)])
def test_the_uncovered_share_lies_in_its_interval_at_every_look(calibration, unseen) -> None:
    chance, worlds, missed = np.random.default_rng(calibration), 300, 0
    rank = math.ceil(0.95 * calibration)
    for _ in range(worlds):
        radius = np.sort(chance.random(calibration))[rank - 1]
        outside = np.cumsum(np.where(chance.random(4000) < unseen, 9.0, chance.random(4000)) > radius)
        found = [coverage(int(outside[n - 1]), n, calibration, calibration + 1 - rank) for n in (100, 400, 1000, 4000)]
        missed += any(not f.interval.low <= unseen <= f.interval.high for f in found)
    assert missed / worlds <= 0.05


def test_the_interval_never_gets_narrower_than_the_evaluation_rows_allow() -> None:
    few, many = coverage(1_200, 10_000, 250, 13), coverage(1_200_000, 10_000_000, 250, 13)
    assert few.uncovered == pytest.approx(many.uncovered)
    assert many.interval.high - many.interval.low > 0.04
    assert coverage(1_200_000, 10_000_000, 2500, 126).interval.high - many.uncovered < 0.012


def test_a_score_is_bounded_by_the_best_and_the_worst_of_what_is_uncovered() -> None:
    found = quality([0.92], [400], [1000], Interval(0.05, 0.075), (0.0, 1.0))
    assert (found.low, found.high) == (pytest.approx(0.851), pytest.approx(0.926))


def test_a_score_is_weighted_by_what_production_asks() -> None:
    found = quality([1.0, 0.5, None], [100, 100, 50], [900, 100, 0], Interval(0.0, 0.0), (0.0, 1.0))
    assert found.evaluated == pytest.approx(0.75)
    assert found.reweighted == found.low == found.high == pytest.approx(0.95)
    assert quality([None], [10], [10], Interval(0, 0), (0, 1)) is None
    assert quality([0.4], [10], [0], Interval(0, 1), (0, 1)).reweighted == pytest.approx(0.4)
