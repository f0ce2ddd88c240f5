"""Gates with everything real: a workspace, runners, recorded draws, tables."""

from __future__ import annotations

import json

import pytest
from tests.evaluate.application import ROWS, App

from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound


def test_the_first_release_is_let_out_by_its_floor(app: App) -> None:
    ref = app.push()
    job = app.gate()
    verdict = job.verdict
    assert verdict and (verdict.decision, verdict.candidate, verdict.base) == ("promote", ref, None)
    assert (verdict.rows, verdict.identical, job.done, job.total) == (ROWS, 0, ROWS, ROWS)
    assert verdict.guards[0].candidate == 1.0
    assert verdict.guards[0].sentence.startswith("at least 0.6 shown after")
    assert verdict.exit_code == 0
    evaluation = app.client.evaluations.show(verdict.candidate_evaluation)
    assert (evaluation.done, evaluation.failed, evaluation.calls, evaluation.target) == (ROWS, 0, ROWS, ref)
    outcome = app.client.evaluations.outcomes(evaluation.id, limit=1).items[0]
    assert (outcome.row, outcome.input, outcome.output) == ("r0000", {"question": "question 0"}, "answer 0")
    trace = app.client.traces.show(outcome.trace)
    assert ref in trace.versions
    assert any(ref.startswith("evaluator/right@") for ref in trace.versions)


def test_a_first_release_below_its_floor_is_blocked(app: App) -> None:
    app.mistakes(8)
    verdict = app.gate().verdict
    assert verdict.decision == "block"
    with pytest.raises(Forbidden, match="said block"):
        app.client.releases.promote("answer")


def test_requests_that_are_the_same_keep_their_answers(app: App) -> None:
    """The chain's code changed; what it asks the model did not: nothing is called, and the difference is nothing."""
    before = app.release()
    app.edit("app.py", 'return f"answer {number}"', 'text = f"answer {number}"\n    return text')
    after = app.push()
    assert after != before
    job = app.gate()
    assert (job.plan.can_differ, job.plan.calls) == (0, 0)
    verdict = job.verdict
    assert (verdict.decision, verdict.base, verdict.identical, verdict.calls) == ("promote", before, ROWS, 0)
    assert (verdict.guards[0].difference, verdict.changes) == (0.0, ())
    outcome = app.client.evaluations.outcomes(verdict.candidate_evaluation, limit=1).items[0]
    assert outcome.reused
    assert outcome.cost == 0.0
    app.client.traces.show(outcome.trace)


def test_a_change_of_the_prompt_calls_again_for_every_row(app: App) -> None:
    app.release()
    app.edit("prompts/note.md", "Note this.", "Note that.")
    app.push()
    job = app.gate()
    assert (job.plan.can_differ, job.plan.calls, job.verdict.identical, job.verdict.calls) == (ROWS, ROWS, 0, ROWS)
    assert job.verdict.decision == "promote"


def test_worse_is_blocked_and_says_on_which_rows(app: App) -> None:
    app.release()
    app.mistakes(3)
    verdict = app.gate().verdict
    assert verdict.decision == "block"
    assert verdict.exit_code == 1
    guard = verdict.guards[0]
    assert guard.difference == pytest.approx(-0.3)
    assert guard.interval.high < -0.08
    assert len(verdict.changes) == 3 * ROWS // 10
    assert (verdict.changes[0].base, verdict.changes[0].candidate, verdict.changes[0].label) == (1.0, 0.0, "question 0")


def test_a_little_worse_is_neither(app: App) -> None:
    app.release()
    app.edit("app.py", "number % 10 < MISTAKES", "number % 20 == 0")
    app.push()
    verdict = app.gate().verdict
    assert (verdict.decision, verdict.exit_code) == ("inconclusive", 3)
    assert verdict.guards[0].sentence
    with pytest.raises(Forbidden, match="said inconclusive"):
        app.client.releases.promote("answer")


def test_what_production_runs_already_needs_no_gate(app: App) -> None:
    app.release()
    with pytest.raises(Conflict, match="runs already"):
        app.client.gates.start("answers")


def test_a_verdict_counts_only_against_what_it_compared_with(app: App) -> None:
    app.release()
    app.edit("app.py", '"""Answer."""', 'assert question\n    """Answer."""')
    candidate = app.push()
    verdict = app.gate().verdict
    assert verdict.decision == "promote"
    other = app.mistakes(1)
    app.client.releases.promote("answer", digest=other.partition("@")[2], override="the night shift asked for it")
    for how in ({}, {"verdict": verdict.id}, {"digest": candidate.partition("@")[2]}):
        if not how:
            continue
        with pytest.raises(Conflict, match="moved since"):
            app.client.releases.promote("answer", **how)


def test_a_candidate_that_fails_on_every_row_ends_the_gate_with_its_error(app: App) -> None:
    app.release()
    app.edit("app.py", "    note(text=question)", "    import not_there")
    app.push()
    job = app.gate()
    assert job.status == "failed"
    assert job.verdict is None
    assert "rows all failed alike" in job.error["error"]["message"]
    assert "not_there" in job.error["error"]["message"]
    assert app.client.evaluations.list().items[0].status == "failed"


def test_rows_that_fail_are_unmeasured_and_speak_against_promotion(app: App) -> None:
    app.release()
    app.edit("app.py", "    note(text=question)", "    note(text=question)\n    assert number % 5, 'no'")
    app.push()
    verdict = app.gate().verdict
    guard = verdict.guards[0]
    assert (guard.unmeasured, guard.measured, guard.difference) == (ROWS // 5, ROWS - ROWS // 5, 0.0)
    assert verdict.decision == "inconclusive"
    failed = app.client.evaluations.outcomes(verdict.candidate_evaluation, only="failed").items
    assert len(failed) == ROWS // 5
    assert failed[0].scores[0].value is None
    assert "no" in failed[0].error
    (failure,) = verdict.failures
    assert (failure.rows, failure.row) == (ROWS // 5, "r0000")
    assert "AssertionError: no" in failure.error


def test_what_fails_before_it_asks_anything_met_no_same_request(app: App) -> None:
    app.release()
    app.edit("app.py", "    note(text=question)", "    assert number % 5, f'no {question}'\n    note(text=question)")
    app.push()
    job = app.gate()
    assert (job.plan.can_differ, job.verdict.identical) == (ROWS // 5, ROWS - ROWS // 5)
    (failure,) = job.verdict.failures  # alike, whatever each says of its row
    assert (failure.rows, "AssertionError: no question" in failure.error) == (ROWS // 5, True)


def test_rows_that_each_fail_in_their_own_words_fail_alike(app: App) -> None:
    app.release()
    app.edit("app.py", "    note(text=question)", "    raise ValueError(question)")
    app.push()
    job = app.gate()
    assert (job.status, job.verdict) == ("failed", None)
    assert "rows all failed alike: app.py:13: app:answer raised ValueError: question" in job.error["error"]["message"]


def test_a_new_suite_judges_production_again_without_asking_it_again(app: App) -> None:
    app.release()
    app.edit("app.py", "return float(output == row.expected)", "return float(output == row.expected) * 1.0")
    app.edit("app.py", 'return f"answer {number}"', 'return "answer " + str(number)')
    app.push()
    verdict = app.gate().verdict
    assert (verdict.calls, verdict.identical, verdict.decision) == (0, ROWS, "promote")


def test_a_gate_says_what_is_wrong_before_it_begins(app: App) -> None:
    app.push()
    with pytest.raises(NotFound, match="suite"):
        app.client.gates.start("answer")
    with pytest.raises(Invalid, match="no environment"):
        app.client.gates.start("answers", environment="prod")
    with pytest.raises(Invalid, match="is a chain"):
        app.client.gates.start("answers", "chain/answer")
    with pytest.raises(NotFound):
        app.client.gates.show("0000-none")


def test_rows_that_the_candidate_was_shown_do_not_test_it(app: App) -> None:
    """Its examples hold two of the questions, one word for word: they are left out in both arms, and named."""
    before = app.release()
    shown = [{"text": "question 3", "answer": "3"}, {"question": "question 7!"}, {"question": "question 70"}]
    examples = [{"key": f"e{n}", **row} for n, row in enumerate(shown, 1)]
    app.write("data/examples.jsonl", "".join(json.dumps(e) + "\n" for e in examples))
    app.write("prompts/note.md", "---\ninputs: {question: string}\nfewshot: ../data/examples.jsonl\n---\nuser: Note this. {{ question }}\n")
    app.edit("app.py", "note(text=question)", "note(question=question)")
    after = app.push()
    verdict = app.gate().verdict
    assert (verdict.base, verdict.candidate, verdict.rows) == (before, after, ROWS - 2)
    assert [(r.row, r.other, r.likeness) for r in verdict.left_out] == [("r0007", "e2", 1.0), ("r0070", "e3", 1.0)]
    assert verdict.left_out[0].where.startswith("fewshot/note-examples@")
    assert verdict.guards[0].measured == ROWS - 2
