"""What is new is found, and what is not new is not confirmed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact
from statsmodels.stats.multitest import multipletests
from tests.monitor.worlds import TOPICS, World

from windlass.core.monitoring import Instrument
from windlass.monitor import mix
from windlass.monitor.baseline import build
from windlass.monitor.skew import Watch
from windlass.monitor.topics import Ball, Outside, Region, exemplars, find, fisher, holm
from windlass.monitor.vectors import grid


def watched(seed: int, evaluation: int = 500, rows: int = 3000, **shift: float) -> tuple[Watch, World, dict[str, int]]:
    world = World(seed, **shift)
    watch = Watch(build(*world.evaluation(evaluation), Instrument()))
    vectors, topic = world.draw(rows, production=True)
    names = world.named(vectors)
    from windlass.monitor.rows import Row

    watch.see([Row(n, n) for n in names], world.encode)
    return watch, world, dict(zip(names, topic.tolist(), strict=True))


def texts(topic: dict[str, int]):
    return lambda ids: {i: f"question about subject{chr(97 + topic[i])}" for i in ids}


@pytest.mark.parametrize("seed", range(3))
def test_new_topics_are_confirmed_and_named_and_shown(seed) -> None:
    watch, _, topic = watched(seed, unseen=0.2, unseen_topics=2)
    found = [t for t in watch.topics(texts(topic)) if t.tier == "confirmed"]
    assert len(found) == 2
    for one in found:
        shown = {topic[i] for i in one.exemplars}
        assert len(one.exemplars) == 5 and len(shown) == 1 and shown.pop() >= TOPICS
        assert f"subject{chr(97 + topic[one.exemplars[0]])}" == one.words[0] == one.name.split()[0]
        assert one.share_interval.low <= one.share <= one.share_interval.high and 0.07 < one.share < 0.13
        assert one.lift_least > 2 and one.p < 0.001


def test_where_nothing_is_new_nothing_is_confirmed() -> None:
    confirmed = sum(t.tier == "confirmed" for seed in range(8) for t in (lambda w: w[0].topics(texts(w[2])))(watched(seed, 200, 1200)))
    assert confirmed <= 1


def test_a_topic_that_one_look_would_confirm_waits_for_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look may take an accident for a topic; over all looks only the watch keeps its error."""
    world = World(8)  # without a shift; its first look finds a topic at p = 0.0007
    rows, _ = world.evaluation(300)
    watch = Watch(build(rows, world.encode([r.text for r in rows]), Instrument(), 8))
    watch.see(world.production(100), world.encode)
    (found,) = watch.topics(lambda ids: {i: i for i in ids})
    assert watch.alarmed() is None and found.p < 0.001 and found.tier == "candidate"
    monkeypatch.setattr(watch, "alarmed", lambda: 50)
    (found,) = watch.topics(lambda ids: {i: i for i in ids})
    assert found.tier == "confirmed"


def test_texts_that_are_gone_leave_topics_without_words() -> None:
    watch, _, _ = watched(1, unseen=0.2)
    assert {t.name for t in watch.topics(lambda ids: {})} == {"rows without a text"}


def test_a_sample_of_what_is_outside_gives_the_same_shares() -> None:
    chance = np.random.default_rng(1)
    steps = grid(np.concatenate([np.full((400, 8), 1.0), np.eye(8)[np.zeros(400, int)]]) + 0.05 * chance.standard_normal((800, 8)))
    halves, ids = np.arange(800) % 2, [str(i) for i in range(800)]
    whole = find([Region(Outside(ids, steps, halves, [4000, 4000], [400, 400]), steps[:0], 300)], lambda i: {}, 0)
    some = find([Region(Outside(ids[200:600], steps[200:600], halves[200:600], [4000, 4000], [400, 400]), steps[:0], 300)], lambda i: {}, 0)
    assert [t.share for t in whole] == pytest.approx([0.045, 0.045], abs=0.008)
    assert [t.share for t in some] == pytest.approx([0.045, 0.045], abs=0.015)


@pytest.mark.parametrize(("hits", "rows", "before", "rows_before"), [(7, 500, 0, 250), (3, 10, 4, 12), (0, 9, 1, 9), (5, 5, 0, 1)])
def test_fishers_test_is_scipys(hits, rows, before, rows_before) -> None:
    peer = fisher_exact([[hits, rows - hits], [before, rows_before - before]], alternative="greater").pvalue
    assert fisher(hits, rows, before, rows_before) == pytest.approx(peer)


def test_holms_correction_is_statsmodels() -> None:
    ps = np.random.default_rng(1).random(12) ** 3
    assert holm(ps.tolist()) == pytest.approx(multipletests(ps, method="holm")[1].tolist())
    assert holm([]) == []


def test_exemplars_are_the_most_typical_and_then_the_most_different() -> None:
    steps = grid(np.array([[1.0, 0.0], [1.0, 0.05], [1.0, 0.9], [1.0, -0.8], [0.0, 1.0]]))
    assert exemplars(steps, [0, 1, 2, 3], Ball(grid(np.array([[1.0, 0.0]]))[0], 0.5)) == [0, 2, 3, 1]
    assert exemplars(steps, [], Ball(steps[0], 0.5)) == []


def test_intervals_of_a_table_hold_together() -> None:
    chance, worlds, missed = np.random.default_rng(3), 200, 0
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    for _ in range(worlds):
        table = mix.table([("a",)] * 4, chance.multinomial(200, shares).tolist(), chance.multinomial(3000, shares).tolist())
        by_topic = sorted(table, key=lambda line: line.topic)
        missed += any(
            not (i.low <= true <= i.high)
            for line, true in zip(by_topic, shares, strict=True)
            for i in (line.evaluated_interval, line.production_interval)
        )
    assert missed / worlds <= 0.05
    assert mix.table([("a",)], [10], [0]) == ()
