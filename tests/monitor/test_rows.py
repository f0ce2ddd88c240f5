"""Which rows count, and the numbers that belong to a row."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy.stats import kstest

from windlass.monitor.rows import BURST, REMEMBERED, Row, Thinning, ThinningState, alike, draws, half, mark, order, ties
from windlass.monitor.sample import Sample, SampleState


def counted(*rows: Row, known: frozenset[int] = frozenset()) -> list[str]:
    return [row.id for row in Thinning(known).keep(rows)]


def test_one_row_of_a_session_counts() -> None:
    assert counted(Row("a", "x", "s"), Row("b", "y", "s"), Row("c", "x", "t"), Row("d", "z", "s")) == ["a", "c"]


def test_a_row_that_is_sent_again_is_no_new_row() -> None:
    assert counted(Row("a", "x"), Row("a", "x"), Row("a", "another text")) == ["a"]


def test_a_burst_of_one_text_is_one_row() -> None:
    """Also where only case, space and numbers differ; what lies far apart is no burst."""
    assert counted(Row("a", "Order 12 late"), Row("b", "order  13 LATE"), Row("c", "order late")) == ["a", "c"]
    between = [Row(str(i), "text " + chr(97 + i)) for i in range(BURST)]
    assert counted(Row("a", "x"), *between, Row("b", "x"))[-1] == "b"


def test_a_text_that_was_evaluated_is_frequent_and_no_burst() -> None:
    assert counted(Row("a", "Hello"), Row("b", "hello"), known=frozenset({mark(alike("hello "))})) == ["a", "b"]


@pytest.mark.parametrize("text", ["", " \n", "\ud800"])
def test_what_is_no_text_does_not_count(text) -> None:
    assert counted(Row("a", text), Row("b", "x")) == ["b"]


def test_it_says_what_it_left_out() -> None:
    thinning = Thinning()
    thinning.keep([Row("a", "x", "s"), Row("b", "x", "s"), Row("b", "x", "s"), Row("c", ""), Row("d", "x"), Row("e", "x")])
    assert thinning.dropped == {"same session": 1, "sent again": 1, "empty": 1, "burst of one text": 1}


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    thinning = Thinning()
    thinning.keep([Row(str(i), "x", f"s{i}") for i in range(2 * REMEMBERED - 1)])
    assert thinning.keep([Row("again", "x", "s0")]) == []
    thinning.keep([Row("one more", "x", "s one more")])
    assert len(thinning.state.sessions) == REMEMBERED <= len(thinning.state.ids) <= 2 * REMEMBERED
    assert [row.id for row in thinning.keep([Row("new", "x", "s0"), Row("other", "x", f"s{REMEMBERED}")])] == ["new"]


def test_it_goes_on_where_it_stood() -> None:
    rows = [Row(str(i), f"text {chr(97 + i % 7)}", f"s{i % 11}" if i % 2 else "") for i in range(60)]
    whole, first = Thinning(), Thinning()
    kept = whole.keep(rows)
    begun = first.keep(rows[:23])
    second = Thinning(state=msgspec.json.decode(msgspec.json.encode(first.state), type=ThinningState))
    assert begun + second.keep(rows[23:]) == kept
    assert second.state == whole.state


def test_numbers_of_a_row_are_uniform_and_its_own() -> None:
    ids = [str(i) for i in range(4000)]
    drawn = draws(7, ids)
    for numbers in (ties(drawn, 0), ties(drawn, 9), order(drawn)):
        assert kstest(numbers, "uniform").pvalue > 0.001
    assert 1800 < half(drawn).sum() < 2200
    assert abs(np.corrcoef(half(drawn), order(drawn))[0, 1]) < 0.06
    assert (draws(7, ids[100:110]) == drawn[100:110]).all()
    assert (draws(8, ids) != drawn).any() and (draws(-1, ["\ud800"]) >= 0).all()


def test_a_sample_is_the_same_however_rows_come() -> None:
    chance = np.random.default_rng(1)
    ids, steps = [str(i) for i in range(300)], chance.integers(-9, 9, (300, 3)).astype(np.int16)
    orders = order(draws(1, ids))
    whole, parts = Sample(50, 3), Sample(50, 3)
    whole.add(ids, orders, steps)
    for start in range(0, 300, 7):
        parts.add(ids[start : start + 7], orders[start : start + 7], steps[start : start + 7])
        parts = Sample(50, 3, msgspec.msgpack.decode(msgspec.msgpack.encode(parts.state), type=SampleState))
    assert parts.state == whole.state
    assert sorted(int(i) for i in whole.ids) == sorted(np.argsort(orders)[:50].tolist())
    assert (whole.steps == steps[[int(i) for i in whole.ids]]).all()
