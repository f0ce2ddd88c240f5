"""The picture of a guard: its interval lies in the frame, the margin on the side that is worse."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from windlass.core.operations.rollouts import RolloutEvidence
from windlass.doors.web.rollouts import BOTTOM, LEFT, RIGHT, TOP, sequence

AMOUNT = st.floats(-1e6, 1e6)


@given(
    st.lists(st.tuples(AMOUNT, AMOUNT, AMOUNT).map(sorted), min_size=2, max_size=30),
    st.floats(1e-6, 1e6) | st.none(),
    st.booleans(),
)
def test_a_picture_lies_in_its_frame(values: list[list[float]], margin: float | None, worse_is_more: bool) -> None:
    points = tuple((n * 3, low, middle, high) for n, (low, middle, high) in enumerate(values))
    drawn = sequence(RolloutEvidence("error", margin=margin, points=points), worse_is_more)
    assert drawn is not None and drawn.units == points[-1][0]
    for x, y in (map(float, point.split(",")) for point in (drawn.band + " " + drawn.middle).split(" ")):
        assert LEFT <= x <= RIGHT and TOP <= y <= BOTTOM
    assert len(drawn.band.split(" ")) == 2 * len(points)
    if margin is None:
        assert drawn.margin is None
    else:
        assert drawn.margin is not None and (drawn.margin <= drawn.zero) == (worse_is_more or drawn.margin == drawn.zero)


def test_one_point_is_no_picture() -> None:
    assert sequence(RolloutEvidence("error", points=((5, 0.0, 0.1, 0.2),)), True) is None
