"""The direction sees one new topic among rows that are all far from one another, keeps its error, and is the same in any portions."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from windlass.core.monitoring import Instrument
from windlass.monitor.baseline import build
from windlass.monitor.direction import FIRST, Direction, share_of
from windlass.monitor.rows import EvaluationRow, Row
from windlass.monitor.skew import Watch
from windlass.monitor.vectors import grid
from windlass.runtime.encoders.words import Words

HELPDESK = Path(__file__).parents[2] / "examples" / "helpdesk"
DIMENSIONS = 200


def questions(path: str) -> list[dict]:
    return [json.loads(line) for line in (HELPDESK / path).read_text().splitlines()]


def sparse(chance: np.random.Generator, rows: int, shifted: float = 0.0) -> np.ndarray:
    """Vectors in all directions; a share of them leans to one."""
    found = chance.standard_normal((rows, DIMENSIONS)) / DIMENSIONS**0.5
    found[chance.random(rows) < shifted, 0] += 0.8
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def rows_of(number: int) -> list[EvaluationRow]:
    """Rows that are no copies of one another, which are told without their digits."""
    return [EvaluationRow(f"r{i}", "".join(chr(97 + int(digit)) for digit in str(i))) for i in range(number)]


def watched(seed: int, rows: int, shifted: float, error: float, evaluation: int = 200) -> Direction:
    chance = np.random.default_rng(seed)
    known = sparse(chance, evaluation)
    baseline = build(rows_of(evaluation), known, Instrument())
    watch = Direction(baseline, chance.random(evaluation - baseline.fit), error)
    fed(watch, grid(sparse(chance, rows, shifted)), chance.integers(0, 2, rows), chance.random(rows), [rows])
    return watch


def fed(watch: Direction, steps: np.ndarray, halves: np.ndarray, ties: np.ndarray, sizes: list[int]) -> None:
    """Rows in portions, each cut where the next direction is due."""
    at = 0
    for size in sizes:
        end = min(len(steps), at + size)
        while at < end:
            until = min(end, at + watch.due - watch.counted)
            watch.see(steps[at:until], halves[at:until], ties[at:until])
            at = until


def test_errors_of_all_directions_are_one() -> None:
    assert sum(share_of(n) for n in range(1, 100_000)) == pytest.approx(1, abs=1e-5)


def test_alarms_without_a_shift_are_no_more_than_the_error() -> None:
    """Rows of one distribution, 400 watches at an error of 0.1: at most 0.1, with room for chance of one in a thousand."""
    alarms = sum(watched(seed, 1600, 0.0, 0.1).state.since is not None for seed in range(400))
    assert alarms <= 59


def test_many_rows_that_are_alike_are_seen_where_distance_sees_nothing() -> None:
    found = [watched(seed, 1600, 0.25, 0.015) for seed in range(20)]
    assert sum(w.state.since is not None and w.state.since > FIRST for w in found) >= 18


def test_portions_and_stays_on_disk_make_no_difference() -> None:
    chance = np.random.default_rng(3)
    known, rows = sparse(chance, 150), grid(sparse(chance, 900, 0.3))
    baseline = build(rows_of(150), known, Instrument())
    halves, ties, own = chance.integers(0, 2, 900), chance.random(900), chance.random(150 - baseline.fit)
    whole = Direction(baseline, own, 0.015)
    fed(whole, rows, halves, ties, [900])
    for size in (1, 7, 130, 450):
        watch = Direction(baseline, own, 0.015)
        for start in range(0, 900, size):
            fed(watch, rows[start : start + size], halves[start : start + size], ties[start : start + size], [size])
            watch = Direction(baseline, own, 0.015, watch.kept())
        assert watch.kept() == whole.kept() and watch.coverage() == whole.coverage()
    assert whole.coverage() is not None and 0.1 < whole.coverage().uncovered < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_questions_on_databases_are_seen_and_named_at_the_helpdesk(seed) -> None:
    """247 evaluated questions, none of which is near another; 40 of 150 that come are about what was never evaluated."""
    encoder, chance = Words(), np.random.default_rng(seed)
    rows = questions("data/questions.jsonl")
    usual = [r["question"] for r in rows if r["split"] == "dev"]
    asked = [r["question"] for r in questions("changes/databases/asked.jsonl")]
    evaluated = [EvaluationRow(r["key"], r["question"]) for r in rows if r["split"] == "test"]
    baseline = build(evaluated, encoder.encode([r.text for r in evaluated]), Instrument())
    for extra in (0, 40):
        texts = [*chance.permutation(usual)[: 146 - extra], *chance.permutation(asked)[:extra]]
        given = {f"t{i}": text for i, text in enumerate(chance.permutation(texts).tolist())}
        watch = Watch(baseline)
        watch.see([Row(key, text) for key, text in given.items()], encoder.encode)
        look = watch.look()
        assert (look.call == "skewed") == bool(extra), look.sentence
        topics = [t for t in watch.topics(lambda ids, given=given: {i: given[i] for i in ids}) if t.tier == "confirmed"]
        assert bool(topics) == bool(extra)
        if extra:
            assert {"sqlite", "sql", "database"} & set(topics[0].words)
        marked = dict(zip(given, watch.unlike([*given], grid(encoder.encode([*given.values()]))), strict=True))
        new, old = (fmean([marked[key] for key, text in given.items() if (text in asked) == wanted] or [0]) for wanted in (True, False))
        assert old < 0.3 and (new > 0.5 if extra else new == 0)  # a map marks what the direction found
