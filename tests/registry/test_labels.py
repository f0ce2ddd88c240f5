"""Labels move by compare-and-set, also when eight processes want the same one."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from tests.racing import CONTEXT, racer
from tests.registry.application import Registry, application, prompt
from tests.stores import on_both

from windlass.core.actor import OWNER
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound
from windlass.core.operations.registry import LabelMove, VerifyQuery
from windlass.core.ref import parse_ref
from windlass.registry.labels import move_environment
from windlass.store.meta import read, write


def _race(path: Path, database: str, who: int, rounds: int, gate: Any, results: Any) -> None:
    registry = Registry(path, database)
    won = []
    for i in range(rounds):
        expected = registry.versions.resolve(parse_ref("prompt/reply:race")).digest
        gate.wait(60)  # all have seen the same state
        try:
            registry.labels.move(OWNER, LabelMove("prompt/reply:race", prompt(f"Answer {i} of {who}.").digest, expected))
            won.append(i)
        except Conflict as e:
            assert e.details["current"] != expected
        gate.wait(60)  # all have tried
    results.put(won)


@on_both
def test_of_eight_racing_writers_one_wins_each_round_and_nothing_is_lost(registry: Registry) -> None:
    rounds, racers = 6, 8
    for i in range(rounds):
        for who in range(racers):
            registry.push(prompt(f"Answer {i} of {who}."), branch="other")
    registry.push(prompt("Start."), branch="race")
    gate, results = CONTEXT.Barrier(racers), CONTEXT.Queue()
    processes = [racer(_race, registry.home.path, registry.database, w, rounds, gate, results) for w in range(racers)]
    for p in processes:
        p.start()
    won = sorted(i for _ in processes for i in results.get(timeout=120))
    for p in processes:
        p.join()
    assert won == list(range(rounds)), "one winner each round"
    with read(registry.engine) as c:
        moves = c.exec_driver_sql("SELECT before, after FROM label_moves WHERE label = 'race' ORDER BY id").all()
    assert len(moves) == rounds + 1
    assert all(a.after == b.before for a, b in itertools.pairwise(moves)), "every move starts where the last one ended"
    assert registry.verify.verify(OWNER, VerifyQuery()).problems == ()


def test_a_label_that_is_not_where_it_was_expected_stays(registry: Registry) -> None:
    registry.push(prompt("One."))
    registry.push(prompt("Two."), branch="two")
    one, two = prompt("One.").digest, prompt("Two.").digest
    for expected in (None, two):
        with pytest.raises(Conflict, match="somebody moved it"):
            registry.labels.move(OWNER, LabelMove("prompt/reply:main", two, expected))
    assert registry.labels.move(OWNER, LabelMove("prompt/reply:main", two[7:19], one[7:19])).digest == two
    with pytest.raises(NotFound):
        registry.labels.move(OWNER, LabelMove("prompt/reply:main", "0" * 64, two))
    with pytest.raises(Invalid):
        registry.labels.move(OWNER, LabelMove("prompt/reply", one, two))


def test_an_environment_moves_with_a_verdict_or_a_reason_and_is_audited(registry: Registry) -> None:
    registry.push(*application())
    target = registry.versions.resolve(parse_ref("release/answer"))
    with write(registry.engine) as c:
        for how in ("promote", "override"):
            with pytest.raises(Forbidden, match="only with a verdict"):
                move_environment(c, OWNER, target, "production", None, how=how, verdict=None, reason=None)
        with pytest.raises(Forbidden, match="no environment of a prompt"):
            move_environment(c, OWNER, prompt().ref, "production", None, how="promote", verdict="v", reason=None)
        with pytest.raises(Forbidden, match="'main' is no environment"):
            move_environment(c, OWNER, target, "main", None, how="promote", verdict="v", reason=None)
        move_environment(c, OWNER, target, "production", None, how="override", verdict=None, reason="the first one")
    with read(registry.engine) as c:
        entry = c.exec_driver_sql("SELECT action, subject, details FROM audit ORDER BY seq DESC").first()
        assert entry is not None
        assert (entry.action, entry.subject) == ("releases.override", "release/answer:production") and "the first one" in entry.details
