"""Rollouts: who may start one, who answers meanwhile, what the watcher does of what came, what a crash or another's move leaves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pytest
from sqlalchemy import select
from tests.evaluate.application import App
from tests.stores import on_both

from windlass.core import span as names
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound
from windlass.core.operations.rollouts import Rollout, RolloutGuard
from windlass.core.rollout import arm_of, parse_assigned, place_of, unit_of
from windlass.deploy.rollout_rows import is_due, rollouts_due
from windlass.deploy.rollout_watching import RolloutWatch
from windlass.govern import audit
from windlass.monitor.asked import RolloutEvents
from windlass.store.meta import read, write
from windlass.store.spans import ArrivalQuery, Trial, TrialQuery, Trials
from windlass.store.tables import rollout_units

T = TypeVar("T")
SECOND = 10**9
ERROR = RolloutGuard("error", 0.05)


# the candidate says more where it is asked what no row asks
CODE = 'return f"from the candidate {number}" if "out there" in question else f"answer {number}"'


def made(folder: Path) -> tuple[App, str, str]:
    """An application with a release in production, and another that the gate lets out; with their digests."""
    app = App(folder, rows=60)
    base = app.release()
    app.edit("app.py", 'return f"answer {number}"', CODE)
    new = app.push()
    assert app.gate().verdict.decision == "promote"  # type: ignore[union-attr]
    return app, base.partition("@")[2], new.partition("@")[2]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, str, str]]:
    found = made(tmp_path_factory.mktemp("rollouts"))
    yield found
    found[0].close()


@pytest.fixture
def app(shared: tuple[App, str, str]) -> Iterator[App]:
    """With the base in production, and no rollout."""
    app, base, _ = shared
    yield app
    for rollout in app.client.rollouts.list(running=True).items:
        app.client.rollouts.stop(rollout.id, "the test is over")
    if app.client.releases.list().items[0].environments["production"] != base:
        app.client.releases.promote("answer", digest=base, override="as it was")


@pytest.fixture
def base(shared: tuple[App, str, str]) -> str:
    return shared[1]


@pytest.fixture
def new(shared: tuple[App, str, str]) -> str:
    return shared[2]


@pytest.fixture
def either(tmp_path: Path, database_setting: str) -> Iterator[App]:
    """On either database."""
    app, *_ = made(tmp_path)
    yield app
    app.close()


class Traffic:
    """A rollout's watcher, and callers that it is told of instead of those that call: one run each, by arm."""

    def __init__(self, app: App, rollout: Rollout) -> None:
        self.app = app
        self.id = rollout.id
        self.came: list[Trial] = []
        self.now = rollout.created_ns
        self.random = np.random.default_rng(4)
        self.users = 0
        platform = app.platform
        self.watch = RolloutWatch(platform.engine, self.trials, RolloutEvents(platform.alerts), 5.0, lambda: self.now)

    async def trials(self, query: TrialQuery) -> Trials:
        at = int((query.cursor or "x:0").partition(":")[2])
        end = min(len(self.came), at + query.limit)
        return Trials(tuple(self.came[at:end]), f"x:{end}", end < len(self.came))

    def rollout(self) -> Rollout:
        return self.app.client.rollouts.show(self.id)

    def call(self, user: str, told: Callable[[str], dict[str, Any]], **more: Any) -> Trial:
        """A run of somebody; `told` says by arm what it did."""
        r = self.rollout() if "r" not in more else more["r"]
        place = place_of(r.id, f"user:{user}")
        arm = arm_of(place, r.shares[-1])
        made = Trial(
            f"{len(self.came):016x}", self.now, self.now + SECOND, "ok", 0.001, arm, f"{place:016x}", str(r.stage), None, None, None, None
        )
        made = msgspec.structs.replace(made, **told(arm))
        self.came.append(made)
        return made

    def more(self, count: int, told: Callable[[str], dict[str, Any]] = lambda arm: {}) -> None:
        r = self.rollout()
        for _ in range(count):
            self.users += 1
            self.call(f"u{self.users}", told, r=r)

    def look(self, seconds: float = 60.0) -> Rollout:
        self.now += int(seconds * SECOND)
        asyncio.run(self.watch.run("default", f"{self.id} look"))
        return self.rollout()


def failing(traffic: Traffic, base: float, mine: float) -> Callable[[str], dict[str, Any]]:
    def told(arm: str) -> dict[str, Any]:
        return {"status": "error" if traffic.random.random() < (mine if arm == "candidate" else base) else "ok"}

    return told


def begun(app: App, **more: Any) -> tuple[Rollout, Traffic]:
    given = {"steps": (20, 50, 100), "guards": (ERROR,), "min_hours": 0, "settle_s": 10} | more
    rollout = app.client.rollouts.start("answer", **given)
    return rollout, Traffic(app, rollout)


def test_nothing_begins_without_what_a_promotion_needs(tmp_path: Path) -> None:
    app = App(tmp_path, rows=40)
    start = app.client.rollouts.start
    first = app.push()
    with pytest.raises(Conflict, match="nothing to compare with"):
        start("answer")
    app.client.releases.promote("answer", digest=first.partition("@")[2], override="the first")
    with pytest.raises(Conflict, match="runs already"):
        start("answer")
    app.mistakes(1)
    with pytest.raises(Forbidden, match="no verdict"):
        start("answer", digest=app.client.releases.list().items[0].candidate)
    app.close()


def test_what_a_rollout_may_be_asked(app: App) -> None:
    start = app.client.rollouts.start
    for wrong, said in (
        ({"steps": (50, 5)}, "shares that rise"),
        ({"steps": (100,)}, "nothing to compare with"),
        ({"steps": (0.001, 5)}, "is no share"),
        ({"environment": "live"}, "no environment"),
        ({"guards": (ERROR, ERROR)}, "different metrics"),
        ({"guards": (RolloutGuard("helpful", 2.0),)}, "nothing can be worse by 2"),
        ({"guards": (RolloutGuard("helpful", 0.1, low=5, high=1),)}, "no value lies"),
        ({"guards": (RolloutGuard("error", 0.1, relative=True),)}, "is an amount"),
        ({"guards": (RolloutGuard("error", 0.1, high=2),)}, "between 0 and 1"),
    ):
        with pytest.raises(Invalid, match=said):
            start("answer", **wrong)
    rollout = start("answer", share=10)
    assert (rollout.steps, rollout.status, [g.metric for g in rollout.guards]) == ((10, 25, 50), "running", ["error", "latency_s"])
    with pytest.raises(Conflict, match="is under way"):
        start("answer")
    assert [m.kind for m in rollout.moves] == ["start"]


@on_both
def test_one_that_is_no_worse_goes_up_and_takes_the_environment(either: App) -> None:
    app = either
    rollout, traffic = begun(app)
    traffic.more(50, failing(traffic, 0.01, 0.01))
    assert traffic.look(5).evidence[0].units == (0, 0)  # they have not settled
    found = traffic.look()
    assert found.status == "running" and sum(found.evidence[0].units) == 50 and "more callers like those" in found.sentence
    for _ in range(40):
        traffic.more(200, failing(traffic, 0.01, 0.01))
        if (found := traffic.look()).status != "running":
            break
    assert found.status == "promoted", found.sentence
    assert [m.kind for m in found.moves] == ["promote", "step", "start"]
    assert app.client.releases.list().items[0].environments["production"] == found.candidate
    move = app.client.releases.history().items[0]
    assert (move.kind, move.verdict, move.actor) == ("rollout", rollout.verdict, "rollout") and "shown not worse" in (move.reason or "")
    event = app.client.alerts.events(kind="rollout").items[0].event
    assert event.severity == "info" and event.path == f"/rollouts/{rollout.id}"
    with read(app.platform.engine) as c:
        assert audit.verify(c) is None and c.execute(select(rollout_units)).first() is None
    with pytest.raises(Conflict, match="is over: promoted"):
        app.client.rollouts.stop(rollout.id, "late")
    gone = app.client.rollouts.back(rollout.id[-8:], "people complain")
    assert gone.status == "stopped" and app.client.releases.list().items[0].environments["production"] == rollout.base


def test_one_that_is_worse_is_stopped_and_everybody_is_told_on_what_evidence(app: App) -> None:
    rollout, traffic = begun(app, guards=(ERROR, RolloutGuard("latency_s", 0.5, relative=True)))
    for _ in range(20):
        traffic.more(50, failing(traffic, 0.02, 0.5))
        if (found := traffic.look()).status != "running":
            break
    assert found.status == "stopped" and found.moves[0].kind == "stop" and found.moves[0].actor == "rollout"
    error = found.evidence[0]
    assert error.settled == "worse" and error.low is not None and error.low >= 0.05 and error.difference > error.low
    event = app.client.alerts.events(kind="rollout").items[0].event
    assert event.severity == "critical" and "error" in event.sentence and event.facts["error"]["low"] == error.low
    assert app.client.releases.list().items[0].environments["production"] == rollout.base
    assert app.client.run("release/answer:production", "question 3").versions[0].endswith(rollout.base)
    assert not rollouts_due_now(app)
    app.client.rollouts.start("answer")  # another may begin


def rollouts_due_now(app: App) -> list[tuple[str, str]]:
    with write(app.platform.engine) as c:
        due = is_due(c, 2**62)
        found = rollouts_due(c, 2**62)
        assert due == bool(found)
        return found


def test_callers_are_kept_on_their_arm_and_spans_say_which(app: App, base: str, new: str) -> None:
    rollout = app.client.rollouts.start("answer", steps=(50,), by="user", min_hours=0)
    until_known(app, rollout)
    answered, last = Counter[str](), ""
    for user in ("anna", "ben", "cleo", "dora", "emil", "anna", "ben"):
        result = app.client.run("release/answer:production", "question 1", user=user)
        arm = arm_of(place_of(rollout.id, unit_of("user", user, None, "")), 5000)
        assert result.versions[0].endswith(new if arm == "candidate" else base)
        root = app.client.traces.show(result.trace).spans[0]
        told = [root.attributes[n] for n in (names.ROLLOUT, names.ROLLOUT_STAGE, names.ARM)]
        assert told == [rollout.id, 1, arm] and user not in root.attributes[names.ROLLOUT_UNIT]
        answered[arm] += 1
        last = result.trace
        why = app.client.traces.why(last)
        assert why.verdict == rollout.verdict if arm == "candidate" else why.released_ns
    assert len(answered) == 2
    assert app.client.run(f"release/answer@{base}", "question 1").versions[0].endswith(base)  # an exact version is that one
    app.client.traces.score(last, "helpful", True)
    came = done(app, app.platform.traces.trials(TrialQuery("default", rollout.id)))
    assert Counter(t.score for t in came.items if t.unit) >= Counter({None: 7, "helpful": 1})
    again = done(app, app.platform.traces.trials(TrialQuery("default", rollout.id, came.cursor)))
    assert again.items == ()
    arrivals = done(app, app.platform.traces.arrivals(ArrivalQuery("default", "answer", environment="production")))
    assigned = parse_assigned(arrivals.items[-2].rollout)
    assert assigned is not None and assigned.rollout == rollout.id and str(assigned) == arrivals.items[-2].rollout


def until_known(app: App, rollout: Rollout) -> None:
    """Until calls are put on its arms: each process reads anew what there is."""
    while True:
        result = app.client.run("release/answer:production", "question 1", user="nobody")
        if app.client.traces.show(result.trace).spans[0].attributes.get(names.ROLLOUT) == rollout.id:
            return


def done(app: App, work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, app.platform._running_loop()).result(30)


def test_a_step_and_a_stop_are_a_persons_and_need_a_reason(app: App) -> None:
    rollout, _ = begun(app)
    change = app.client.rollouts
    for act in (change.step, change.back, change.stop):
        with pytest.raises(Invalid, match="needs a reason"):
            act(rollout.id, "  ")
    with pytest.raises(Conflict, match="first share"):
        change.back(rollout.id, "too fast")
    assert change.step(rollout.id, "nothing seen, and it is urgent").shares == (2000, 5000)
    assert change.back(rollout.id, "not so urgent").shares == (2000, 5000, 2000)
    over = change.stop(rollout.id, "wrong candidate")
    assert over.status == "stopped" and "wrong candidate" in over.sentence
    assert [m.kind for m in over.moves] == ["stop", "back", "step", "start"]
    with pytest.raises(NotFound, match="is no rollout"):
        change.show("ffffffff")
    page = change.list(release="answer", limit=1)
    assert [r.id for r in page.items] == [rollout.id] and page.next and change.list(running=True).items == ()


def test_whatever_else_moves_the_label_ends_it(app: App) -> None:
    rollout, traffic = begun(app)
    app.client.releases.promote("answer")
    found = traffic.rollout()
    assert found.status == "superseded" and "was promoted" in found.sentence and found.moves[0].kind == "supersede"
    app.client.releases.rollback("answer")
    second = app.client.rollouts.start("answer")
    app.client.releases.promote("answer", digest=rollout.candidate, override="at once")
    assert app.client.rollouts.show(second.id).status == "superseded"


def test_a_look_that_is_cut_off_is_done_again_and_counts_once(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout, traffic = begun(app)
    traffic.more(30, failing(traffic, 0.0, 0.0))
    traffic.look()
    before = traffic.rollout().evidence
    traffic.more(30, failing(traffic, 0.0, 0.0))

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("windlass.deploy.rollout_watching.keep", killed)
        traffic.look()
    assert traffic.rollout().evidence == before
    found = traffic.look()
    assert sum(found.evidence[0].units) == 60 and sum(a.calls for a in found.arms) == 60
    # a span that is told again is no second call, and a portion that another look took is not taken again
    traffic.came += traffic.came[:20]
    assert sum(a.calls for a in traffic.look().arms) == 60
    at = traffic.watch._cursor(rollout.id)
    assert at is not None and not traffic.watch._look(rollout.id, "x:0", Trials(tuple(traffic.came), "x:80"))
    assert sum(a.calls for a in traffic.rollout().arms) == 60


def test_what_is_not_measured_is_not_zero(app: App) -> None:
    guards = (ERROR, RolloutGuard("cost", 0.5), RolloutGuard("helpful", 0.1))
    _, traffic = begun(app, guards=guards)
    traffic.more(40, lambda arm: {"cost": None})
    error, cost, helpful = traffic.look().evidence
    assert sum(error.units) == 40 and sum(cost.units) == 0 and sum(cost.unmeasured) == 40 and sum(helpful.units) == 0
    assert (cost.base, helpful.candidate, helpful.difference) == (None, None, None)
    of = {t.unit: t for t in traffic.came}
    for n, trial in enumerate(list(of.values())[:10]):
        value = (1.0, 0.0, float("nan"), 7.0, None)[n % 5]  # a score counts later; what is no number in the range never
        traffic.came.append(msgspec.structs.replace(trial, span_id=f"s{n:015x}", score="helpful", value=value))
    helpful = traffic.look().evidence[2]
    assert sum(helpful.units) == 4


def test_forged_arms_do_not_count(app: App) -> None:
    _, traffic = begun(app)
    traffic.more(20)
    for wrong in ({"unit": "x" * 16}, {"stage": "9"}, {"stage": "-1"}, {"arm": "other"}, {"unit": "anna"}):
        traffic.came.append(msgspec.structs.replace(traffic.came[0], span_id="f" * 16, **wrong))
    flipped = "base" if traffic.came[0].arm == "candidate" else "candidate"
    traffic.came.append(msgspec.structs.replace(traffic.came[0], span_id="e" * 16, arm=flipped))
    assert sum(a.calls for a in traffic.look().arms) == 20


def test_a_unit_counts_once_at_each_share_with_the_chance_it_had(app: App) -> None:
    """A user who was on the base at 20 % is drawn again at 50 %; one who was on the candidate stays, and says nothing new."""
    rollout, traffic = begun(app)
    users = [f"u{n}" for n in range(60)]
    for _ in range(3):
        for user in users:
            traffic.call(user, lambda arm: {}, r=rollout)
    found = traffic.look()
    assert sum(found.evidence[0].units) == 60 and [sum(a.units for a in found.arms), sum(a.calls for a in found.arms)] == [60, 180]
    stepped = app.client.rollouts.step(rollout.id, "go on")
    for user in users:
        traffic.call(user, lambda arm: {}, r=stepped)
    stayed = sum(arm_of(place_of(rollout.id, f"user:{u}"), 2000) == "candidate" for u in users)
    assert sum(traffic.look().evidence[0].units) == 60 + 60 - stayed


def test_an_ab_waits_for_a_person(app: App) -> None:
    _, traffic = begun(app, mode="ab", steps=(50,))
    traffic.more(800)
    found = traffic.look()
    assert found.status == "running" and found.evidence[0].settled == "not worse" and "a person decides" in found.sentence
    assert app.client.rollouts.step(found.id, "it is good").status == "promoted"


def test_a_shadow_answers_nobody(app: App, base: str) -> None:
    rollout = app.client.rollouts.start("answer", mode="shadow", steps=(100,), guards=(ERROR,), min_hours=0, settle_s=0)
    until_known(app, rollout)
    shadows = app.platform.executor._shadows._tasks

    async def none() -> None:
        while shadows:
            await asyncio.sleep(0.02)

    for n in range(6):
        result = app.client.run("release/answer:production", f"out there {n}", user="anna")
        assert result.output == f"answer {n}" and result.versions[0].endswith(base)
        done(app, none())
    assert len(app.client.traces.list(environment="production", user="anna", search="out there").items) == 6
    beside = app.client.traces.list(evaluation=f"shadow/{rollout.id}", search="out there").items
    assert {t.output for t in beside} == {f"from the candidate {n}" for n in range(6)}
    assert all(t.user is None for t in beside)
    assert not app.client.traces.list(search="from the candidate").items  # in no list of what users were told
    done(app, app.platform.works.by_kind()["rollout"]("default", rollout.id))
    found = app.client.rollouts.show(rollout.id)
    assert found.evidence[0].units == (found.arms[1].calls, found.arms[1].calls) and found.arms[1].calls >= 6
    assert [a.units for a in found.arms] == [a.calls for a in found.arms]
