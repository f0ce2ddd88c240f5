"""What is said of a text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.monitor.descriptors import NAMES, UNKNOWN, describe, moved, vocabulary
from windlass.monitor.naming import names


def one(text: str, known: frozenset[str] = frozenset()) -> dict[str, float]:
    return {name: float(values[0]) for name, values in describe([text], known).items()}


def test_a_text_is_described() -> None:
    found = one("Is f(x) = 12 Übung?\nyes", vocabulary(["is yes x"]))
    assert (found["characters"], found["words"], found["lines"], found["question mark"]) == (23, 6, 2, 1)
    assert found["digits"] == pytest.approx(2 / 23)
    assert found["capitals"] == pytest.approx(2 / 23)
    assert found["signs of code"] == pytest.approx(1 / 23)
    assert found["letters beyond ASCII"] == pytest.approx(1 / 12)
    assert found[UNKNOWN] == pytest.approx(3 / 6)


@given(st.text())
def test_any_text_can_be_described(text) -> None:
    found = one(text)
    assert set(found) == set(NAMES)
    assert all(np.isfinite(v) and v >= 0 for v in found.values())


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_quick_way_for_ascii_counts_the_same(text) -> None:
    """A letter beyond ASCII sends a text the slow way; it adds one character and nothing else."""
    quick, slow = one(text), one(text + "ß")
    for name in ("digits", "capitals", "signs of code"):
        assert quick[name] * len(text) == pytest.approx(slow[name] * (len(text) + 1))


def test_a_difference_is_the_share_that_would_have_to_move() -> None:
    assert moved([50, 50], [10, 10]) == 0
    assert moved([100, 0], [10, 10]) == pytest.approx(0.5)
    assert moved([0, 0], [1, 1]) == 0


def test_groups_are_named_by_their_own_words() -> None:
    found = names([["refund my order", "the refund of an order"], ["reset the password", "my password is lost"], []])
    assert found[0][:2] == ("order", "refund") and found[1][0] == "password" and found[2] == ()
    assert names([["the of", "12"]]) == [("of", "the")]
