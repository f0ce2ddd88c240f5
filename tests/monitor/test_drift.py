"""An earlier window against a later one."""

from __future__ import annotations

from tests.monitor.worlds import World

from windlass.monitor.drift import drift
from windlass.monitor.rows import Row


def windows(seed: int, before: int = 400, after: int = 400, **shift: float) -> tuple[list[Row], list[Row], World]:
    world = World(seed)
    first = world.production(before)
    for name, value in shift.items():
        setattr(world, name, value)
    return first, world.production(after), world


def test_windows_alike_show_nothing() -> None:
    drifted = 0
    for seed in range(20):
        earlier, later, world = windows(seed, 150, 150)
        found = drift(earlier, later, world.encode, seed)
        drifted += found.drifted
        assert found.drifted == (found.sentence != "Nothing shows that inputs changed between the two windows.")
    assert drifted <= 3


def test_a_new_topic_is_found_and_said() -> None:
    earlier, later, world = windows(2, 600, 1000, unseen=0.25)
    found = drift(earlier, later, world.encode)
    assert found.drifted and found.p < 0.01 and "ask something new" in found.sentence and "as a whole" in found.sentence
    new = [t for t in found.topics if t.tier == "confirmed"]
    assert len(new) == 1 and 0.15 < new[0].share < 0.35
    assert {row.id for row in later} > set(new[0].exemplars)


def test_longer_texts_are_said() -> None:
    earlier, later, world = windows(3)
    longer = [Row(r.id, r.text + " and more" * (i % 4)) for i, r in enumerate(later)]
    found = drift(earlier, longer, lambda texts: world.encode([t.split()[0] for t in texts]))
    assert found.drifted and found.changes[0].descriptor in ("characters", "words") and "they differ in" in found.sentence.lower()
    assert found.changes[0].later > found.changes[0].earlier


def test_a_window_that_is_too_small_says_so_and_sessions_count_once() -> None:
    earlier, later, world = windows(4, 100, 100)
    found = drift(earlier, [Row(r.id, r.text, "one") for r in later], world.encode)
    assert not found.drifted and found.later == 1 and found.sentence.startswith("The later window has 1 inputs")
    assert drift([], [], world.encode).earlier == 0


def test_same_rows_same_result_in_any_order() -> None:
    earlier, later, world = windows(5, unseen=0.1)
    assert drift(earlier, later, world.encode, 3) == drift(earlier[::-1], later[::-1], world.encode, 3)
