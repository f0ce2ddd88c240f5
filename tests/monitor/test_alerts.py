"""Alerts: who is told what, once, and nobody who may not say so makes the server reach outward."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from sqlalchemy import func, select
from tests.monitor.application import SECRET, Watch
from tests.monitor.peer import Peer, says

from windlass.core.actor import OWNER, Actor
from windlass.core.alert import EVENT_KINDS
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound
from windlass.core.operations.alerts import Acknowledge, AlertQuery, AlertSet, AlertTest, EventQuery, EventShow
from windlass.govern import audit
from windlass.store.meta import read, write
from windlass.store.tables import deliveries, events

Start = Callable[..., Peer]
DEVELOPER, VIEWER, CALLER = (Actor("k", role) for role in ("developer", "viewer", "caller"))
HOOK = "https://host.example/hook"


def told(watch: Watch, event: str) -> list[str]:
    return [d.to for d in watch.show(event).deliveries]


def test_without_alerts_events_are_on_the_page(watch: Watch) -> None:
    noted = watch.note()
    assert noted.work == () and watch.handed_over() == []
    found = watch.alerts.events(OWNER, EventQuery())
    assert [e.event.id for e in found.items] == [noted.event] and found.open == 1
    assert found.items[0].state == "open" and found.items[0].event.facts == {"p": 0.001}


def test_an_event_that_was_not_committed_is_not_told(watch: Watch) -> None:
    watch.set(webhook=HOOK)
    with pytest.raises(RuntimeError), write(watch.engine) as c:
        watch.alerts.note(c, watch.event())
        raise RuntimeError("what found it failed")
    assert watch.handed_over() == [] and watch.alerts.events(OWNER, EventQuery()).items == ()


def test_an_event_goes_to_each_address_of_each_alert_that_is_for_it(watch: Watch) -> None:
    watch.set("all", webhook=HOOK, email=("a@b.example", "c@d.example", "a@b.example"))
    watch.set("skews", webhook="https://skews.example/", events=("skew", "drift"))
    watch.set("other", webhook="https://other.example/", events=("quality",))
    watch.set("worst", webhook="https://worst.example/", severity="critical")
    watch.set("mine", webhook="https://mine.example/", monitors=("inputs",))
    watch.set("theirs", webhook="https://theirs.example/", monitors=("outputs",))
    watch.set("gone", webhook="https://off.example/", off=True)
    noted = watch.note()
    assert sorted(told(watch, noted.event)) == sorted(
        ["https://mine.example/", "https://skews.example/", "a@b.example", "c@d.example", HOOK]
    )
    assert [(k, p) for k, p, _ in watch.handed_over()] == [("delivery", "default")] * 5
    assert {i for _, _, i in watch.handed_over()} == set(noted.work)
    assert "https://worst.example/" in told(watch, watch.note(severity="critical").event)
    assert told(watch, watch.note(severity="info").event) == []


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_every_kind_can_be_asked_for(watch: Watch, kind: str) -> None:
    watch.set(webhook=HOOK, events=(kind,))
    for other in EVENT_KINDS:
        assert (told(watch, watch.note(kind=other).event) == [HOOK]) == (other == kind)


def test_the_same_again_is_counted_while_it_is_quiet(watch: Watch) -> None:
    watch.set(webhook=HOOK, quiet=600)
    first = watch.note()
    watch.now += 599
    assert watch.note(facts={"p": 0.0001}) == msgspec.structs.replace(first, work=())
    state = watch.show(first.event).state
    assert (state.times, state.last_ns - state.event.at_ns) == (2, 599 * 10**9)
    for other in ({"key": "billing"}, {"severity": "critical"}, {"monitor": "outputs"}, {"kind": "drift"}):
        assert len(watch.note(**other).work) == 1
    watch.now += 1
    again = watch.note()
    assert again.event != first.event and len(again.work) == 1


def test_each_alert_is_quiet_for_its_own_time(watch: Watch) -> None:
    watch.set("often", webhook="https://often.example/", quiet=60)
    watch.set("seldom", webhook="https://seldom.example/", quiet=600)
    told_when = []
    for minute in range(11):
        told_when.append((minute, told(watch, watch.note().event)))
        watch.now += 60
    assert [m for m, to in told_when if "https://seldom.example/" in to] == [0, 10]
    assert all("https://often.example/" in to for _, to in told_when)


def test_never_quiet_means_every_time(watch: Watch) -> None:
    watch.set(webhook=HOOK, quiet=0)
    assert len({watch.note().event for _ in range(3)}) == 3


def test_what_was_acknowledged_stays_so_while_it_is_quiet(watch: Watch) -> None:
    first = watch.note()
    watch.alerts.acknowledge(OWNER, Acknowledge(first.event))
    watch.now += 3599
    assert watch.note().event == first.event and watch.alerts.events(OWNER, EventQuery()).open == 0
    watch.now += 1
    assert watch.note().event != first.event and watch.alerts.events(OWNER, EventQuery()).open == 1


def test_what_no_alert_wants_on_the_page_is_only_sent(watch: Watch) -> None:
    watch.set("sent", webhook=HOOK, page=False)
    state = watch.show(watch.note().event).state
    assert state.state == "acknowledged" and state.acknowledged_by == "alert/sent"
    watch.set("shown", events=("skew",))
    assert watch.show(watch.note(key="other").event).state.state == "open"


def test_acknowledging(watch: Watch) -> None:
    id = watch.note().event
    done = watch.alerts.acknowledge(DEVELOPER, Acknowledge(id[-8:], "a new product"))
    assert (done.state, done.acknowledged_by, done.note) == ("acknowledged", "k", "a new product") and done.event.id == id
    assert watch.alerts.acknowledge(OWNER, Acknowledge(id)) == done
    with pytest.raises(Conflict, match="k acknowledged it already"):
        watch.alerts.acknowledge(OWNER, Acknowledge(id, "no"))
    with read(watch.engine) as c:
        assert audit.verify(c) is None


def test_events_are_filtered_and_paged(watch: Watch) -> None:
    ids = [watch.note(key=str(n), kind="drift" if n % 2 else "skew", severity="critical" if n == 4 else "info").event for n in range(7)]
    watch.alerts.acknowledge(OWNER, Acknowledge(ids[6]))

    def found(**query: object) -> list[str]:
        return [e.event.id for e in watch.alerts.events(OWNER, EventQuery(**query)).items]  # type: ignore[arg-type]

    assert found() == ids[::-1]
    assert found(state="open") == ids[5::-1] and found(state="acknowledged") == ids[6:]
    assert found(kind="drift") == [ids[5], ids[3], ids[1]]
    assert found(severity="warning") == [ids[4]] and found(monitor="nobody") == []
    seen: list[str] = []
    cursor = None
    while True:
        page = watch.alerts.events(OWNER, EventQuery(cursor=cursor, limit=3))
        seen += [e.event.id for e in page.items]
        assert page.open == 6
        if (cursor := page.next) is None:
            break
    assert seen == ids[::-1]


def test_an_event_is_of_its_project(watch: Watch) -> None:
    watch.set(webhook=HOOK)
    other = watch.note(project="shop")
    assert other.work == () and watch.alerts.events(OWNER, EventQuery()).items == ()
    for ask in (EventShow(other.event), EventShow(other.event[-8:]), EventShow("x"), EventShow("%" * 8)):
        with pytest.raises(NotFound):
            watch.alerts.show(OWNER, ask)
    assert watch.alerts.show(OWNER, EventShow(other.event, "shop")).state.event.project == "shop"


def test_an_alert_is_a_version_and_its_history_is_kept(watch: Watch) -> None:
    first = watch.set(webhook=HOOK, events=("drift", "skew"))
    assert first.ref.startswith("alert/ops@sha256:") and first.body.events == ("skew", "drift")
    assert watch.set(webhook=HOOK, events=("skew", "drift", "skew")).ref == first.ref
    second = watch.set(webhook=HOOK, quiet=60)
    assert second.ref != first.ref
    assert watch.set(webhook=HOOK, events=("skew", "drift")).ref == first.ref
    assert [a.ref for a in watch.alerts.list(OWNER, AlertQuery()).items] == [first.ref]


def test_alerts_are_listed_by_name_with_what_keeps_them_from_being_sent(watch: Watch) -> None:
    for name in ("c", "a", "b"):
        watch.set(name, webhook=HOOK)
    assert watch.set("d", webhook=HOOK, secret="NOT_SET").problems == (
        "NOT_SET is not set (set NOT_SET in the server's environment and restart it)",
    )
    assert "smtp_url" in watch.set("e", email=("a@b.example",)).problems[0]
    page = watch.alerts.list(OWNER, AlertQuery(limit=3))
    assert [a.name for a in page.items] == ["a", "b", "c"] and page.next == "c"
    assert all(a.problems == () and a.actor == "owner" and a.last is None for a in page.items)
    assert [a.name for a in watch.alerts.list(OWNER, AlertQuery(cursor="c")).items] == ["d", "e"]


@pytest.mark.parametrize(
    ("what", "where"),
    [
        ({"webhook": HOOK}, "secret"),
        ({"webhook": HOOK, "secret": SECRET}, "secret"),
        ({"webhook": HOOK, "secret": "hunter2"}, "secret"),
        ({"secret": "HOOK_SECRET"}, "secret"),
        ({"webhook": "ftp://host/", "secret": "HOOK_SECRET"}, "webhook"),
        ({"webhook": "https://u:hunter2@host/", "secret": "HOOK_SECRET"}, "webhook"),
        ({"email": ("nobody",)}, "email"),
        ({"email": ("a@b.example\r\nBcc: x@y.example",)}, "email"),
        ({"email": ("a@b.example, c@d.example",)}, "email"),
        ({"email": ("é@b.example",)}, "email"),
        ({"monitors": ("Two Words",)}, None),
        ({"events": ("test",)}, "events"),
    ],
)
def test_what_is_wrong_is_said_and_no_secret_repeated(watch: Watch, what: dict[str, object], where: str | None) -> None:
    with pytest.raises(Invalid) as e:
        watch.alerts.set(OWNER, AlertSet("ops", **what))  # type: ignore[arg-type]
    assert e.value.where == where and e.value.remedy
    assert SECRET not in repr(e.value.as_dict()) and "hunter2" not in repr(e.value.as_dict())
    assert watch.alerts.list(OWNER, AlertQuery()).items == ()


def test_machines_are_refused_when_an_alert_is_set(watch: Watch) -> None:
    with pytest.raises(Forbidden, match="no alert may ask"):
        watch.set(webhook="http://169.254.169.254/")


def test_who_may(watch: Watch) -> None:
    id = watch.note().event
    watch.alerts.set(DEVELOPER, AlertSet("page-only", severity="critical"))
    watch.set("outward", webhook=HOOK)
    for actor, ask in (
        (VIEWER, lambda a: watch.alerts.set(a, AlertSet("x"))),
        (DEVELOPER, lambda a: watch.alerts.set(a, AlertSet("x", webhook=HOOK, secret="HOOK_SECRET"))),
        (DEVELOPER, lambda a: watch.alerts.set(a, AlertSet("x", email=("a@b.example",)))),
        (DEVELOPER, lambda a: watch.alerts.set(a, AlertSet("outward", off=True))),
        (CALLER, lambda a: watch.alerts.list(a, AlertQuery())),
        (CALLER, lambda a: watch.alerts.events(a, EventQuery())),
        (CALLER, lambda a: watch.alerts.show(a, EventShow(id))),
        (VIEWER, lambda a: watch.alerts.acknowledge(a, Acknowledge(id))),
        (Actor("k", "developer", "shop"), lambda a: watch.alerts.acknowledge(a, Acknowledge(id))),
        (Actor("k", "developer", "shop"), lambda a: watch.alerts.show(a, EventShow(id))),
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            ask(actor)
    assert [a.name for a in watch.alerts.list(VIEWER, AlertQuery()).items] == ["outward", "page-only"]
    assert watch.show(id).state.state == "open"
    with read(watch.engine) as c:
        assert c.execute(select(func.count()).select_from(deliveries)).scalar() == 0


async def test_who_may_test(watch: Watch) -> None:
    for actor in (VIEWER, CALLER):
        with pytest.raises(Forbidden):
            await watch.alerts.test(actor, AlertTest("ops"))
    with pytest.raises(NotFound, match="no alert/ops"):
        await watch.alerts.test(OWNER, AlertTest("ops"))


async def test_a_test_is_sent_once_and_waits_for_nobody(watch: Watch, peer: Start) -> None:
    there = peer(says(500), says(200))
    watch.set(webhook=there.url)
    found = await watch.alerts.test(DEVELOPER, AlertTest("ops"))
    assert found.state.event.kind == "test" and found.state.state == "acknowledged"
    (delivery,) = found.deliveries
    assert delivery.status == "failed" and delivery.next_ns is None and [a.status for a in delivery.attempts] == [500]
    assert watch.handed_over() == []
    watch.now += 1_000_000
    assert watch.due() == []
    assert (await watch.alerts.test(OWNER, AlertTest("alert/ops"))).deliveries[0].status == "delivered"
    assert len(there.asked) == 2 and watch.alerts.events(OWNER, EventQuery(state="open")).items == ()


def test_what_monitors_write_does_no_harm(watch: Watch) -> None:
    watch.set(webhook=HOOK)
    long = "x" * 100_000
    noted = watch.note(
        title=f"two\r\nlines \x1b[31m\u202e {long}", sentence=f"\ud800{long}", path="javascript:alert(1)", facts={"long": long}
    )
    event = watch.show(noted.event).state.event
    assert len(event.title) == 200 and event.title.startswith("two lines [31m") and len(event.sentence) == 2000
    assert event.path == "/alerts" and watch.show(watch.note(key="2", path="//evil.example/").event).state.event.path == "/alerts"
    with read(watch.engine) as c:
        body = c.execute(select(deliveries.c.body).where(deliveries.c.event == noted.event)).scalar_one()
        assert c.execute(select(func.count()).select_from(events)).scalar() == 2
    assert len(body) < 20_000 and "left_out" in body
