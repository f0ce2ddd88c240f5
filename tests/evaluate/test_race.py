"""The rule of a bake-off, on made-up scores."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.artifacts import Guard
from windlass.evaluate.race import Line, Race, choose, frontier

RIGHT = Guard("right", "sha256:0", margin=0.05)
FLOOR = Guard("right", "sha256:0", margin=0.05, floor=0.5)


def line(model: str, scores: list[float | None], cost: float | None = 0.0, seconds: float = 1.0, reference: bool = False) -> Line:
    rows = {f"r{n:04}": {"right": s} for n, s in enumerate(scores)}
    worst = {row: {"right": 0.0 if s["right"] is None else s["right"]} for row, s in rows.items()}
    per_all = None if cost is None else cost * len(scores)
    return Line(model, dict(rows), worst, per_all, [seconds] * len(scores), reference)


def rows(n: int) -> list[str]:
    return [f"r{i:04}" for i in range(n)]


def draws(p: float, n: int, seed: int) -> list[float | None]:
    rng = random.Random(seed)
    return [float(rng.random() < p) for _ in range(n)]


def first_out(lines: list[Line], guard: Guard = RIGHT, n: int = 400, step: int = 10) -> dict[str, int]:
    """After how many rows each arm was out, looking every `step` rows."""
    race = Race([guard], {"right": (0.0, 1.0)}, 0.05, len(lines))
    found: dict[str, int] = {}
    for upto in range(step, n + 1, step):
        for model in race.out([x for x in lines if x.model not in found], rows(upto)):
            found[model] = upto
    return found


def test_what_is_much_worse_than_what_runs_now_is_out_early_and_what_is_as_good_stays() -> None:
    lines = [line("now", draws(0.8, 400, 1), reference=True), line("bad", draws(0.3, 400, 2), 1.0), line("same", draws(0.8, 400, 3), 1.0)]
    found = first_out(lines)
    assert found.keys() == {"bad"} and found["bad"] <= 80


def test_a_cheaper_and_better_one_drives_out_the_others_and_even_what_runs_now() -> None:
    lines = [line("now", draws(0.4, 400, 1), 1.0, reference=True), line("better", draws(0.9, 400, 2), 0.1)]
    assert first_out(lines).keys() == {"now"}


def test_a_dearer_one_drives_out_nothing_but_through_its_price() -> None:
    cheap, dear = line("cheap", draws(0.4, 400, 1), 0.1), line("dear", draws(0.9, 400, 2), 1.0)
    assert first_out([cheap, dear]) == {}
    assert first_out([cheap, line("unpriced", draws(0.9, 400, 2), None)]) == {}
    assert first_out([line("unpriced", draws(0.4, 400, 1), None), dear]).keys() == {"unpriced"}


def test_below_a_floor_is_out_without_anything_to_compare_with() -> None:
    assert first_out([line("now", draws(0.2, 400, 1), reference=True)], FLOOR).keys() == {"now"}
    found = first_out([line("now", draws(0.9, 400, 1), reference=True), line("low", draws(0.1, 400, 2))], FLOOR)
    assert found.keys() == {"low"}


def test_what_failed_is_unmeasured_and_speaks_neither_for_nor_against_while_it_runs() -> None:
    lines = [line("now", draws(0.8, 400, 1), reference=True), line("broken", [None] * 400)]
    assert first_out(lines) == {}
    assert lines[1].mean("right") is None and lines[1].sure("right") == 0.0
    assert choose(lines, [RIGHT]).line is lines[0]


def test_an_arm_as_good_as_the_margin_allows_is_rarely_out_however_often_one_looks() -> None:
    """The error bounds the chance that any arm is wrongly out: 200 races of four arms, all just within the margin."""
    wrong = 0
    for seed in range(200):
        lines = [line("now", draws(0.7, 300, seed * 10), reference=True)]
        lines += [line(f"m{i}", draws(0.66, 300, seed * 10 + i)) for i in range(1, 4)]
        wrong += bool(first_out(lines, n=300, step=5))
    assert wrong / 200 <= 0.05


def test_the_choice_is_the_cheapest_that_is_not_behind_the_best_by_more_than_the_margin() -> None:
    best, near = line("best", [1.0] * 90 + [0.0] * 10, 1.0), line("near", [1.0] * 87 + [0.0] * 13, 0.1)
    far = line("far", [1.0] * 80 + [0.0] * 20, 0.01)
    assert choose([best, near, far], [RIGHT]).line is near
    assert choose([best, near, far], [RIGHT]).best is best
    quick = line("quick", [1.0] * 87 + [0.0] * 13, 0.1, seconds=0.5)
    assert choose([best, near, quick], [RIGHT]).line is quick


def test_nothing_is_chosen_where_no_price_is_known_or_no_floor_reached() -> None:
    unpriced = line("unpriced", [1.0] * 10, None)
    found = choose([unpriced], [RIGHT])
    assert found.line is None and "its price is not known" in found.why_not
    assert choose([unpriced, line("priced", [1.0] * 10, 2.0)], [RIGHT]).line is not None
    found = choose([line("low", [0.0] * 10)], [FLOOR])
    assert found.line is None and "none reaches 0.5 on right" in found.why_not


known = st.tuples(st.lists(st.sampled_from([0.0, 1.0]), min_size=5, max_size=5), st.floats(0, 1), st.floats(0.001, 9))


@given(st.lists(known, min_size=1, max_size=6))
def test_the_frontier_is_what_no_other_beats(arms: list[tuple[list[float], float, float]]) -> None:
    lines = [line(f"m{i}", list(scores), cost, seconds) for i, (scores, cost, seconds) in enumerate(arms)]
    found = frontier(lines, "right")
    assert found
    figures = {n.model: (fmean(a[0]), -(n.per_row or 0.0), -a[2]) for n, a in zip(lines, arms, strict=True)}
    for model, mine in figures.items():
        beaten = any(all(x >= y for x, y in zip(o, mine, strict=True)) and o != mine for m, o in figures.items() if m != model)
        assert (model in found) == (not beaten)


def test_figures_of_an_arm() -> None:
    one = line("m", [1.0, 0.0, 1.0, None], 0.5)
    assert one.mean("right") == pytest.approx(2 / 3) and one.sure("right") == 0.5
    assert one.per_row == 0.5 and one.per_success("right") == 1.0
    assert line("m", [0.0], 0.5).per_success("right") is None and line("m", [1.0], None).per_success("right") is None
