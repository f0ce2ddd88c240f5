"""Who is on which arm: a published hash, thresholds that nest, and the chance that a unit's arm was a lot."""

from __future__ import annotations

import subprocess
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import Invalid
from windlass.core.rollout import WHOLE, arm_of, chance_of, hundredths, place_of, unit_of

SHARES = st.integers(1, WHOLE)


@given(st.text(max_size=40), st.text(max_size=40), st.lists(SHARES, min_size=2, max_size=6))
def test_a_share_that_is_raised_moves_nobody_back(rollout: str, unit: str, shares: list[int]) -> None:
    place = place_of(rollout, unit)
    arms = [arm_of(place, share) for share in sorted(shares)]
    assert arms == sorted(arms)  # base before candidate, and never base again
    assert arm_of(place, WHOLE) == "candidate" and arm_of(place, 0) == "base"


def test_the_hash_is_the_published_one() -> None:
    """By another implementation: sha256sum of the text, first 16 hex digits."""
    told = subprocess.run(["sha256sum"], input=b"0198c0de\nuser:anna", capture_output=True, check=True).stdout[:16]
    assert f"{place_of('0198c0de', 'user:anna'):016x}" == told.decode()


def test_shares_are_met_and_rollouts_part_callers_independently() -> None:
    pairs = Counter((arm_of(place_of("a", f"user:{n}"), 2500), arm_of(place_of("b", f"user:{n}"), 5000)) for n in range(8000))
    assert abs(pairs["candidate", "candidate"] / 8000 - 0.125) < 0.02
    assert abs(pairs["candidate", "base"] / 8000 - 0.125) < 0.02


@pytest.mark.parametrize(
    ("by", "user", "session", "unit"),
    [
        ("user", "u", "s", "user:u"), ("user", None, "s", "session:s"), ("user", "", "", "trace:t"),
        ("session", "u", "s", "session:s"), ("session", "u", None, "user:u"), ("session", None, None, "trace:t"),
    ],
)  # fmt: skip
def test_who_is_kept_on_an_arm(by: str, user: str | None, session: str | None, unit: str) -> None:
    assert unit_of(by, user, session, "t") == unit  # type: ignore[arg-type]


@given(st.lists(SHARES, max_size=3), SHARES)
def test_the_chance_is_how_often_it_happens(seen: list[int], share: int) -> None:
    """Of all places that were on the same arms before, the chance is the share of those that are on the candidate now."""
    step = (1 << 64) // 400
    places = [step * n + step // 2 for n in range(400)]
    alike: dict[tuple[str, ...], list[int]] = {}
    for place in places:
        alike.setdefault(tuple(arm_of(place, s) for s in seen), []).append(place)
    for group in alike.values():
        chances = {chance_of(place, share, seen) for place in group}
        assert len(chances) == 1
        # places lie 25 hundredths apart: a group's ends are known to within one of them
        assert abs(sum(arm_of(p, share) == "candidate" for p in group) - chances.pop() * len(group)) <= 2.5


def test_shares_are_percent_by_hundredths() -> None:
    assert [hundredths(s) for s in (5, 12.5, 0.01, 100)] == [500, 1250, 1, 10_000]
    for wrong in (0, -1, 100.01, 0.001, float("nan"), float("inf")):
        with pytest.raises(Invalid, match="is no share"):
            hundredths(wrong)
