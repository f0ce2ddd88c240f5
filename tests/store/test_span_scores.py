"""Scores that people and applications gave, as both stores of spans tell them."""

from __future__ import annotations

import random

import msgspec
from tests.store.test_spans_stores import NOW, SECOND, id_of, span

from windlass.core.operations.traces import LiveQuery, ScoreGiven, TraceQuery, TraceShow
from windlass.core.span import ACTOR, EXPLANATION, GIVEN, GIVEN_TO, LABEL, SCORE, SCORED, SESSION
from windlass.store.journal import Position
from windlass.store.spans import ScoreQuery, SpanRow


def given(trace: str, number: int, name: str, kind: str, at: int, of: str = "trace", **said) -> SpanRow:
    """A score that somebody gave, as `traces/scoring.py` has it written."""
    told = {"release": "release/answer@sha256:aa", "environment": "production", "kind": "evaluator", "digest": f"{at:x}", "receipt_ns": at}
    attributes = {SCORED: name, GIVEN: kind, GIVEN_TO: of, ACTOR: "key/app"} | {k: v for k, v in said.items() if v is not None}
    return span(trace, number, "1" * 16, at, attributes=msgspec.json.encode(attributes).decode(), **told)


def test_what_people_gave_counts_beside_what_a_monitor_judged(spans):
    """One for each who gave it; comments, categories, what was withdrawn and what is of a session have no mean."""
    store = spans()
    said = {SCORED: "helpful", SCORE: 0.5}
    judge = {"release": "release/answer@sha256:aa", "environment": "production", "kind": "evaluator"}
    rows = [
        span("a", 1, "1" * 16, NOW, attributes=msgspec.json.encode(said).decode(), **judge),
        given("a", 2, "helpful", "number", NOW + 1, **{SCORE: 0.25}),
        given("a", 2, "helpful", "number", NOW + 2, **{SCORE: 0.75}),
        given("a", 3, "helpful", "boolean", NOW + 3, **{SCORE: 1.0}),
        given("a", 4, "tone", "category", NOW + 4, **{LABEL: "plain"}),
        given("a", 5, "comment", "comment", NOW + 5, **{EXPLANATION: "says when"}),
        given("a", 6, "helpful", "number", NOW + 6, **{SCORE: 9.0}),
        given("a", 6, "helpful", "withdrawn", NOW + 7),
        given("a", 7, "helpful", "number", NOW + 8, "session", **{SCORE: 9.0, SESSION: "s1"}),
    ]
    store.write("2027-01-02", rows[:4], "w", Position(1, 0))
    store.write("2027-01-03", rows[4:], "w", Position(1, 1))
    assert sorted(s.value for s in store.scores(ScoreQuery("default", "answer"))) == [0.5, 0.75, 1.0]
    assert [s.value for s in store.scores(ScoreQuery("default", "answer", monitors=True))] == [0.5]
    store.close()


def test_a_trace_tells_all_its_scores_on_every_page(spans):
    store = spans()
    rows = [span("a", n + 1, f"{1:016x}" if n else None, NOW + n) for n in range(4)]
    rows += [
        given("a", 11, "helpful", "boolean", NOW + 100 * SECOND, **{SCORE: 0.0, LABEL: "false"}),
        given("a", 11, "helpful", "boolean", NOW + 101 * SECOND, **{SCORE: 1.0, LABEL: "true", EXPLANATION: "says when"}),
        given("a", 12, "tone", "category", NOW + 102 * SECOND, "span", **{LABEL: "plain"}),
        given("a", 13, "stars", "number", NOW + 103 * SECOND, **{SCORE: 4}),
        given("a", 14, "gone", "number", NOW + 104 * SECOND, **{SCORE: 1.0}),
        given("a", 14, "gone", "withdrawn", NOW + 105 * SECOND),
        given("a", 15, "kept", "comment", NOW + 106 * SECOND, "session", **{EXPLANATION: "as a whole", SESSION: "s1"}),
    ]
    rnd = random.Random(1)
    rnd.shuffle(rows)
    store.write("2027-01-02", rows[:6], "w", Position(1, 0))
    store.write("2027-01-03", rows[6:], "w", Position(1, 1))
    who = {"by": "key/app", "given": True}
    expected = (
        ScoreGiven("kept", NOW + 106 * SECOND, comment="as a whole", session="s1", **who),
        ScoreGiven("stars", NOW + 103 * SECOND, 4.0, **who),
        ScoreGiven("tone", NOW + 102 * SECOND, "plain", span="1" * 16, **who),
        ScoreGiven("helpful", NOW + 101 * SECOND, True, "says when", **who),
    )
    first = store.trace(TraceShow(id_of("a"), limit=2))
    second = store.trace(TraceShow(id_of("a"), cursor=first.next))
    assert first.scores == second.scores == expected
    assert [type(s.value) for s in first.scores] == [type(None), float, str, bool]
    assert first.summary.duration_ns == SECOND + 3, "a run takes what its own steps take"
    assert [len(store.traces(TraceQuery(slower_than_ms=ms)).items) for ms in (500, 1500)] == [1, 0]
    assert store.live(LiveQuery(hours=10**6)).requests == 1
    store.close()
