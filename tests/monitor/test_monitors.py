"""Monitors on a real platform: what production asks, held against the rows it was let out by."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, select
from tests.monitor.shop import Shop

from windlass.core.errors import Conflict, Invalid, NotFound, Unavailable
from windlass.core.ids import now_ns, span_id, trace_id
from windlass.core.operations.monitors import MonitorState
from windlass.core.span import KIND, Span
from windlass.monitor.rounds import monitors_due
from windlass.store.meta import read
from windlass.store.tables import looks, sightings


def seen(shop: Shop) -> int:
    with read(shop.platform.engine) as c:
        return len(c.execute(select(sightings.c.trace)).all())


def told(shop: Shop) -> list[tuple[str, str]]:
    return [(e.event.kind, e.event.key) for e in shop.client.alerts.events().items]


def test_from_a_new_topic_to_rows_and_back_to_covered(shop: Shop) -> None:
    shop.let_out()
    made = shop.client.monitors.set("questions", "answers", sample=0.2)
    assert (made.watched, made.environment, made.status, made.look) == ("release/answer", "production", "idle", None)
    shop.ask(150)
    usual = shop.client.monitors.look("questions")
    assert usual.look and usual.look.call in ("covered", "too small to say") and usual.rows == 300
    assert told(shop) == []
    shop.ask(150, share_new=0.5)
    skewed = shop.client.monitors.look("questions")
    assert skewed.look and skewed.look.call == "skewed" and skewed.since_ns == usual.since_ns
    assert skewed.look.coverage and skewed.look.coverage.interval.low > 0.05
    detail = shop.client.monitors.show("questions")
    (topic,) = [t for t in detail.topics if t.topic.tier == "confirmed"]
    assert "crypto" in topic.topic.name and "crypto" in topic.exemplars[0].text
    assert [len([p for p in detail.points if p.run]), len(detail.looks)] == [300, 2]
    assert {p.outside for p in detail.points if p.run} == {True, False} and 0 < detail.kept < 1
    assert sorted(told(shop)) == [("skew", ""), ("topic", topic.topic.name)]
    shop.client.monitors.look("questions")
    assert len(told(shop)) == 2  # what was said is not said again

    # exemplars go to people, whose word makes rows; the same application is let out by them, and is watched anew
    added = shop.client.reviews.add("rows", [e.trace for e in topic.exemplars], reason=f"new topic: {topic.topic.name}")
    assert len(added.items) >= 3  # one that says what a row says makes none
    for id in added.items:
        shop.client.reviews.decide(id, {"topic": "crypto"})
    kept = shop.client.reviews.keep("rows", "crypto")
    assert len(shop.client.monitors.show("questions").topics) >= 1
    rows = [e.row for e in shop.client.monitors.show("questions").topics[0].exemplars]
    assert kept.ref and len([r for r in rows if r and r.startswith("rows#trace-")]) == len(added.items)


def test_watching_begins_anew_with_the_rows_that_let_production_out(shop: Shop) -> None:
    shop.let_out()
    shop.client.monitors.set("questions", "answers", sample=0)
    shop.ask(60)
    first = shop.client.monitors.look("questions")
    rows = (shop.folder / "data/rows.jsonl").read_text()
    shop.write("data/rows.jsonl", rows + '{"key": "more", "question": "May I pay by bitcoin?"}\n')
    shop.push()
    assert shop.client.monitors.look("questions").dataset == first.dataset  # pushed, and it let nothing out yet
    shop.edit("app.py", '"Sorry."', '"Sorry!"')
    shop.let_out()
    anew = shop.client.monitors.look("questions")
    assert anew.dataset != first.dataset and anew.since_ns and first.since_ns and anew.since_ns > first.since_ns
    assert "other rows" in anew.why_anew and anew.look and anew.look.seen == 0 and anew.look.call == "no traffic"
    assert not [p for p in shop.client.monitors.show("questions").points if p.run]  # the map has no run of before either
    shop.ask(3)
    assert (shop.client.monitors.look("questions").look or anew.look).seen == 3
    # another version let out by the same rows is the same test
    shop.edit("app.py", '"Sorry!"', '"Sorry, no."')
    shop.let_out()
    same = shop.client.monitors.look("questions")
    assert same.since_ns == anew.since_ns and same.look and same.look.seen == 3


def test_a_monitor_says_why_it_cannot_look_and_goes_on_when_it_can(shop: Shop) -> None:
    shop.push()
    shop.client.monitors.set("questions", "answers")
    with pytest.raises(NotFound, match="nothing of release/answer is in production yet"):
        shop.client.monitors.look("questions")
    assert told(shop) == [("monitor", "")]
    job = shop.gate()
    assert job.verdict and job.verdict.decision == "promote"
    shop.client.releases.promote("answer")
    shop.ask(2)
    state = shop.client.monitors.look("questions")
    assert state.problem is None and state.look and state.look.seen == 2
    shop.client.monitors.set("questions", "answers", encoder="minilm")
    with pytest.raises(Unavailable, match="minilm is not installed"):
        shop.client.monitors.look("questions")
    assert seen(shop) == 2  # what there was is not lost
    back = shop.client.monitors.set("questions", "answers")
    assert back.look is None
    again = shop.client.monitors.look("questions")
    assert again.look and again.look.seen == 2 and again.problem is None


def test_few_rows_are_too_few_and_it_is_said_how_many_would_do(tmp_path) -> None:
    shop = Shop(tmp_path, 24)
    shop.edit("app.py", "w.at_least(0.6), polite: w.at_least(0.6)", "w.at_least(0.1)")
    shop.let_out()
    shop.client.monitors.set("questions", "answers", sample=0)
    shop.ask(30, share_new=1.0)
    state = shop.client.monitors.look("questions")
    assert state.look and state.look.call == "too small to say" and "24 rows" in state.look.sentence
    assert shop.client.monitors.show("questions").topics == () and told(shop) == []
    shop.close()


def test_looks_at_once_count_nothing_twice(shop: Shop) -> None:
    shop.let_out()
    shop.client.monitors.set("questions", "answers", sample=0)
    shop.ask(40)

    async def race() -> None:
        await asyncio.gather(*(shop.platform.works.by_kind()["monitor"]("default", f"questions {n}") for n in range(4)))

    shop.transport.run(race())
    state = shop.client.monitors.show("questions").monitor
    assert state.look and state.look.seen == 40 and seen(shop) == 40
    with read(shop.platform.engine) as c:
        assert len(c.execute(select(looks.c.id)).all()) == 1


def test_a_full_disk_keeps_nothing_of_a_look_and_the_next_counts_all_of_it(shop: Shop) -> None:
    shop.let_out()
    shop.client.monitors.set("questions", "answers", sample=0)
    shop.ask(4)
    shop.client.monitors.look("questions")
    shop.ask(400)
    engine = shop.platform.engine

    def full(connection: sqlite3.Connection, *_: object) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def roomy(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1000000000")

    event.listen(engine, "checkout", full)
    with pytest.raises(Unavailable, match="the disk is full; nothing was changed"):
        shop.transport.run(shop.platform.works.by_kind()["monitor"]("default", "questions 1"))
    event.remove(engine, "checkout", full)
    event.listen(engine, "checkout", roomy)
    before = shop.client.monitors.show("questions").monitor
    assert before.look and before.look.seen == 4 and seen(shop) == 4
    state = shop.client.monitors.look("questions")
    assert state.problem is None and state.look and state.look.seen == 404 and seen(shop) == 404


def test_paused_it_sees_later_what_came_meanwhile(shop: Shop) -> None:
    shop.let_out()
    shop.client.monitors.set("questions", "answers", sample=0)
    assert shop.client.monitors.pause("questions").status == "paused"
    shop.ask(4)
    with pytest.raises(Conflict, match="is paused"):
        shop.client.monitors.look("questions")
    shop.transport.run(shop.platform.works.by_kind()["monitor"]("default", "questions 1"))
    assert shop.client.monitors.show("questions").monitor.look is None
    with read(shop.platform.engine) as c:
        assert monitors_due(c, now_ns(), 10**9) == []
    assert shop.client.monitors.pause("questions", False).status == "idle"
    with read(shop.platform.engine) as c:
        assert monitors_due(c, now_ns(), 10**9) == [("default", "questions")]
    state = shop.client.monitors.look("questions")
    assert state.look and state.look.seen == 4
    with read(shop.platform.engine) as c:
        assert monitors_due(c, now_ns(), 60 * 10**9) == []
        assert monitors_due(c, now_ns() + 61 * 10**9, 60 * 10**9) == [("default", "questions")]


def test_judges_of_production_show_when_it_falls(shop: Shop) -> None:
    shop.let_out()
    shop.client.monitors.set("questions", "answers", sample=1.0)
    shop.ask(30)
    (judge,) = shop.client.monitors.look("questions").judges
    assert (judge.name, judge.measured, judge.mean, judge.evaluated, judge.worse) == ("polite", 30, 1.0, 1.0, False)
    for n in range(60):
        shop.client.run("release/answer:production", f"a rude question {n}")
    (judge,) = shop.client.monitors.look("questions").judges
    assert judge.worse and judge.measured == 90 and judge.mean == pytest.approx(1 / 3)
    assert ("quality", "polite") in told(shop)
    found = shop.client.monitors.quality("answer")
    (series,) = found.series
    assert series.evaluator == "polite" and series.measured == 90 and series.release and len(found.moves) == 1
    assert sum(p.measured for p in series.points) == 90
    trace = shop.client.traces.list(search="rude", limit=1).items[0]
    names = [s.name for s in shop.client.traces.show(trace.trace_id).spans]
    assert "score polite" in names and "evaluator/polite" in names
    # the judgement is no run of production, and looking again judges no run twice
    assert shop.client.monitors.look("questions").judges[0].measured == 90


def test_what_people_say_is_quality_and_no_evidence_of_a_monitor(shop: Shop) -> None:
    shop.let_out()
    shop.client.monitors.set("questions", "answers", sample=1.0)
    shop.ask(12)
    shop.client.monitors.look("questions")
    run = shop.client.traces.list(limit=1).items[0].trace_id
    for n in range(60):  # by an application, of every kind
        shop.client.traces.score(run, "polite", False, id=f"p{n}")
    for stars in (4, 5):
        shop.client.traces.score(run, "stars", stars, id=f"s{stars}")
    shop.client.traces.score(run, "tone", "plain")
    (judge,) = shop.client.monitors.look("questions").judges
    assert (judge.measured, judge.mean, judge.worse) == (12, 1.0, False)
    found = {s.evaluator: s for s in shop.client.monitors.quality("answer").series}
    assert found.keys() == {"polite", "stars"}
    assert (found["polite"].measured, found["polite"].mean) == (72, pytest.approx(1 / 6))
    stars = found["stars"]
    assert (stars.measured, stars.unmeasured, stars.mean, stars.interval) == (2, 0, 4.5, None), "on a scale that nobody named"


def test_a_service_that_sends_its_own_traces_is_watched_too(shop: Shop) -> None:
    shop.push()
    shop.client.monitors.set("bot", "answers", service="shop-bot", sample=0)
    for n, service in enumerate(["shop-bot"] * 12 + ["other"] * 3):
        asked = json.dumps({"messages": [{"role": "user", "content": f"Where is my parcel {n}?"}]})
        given = {"service": service, "status": "ok", "attributes": {KIND: "chain", "input.value": asked}}
        shop.platform.records.record([Span(trace_id(), span_id(), "chat", now_ns(), now_ns() + 5, **given)])
    state = shop.client.monitors.look("bot")
    assert state.watched == "shop-bot" and state.look and state.look.seen == 12
    with read(shop.platform.engine) as c:
        assert "Where is my parcel 7?" in set(c.execute(select(sightings.c.text)).scalars())


def test_drift_is_of_the_runs_it_saw(shop: Shop) -> None:
    shop.let_out()
    shop.client.monitors.set("questions", "answers", sample=0)
    shop.ask(5)
    shop.client.monitors.look("questions")
    found = shop.client.monitors.drift("questions", hours=1)
    assert not found.drift.drifted and "below" in found.drift.sentence


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"suite": "nothing"}, "nothing"),
        ({"judges": ("right",)}, "needs a row"),
        ({"judges": ("helpful",)}, "has no evaluator 'helpful'"),
        ({"environment": "moon"}, "'moon' is no environment"),
        ({"release": "answer", "service": "bot"}, "not both"),
        ({"release": "nobody"}, "nobody"),
        ({"encoder": "word"}, "there is no encoder 'word'"),
        ({"name": "Not A Name"}, "is not a name"),
        ({"error": 0.7}, "error"),
        ({"sample": 2.0}, "sample"),
    ],
)
def test_what_is_asked_wrongly_is_said(shop: Shop, more: dict, said: str) -> None:
    shop.push()
    given = {"name": "questions", "suite": "answers"} | more
    with pytest.raises((Invalid, NotFound, ValueError), match=said):
        shop.client.monitors.set(**given)
    assert shop.client.monitors.list().items == ()


def test_what_is_watched_verifies(shop: Shop) -> None:
    """A monitor names its suite, and links to the version that it was when it was set; that is no fault of it."""
    shop.let_out()
    shop.client.monitors.set("questions", "answers")
    shop.client.alerts.set("letters", email=("a@b.example",), monitors=("questions",))
    assert shop.client.versions.verify().problems == ()


def test_changing_nothing_changes_nothing(shop: Shop) -> None:
    shop.let_out()
    first = shop.client.monitors.set("questions", "answers", sample=0)
    shop.ask(5)
    looked = shop.client.monitors.look("questions")
    again: MonitorState = shop.client.monitors.set("questions", "answers", sample=0)
    assert again == looked and again.ref == first.ref
    other = shop.client.monitors.set("questions", "answers", sample=0, tolerance=0.2)
    assert other.ref != first.ref and other.look is None


def test_setting_one_at_once_makes_one(shop: Shop) -> None:
    shop.push()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: shop.client.monitors.set("questions", "answers"), range(4)))
    assert len({m.ref for m in made}) == 1 and len(shop.client.monitors.list().items) == 1
