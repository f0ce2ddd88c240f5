"""Scores that people and applications give: on disk before they are acknowledged, found where they belong, replaced and taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.store.test_span_scores import id_of

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Forbidden, Invalid, NotFound, WindlassError
from windlass.core.foreign_runs import run_trace
from windlass.core.ids import now_ns
from windlass.core.operations.datasets import HARVEST, HarvestRequest
from windlass.core.operations.figures import FIGURES, FiguresQuery
from windlass.core.operations.ledger import LEDGER, LedgerQuery
from windlass.core.operations.sessions import SESSION as SHOW_SESSION
from windlass.core.operations.sessions import SessionShow
from windlass.core.operations.traces import (
    GIVE_SCORE,
    LIVE,
    REMAP,
    TRACE,
    TRACES,
    WHY,
    LiveQuery,
    ScoreKept,
    ScoreRequest,
    Trace,
    TraceQuery,
    TraceRemap,
    TraceShow,
)
from windlass.core.span import EVALUATION, GIVEN, INPUT, KIND, RELEASE, SESSION, USER, Span
from windlass.platform import Platform
from windlass.settings import Settings
from windlass.store.home import Home
from windlass.store.journal import JournalReader
from windlass.store.segments import Position
from windlass.store.spans import ScoreQuery

APP = Actor("key/app", "caller")
ANN = Actor("ann", "developer")
RUN, OTHER, LATE = id_of("run"), id_of("other"), id_of("late")
ROOT, STEP = "a1" * 8, "b2" * 8
RELEASED = "release/answer@sha256:aa"


class Scored:
    """A platform with two runs of one session."""

    def __init__(self, home: Path) -> None:
        self.home = Home(home)
        self.platform = Platform(self.home, Settings())
        self._loop = asyncio.new_event_loop()
        began = now_ns() - 60 * 10**9
        self.platform.records.record([*run(RUN, began), *run(OTHER, began + 10**9)])

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    def give(self, actor: Actor = APP, **asked: Any) -> ScoreKept:
        given = {"name": "helpful", "trace": RUN} | asked
        return self.do(self.platform.ask(GIVE_SCORE, actor, ScoreRequest(**given)))

    def show(self, trace: str = RUN) -> Trace:
        return self.do(self.platform.ask(TRACE, OWNER, TraceShow(trace)))

    def said(self, trace: str = RUN) -> list[tuple[Any, ...]]:
        return [(s.by, s.name, s.value, s.comment, s.span) for s in self.show(trace).scores]

    def close(self) -> None:
        self.do(self.platform.close())
        self._loop.close()


def run(trace: str, began: int, **more: Any) -> list[Span]:
    told = {KIND: "request", RELEASE: RELEASED, SESSION: "talk", USER: "user-1", INPUT: '"when?"'} | more
    root = Span(trace, ROOT, "run answer", began, began + 10**9, status="ok", attributes=told)
    inner = {KIND: "retrieval", SESSION: "talk", USER: "user-1"} | more
    step = Span(trace, STEP, "search", began, began + 10**8, ROOT, "ok", attributes=inner)
    return [root, step]


@pytest.fixture
def scored(tmp_path: Path) -> Iterator[Scored]:
    made = Scored(tmp_path / "home")
    yield made
    made.close()


def test_a_score_is_told_with_its_trace_and_changes_nothing_else_of_it(scored: Scored) -> None:
    before = scored.show().summary
    kept = scored.give(value=True, comment="  it says when\n")
    scored.give(value=0.25, span=STEP, name="relevant")
    scored.give(ANN, value="too long", name="tone", trace=RUN[:8])
    scored.give(ANN, comment="Ask again.", name="comment")
    assert (kept.trace, kept.arrived, kept.score.by, kept.score.value, kept.score.span) == (RUN, True, "key/app", True, None)
    assert scored.said() == [
        ("ann", "comment", None, "Ask again.", None),
        ("ann", "tone", "too long", "", None),
        ("key/app", "relevant", 0.25, "", STEP),
        ("key/app", "helpful", True, "it says when", None),
    ]
    after = scored.show().summary
    assert after == before
    seen = scored.do(scored.platform.traces.scores(ScoreQuery("default", "answer")))
    assert sorted((s.evaluator, s.value) for s in seen) == [("helpful", 1.0), ("relevant", 0.25)]
    assert scored.do(scored.platform.traces.scores(ScoreQuery("default", "answer", monitors=True))) == []


def test_a_score_that_was_given_elsewhere_and_before_has_its_own_time(scored: Scored) -> None:
    before = scored.show().summary
    at = before.start_ns + 10**9
    for _ in range(2):
        assert scored.give(value=True, id="theirs 7", at_ns=at).score.at_ns == at
    early = scored.give(value=0.5, id="theirs 8", name="early", at_ns=before.start_ns - 10**9)
    assert early.score.at_ns == before.start_ns, "a clock that is behind does not move when the run began"
    assert scored.show().summary == before and len(scored.said()) == 2
    (line,) = [e for e in scored.do(scored.platform.ask(LEDGER, OWNER, LedgerQuery("default", 0))).items if e.again]
    assert line.again == 1, "the same given again is dropped"
    for at in (0, -5, now_ns() + 10**12):
        with pytest.raises(Invalid, match="a time that has come"):
            scored.give(value=True, at_ns=at)


def test_the_same_again_replaces_and_only_who_gave_it_takes_it_back(scored: Scored) -> None:
    for value in (0.0, False, 0.5):
        scored.give(value=value)
    scored.give(ANN, value=1)
    scored.give(value=0.75, span=ROOT)  # the outermost step is the run
    assert [s[:3] for s in scored.said()] == [("key/app", "helpful", 0.75), ("ann", "helpful", 1.0)]
    with pytest.raises(NotFound, match="you gave no score 'tone'"):
        scored.give(ANN, name="tone", withdraw=True)
    assert scored.give(ANN, withdraw=True).withdrawn
    assert [s[:3] for s in scored.said()] == [("key/app", "helpful", 0.75)]
    with pytest.raises(NotFound, match="you gave no score"):
        scored.give(ANN, withdraw=True)
    scored.give(ANN, value=0.1)
    assert [s[:3] for s in scored.said()] == [("ann", "helpful", 0.1), ("key/app", "helpful", 0.75)]
    for id, value in (("one", 1), ("two", 2), ("one", 3)):
        scored.give(name="stars", value=value, id=id)
    assert sorted(s[2] for s in scored.said() if s[1] == "stars") == [2.0, 3.0]


def test_a_score_may_come_before_its_trace(scored: Scored) -> None:
    kept = scored.give(trace=LATE, value=True, comment="fast")
    assert not kept.arrived
    assert not scored.give(trace=LATE, value="plain", name="tone").arrived, "a score alone is no trace that has come"
    assert scored.do(scored.platform.ask(LIVE, OWNER, LiveQuery())).requests == 2, "a score is no request"
    scored.platform.records.record(run(LATE, now_ns()))
    assert scored.show(LATE).summary.name == "run answer"
    scored.give(trace=LATE, value=False)
    assert [s[:3] for s in scored.said(LATE)] == [("key/app", "helpful", False), ("key/app", "tone", "plain")]
    with pytest.raises(NotFound, match="there is no trace 6c61") as refused:
        scored.give(ANN, trace="6c61746f", value=True)
    assert refused.value.remedy
    with pytest.raises(NotFound, match="there is no trace"):
        scored.give(trace="0" * 32, value=True)


def test_a_session_has_scores_of_its_own(scored: Scored) -> None:
    with pytest.raises(NotFound, match="there is no session 'other'") as refused:
        scored.give(trace=None, session="other", value=True)
    assert "once a run of it is here" in refused.value.remedy
    assert scored.give(trace=None, session="talk", value=0.5).trace == OTHER, "its newest run"
    scored.platform.records.record(run(LATE, now_ns()))
    assert scored.give(trace=None, session="talk", value=1).trace == LATE
    scored.give(trace=LATE, value=False, name="of the run")

    def told() -> list[tuple[Any, ...]]:
        session = scored.do(scored.platform.ask(SHOW_SESSION, OWNER, SessionShow("talk")))
        return [(s.by, s.name, s.value, s.session) for s in session.scores]

    assert told() == [("key/app", "helpful", 1.0, "talk")]
    seen = scored.do(scored.platform.traces.scores(ScoreQuery("default", "answer")))
    assert [(s.evaluator, s.value) for s in seen] == [("of the run", 0.0)], "a session is no run"
    scored.give(trace=None, session="talk", withdraw=True)
    assert told() == []
    with pytest.raises(NotFound, match="you gave no score"):
        scored.give(trace=None, session="talk", withdraw=True)


def test_a_trace_of_which_only_a_score_has_come_can_be_asked_for(scored: Scored) -> None:
    scored.give(trace=LATE, value=True)
    shown = scored.show(LATE)
    assert (shown.summary.spans, shown.summary.kind, len(shown.scores)) == (0, "evaluator", 1)
    session = scored.do(scored.platform.ask(SHOW_SESSION, OWNER, SessionShow(LATE)))
    assert [len(run.scores) for run in session.runs] == [1]
    assert scored.do(scored.platform.ask(WHY, OWNER, TraceShow(LATE))).release is None
    with pytest.raises(Invalid, match="no input"):
        scored.do(scored.platform.ask(HARVEST, OWNER, HarvestRequest("dataset/rows", (LATE,))))


def test_reading_anew_changes_no_score(scored: Scored) -> None:
    scored.give(value=True, comment="says when")
    scored.give(value="plain", name="tone", span=STEP)
    before = scored.show()
    while not (told := scored.do(scored.platform.ask(REMAP, OWNER, TraceRemap()))).finished:
        pass
    assert (told.changed, scored.show()) == ({}, before)


def test_it_belongs_to_the_evaluation_of_its_run(scored: Scored) -> None:
    scored.platform.records.record(run(LATE, now_ns(), **{EVALUATION: "e1"}))
    scored.give(trace=LATE, value=True)
    listed = scored.do(scored.platform.ask(TRACES, OWNER, TraceQuery())).items
    assert {t.trace_id for t in listed} == {RUN, OTHER}


def test_a_score_of_a_run_as_a_whole_is_in_no_list_of_traces(scored: Scored) -> None:
    trace = run_trace("default", "r1")
    kept = scored.give(trace=None, run="r1", value=0.5, comment="of all")
    assert (kept.trace, kept.arrived) == (trace, False)
    assert scored.said(trace) == [("key/app", "helpful", 0.5, "of all", None)]
    for evaluation in (None, "*"):
        listed = scored.do(scored.platform.ask(TRACES, OWNER, TraceQuery(evaluation=evaluation))).items
        assert {t.trace_id for t in listed} == {RUN, OTHER}
    assert scored.do(scored.platform.ask(FIGURES, OWNER, FiguresQuery())).whole.traces == 2
    scored.give(trace=None, run="r1", value=0.25)
    assert [value for _, _, value, _, _ in scored.said(trace)] == [0.25], "the same again replaces"
    scored.give(trace=None, run="r1", withdraw=True)
    assert scored.said(trace) == []
    with pytest.raises(NotFound, match="gave no score"):
        scored.give(trace=None, run="r2", withdraw=True)


def test_what_is_no_score_is_refused_with_a_way_out(scored: Scored) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"value": float("nan")}, "finite"),
        ({"value": float("-inf"), "comment": "x"}, "finite"),
        ({"value": -1e300}, "too large"),
        ({}, "neither a value nor a comment"),
        ({"comment": " \n "}, "neither a value nor a comment"),
        ({"value": 1, "name": ""}, "no name of a score"),
        ({"value": 1, "name": " x"}, "no name of a score"),
        ({"value": 1, "name": "a\nb"}, "no name of a score"),
        ({"value": 1, "name": "a<b"}, "no name of a score"),
        ({"value": 1, "name": "x" * 101}, "no name of a score"),
        ({"value": ""}, "no category"),
        ({"value": "x" * 201}, "no category"),
        ({"value": "a\tb"}, "no category"),
        ({"value": 1, "comment": "x" * 10_001}, "at most 10,000"),
        ({"value": 1, "id": ""}, "no id"),
        ({"value": 1, "trace": None}, "one trace, session or run"),
        ({"value": 1, "session": "talk"}, "one trace, session or run"),
        ({"value": 1, "trace": None, "session": "talk", "span": STEP}, "part of a trace"),
        ({"value": 1, "trace": None, "session": " "}, "needs a name"),
        ({"value": 1, "run": "r"}, "one trace, session or run"),
        ({"value": 1, "trace": None, "run": "r", "session": "talk"}, "one trace, session or run"),
        ({"value": 1, "trace": None, "run": "r", "span": STEP}, "part of a trace"),
        ({"value": 1, "trace": None, "run": ""}, "no id of a run"),
        ({"value": 1, "withdraw": True}, "not both"),
        ({"value": 1, "span": "xyz1"}, "not a span id"),
        ({"value": 1, "span": "0" * 16}, "not a span id"),
        ({"value": 1, "span": "ff00"}, "no span of this trace"),
    ]
    for asked, why in wrong:
        with pytest.raises((Invalid, NotFound), match=why):
            scored.give(**asked)
    with pytest.raises(Invalid, match="not a trace id"):
        scored.give(ANN, value=1, trace="not hex")
    assert scored.said() == []
    assert scored.give(value=1, span=STEP[:4]).score.span == STEP


def test_who_may_give_one(scored: Scored) -> None:
    with pytest.raises(Forbidden, match="may not trace"):
        scored.give(Actor("reader", "viewer"), value=1)
    with pytest.raises(Forbidden, match="may not read"):
        scored.give(value=1, trace=RUN[:8])
    with pytest.raises(Forbidden, match="belongs to project shop"):
        scored.give(Actor("key/shop", "caller", "shop"), value=1)
    assert scored.said() == []


def test_it_is_masked_and_on_disk_before_it_is_acknowledged(scored: Scored) -> None:
    secret = "sk-ant-api03-Zx81Qw62Er43Ty24Ui05Op96As87Df"
    scored.show()  # everything before is on disk
    (end,) = [JournalReader(scored.home.path / "journal").end(w) for w in ("command",)]
    scored.give(value=f"said {secret}", comment=f"it told me {secret}", name="leak")
    records = JournalReader(scored.home.path / "journal").read("command", end)
    assert len(records) == 1 and b"it told me" in records[0].payload and GIVEN.encode() in records[0].payload
    assert secret.encode() not in records[0].payload
    everything = b"".join(r.payload for r in JournalReader(scored.home.path / "journal").read("command", Position(0, 0)))
    assert secret.encode() not in everything
    ((_, name, value, comment, _),) = scored.said()
    assert (name, value, comment) == ("leak", "said [masked:api-key]", "it told me [masked:api-key]")


def test_a_journal_that_cannot_keep_it_says_so(scored: Scored) -> None:
    scored.show()
    scored.platform.journal.close()
    with pytest.raises(WindlassError) as refused:
        scored.give(value=1)
    assert refused.value.code == "unavailable"
