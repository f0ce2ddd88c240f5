"""Evaluations: gone on with after a crash, cached by identity, compared."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select
from tests.evaluate.application import ROWS, App

from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.evaluation import Outcome
from windlass.store.meta import read
from windlass.store.tables import draws, judgements, outcomes


def everything(app: App, id: str) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    cursor = None
    while True:
        page = app.client.evaluations.outcomes(id, cursor=cursor, limit=33)
        found |= {o.row: o for o in page.items}
        if not (cursor := page.next):
            return found


def count(app: App, table) -> int:
    with read(app.platform.engine) as c:
        return c.execute(select(func.count()).select_from(table)).scalar_one()


def test_one_that_was_cut_off_ends_like_one_that_was_not(app: App) -> None:
    app.edit("app.py", "    note(text=question)", "    import time\n    time.sleep(0.02)\n    note(text=question)")
    app.mistakes(2)
    begun = app.client.evaluations.start("answers")
    while app.client.evaluations.show(begun.id).done < 10:
        pass
    app.close()  # what is under way is lost, what is done is kept
    app.open()
    kept = app.client.evaluations.show(begun.id)
    assert kept.status == "running"
    assert 10 <= kept.done < ROWS
    made = count(app, draws)
    app.transport.run(app.platform.experiments.run("default", begun.id))
    resumed = app.client.evaluations.show(begun.id)
    assert (resumed.status, resumed.done) == ("done", ROWS)
    assert count(app, draws) == ROWS
    assert made >= kept.done
    whole = app.evaluate(fresh=True)
    one, other = everything(app, resumed.id), everything(app, whole.id)
    assert {k: (o.output, o.scores) for k, o in one.items()} == {k: (o.output, o.scores) for k, o in other.items()}
    assert resumed.evaluators == whole.evaluators


def test_the_same_again_calls_nothing_and_says_so(app: App) -> None:
    app.push()
    first, again = app.evaluate(), app.evaluate()
    assert (first.calls, first.reused) == (ROWS, 0)
    assert (again.calls, again.reused) == (0, ROWS)
    assert again.evaluators == first.evaluators
    before, after = everything(app, first.id), everything(app, again.id)
    assert all(after[k].reused and not before[k].reused for k in before)
    assert all(after[k].latency_ns == before[k].latency_ns for k in before)
    judged = count(app, judgements)
    fresh = app.evaluate(fresh=True)
    assert (fresh.calls, fresh.reused) == (ROWS, 0)
    assert count(app, judgements) == judged == ROWS


def test_another_model_never_gets_this_ones_answers(app: App) -> None:
    """Ragas 0.4.3 gave model B what model A had answered."""
    app.push()
    app.evaluate()
    app.edit("app.py", 'model="baseline"', 'model="baseline", parameters={"max_tokens": 5}')
    app.push()
    assert app.evaluate().calls == ROWS


def test_a_changed_row_is_asked_and_judged_anew(app: App) -> None:
    """Inspect's eval_set returned the old log after dataset and scorer had changed."""
    app.push()
    app.evaluate()
    app.edit("data/rows.jsonl", '"question 7", "expected": "answer 7"', '"question 70", "expected": "nothing"')
    app.push()
    found = app.evaluate()
    assert (found.calls, found.reused) == (1, ROWS - 1)
    assert everything(app, found.id)["r0007"].scores[0].value == 0.0


def test_repeats_are_separate_draws(app: App) -> None:
    app.edit("app.py", "first_release=", "repeats=3, first_release=")
    app.push()
    found = app.evaluate()
    assert (found.rows, found.done, found.calls) == (3 * ROWS, 3 * ROWS, 3 * ROWS)
    assert count(app, draws) == 3 * ROWS
    page = app.client.evaluations.outcomes(found.id, limit=4)
    assert [(o.row, o.repeat) for o in page.items] == [("r0000", 0), ("r0000", 1), ("r0000", 2), ("r0001", 0)]
    assert found.evaluators[0].measured == 3 * ROWS


def test_two_side_by_side(app: App) -> None:
    app.push()
    a = app.evaluate()
    app.mistakes(1)
    b = app.evaluate()
    found = app.client.evaluations.compare(a.id, b.id, limit=5)
    assert [p.row for p in found.items] == ["r0000", "r0010", "r0020", "r0030", "r0040"]
    assert (found.items[0].a.output, found.items[0].b.output) == ("answer 0", "something else")
    summary = found.summaries[0]
    assert (summary.pairs, summary.a, summary.b, summary.better, summary.worse) == (ROWS, 1.0, 0.9, 0, ROWS // 10)
    assert summary.difference == pytest.approx(-0.1)
    assert summary.interval.low < -0.1 < summary.interval.high
    assert not app.client.evaluations.compare(a.id, b.id, only="better").items
    assert len(app.client.evaluations.compare(a.id, b.id, only="worse", limit=200).items) == ROWS // 10
    rest = app.client.evaluations.compare(a.id, b.id, limit=5, cursor=found.next)
    assert [p.row for p in rest.items] == ["r0050", "r0060", "r0070"]
    low = app.client.evaluations.outcomes(b.id, only="low", limit=9).items
    assert [o.scores[0].value for o in low] == [0.0] * 8 + [1.0]


def test_an_id_may_be_shortened_and_must_be_clear(app: App) -> None:
    app.push()
    a, b = app.evaluate(), app.evaluate()
    assert app.client.evaluations.show(a.id[-6:]).id == a.id
    assert [e.id for e in app.client.evaluations.list("answers").items] == [b.id, a.id]
    assert [e.id for e in app.client.evaluations.list("suite/answers", limit=1).items] == [b.id]
    with pytest.raises(Invalid, match="several"):
        app.client.evaluations.show(a.id[:4])
    with pytest.raises(Invalid, match="short"):
        app.client.evaluations.show("ab")
    with pytest.raises(NotFound):
        app.client.evaluations.show("ffffffff")


def test_an_empty_split_is_an_error_before_anything_runs(app: App) -> None:
    app.edit("app.py", 'w.data("data/rows.jsonl")', 'w.data("data/rows.jsonl", split="test")')
    _, warnings = app.client.push(app.folder)
    assert ["no row of data/rows.jsonl is in split 'test'" in w for w in warnings] == [True]
    with pytest.raises(Invalid, match="no rows in split 'test'"):
        app.client.evaluations.start("answers")


def test_an_evaluator_that_fails_leaves_its_score_unmeasured(app: App) -> None:
    app.edit("app.py", "return float(output == row.expected)", "return 1 / int(row.key[1:]) * 0 + 1")
    app.push()
    found = app.evaluate()
    assert (found.failed, found.evaluators[0].measured, found.evaluators[0].unmeasured) == (0, ROWS - 1, 1)
    first = everything(app, found.id)["r0000"]
    assert first.error is None
    assert "division by zero" in first.scores[0].unmeasured


def test_rows_are_written_once(app: App) -> None:
    app.push()
    found = app.evaluate()
    app.transport.run(asyncio.wait_for(app.platform.experiments.run("default", found.id), 60))
    assert count(app, outcomes) == ROWS


def test_a_late_worker_does_not_undo_what_is_done(app: App) -> None:
    """Its work was taken over while it slept; then it wakes."""
    app.push()
    begun = app.client.evaluations.start("answers")
    late = app.transport.run(app.platform.experiments.beside("default", begun.id))
    app.transport.run(app.platform.experiments.run("default", begun.id))
    done = app.client.evaluations.show(begun.id)
    assert (done.status, done.done) == ("done", ROWS)
    app.transport.run(late.some(late.rows[:5]))
    app.transport.run(late.fail("the store went away"))
    after = app.client.evaluations.show(begun.id)
    assert (after.status, after.done, after.evaluators) == ("done", ROWS, done.evaluators)
    assert count(app, outcomes) == ROWS
