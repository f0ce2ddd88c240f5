"""Distances have the same bits however rows are put together, and are the distances."""

from __future__ import annotations

import numpy as np
import pytest

from windlass.monitor.vectors import STEPS, grid, nearest, unit


@pytest.mark.parametrize("dimensions", [3, 384, 1536])
def test_distances_are_exact_sums_in_any_company(dimensions) -> None:
    chance = np.random.default_rng(dimensions)
    rows, others = grid(chance.standard_normal((300, dimensions))), grid(chance.standard_normal((101, dimensions)))
    whole, places = nearest(rows, others)
    alone = np.array([nearest(rows[i : i + 1], others)[0][0] for i in range(300)])
    assert (whole == alone).all()
    exact = rows.astype(np.int64) @ others.astype(np.int64).T
    assert (places == exact.argmax(axis=1)).all()
    assert (whole == 1 - exact.max(axis=1) / STEPS**2).all()


def test_distances_are_cosine_distances() -> None:
    chance = np.random.default_rng(0)
    rows = chance.standard_normal((200, 384)).astype(np.float32)
    true = 1 - (rows / np.linalg.norm(rows, axis=1, keepdims=True)) @ (rows[:50] / np.linalg.norm(rows[:50], axis=1, keepdims=True)).T
    assert np.abs(nearest(grid(rows), grid(rows[:50]))[0] - true.min(axis=1)).max() < 5e-4


def test_length_makes_no_difference_and_none_is_far_from_all() -> None:
    rows = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    steps = grid(rows)
    assert (steps[0] == steps[1]).all()
    assert nearest(steps, steps[:1])[0].tolist() == pytest.approx([0, 0, 1], abs=1e-3)
    assert np.abs(unit(steps)[0] - [0.6, 0.8]).max() < 1e-3


def test_a_row_is_not_its_own_neighbour_when_apart() -> None:
    steps = grid(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]]))
    distances, places = nearest(steps, steps, apart=True)
    assert places.tolist()[0] == 2 and distances[1] > 0.8
