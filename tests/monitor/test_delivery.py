"""Deliveries: tried for a day, told once, whatever dies in between; and the secret is nowhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from dbos import DBOSClient
from sqlalchemy import delete, select
from standardwebhooks import Webhook
from tests.monitor.application import SECRET, Watch
from tests.monitor.peer import Peer, says

from windlass.core.actor import OWNER
from windlass.core.operations.alerts import AlertQuery
from windlass.jobs.durable import take
from windlass.jobs.work import LoopJobs
from windlass.monitor import webhook
from windlass.monitor.delivery import TRIES, pause
from windlass.store.meta import read, write
from windlass.store.tables import deliveries, handed_over

Start = Callable[..., Peer]


def test_what_arrives_has_the_promised_shape(watch: Watch, peer: Start) -> None:
    there = peer()
    watch.set(webhook=there.url)
    noted = watch.note(release="release/answer@sha256:" + "0" * 64)
    assert watch.work() == 1
    (asked,) = there.asked
    assert Webhook(SECRET).verify(asked.body, asked.headers) == {
        "type": "windlass.skew",
        "timestamp": "1970-01-12T13:46:40.000Z",
        "data": {
            "event": noted.event, "project": "default", "kind": "skew", "monitor": "inputs", "severity": "warning",
            "title": "inputs have moved", "sentence": "The questions asked are no longer those you tested with.",
            "url": f"https://windlass.example/alerts/{noted.event}", "page": "https://windlass.example/monitors/inputs",
            "release": "release/answer@sha256:" + "0" * 64, "alert": "ops", "facts": {"p": 0.001},
        },
    }  # fmt: skip
    (delivery,) = watch.show(noted.event).deliveries
    assert delivery.status == "delivered" and delivery.id == asked.headers["webhook-id"] and delivery.next_ns is None
    assert [(a.outcome, a.status) for a in delivery.attempts] == [("delivered", 200)]


def test_what_fails_is_tried_eight_times_in_a_day_under_one_id(watch: Watch, peer: Start) -> None:
    there = peer(says(500))
    watch.set(webhook=there.url)
    noted = watch.note()
    watch.work()
    began = watch.now
    while found := watch.show(noted.event).deliveries[0].next_ns:
        watch.now = found / 10**9 - 0.001
        assert watch.due() == []
        watch.now += 0.002
        for project, id in watch.due():
            watch.run(project, id)
    delivery = watch.show(noted.event).deliveries[0]
    assert delivery.status == "failed" and len(delivery.attempts) == len(there.asked) == TRIES == 8
    assert {a.headers["webhook-id"] for a in there.asked} == {delivery.id} and len({a.body for a in there.asked}) == 1
    assert 18 * 3600 < watch.now - began < 30 * 3600
    gaps = [(b.at_ns - a.at_ns) / 10**9 for a, b in zip(delivery.attempts, delivery.attempts[1:], strict=False)]
    spread = [(pause(n, chance=lambda: 0.0), pause(n, chance=lambda: 1.0)) for n in range(1, TRIES)]  # of neighbours it may overlap
    assert all(low <= gap < high + 1 for gap, (low, high) in zip(gaps, spread, strict=True))


def test_pauses_are_spread_and_the_receiver_may_ask_for_longer_ones() -> None:
    assert [round(pause(n, chance=lambda: 0.5)) for n in range(1, 9)] == [30, 120, 480, 1920, 7680, 30720, 43200, 43200]
    assert pause(1, chance=lambda: 0.0) == 24 and pause(1, chance=lambda: 1.0) == pytest.approx(36)
    assert pause(1, 3600.0) == 3600 and pause(7, 1.0) > 30_000


def test_too_many_requests_are_left_alone_for_as_long_as_they_ask(watch: Watch, peer: Start) -> None:
    there = peer(says(429, Retry_After="5000"), says(200))
    watch.set(webhook=there.url)
    noted = watch.note()
    watch.work()
    watch.now += 4999
    assert watch.due() == []
    watch.now += 2
    ((project, id),) = watch.due()
    watch.run(project, id)
    assert watch.show(noted.event).deliveries[0].status == "delivered" and len(there.asked) == 2


def test_who_is_gone_is_left_alone_until_the_alert_is_set_anew(watch: Watch, peer: Start) -> None:
    there = peer(says(410), says(200))
    watch.set(webhook=there.url, quiet=0)
    first = watch.note()
    watch.work()
    delivery = watch.show(first.event).deliveries[0]
    assert delivery.status == "stopped" and delivery.next_ns is None and "gone for good" in delivery.attempts[0].said
    second = watch.note()
    assert second.work == () and watch.show(second.event).deliveries[0].status == "stopped" and len(there.asked) == 1
    assert "wants nothing more" in watch.alerts.list(OWNER, AlertQuery()).items[0].problems[0]
    assert watch.set(webhook=there.url, quiet=0, severity="info").problems == ()
    third = watch.note()
    watch.work()
    assert watch.show(third.event).deliveries[0].status == "delivered"


def test_a_test_that_arrives_takes_back_that_it_was_gone(watch: Watch, peer: Start) -> None:
    from windlass.core.operations.alerts import AlertTest

    there = peer(says(410), says(200))
    watch.set(webhook=there.url, quiet=0)
    watch.note()
    watch.work()
    asyncio.run(watch.alerts.test(OWNER, AlertTest("ops")))
    assert len(watch.note().work) == 1


def test_killed_between_the_event_and_its_delivery_it_is_told_once(watch: Watch, peer: Start, tmp_path: Path) -> None:
    """The work lies in the transaction of the event, and is taken by whoever works next."""
    there = peer()
    watch.set(webhook=there.url)
    noted = watch.note()  # and here the process dies
    client = DBOSClient(system_database_url=f"sqlite:///{tmp_path / 'jobs.db'}")
    try:
        client._sys_db.run_migrations()
        assert take(watch.engine, client) == 1 and take(watch.engine, client) == 0
        (queued,) = client.list_queued_workflows()
        assert (queued.workflow_id, queued.queue_name) == (noted.work[0], "short work")
    finally:
        client.destroy()
    watch.run("default", noted.work[0])
    watch.run("default", noted.work[0])  # a second worker has nothing to do
    watch.now += 1_000_000
    assert watch.due() == [] and len(there.asked) == 1


def test_killed_after_sending_it_is_sent_again_under_the_same_id(watch: Watch, peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    there = peer()
    watch.set(webhook=there.url)
    noted = watch.note()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(watch.deliveries, "_keep", killed)
        watch.run("default", noted.work[0])
    watch.run("default", noted.work[0])  # as DBOS does with what was cut off
    first, second = there.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"] and first.body == second.body
    assert len(watch.show(noted.event).deliveries[0].attempts) == 1


def test_work_that_got_lost_is_found_again(watch: Watch, peer: Start) -> None:
    there = peer()
    watch.set(webhook=there.url)
    noted = watch.note()
    with write(watch.engine) as c:
        c.execute(delete(handed_over))
    watch.now += 119
    assert watch.due() == []
    watch.now += 2
    ((project, id),) = watch.due()
    assert id != noted.work[0] and watch.due() == []  # not again while somebody may be at it
    watch.run(project, id)
    assert watch.show(noted.event).deliveries[0].status == "delivered" and len(there.asked) == 1


async def test_on_the_loop_of_a_command_it_is_told_at_once(tmp_path: Path, peer: Start) -> None:
    there = peer()
    made: list[Watch] = []
    jobs = LoopJobs(lambda: {"delivery": made[0].deliveries.run}, asyncio.get_running_loop)
    watch = Watch(tmp_path, jobs)
    made.append(watch)
    watch.set(webhook=there.url)
    noted = watch.note()
    watch.alerts.begin(noted)
    for _ in range(500):
        if watch.show(noted.event).deliveries[0].status == "delivered":
            break
        await asyncio.sleep(0.01)
    assert len(there.asked) == 1 and watch.handed_over() == []
    await jobs.close()
    watch.close()


async def test_a_command_that_ends_before_it_has_told_leaves_it_to_the_server(tmp_path: Path, peer: Start) -> None:
    there: Peer = peer(lambda connection: there.ended.wait() and None)
    made: list[Watch] = []
    jobs = LoopJobs(lambda: {"delivery": made[0].deliveries.run}, asyncio.get_running_loop)
    watch = Watch(tmp_path, jobs)
    made.append(watch)
    watch.set(webhook=there.url)
    noted = watch.note()
    watch.alerts.begin(noted)
    while not there.asked:
        await asyncio.sleep(0.01)
    await jobs.close()
    assert watch.show(noted.event).deliveries[0].status == "waiting"
    watch.now += 121
    assert [i.split(" ")[:2] for _, i in watch.due()] == [noted.work[0].split(" ")]
    watch.close()


def test_a_secret_that_is_not_set_yet(watch: Watch, peer: Start) -> None:
    there = peer()
    watch.set(webhook=there.url, secret="LATER")
    noted = watch.note()
    watch.work()
    (attempt,) = watch.show(noted.event).deliveries[0].attempts
    assert "LATER is not set" in attempt.said and there.asked == []
    watch.environ["LATER"] = "now"
    watch.now += 60
    for project, id in watch.due():
        watch.run(project, id)
    assert len(there.asked) == 1


def test_a_defect_of_ours_does_not_end_the_attempts(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(webhook, "send", broken)
    watch.set(webhook="https://host.example/")
    noted = watch.note()
    watch.work()
    delivery = watch.show(noted.event).deliveries[0]
    assert delivery.status == "waiting" and "a defect in Windlass" in delivery.attempts[0].said


def test_the_secret_is_in_no_log_and_no_file(watch: Watch, peer: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Not even where the receiver says it back."""
    caplog.set_level(logging.DEBUG)
    there = peer(says(500, f"you signed with {SECRET}".encode()), says(302, Location=f"/{SECRET[6:]}"), says(200, SECRET.encode()))
    watch.set(webhook=there.url)
    noted = watch.note()
    watch.work()
    for _ in range(2):
        watch.now += 1000
        for project, id in watch.due():
            watch.run(project, id)
    delivery = watch.show(noted.event).deliveries[0]
    assert delivery.status == "delivered" and "[secret]" in delivery.attempts[0].said
    with read(watch.engine) as c:
        assert SECRET not in repr(c.execute(select(deliveries)).all())
    watch.close()
    written = b"".join(p.read_bytes() for p in watch.home.path.rglob("*") if p.is_file())
    key = SECRET.removeprefix("whsec_")
    assert key.encode() not in written and key not in caplog.text and b"HOOK_SECRET" in written
