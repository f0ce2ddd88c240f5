"""The watch as a whole: its error at any look, what it says of each kind of shift, and that a replay is the same to the bit."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.monitor.worlds import World

from windlass.core.monitoring import Instrument, Look
from windlass.monitor.baseline import DISTANCE, Baseline, build
from windlass.monitor.direction import NAME as DIRECTION
from windlass.monitor.rows import EvaluationRow, Row
from windlass.monitor.settings import DOUBLINGS, EPOCH, KERNEL, SCORES, Settings, next_look, start_share
from windlass.monitor.skew import Watch

HERE = Instrument("sha256:e", "sha256:t")


def measured(world: World, rows: int = 300, seed: int = 0) -> Baseline:
    return build(*world.evaluation(rows), HERE, seed)


def after(world: World, rows: int, evaluation: int = 300, **settings: float) -> Look:
    watch = Watch(measured(world, evaluation), Settings(**settings))
    watch.see(world.production(rows), world.encode)
    return watch.look()


def test_the_error_is_split_and_not_spent_twice() -> None:
    given = Settings(alpha=0.1, weights=(1, 1, 4, 2))
    assert sum(given.error(score) for score in (*SCORES, KERNEL, DIRECTION)) == pytest.approx(0.1)
    assert given.look_error * DOUBLINGS == pytest.approx(given.error(KERNEL)) == pytest.approx(0.05)
    assert sum(start_share(k) for k in range(100_000)) == pytest.approx(1, abs=1e-5)
    assert 1 / (Settings().permutations + 1) <= Settings().look_error
    looks = [0]
    while (due := next_look(looks[-1])) is not None:
        looks.append(due)
    assert looks[1:4] == [250, 500, 1000] and len(looks) - 1 == DOUBLINGS


@pytest.mark.slow
def test_looking_after_every_row_the_whole_watch_is_seldom_wrong() -> None:
    """At an alpha of 20 %, so that a level that is wrong would show in so few worlds."""
    alarms, worlds = 0, 60
    for seed in range(worlds):
        world = World(seed)
        watch = Watch(measured(world, 80, seed), Settings(alpha=0.2))
        watch.see(world.production(1100), world.encode)
        look = watch.look()
        alarms += look.kernel_since is not None or any(e.alarmed for e in look.evidence)
    assert alarms / worlds <= 0.2 + 2 * (0.2 * 0.8 / worlds) ** 0.5


def test_production_that_is_as_evaluated_is_covered() -> None:
    look = after(World(11), 1500)
    assert look.call == "covered", look.sentence
    assert look.sentence.startswith("At most ") and look.coverage.interval.low == 0
    assert look.quality.low <= look.quality.reweighted <= look.quality.high
    assert not any(line.moved for line in look.mix)


@pytest.mark.parametrize(
    ("shift", "what"),
    [
        ({"unseen": 0.15}, "is unlike anything evaluated"),
        ({"shift": 0.2}, "as a whole, inputs differ"),
        ({"tripled": 3}, "as a whole, inputs differ"),
    ],
)
def test_a_shift_is_shown_and_said(shift, what) -> None:
    look = after(World(12, **shift), 1500)
    assert look.call == "skewed" and what in look.sentence.lower() and "Shown after" in look.sentence
    assert look.kernel_since is not None or any(e.severe for e in look.evidence)


def test_the_unseen_share_lies_in_its_interval() -> None:
    for seed in range(5):
        found = after(World(seed, unseen=0.12), 1200).coverage
        assert found.interval.low <= 0.12 <= found.interval.high


def test_a_moved_topic_stands_first_in_the_mix() -> None:
    look = after(World(13, tripled=1), 3000, evaluation=500)
    assert look.mix[0].moved and look.mix[0].production > 1.5 * look.mix[0].evaluated


def test_longer_texts_are_shown_by_what_they_are() -> None:
    """The vectors say nothing of it; two in three inputs end with a paragraph that no evaluation row has."""
    world = World(14)
    watch = Watch(measured(world))
    rows = world.production(600)
    longer = [Row(r.id, r.text + "\nplease" * (7 if i % 3 else 0)) for i, r in enumerate(rows)]
    watch.see(longer, lambda texts: world.encode([t.split("\n")[0] for t in texts]))
    look = watch.look()
    assert look.call == "skewed" and "Inputs differ from the evaluation in " in look.sentence and "“lines”" in look.sentence
    assert {e.score for e in look.evidence if e.severe} >= {"characters", "words", "lines"}
    assert next(e for e in look.evidence if e.score == DISTANCE).since is None


def test_what_is_within_the_tolerance_pages_nobody() -> None:
    world = World(12, shift=0.2)
    assert after(world, 1500).call == "skewed"
    look = after(World(12, shift=0.2), 1500, moved=0.9, unseen=0.9, described=0.9)
    assert look.call == "watch" and "within what you tolerate" in look.sentence


def test_a_late_change_is_not_drowned_by_what_came_before() -> None:
    """Distance alone: 20,000 rows as evaluated, then a fifth is unseen; a fresh start shows it within one or two thousand rows."""
    world = World(15)
    watch = Watch(measured(world, 400))
    watch.see(world.production(4 * EPOCH), world.encode)
    assert watch.look().call == "covered"
    world.unseen = 0.2
    watch.see(world.production(2000), world.encode)
    found = next(e for e in watch.look().evidence if e.score == DISTANCE)
    assert found.since and 4 * EPOCH < found.since < 4 * EPOCH + 500 and found.effect > 0.1


@pytest.fixture(scope="module")
def replayed() -> tuple[World, Baseline, list[Row], bytes]:
    """Some 5,700 rows with sessions, copies and redeliveries, seen in one portion."""
    world = World(16, unseen=0.05)
    baseline = measured(world, 200, seed=5)
    rows = [msgspec.structs.replace(r, session=f"s{i // 3}" if i % 50 == 0 else "") for i, r in enumerate(world.production(5600))]
    rows += rows[100:200]
    watch = Watch(baseline)
    watch.see(rows, world.encode)
    return world, baseline, rows, watch.state()


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(1, 1500), min_size=1, max_size=4))
def test_portions_and_stays_on_disk_make_no_difference(replayed, sizes) -> None:
    world, baseline, rows, state = replayed
    watch, at = Watch(baseline), 0
    for size in [*sizes, len(rows)]:
        watch.see(rows[at : at + size], world.encode)
        watch = Watch(baseline, state=watch.state())
        at += size
    assert watch.state() == state
    assert watch.look() == Watch(baseline, state=state).look()


def test_row_by_row_is_the_same_too(replayed) -> None:
    world, baseline, rows, _ = replayed
    one, many = Watch(baseline), Watch(baseline)
    one.see(rows[:270], world.encode)
    for row in rows[:270]:
        many.see([row], world.encode)
    assert one.state() == many.state()


def test_another_seed_is_another_replay(replayed) -> None:
    world, baseline, rows, state = replayed
    watch = Watch(msgspec.structs.replace(baseline, seed=6))
    watch.see(rows, world.encode)
    assert watch.state() != state


def test_a_look_changes_nothing_and_travels_as_json(replayed) -> None:
    _, baseline, _, state = replayed
    watch = Watch(baseline, state=state)
    look = watch.look()
    assert watch.look() == look and watch.state() == state
    assert msgspec.json.decode(msgspec.json.encode(look), type=Look) == look


def test_no_text_is_remembered(replayed) -> None:
    world, baseline, _, _ = replayed
    watch = Watch(baseline)
    watch.see([Row("a", "my secret question")], lambda texts: world.draw(1)[0])
    assert watch.counted == 1 and b"secret" not in watch.state()


@pytest.mark.parametrize("copies", [1, 3, 5, 10])
def test_sessions_of_near_identical_rows_count_once(copies) -> None:
    """Counted each, they alarm; one row a session, they do not."""
    alarms = {"": 0, "session": 0}
    for seed in range(4):
        for kind in alarms:
            world = World(seed)
            baseline = measured(world, 200)
            vectors = np.repeat(world.draw(1200 // copies, production=True)[0], copies, axis=0)
            vectors += 0.02 * world.chance.standard_normal(vectors.shape) / 20
            names = world.named(vectors)
            rows = [Row(n, n, session=f"s{i // copies}" if kind else "") for i, n in enumerate(names)]
            watch = Watch(baseline)
            watch.see(rows, world.encode)
            look = watch.look()
            assert look.counted == (1200 // copies if kind else 1200 // copies * copies)
            alarms[kind] += look.kernel_since is not None or any(e.alarmed for e in look.evidence)
    assert alarms["session"] <= 1
    assert alarms[""] >= 3 if copies >= 5 else alarms[""] >= alarms["session"] - 1


def test_rows_of_another_instrument_are_not_compared() -> None:
    world = World(17)
    watch = Watch(measured(world))
    watch.see(world.production(300), world.encode, HERE)
    before = watch.look()
    for other, what in ((Instrument("sha256:x", "sha256:t"), "The encoder"), (Instrument("sha256:e", "sha256:x"), "The prompt's template")):
        watch.see(world.production(50), world.encode, other)
        look = watch.look()
        assert look.call == "instrument changed" and look.sentence.startswith(what)
        assert look.counted == before.counted and look.evidence == before.evidence
    watch.see(world.production(10), world.encode, HERE)
    assert watch.look().call != "instrument changed" and watch.look().seen == 410


def test_nothing_came() -> None:
    world = World(18)
    watch = Watch(measured(world))
    watch.see([], world.encode)
    assert watch.look().call == "no traffic" and watch.look().sentence == "No input of production has come yet."
    watch.see([Row("a", " "), Row("b", "")], world.encode)
    assert watch.look().call == "no traffic" and watch.look().sentence.startswith("All 2 inputs were left out")
    assert watch.topics(lambda ids: {}) == () and watch.look().mix == ()


def test_too_few_inputs_say_so_and_how_many_would_do() -> None:
    look = after(World(19), 30)
    assert look.call == "too small to say"
    assert look.sentence.startswith("After 30 inputs, up to ") and "inputs like these would tell" in look.sentence


def test_too_few_evaluation_rows_say_so() -> None:
    world = World(20)
    watch = Watch(measured(world, 25))
    watch.see(world.production(500), world.encode)
    look = watch.look()
    assert (look.call, look.seen, look.counted) == ("too small to say", 500, 0) and "has 25 rows" in look.sentence
    assert watch.topics(lambda ids: {}) == ()
    small = after(World(21), 2000, evaluation=44)
    assert small.shows is None or small.shows > 0.1
    assert "An evaluation dataset of this size hardly shows" in small.sentence or small.call == "watch"


def test_a_constant_evaluation_dataset_says_so() -> None:
    same = [EvaluationRow(str(i), "always the same") for i in range(100)]
    watch = Watch(build(same, np.ones((100, 8)), HERE))
    watch.see([Row("a", "something")], lambda texts: np.ones((1, 8), np.float32))
    assert watch.look().call == "too small to say" and "alike" in watch.look().sentence


def test_clocks_that_jump_are_shown_and_decide_nothing() -> None:
    world = World(22)
    baseline = measured(world)
    rows = world.production(400)
    jumping = [msgspec.structs.replace(r, event_ns=(10 - i) * 10**15 if i % 7 else None) for i, r in enumerate(rows)]
    one, two = Watch(baseline), Watch(baseline)
    one.see(rows, world.encode)
    two.see(jumping, world.encode)
    assert two.look().evidence == one.look().evidence
    assert (two.look().first_event_ns, two.look().last_event_ns) == (-388 * 10**15, 9 * 10**15)


def test_an_encoder_that_fails_takes_no_row() -> None:
    world = World(23)
    watch = Watch(measured(world))
    watch.see(world.production(10), world.encode)
    state, rows = watch.state(), world.production(10)

    def fails(texts):
        raise ConnectionError("the provider is away")

    with pytest.raises(ConnectionError):
        watch.see(rows, fails)
    assert watch.state() == state and watch.seen == 10
    watch.see(rows, world.encode)
    assert watch.look().counted == 20
