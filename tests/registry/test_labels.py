"""Labels move by compare-and-set, also when eight processes want the same one."""

import itertools
import multiprocessing
from pathlib import Path
from typing import Any

from tests.registry.application import Registry, prompt

from windlass.core.actor import OWNER
from windlass.core.errors import Conflict
from windlass.core.operations.registry import (
    LabelMove,
)
from windlass.core.ref import parse_ref
from windlass.store.meta import write


def _race(path: Path, who: int, rounds: int, start: Any, results: Any) -> None:
    registry = Registry(path)
    digests = [prompt(f"Answer {i}.").digest for i in range(9)]
    start.wait()
    won = 0
    for i in range(rounds):
        expected = registry.versions.resolve(parse_ref("prompt/reply:race")).digest
        try:
            registry.labels.move(OWNER, LabelMove("prompt/reply:race", digests[(who + i) % 9], expected))
            won += 1
        except Conflict:
            pass
    results.put(won)


def test_racing_writers_of_one_label_lose_nothing(registry: Registry) -> None:
    for i in range(9):
        registry.push(prompt(f"Answer {i}."), branch="race")
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    racers = [context.Process(target=_race, args=(registry.home.path, w, 10, start, results)) for w in range(8)]
    for r in racers:
        r.start()
    start.set()
    won = sum(results.get(timeout=60) for _ in racers)
    for r in racers:
        r.join()
    with write(registry.engine) as c:
        moves = c.exec_driver_sql("SELECT before, after FROM label_moves WHERE label = 'race' ORDER BY at_ns, id").all()
    moved = moves[9:]
    assert len(moved) == won > 0
    assert all(a.after == b.before for a, b in itertools.pairwise(moves)), "every move starts where the last one ended"
