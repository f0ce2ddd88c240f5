"""Evaluation datasets that are fine, and all that are not."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from tests.monitor.worlds import World

from windlass.core.monitoring import Instrument
from windlass.monitor.baseline import DISTANCE, SCORES, Baseline, build
from windlass.monitor.resolution import power, shows, size_for
from windlass.monitor.rows import EvaluationRow

HERE = Instrument("sha256:e", "sha256:t")


def test_it_is_the_same_in_any_order_and_after_a_stay_on_disk() -> None:
    rows, vectors = World(1).evaluation(120)
    one = build(rows, vectors, HERE, seed=3)
    other = build(rows[::-1], vectors[::-1], HERE, seed=3)
    assert one == other == msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Baseline)
    assert build(rows, vectors, HERE, seed=4).keys != one.keys
    assert not one.refusal and set(one.cuts) == set(SCORES)


def test_halves_and_groups_are_of_all_rows() -> None:
    rows, vectors = World(2).evaluation(251)
    found = build(rows, vectors, HERE)
    assert (found.fit, found.calibration, len(found.keys)) == (125, 126, 251)
    assert found.cuts[DISTANCE].size == 126 and found.cuts["characters"].size == 251
    assert sum(found.group_sizes) == 251 and len(found.group_words) == 10
    assert found.gaps_beyond == 127 - 120  # the 95 % rank of 126 is the 120th


def test_one_row_of_a_session_is_used() -> None:
    rows, vectors = World(3).evaluation(120)
    many = [msgspec.structs.replace(row, session=f"s{i // 2}") for i, row in enumerate(rows)]
    assert build(many, vectors, HERE).rows == 60


@pytest.mark.parametrize("rows", [0, 1, 39])
def test_a_tiny_dataset_is_refused(rows) -> None:
    assert f"has {rows} rows" in build(*World(4).evaluation(rows), HERE).refusal


def test_a_constant_dataset_is_refused() -> None:
    same = [EvaluationRow(str(i), "always the same") for i in range(100)]
    assert "alike" in build(same, np.ones((100, 8)), HERE).refusal
    other = [EvaluationRow(str(i), "x" * i) for i in range(1, 101)]
    assert "alike" in build(other, np.ones((100, 8)), HERE).refusal


def test_a_dataset_of_copies_is_refused_and_one_with_some_is_not() -> None:
    rows, vectors = World(5).evaluation(60)
    copies = [msgspec.structs.replace(rows[i % 60], key=f"k{i}") for i in range(300)]
    assert build(copies, vectors[np.arange(300) % 60], HERE).refusal.startswith("100 % of the rows")
    some = [*rows, *(msgspec.structs.replace(rows[i], key=f"k{i}") for i in range(10))]
    assert not build(some, np.concatenate([vectors, vectors[:10]]), HERE).refusal


def test_scores_are_means_of_topics_and_may_be_missing() -> None:
    rows, vectors = World(6).evaluation(100)
    found = build([msgspec.structs.replace(row, score=None) for row in rows], vectors, HERE)
    assert set(found.group_scores) == {None}
    known = build(rows, vectors, HERE)
    mean = sum(s * n for s, n in zip(known.group_scores, known.group_sizes, strict=True)) / 100
    assert mean == pytest.approx(np.mean([row.score for row in rows]))


def test_more_evaluation_rows_show_more() -> None:
    shown = [shows(size // 2, 0.02) for size in (40, 100, 500, 2000)]
    assert shown == sorted(shown, reverse=True) and shown[0] > shown[-1]
    assert size_for(shown[2], 0.02) <= 600
    assert size_for(0.0001, 0.02) is None
    assert power(250, 0.10, 0.02) > 0.95 > 0.2 > power(50, 0.02, 0.02)
