"""The urn is held against exact enumeration, simulation and an independent way to the same number."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import dirichlet_multinomial

from windlass.monitor.urn import Cuts, Urn, UrnState, bets, cut, log_evidence

SIDES = ("above", "both")


def no_ties(rows: int) -> np.ndarray:
    return np.zeros(rows)


def chances(gaps: tuple[int, ...], bins: tuple[int, ...]) -> float:
    """The chance of these bins in this order, by Pólya's urn."""
    balls, chance = list(gaps), 1.0
    for b in bins:
        chance *= balls[b] / sum(balls)
        balls[b] += 1
    return chance


def ranks_of(sample: np.ndarray, production: np.ndarray) -> tuple[int, ...]:
    cuts = cut(sample, no_ties(len(sample)), "above")
    return tuple(cuts.bins(production, no_ties(len(production))).tolist())


def test_bins_of_exchangeable_rows_follow_polyas_urn() -> None:
    """Every order of six rows is as likely as another: four are the sample and two production, and the bins are counted."""
    counted: dict[tuple[int, ...], int] = {}
    orders = list(itertools.permutations(range(6)))
    for order in orders:
        bins = ranks_of(np.array(order[:4], float), np.array(order[4:], float))
        counted[bins] = counted.get(bins, 0) + 1
    gaps = cut(np.arange(4.0), no_ties(4), "above").gaps
    assert sum(gaps) == 5
    for bins, count in counted.items():
        assert count / len(orders) == pytest.approx(chances(gaps, bins))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("gaps", [(2, 1, 1), (5, 2, 1), (1, 1), (10, 5, 3, 1)])
def test_evidence_is_a_martingale_with_mean_1(side, gaps) -> None:
    """Walking every sequence of up to five rows."""
    for rows in range(1, 6):
        mean = 0.0
        for bins in itertools.product(range(len(gaps)), repeat=rows):
            urn = Urn(Cuts(tuple(range(len(gaps) - 1)), tuple(no_ties(len(gaps) - 1)), gaps), side)
            urn.see(np.array(bins))
            mean += chances(gaps, bins) * math.exp(urn.log_e)
        assert mean == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("error", [0.5, 0.3, 0.2])
def test_the_chance_of_ever_crossing_is_at_most_the_error(side, error) -> None:
    gaps, total = (6, 2, 1), 0.0
    for bins in itertools.product(range(3), repeat=7):
        urn = Urn(Cuts((0.0, 1.0), (0.0, 0.0), gaps), side, bar=math.log(1 / error))
        urn.see(np.array(bins))
        total += chances(gaps, bins) * (urn.state.crossed is not None)
    assert 0 < total <= error


@pytest.mark.parametrize("side", SIDES)
def test_evidence_is_the_ratio_of_scipys_dirichlet_multinomials(side) -> None:
    chance = np.random.default_rng(3)
    cuts = cut(chance.random(250), chance.random(250), side)
    bins = cuts.bins(chance.random(400) ** 0.7, chance.random(400))
    urn = Urn(cuts, side)
    urn.see(bins)
    counts = np.bincount(bins, minlength=len(cuts.gaps))
    null = dirichlet_multinomial.logpmf(counts, np.array(cuts.gaps, float), 400)
    others, weights = bets(cuts.gaps, side)
    peer = sum(w * math.exp(dirichlet_multinomial.logpmf(counts, b, 400) - null) for b, w in zip(others, weights, strict=True))
    assert sum(weights) == pytest.approx(1)
    assert urn.log_e == pytest.approx(math.log(peer), abs=1e-8)
    assert log_evidence(counts[None], cuts.gaps, side)[0] == pytest.approx(urn.log_e, abs=1e-8)


@pytest.mark.parametrize(("calibration", "side"), [(50, "above"), (250, "above"), (250, "both")])
def test_looked_at_after_every_row_it_is_seldom_wrong(calibration, side) -> None:
    chance, worlds, alarms = np.random.default_rng(calibration), 400, 0
    for _ in range(worlds):
        sample, rows = chance.standard_normal(calibration), chance.standard_normal(3000)
        urn = Urn(cut(sample, no_ties(calibration), side), side, bar=math.log(20))
        urn.see(urn.cuts.bins(rows, no_ties(3000)))
        alarms += urn.state.crossed is not None
    assert alarms / worlds <= 0.05 + 3 * (0.05 * 0.95 / worlds) ** 0.5


def test_numbers_that_are_all_alike_raise_no_alarm() -> None:
    """Question mark or none: ties are broken by a number of the row's own, so the ranks stay exact."""
    chance, worlds, alarms = np.random.default_rng(9), 400, 0
    for _ in range(worlds):
        sample, rows = (chance.random(200) < 0.3).astype(float), (chance.random(2000) < 0.3).astype(float)
        urn = Urn(cut(sample, chance.random(200), "both"), "both", bar=math.log(20))
        urn.see(urn.cuts.bins(rows, chance.random(2000)))
        alarms += urn.state.crossed is not None
    assert alarms / worlds <= 0.05 + 3 * (0.05 * 0.95 / worlds) ** 0.5


@pytest.mark.parametrize(("calibration", "unseen", "least"), [(250, 0.05, 0.9), (500, 0.02, 0.8), (100, 0.10, 0.8)])
def test_it_has_power(calibration, unseen, least) -> None:
    """A share of rows beyond all of the sample, shown within 3,000."""
    chance, worlds, alarms = np.random.default_rng(5), 100, 0
    for _ in range(worlds):
        rows = np.where(chance.random(3000) < unseen, 9.0, chance.standard_normal(3000))
        urn = Urn(cut(chance.standard_normal(calibration), no_ties(calibration), "above"), "above", bar=math.log(20))
        urn.see(urn.cuts.bins(rows, no_ties(3000)))
        alarms += urn.state.crossed is not None
    assert alarms / worlds >= least


def test_a_scale_that_is_another_at_both_ends_is_shown() -> None:
    chance = np.random.default_rng(1)
    for rows in (chance.standard_normal(1000) * 1.6, chance.standard_normal(1000) - 0.5):
        urn = Urn(cut(chance.standard_normal(300), no_ties(300), "both"), "both", bar=math.log(1000))
        urn.see(urn.cuts.bins(rows, no_ties(1000)))
        assert urn.state.crossed


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 60), max_size=8))
def test_portions_and_a_stay_on_disk_make_no_difference(seed, portions) -> None:
    chance = np.random.default_rng(seed)
    cuts = cut(chance.random(100), chance.random(100), "above")
    bins = cuts.bins(chance.random(500), chance.random(500))
    whole = Urn(cuts, "above", bar=0.5)
    whole.see(bins)
    urn, at = Urn(cuts, "above", bar=0.5), 0
    for size in [*portions, 500]:
        urn.see(bins[at : at + size])
        state = msgspec.json.decode(msgspec.json.encode(urn.state), type=UrnState)
        urn, at = Urn(cuts, "above", bar=0.5, state=state), at + size
    assert urn.state == whole.state


@given(st.integers(1, 300), st.sampled_from(SIDES))
def test_gaps_of_any_sample_add_up(rows, side) -> None:
    cuts = cut(np.arange(float(rows)), no_ties(rows), side)
    assert cuts.size == rows and min(cuts.gaps) >= 1 and len(cuts.gaps) == len(cuts.values) + 1
    assert cuts.bins(np.array([-1.0, rows + 1.0]), no_ties(2)).tolist() == [0, len(cuts.gaps) - 1]
