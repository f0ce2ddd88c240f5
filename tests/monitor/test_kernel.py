"""The comparison of whole distributions: its level, its power, and scipy's permutations beside it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import permutation_test
from tests.monitor.worlds import World

from windlass.monitor.kernel import compare, features


def samples(seed: int, m: int = 100, n: int = 200, **shift: float) -> tuple[np.ndarray, np.ndarray]:
    world = World(seed, **shift)
    return world.draw(m)[0].astype(np.float32), world.draw(n, production=True)[0].astype(np.float32)


def test_it_is_as_often_wrong_as_stated() -> None:
    """The p-value is uniform: also where permutations end early."""
    chance, worlds = np.random.default_rng(1), 400
    ps = np.array([compare(a[:60], a[60:], seed, 199).p for seed in range(worlds) for a in [chance.standard_normal((180, 8), np.float32)]])
    for level in (0.05, 0.1, 0.3):
        assert (ps <= level).mean() <= level + 3 * (level * (1 - level) / worlds) ** 0.5
    assert 0.4 < ps.mean() < 0.6


@pytest.mark.parametrize("shift", [{"shift": 0.15}, {"tripled": 3}, {"unseen": 0.15}])
def test_it_has_power(shift) -> None:
    found = [compare(*samples(seed, 400, 800, **shift), seed, 199) for seed in range(12)]
    assert sum(k.p <= 0.01 for k in found) >= 9
    assert all(k.mmd2 > 0 for k in found if k.p <= 0.01)


def test_scipys_permutations_agree() -> None:
    """The same statistic of the same features, permuted by another library."""
    first, second = samples(4, 40, 60, shift=0.12)
    found = compare(first, second, 4, 9999)
    rows = features(np.concatenate([first, second]), np.random.default_rng(4)).astype(np.float64)

    def discrepancy(a, b, axis):
        places = np.moveaxis(a, axis, -1).astype(int), np.moveaxis(b, axis, -1).astype(int)
        gap = rows[places[0]].mean(axis=-2) - rows[places[1]].mean(axis=-2)
        return (gap * gap).sum(axis=-1)

    peer = permutation_test(
        (np.arange(40.0), np.arange(40.0, 100.0)), discrepancy, vectorized=True, n_resamples=4000, batch=100, alternative="greater", rng=1
    )
    assert found.p == pytest.approx(peer.pvalue, abs=0.02 + 0.4 * peer.pvalue)


def test_the_features_make_the_kernel() -> None:
    """Their products are the Gaussian kernel with the median distance as its bandwidth, up to the noise of 4,096 frequencies."""
    rows = np.random.default_rng(3).standard_normal((50, 16)).astype(np.float32)
    found = features(rows, np.random.default_rng(0), 4096)
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    width = np.median(distances[np.triu_indices(50, 1)])
    assert np.abs(found @ found.T - np.exp(-(distances**2) / 2 / width**2)).max() < 0.08


def test_unbiased_means_no_bias() -> None:
    found = [compare(*samples(seed, 80, 120), seed, 1).mmd2 for seed in range(150)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 150**0.5


def test_the_part_that_moved_is_about_what_moved() -> None:
    for unseen in (0.1, 0.3):
        found = [compare(*samples(seed, 500, 2000, unseen=unseen), seed, 1).moved for seed in range(4)]
        assert 0.4 * unseen < np.mean(found) < 1.2 * unseen


def test_witnesses_are_the_new_rows() -> None:
    world = World(6, unseen=0.1)
    first, (second, topic) = world.draw(300)[0], world.draw(600, production=True)
    found = compare(first.astype(np.float32), second.astype(np.float32), 6, 99)
    best = np.argsort(-found.witness[300:])[:10]
    assert (topic[best] >= 20).mean() >= 0.9


def test_rows_that_are_all_alike_show_nothing() -> None:
    same = np.ones((60, 4), np.float32)
    found = compare(same[:20], same[20:], 0, 199)
    assert found.p == 1.0 and abs(found.mmd2) < 1e-6 and found.moved < 1e-2


def test_same_seed_same_bits() -> None:
    first, second = samples(2, shift=0.1)
    one, two = compare(first, second, 5, 199), compare(first, second, 5, 199)
    assert (one.p, one.mmd2, one.permutations) == (two.p, two.mmd2, two.permutations)
    assert (one.witness == two.witness).all()
