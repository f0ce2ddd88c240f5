"""Scores that people and applications gave, as both stores of spans tell them."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from tests.store.test_spans_stores import NOW, SECOND, id_of, span

from windlass.core.errors import Invalid
from windlass.core.operations.traces import LiveQuery, ScoreGiven, TraceQuery, TraceShow
from windlass.core.span import ACTOR, EXPLANATION, GIVEN, GIVEN_TO, LABEL, SCORE, SCORED, SESSION
from windlass.store.segments import Position
from windlass.store.spans import ScoreQuery, SpanRow


def given(trace: str, number: int, name: str, kind: str, at: int, of: str = "trace", **said) -> SpanRow:
    """A score that somebody gave, as `traces/scoring.py` has it written."""
    told = {
        "release": "release/answer@sha256:aa",
        "environment": "production",
        "kind": "evaluator",
        "digest": f"{at:x}",
        "receipt_ns": at,
        "end_ns": at,
    }
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
    assert (first.summary.duration_ns, first.summary.spans) == (SECOND + 3, 4), "a run is its own steps"
    assert [len(store.traces(TraceQuery(slower_than_ms=ms)).items) for ms in (500, 1500)] == [1, 0]
    assert store.live(LiveQuery(hours=10**6)).requests == 1
    store.close()


@pytest.mark.parametrize("limit", [2, 50])
def test_traces_are_found_by_what_their_scores_are_now(spans, limit):
    store = spans()
    rnd = random.Random(3)
    now: dict[str, dict[str, Any]] = {}
    rows: list[SpanRow] = []
    for n in range(120):
        trace, began = f"t{n}", NOW + rnd.randrange(900) * SECOND
        rows += [span(trace, 1, None, began), span(trace, 2, f"{1:016x}", began, kind="model", model="m")]
        now[trace] = {}
        for _ in range(rnd.randrange(4)):
            name, at = rnd.choice(["helpful", "helpful", "tone"]), began + len(rows) * SECOND
            kind, said = rnd.choice([
                ("number", {SCORE: rnd.choice([0.25, 0.75])}), ("boolean", {SCORE: 1.0, LABEL: "true"}),
                ("boolean", {SCORE: 0.0, LABEL: "false"}), ("category", {LABEL: "plain"}), ("comment", {EXPLANATION: "x"}),
                ("withdrawn", {}),
            ])  # fmt: skip
            rows.append(given(trace, 3 if name == "helpful" else 4, name, kind, at, rnd.choice(["trace", "span"]), **said))
            now[trace][name] = None if kind == "withdrawn" else said
        if rnd.random() < 0.2:
            rows.append(given(trace, 5, "helpful", "number", began + SECOND, "session", **{SCORE: 0.0, SESSION: "s"}))
    order = list(range(len(rows)))
    rnd.shuffle(order)
    for day, some in enumerate((order[:200], order[200:])):
        store.write(f"2027-01-0{1 + day}", [rows[n] for n in some], "w", Position(1, day))
    cases = {
        "helpful": ("helpful", lambda s: True),
        "helpful<0.5": ("helpful", lambda s: s.get(SCORE, 9) < 0.5),
        "helpful >= 0.75": ("helpful", lambda s: s.get(SCORE, -9) >= 0.75),
        "helpful=0.25": ("helpful", lambda s: s.get(SCORE) == 0.25),
        "helpful = No": ("helpful", lambda s: s.get(LABEL) == "false"),
        "tone=yes": ("tone", lambda s: s.get(LABEL) == "true"),
        "tone=plain": ("tone", lambda s: s.get(LABEL) == "plain"),
        "other": ("other", lambda s: True),
    }
    for asked, (name, fits) in cases.items():
        wanted = {id_of(trace) for trace, scores in now.items() if scores.get(name) is not None and fits(scores[name])}
        found: list[str] = []
        query = TraceQuery(score=asked, limit=limit, model="m")
        while True:
            page = store.traces(query)
            found += [t.trace_id for t in page.items]
            if page.next is None:
                break
            query.cursor = page.next
        assert (len(found), set(found)) == (len(wanted), wanted), asked
        assert wanted or name == "other", asked
    for asked in ("<1", "helpful<plain", "helpful<", "a!b", " ", "helpful=="):
        with pytest.raises(Invalid, match=r"no condition|no number") as refused:
            store.traces(TraceQuery(score=asked))
        assert refused.value.remedy
    store.close()
