"""Review queues: what is taken in and what is refused by name, whose decisions count, and that what is kept is kept once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluate.application import App

from windlass.core.actor import OWNER, Actor
from windlass.core.digest import digest_bytes
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound, WindlassError
from windlass.core.operations.reviews import (
    Choice,
    Decision,
    NewReview,
    Review,
    ReviewAdd,
    ReviewDecide,
    ReviewKeep,
    ReviewPage,
    ReviewQuery,
    ReviewsQuery,
    ReviewState,
)
from windlass.evaluate.review_outcomes import agreement, said, settle
from windlass.evaluate.reviews import Reviews
from windlass.store.meta import read
from windlass.store.tables import review_decisions

ANN, BEN, CAT, DAN = (Actor(name, "developer") for name in ("ann", "ben", "cat", "dan"))


class Desk:
    """The application with something asked of it, and the queues."""

    def __init__(self, app: App) -> None:
        self.app = app
        app.push()

    @property
    def reviews(self) -> Reviews:
        return self.app.platform.reviews

    def ask(self, *numbers: int) -> list[str]:
        return [self.app.client.run("chain/answer", f"{topic(n)} {n}").trace for n in numbers]

    def add(self, *items: Any, queue: str = "rows", actor: Actor = OWNER, **more: Any) -> Any:
        made = tuple(i if isinstance(i, NewReview) else NewReview((i,)) for i in items)
        return self.app.transport.run(self.reviews.add(actor, ReviewAdd(queue, made, **more)))

    def decide(self, id: str, actor: Actor = ANN, **said: Any) -> Review:
        return self.reviews.decide(actor, ReviewDecide(id, **said))

    def show(self, id: str, actor: Actor = ANN) -> Review:
        return self.reviews.show(actor, ReviewQuery(id))

    def keep(self, queue: str = "rows", actor: Actor = OWNER) -> Any:
        return self.reviews.keep(actor, ReviewKeep(queue))

    def list(self, queue: str | None = "rows", state: Any = None, actor: Actor = ANN, **more: Any) -> ReviewPage:
        return self.reviews.list(actor, ReviewsQuery(queue, state, **more))

    def rows(self, dataset: str = "rows") -> dict[str, Any]:
        return {r["key"]: r for r in self.app.client.datasets.all(dataset)}


def topic(number: int) -> str:
    """Words that no other number has, so that no two are alike."""
    return " ".join(
        ["ropes", "sails", "masts", "knots", "keels", "tides", "winds", "maps"][number % 8] * (number // 8 + 1) for _ in range(3)
    )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    app = App(tmp_path, rows=4)
    yield Desk(app)
    app.close()


def pair(question: str, first: Any, second: Any, **more: Any) -> NewReview:
    return NewReview(input={"question": question}, outputs=(first, second), **more)


def test_a_trace_is_labelled_and_kept_as_a_row_that_is_found_from_both_ends(desk: Desk) -> None:
    (trace,) = desk.ask(100)
    added = desk.add(NewReview((trace[:8],), reason="new topic: masts", suggested={"expected": "answer 100"}), guidelines="Be exact.")
    (id,) = added.items
    found = desk.show(id)
    assert (found.state, found.queue.name, found.queue.dataset, found.queue.kind) == ("waiting", "rows", "dataset/rows", "label")
    assert (found.question, found.answers, found.trace) == ({"question": f"{topic(100)} 100"}, ("answer 100",), trace)
    assert (found.reason, found.suggested, found.queue.guidelines) == ("new topic: masts", {"expected": "answer 100"}, "Be exact.")
    assert [(f.name, f.type, f.required) for f in found.fields] == [("expected", "text", True)]
    assert len(found.examples) == 3 and found.can_decide and not found.free
    assert desk.list().queues[0].todo == 1
    decided = desk.decide(id[-8:], fields={"expected": "answer 100"})
    assert (decided.state, decided.mine and decided.mine.fields) == ("decided", {"expected": "answer 100"})
    assert trace not in str(desk.rows())
    kept = desk.keep()
    assert (kept.rows, kept.left, kept.keys) == (1, 0, (f"trace-{trace[:16]}",))
    row = desk.rows()[kept.keys[0]]
    assert row == {
        "key": f"trace-{trace[:16]}", "question": f"{topic(100)} 100", "expected": "answer 100",
        "origin": {"trace": trace, "review": id, "by": ["ann"]},
    }  # fmt: skip
    assert desk.app.client.traces.why(trace).rows == (f"rows#{kept.keys[0]}",)
    why = desk.app.client.versions.why_row("dataset/rows", kept.keys[0])
    assert (why.trace, why.changes[0].message) == (trace, "1 row from review")
    after = desk.show(id)
    assert (after.state, after.row, after.key) == ("kept", kept.ref, kept.keys[0])
    again = desk.keep()
    assert (again.ref, again.rows) == (kept.ref, 0)
    assert desk.app.client.versions.verify().problems == ()


def test_what_is_a_row_or_an_item_already_is_refused_by_name_and_the_rest_is_taken(desk: Desk) -> None:
    one, two, three, row, said_before = desk.ask(1, 2, 3, 4, 5)
    desk.app.client.datasets.harvest("rows", [row], {"expected": "x"})
    again = desk.app.client.run("chain/answer", f"{topic(5).upper()} 5").trace
    twin_of_row = desk.app.client.run("chain/answer", f"{topic(4)}, 4").trace
    desk.add(one)
    done = desk.add(one, two, two, row, twin_of_row, "ffffffff", said_before, again, NewReview((three,), suggested={"expectd": "x"}))
    assert len(done.items) == 2
    assert [p.partition(": ")[2] for p in done.problems[:-2]] == [
        "it is in the queue already, waiting", "it is named twice", f"it is row 'trace-{row[:16]}' already",
        done.problems[3].partition(": ")[2],
        "no row of the dataset has a field 'expectd'",
    ]  # fmt: skip
    assert "ffffffff" in done.problems[3] and done.problems[4].startswith(f"trace {three}")
    assert sorted(done.problems[-2:]) == sorted(
        [
            f"trace {twin_of_row}: it says what row 'trace-{row[:16]}' says",
            f"trace {again}: it says what 'trace-{said_before[:16]}' before it says",
        ]
    )
    waiting = desk.app.client.run("chain/answer", f"{topic(1)}; 1").trace
    with pytest.raises(Invalid, match=f"it says what 'trace-{one[:16]}' in the queue says") as e:
        desk.add(waiting)
    assert e.value.remedy == "nothing was added"


def test_what_nobody_can_ask_for(desk: Desk) -> None:
    trace, other = desk.ask(1, 2)
    (id,) = desk.add(trace).items
    for wrong, match in (
        ({"queue": "fewshot/rows"}, "a fewshot has no queue"), ({"queue": "rows:gold"}, "goes to the branch main"),
        ({"queue": "rows", "kind": "pair"}, "is one of labels"), ({"queue": "rows", "raters": 0}, "no number of people"),
        ({"queue": "rows", "raters": 10}, "no number of people"), ({"queue": "rows"}, "nothing to add"),
        ({"queue": "rows", "guidelines": "x" * 20_001}, "at most 20,000"),
    ):  # fmt: skip
        with pytest.raises(Invalid, match=match):
            desk.add(**wrong)
    with pytest.raises(Invalid, match="a label is of one trace"):
        desk.add(NewReview((trace, other)))
    for fields, match in (
        ({"expectd": "x"}, "no row of the dataset has a field 'expectd'"), ({"expected": 7}, "expected is a number"),
       
        ({}, "expected is missing"), ({"expected": None}, "expected is missing"), ({"key": "x", "expected": "x"}, "'key' cannot be set"),
        ({"origin": {}, "expected": "x"}, "'origin' cannot be set"), ({"expected": "x", "question": 2}, "question is a number"),
    ):  # fmt: skip
        with pytest.raises(Invalid, match=match):
            desk.decide(id, fields=fields)
    with pytest.raises(Invalid) as e:
        desk.decide(id, fields={"expectd": "x"})
    assert (e.value.where, e.value.remedy) == ("expectd", "did you mean 'expected'?")
    for said_, match in (
        ({}, "say one thing"), ({"choose": "first"}, "this is a label"), ({"skip": " "}, "say why"), ({"undo": True}, "nothing to undo"),
        ({"skip": "x", "undo": True}, "say one thing"),
    ):  # fmt: skip
        with pytest.raises(Invalid, match=match):
            desk.decide(id, **said_)
    assert desk.show(id).state == "waiting"
    with pytest.raises(Invalid, match="nothing is decided yet"):
        desk.keep()
    desk.add(queue="empty", raters=2)
    with pytest.raises(Invalid, match="the queue is empty"):
        desk.keep("empty")
    with pytest.raises(NotFound, match="there is no queue 'nowhere'"):
        desk.keep("nowhere")
    with pytest.raises(NotFound, match="no item"):
        desk.show("ffffffff")
    viewer, caller = Actor("eve", "viewer"), Actor("mal", "caller")
    assert not desk.show(id, viewer).can_decide
    for act in (
        lambda: desk.decide(id, viewer, skip="x"), lambda: desk.keep(actor=viewer), lambda: desk.add(other, actor=viewer),
        lambda: desk.list(actor=caller), lambda: desk.show(id, caller), lambda: desk.list(None, actor=caller),
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            act()


def test_a_decision_can_be_changed_until_it_was_kept(desk: Desk) -> None:
    one, two, three = desk.add(*desk.ask(1, 2, 3)).items
    desk.decide(one, fields={"expected": "wrong"})
    desk.decide(one, fields={"expected": "right"})
    desk.decide(two, skip="not about ships")
    desk.decide(three, fields={"expected": "gone"})
    assert desk.decide(three, undo=True).state == "waiting"
    assert desk.show(two).state == "aside"
    kept = desk.keep()
    assert (kept.rows, kept.left) == (1, 1) and desk.rows()[kept.keys[0]]["expected"] == "right"
    for said_ in ({"fields": {"expected": "late"}}, {"skip": "late"}, {"undo": True}):
        with pytest.raises(Conflict, match="it was kept"):
            desk.decide(one, **said_)
    assert desk.decide(two, fields={"expected": "after all"}).state == "decided"
    assert desk.keep().rows == 1


def test_fields_are_those_of_the_dataset_by_their_types(desk: Desk) -> None:
    rows = [
        {"key": f"k{i}", "question": f"q{i}", "symbols": ["a"] if i else [], "split": ["test", "dev"][i % 2], "hard": None, "weight": i / 2,
         "true": bool(i % 2), "meta": {"n": i}, "mixed": i if i % 2 else "text", **({"note": f"{i}"} if i < 5 else {})}
        for i in range(20)
    ]  # fmt: skip
    desk.app.client.datasets.edit("typed", rows)
    (id,) = desk.add(*desk.ask(7), queue="typed").items
    fields = {f.name: f for f in desk.show(id).fields}
    assert {n: (f.type, f.required) for n, f in fields.items()} == {
        "symbols": ("texts", True), "split": ("text", True), "hard": ("json", False), "weight": ("number", True), "true": ("truth", True),
        "meta": ("json", True), "mixed": ("json", True), "note": ("text", False),
    }  # fmt: skip
    assert fields["split"].choices == ("dev", "test") and fields["note"].choices == ()
    good = {"symbols": [], "split": "test", "weight": 3, "true": False, "meta": {}, "mixed": 4}
    for wrong, where in (({"symbols": [1]}, "symbols"), ({"symbols": "a"}, "symbols"), ({"weight": "3"}, "weight"), ({"true": 1}, "true")):
        with pytest.raises(Invalid) as e:
            desk.decide(id, fields=good | wrong)
        assert e.value.where == where
    desk.decide(id, fields=good)
    kept = desk.keep("typed")
    assert good.items() <= desk.rows("typed")[kept.keys[0]].items()


def test_a_new_dataset_is_made_of_what_people_say(desk: Desk) -> None:
    one, two = desk.ask(1, 2)
    (id, other) = desk.add(NewReview((one,), suggested={"symbols": ["a"], "good": True}), two, queue="dataset/fresh").items
    found = desk.show(id)
    assert found.free and [(f.name, f.type, f.required) for f in found.fields] == [("symbols", "texts", False), ("good", "truth", False)]
    desk.decide(id, fields={"anything": 7})
    desk.decide(other, fields={"anything": 8})
    kept = desk.keep("fresh")
    assert kept.rows == 2 and {r["anything"] for r in desk.rows("fresh").values()} == {7, 8}


def test_pairs_become_preferences_whichever_way_they_were_shown(desk: Desk) -> None:
    items = [pair(f"{topic(n)} {n}", f"good {n}", f"bad {n}", sources=("release/new", "release/old")) for n in range(24)]
    items[1:1] = [
        pair("same", "x", "x"),
        pair("empty", "x", ""),
        pair(f"{topic(0)} 0", "bad 0", "good 0"),
        NewReview(input="q", outputs=("x",)),
    ]
    added = desk.add(*items, queue="liked")
    assert len(added.items) == 24 and [p.partition(": ")[2] for p in added.problems] == [
        "both answers are the same, so there is nothing to choose", "one of the answers is empty", "it is named twice",
        "a pair is of two traces, or of one input and two outputs",
    ]  # fmt: skip
    orders = set()
    for number, id in enumerate(added.items):
        found = desk.show(id)
        assert found.sources == found.traces == () and "release/" not in str(found)
        first = found.answers[0].startswith("good")
        orders.add(first)
        choice: Choice = "tie" if number == 0 else "neither" if number == 1 else "first" if first else "second"
        done = desk.decide(id, choose=choice)
        assert done.state == ("aside" if number < 2 else "decided") and "release/" not in str(done)
    assert orders == {True, False}
    kept = desk.keep("liked")
    rows = desk.rows("liked")
    assert kept.rows == len(rows) == 22
    for row in rows.values():
        number = row["prompt"].rpartition(" ")[2]
        assert row.keys() == {"key", "prompt", "chosen", "rejected", "origin"}
        assert (row["chosen"], row["rejected"]) == (f"good {number}", f"bad {number}")
        assert (row["origin"]["chosen"], row["origin"]["rejected"], row["origin"]["by"]) == ("release/new", "release/old", ["ann"])
    shown = desk.show(added.items[5])
    assert dict(zip(shown.answers, shown.sources, strict=True)) == {"good 5": "release/new", "bad 5": "release/old"}
    with pytest.raises(Invalid, match="in the queue already, kept"):
        desk.add(items[-1], queue="liked")
    with pytest.raises(Invalid, match="this is a pair"):
        desk.decide(added.items[0], fields={"x": 1})


def test_two_traces_that_were_asked_the_same_are_a_pair(desk: Desk) -> None:
    before = desk.ask(10, 11)
    desk.app.mistakes(9)
    after = desk.ask(10, 11)
    done = desk.add(NewReview((before[0], after[0])), NewReview((before[0], after[1])), queue="liked", kind="pair")
    assert len(done.items) == 1 and "were asked different things" in done.problems[0]
    found = desk.show(done.items[0])
    assert set(found.answers) == {"answer 10", "something else"} and found.traces == ()
    desk.decide(done.items[0], choose="first" if found.answers[0] == "answer 10" else "second")
    (key,) = desk.keep("liked").keys
    row = desk.rows("liked")[key]
    assert (row["origin"]["trace"], row["origin"]["other"]) == (before[0], after[0])
    for trace in (before[0], after[0]):
        assert desk.app.client.traces.why(trace).rows == (f"liked#{key}",)


def test_a_majority_decides_and_another_settles_what_has_none(desk: Desk) -> None:
    agreed, argued = desk.add(*desk.ask(1, 2), raters=2).items
    assert desk.decide(agreed, ANN, fields={"expected": "a"}).state == "waiting"
    blind = desk.show(agreed, BEN)
    assert blind.given == 1 and blind.decisions == () and blind.outcome is None
    assert desk.list(actor=BEN).items[0].deciders == ()
    assert desk.decide(agreed, BEN, fields={"expected": "a"}).state == "decided"
    desk.decide(argued, ANN, fields={"expected": "a"})
    assert desk.decide(argued, BEN, fields={"expected": "b"}).state == "disputed"
    assert [desk.list(state="todo", actor=a).queues[0].todo for a in (ANN, BEN, CAT)] == [0, 0, 1]
    assert [i.id for i in desk.list(state="todo", actor=CAT).items] == [argued]
    assert {d.actor for d in desk.show(argued, CAT).decisions} == {"ann", "ben"}
    settled = desk.decide(argued, CAT, fields={"expected": "c"})
    assert settled.state == "decided" and settled.outcome and (settled.outcome.actor, settled.outcome.settles) == ("cat", True)
    with pytest.raises(Conflict, match="cat settled it"):
        desk.decide(argued, DAN, fields={"expected": "d"})
    assert desk.decide(argued, ANN, fields={"expected": "b"}).outcome == settled.outcome
    (queue,) = desk.list().queues
    assert queue.agreement and (queue.agreement.share, queue.agreement.items, queue.agreement.fields) == (1.0, 2, {"expected": 1.0})
    assert desk.decide(argued, CAT, undo=True).state == "decided"  # by then the others agree
    desk.decide(argued, ANN, fields={"expected": "a"})
    (queue,) = desk.list(None).queues
    assert queue.agreement and (queue.agreement.share, queue.agreement.items) == (0.5, 2) and queue.counts == {"decided": 1, "disputed": 1}
    kept = desk.keep()
    assert (kept.rows, kept.left) == (1, 1) and desk.rows()[kept.keys[0]]["origin"]["by"] == ["ann", "ben"]
    desk.add(raters=1)
    assert desk.show(argued).state == "disputed"  # both were said, so nothing is forgotten


def test_more_people_than_wanted_are_heard(desk: Desk) -> None:
    (id,) = desk.add(*desk.ask(1)).items
    desk.decide(id, ANN, fields={"expected": "a"})
    assert desk.decide(id, BEN, fields={"expected": "b"}).state == "disputed"
    assert desk.decide(id, CAT, fields={"expected": "b"}).outcome.settles  # type: ignore[union-attr]
    desk.add(raters=3)
    assert desk.show(id).state == "decided"


decisions = st.lists(st.sampled_from(["a", "b", "c", "skip"]), max_size=6)


@given(decisions, st.integers(1, 4))
def test_only_more_than_half_of_enough_people_decide(says: list[str], raters: int) -> None:
    made = [
        Decision(f"p{i}", i, skip="why") if s == "skip" else Decision(f"p{i}", i, fields={"x": s}) for i, s in enumerate(says)
    ]  # fmt: skip
    state, outcome = settle(made, raters)
    most = max((says.count(s) for s in says), default=0)
    expected: ReviewState = "waiting" if len(says) < raters or not says else "disputed" if 2 * most <= len(says) else "decided"
    if outcome and outcome.skip:
        assert expected == "decided" and state == "aside"
    else:
        assert state == expected
    assert (outcome is None) == (expected != "decided")
    assert outcome is None or 2 * sum(said(d) == said(outcome) for d in made) > len(made)


def test_agreement_says_on_how_many_items_it_rests() -> None:
    def label(who: str, **fields: Any) -> Decision:
        return Decision(who, 1, fields=fields)

    assert agreement([]) is None
    assert agreement([[label("a", x=1)], [label("a", x=1), Decision("b", 1, skip="?")]]) is None
    found = agreement(
        [
            [label("a", x=1, y=1), label("b", x=1, y=2)],
            [label("a", x=1), label("b", x=1), label("c", x=2), Decision("d", 1, fields={"x": 9}, settles=True)],
        ]
    )
    assert found and (found.share, found.items, found.fields) == (round(1 / 6, 4), 2, {"x": round(2 / 3, 4), "y": 0.0})


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Done by threads that start together; what each came to, errors too."""
    barrier, came = threading.Barrier(len(works)), [None] * len(works)

    def work(place: int) -> None:
        barrier.wait()
        try:
            came[place] = works[place]()
        except WindlassError as e:
            came[place] = e

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return came


def test_raters_at_once_are_both_heard(desk: Desk) -> None:
    ids = desk.add(*desk.ask(*range(1, 9)), raters=2).items
    for id in ids:
        came = at_once(*(lambda who=who, id=id: desk.decide(id, who, fields={"expected": who.id}) for who in (ANN, BEN)))
        assert all(isinstance(c, Review) for c in came), came
        found = desk.show(id)
        assert found.state == "disputed" and {(d.actor, d.fields["expected"]) for d in found.decisions} == {("ann", "ann"), ("ben", "ben")}  # type: ignore[index]
        settled = at_once(*(lambda who=who, id=id: desk.decide(id, who, fields={"expected": who.id}) for who in (CAT, DAN)))
        assert sorted(type(c).__name__ for c in settled) == ["Conflict", "Review"]


def test_keepers_and_raters_at_once_lose_nothing_and_double_nothing(desk: Desk) -> None:
    ids = desk.add(*desk.ask(*range(1, 25))).items
    said_: dict[str, str] = {}

    def rate(who: Actor, some: tuple[str, ...]) -> None:
        for round_ in range(3):
            for id in some:
                try:
                    desk.decide(id, who, fields={"expected": f"{id} {round_}"})
                    said_[id] = f"{id} {round_}"
                except Conflict:
                    pass

    def keep() -> list[Any]:
        kept = []
        for _ in range(12):
            try:
                kept.append(desk.keep())
            except Invalid:
                pass
        return kept

    *_, first, second = at_once(lambda: rate(ANN, ids[:12]), lambda: rate(BEN, ids[12:]), keep, keep)
    last = desk.keep()
    rows = {r["origin"]["review"]: r["expected"] for r in desk.rows().values() if "origin" in r}
    assert rows == said_
    keys = [key for kept in (*first, *second, last) for key in kept.keys]
    assert sorted(keys) == sorted(set(keys)) and len(keys) == len(ids)
    assert {desk.show(id).state for id in ids} == {"kept"} and len(desk.rows()) == 4 + len(ids)
    assert desk.app.client.versions.verify().problems == ()


KILLED = """
import os, signal, sys
from pathlib import Path
from windlass.core.actor import OWNER
from windlass.core.operations.reviews import ReviewDecide, ReviewKeep
from windlass.platform import Platform
from windlass.registry import labels
from windlass.settings import Settings
from windlass.store.home import Home

reviews = Platform(Home(Path(sys.argv[1])), Settings()).reviews
for id in sys.argv[3:]:
    reviews.decide(OWNER, ReviewDecide(id, {"expected": "said " + id}))
    print(id, flush=True)
if sys.argv[2] == "between":
    os.kill(os.getpid(), signal.SIGKILL)
moved = labels.move_label
def killed(*arguments, **more):
    moved(*arguments, **more)
    os.kill(os.getpid(), signal.SIGKILL)
labels.move_label = killed
reviews.keep(OWNER, ReviewKeep("rows"))
"""


@pytest.mark.parametrize("when", ["between", "while it is kept"])
def test_whoever_is_killed_has_lost_nothing_that_was_acknowledged(desk: Desk, when: str) -> None:
    ids = desk.add(*desk.ask(1, 2, 3)).items
    command = [sys.executable, "-c", KILLED, str(desk.app.home.path), when, *ids]
    desk.app.close()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    desk.app.open()
    assert done.returncode == -9 and done.stdout.split() == list(ids), done.stderr
    assert len(desk.rows()) == 4 and {desk.show(id).state for id in ids} == {"decided"}
    assert desk.keep().rows == 3
    assert {r["expected"] for r in desk.rows().values() if "origin" in r} == {f"said {id}" for id in ids}
    assert desk.keep().rows == 0 and len(desk.rows()) == 7


def test_queues_and_items_come_in_pages(desk: Desk) -> None:
    ids = desk.add(*(pair(f"{topic(n)} {n}", "a", "b") for n in range(7)), queue="many").items
    for name in ("alpha", "beta"):
        desk.add(queue=name, guidelines="x")
    first = desk.list(None, limit=2)
    assert [q.name for q in first.queues] == ["alpha", "beta"]
    assert [q.name for q in desk.list(None, limit=2, cursor=first.next).queues] == ["many"]
    seen, cursor = [], None
    while True:
        page = desk.list("many", "waiting", limit=3, cursor=cursor)
        seen += [i.id for i in page.items]
        if (cursor := page.next) is None:
            break
    assert seen == list(ids)
    middle = desk.show(ids[3])
    assert (middle.previous, middle.following, middle.todo) == (ids[2], ids[4], ids[4])
    last = desk.show(ids[-1])
    assert (last.previous, last.following, last.todo) == (ids[-2], None, ids[0])


def test_the_record_says_who_decided_what(desk: Desk) -> None:
    (id,) = desk.add(*desk.ask(1)).items
    desk.decide(id, ANN, fields={"expected": "a"})
    desk.decide(id, ANN, fields={"expected": "a"})
    with read(desk.app.platform.engine) as c:
        made = c.execute(review_decisions.select()).one().body
    desk.decide(id, ANN, undo=True)
    from windlass.govern import audit
    from windlass.store import tables

    with read(desk.app.platform.engine) as c:
        assert audit.verify(c) is None
        entries = [(e.actor, json.loads(e.details)["said"]) for e in c.execute(tables.audit.select()) if e.action == "reviews.decide"]
    # by its digest: whoever has the decision can hold it against the record, and the record quotes nobody
    assert [who for who, _ in entries] == ["ann", "ann"]
    assert entries[0][1] == digest_bytes(made.encode()) and entries[1][1] == ""
