"""What is shown, against SciPy's exact forms, and by simulation: an objective that is not kept is rarely called shown."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from windlass.core.operations.loadtests import LoadRule, Objectives
from windlass.deploy.objectives import held_against, quantile_bounds, share_bounds


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_bounds_of_a_share_are_clopper_and_pearsons(of: tuple[int, int]) -> None:
    hits, trials = of
    low, high = share_bounds(hits, trials)
    exact = stats.binomtest(hits, trials).proportion_ci(confidence_level=0.9, method="exact")  # each side at 95 %
    assert low == pytest.approx(exact.low, abs=1e-6) and high == pytest.approx(exact.high, abs=1e-6)


@pytest.mark.parametrize("calls", [1, 58, 59, 60, 93, 100, 500, 1500, 20_000])
def test_bounds_of_a_quantile_are_the_narrowest_that_are_so_sure(calls: int) -> None:
    low, high = quantile_bounds(calls, 0.95)
    above = stats.binom(calls, 0.05)  # how many calls exceed the quantile
    if high is None:
        assert 0.95**calls > 0.05
    else:
        assert above.cdf(calls - 1 - high) <= 0.05 and (high == 0 or above.cdf(calls - high) > 0.05)
    if low is not None:
        assert above.cdf(calls - 1 - low) >= 0.95 and above.cdf(calls - 2 - low) < 0.95


def test_fifty_nine_calls_are_the_fewest_that_show_a_95th_percentile() -> None:
    assert quantile_bounds(58, 0.95)[1] is None and quantile_bounds(59, 0.95)[1] == 58


@pytest.mark.parametrize("calls", [80, 400])
def test_what_is_not_kept_is_shown_in_one_of_twenty_at_most(calls: int) -> None:
    """Times whose 95th percentile is 1 s exactly, and a share of failures of 10 % exactly."""
    chance, wrong, wrong_share, trials = random.Random(7), 0, 0, 2000
    for _ in range(trials):
        times = [chance.expovariate(math.log(20)) for _ in range(calls)]
        failed = sum(chance.random() < 0.1 for _ in range(calls))
        wrong += held_against(Objectives(1, calls, 0.999), times, 0, 1.0)[1].kept == "shown"
        wrong_share += held_against(Objectives(1, calls, None, 0.0999), [0.1] * (calls - failed), failed, 1.0)[1].kept == "shown"
    most = trials * 0.05 + 3 * math.sqrt(trials * 0.05 * 0.95)
    assert wrong <= most and wrong_share <= most


@pytest.mark.parametrize(("times", "failed", "asked", "kept"), [
    ([0.1] * 200, 0, 0.2, "shown"),
    ([0.3] * 200, 0, 0.2, "missed"),
    ([0.1] * 190 + [0.3] * 10, 0, 0.2, "not shown"),
    ([0.1] * 180, 20, 0.2, "missed"),  # a failure takes for ever
    ([0.1] * 50, 0, 0.2, "not shown"),
    ([], 100, 0.2, "missed"),
    ([], 0, 0.2, "not shown"),
])  # fmt: skip
def test_how_long_95_of_100_take(times: list[float], failed: int, asked: float, kept: str) -> None:
    held = held_against(Objectives(1, 200, asked), times, failed, 1.0)[1]
    assert held.kept == kept and held.sentence
    assert all(value is None or math.isfinite(value) for value in (held.measured, held.low, held.high))


def test_the_rate_is_counted() -> None:
    kept = {10.0: "shown", 9.5: "shown", 9.4: "missed", None: "not shown"}
    assert {rate: held_against(Objectives(10, 60), [0.1] * 600, 0, rate)[0].kept for rate in kept} == kept


def test_a_rule_is_met_by_no_less() -> None:
    rule = LoadRule("production", 10, 60, 2.0, 0.01)
    assert rule.is_met_by(Objectives(10, 60, 2.0, 0.01)) and rule.is_met_by(Objectives(20, 90, 1.0, 0.0))
    for less in (Objectives(9, 60, 2.0, 0.01), Objectives(10, 59, 2.0, 0.01), Objectives(10, 60, 2.1, 0.01), Objectives(10, 60, 2.0, 0.02),
                 Objectives(10, 60, None, 0.01), Objectives(10, 60, 2.0)):  # fmt: skip
        assert not rule.is_met_by(less)
