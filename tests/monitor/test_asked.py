"""A call that waits for a person is an event, told once, without its arguments, and over when somebody has decided."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select
from tests.agentops.conftest import Shop

from windlass.agentops.broker import Asked, Broker, Refused
from windlass.core.actor import OWNER, Actor
from windlass.core.grant import GrantedTool
from windlass.core.operations.alerts import AlertSet, EventQuery, EventState
from windlass.core.operations.approvals import ApprovalDecision, ApprovalQuery
from windlass.jobs.durable import DurableJobs
from windlass.monitor.alerts import Alerts
from windlass.monitor.asked import AskedEvents
from windlass.monitor.delivery import Deliveries
from windlass.store.meta import read
from windlass.store.tables import deliveries, handed_over

SEVEN = {"properties": {"order": {"const": "7"}, "amount": {}}, "required": ["order"]}
SECRETIVE = {"order": "the order of somebody", "amount": 5}


class Desk(Shop):
    """The shop, whose broker tells alerts."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.alerts = Alerts(self.engine, DurableJobs(), Deliveries(self.engine, {"HOOK": "x"}), now=lambda: self.time)
        self.broker = Broker(self.engine, lambda: self.time, told=AskedEvents(lambda: self.alerts))

    def events(self) -> tuple[EventState, ...]:
        return self.alerts.events(OWNER, EventQuery(state="all")).items

    def asks(self, order: str = "") -> Asked:
        found = self.broker.admit(self.attempt(arguments=SECRETIVE | ({"order": order} if order else {})))
        assert isinstance(found, Asked)
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(f"sqlite:///{tmp_path / 'windlass.db'}")
    made.registered()
    made.alerts.set(OWNER, AlertSet("desk", webhook="https://host.example/hook", secret="HOOK", events=("approval",)))
    made.grant(GrantedTool("refund", SEVEN, on_miss="ask"))
    return made


def test_who_is_to_answer_is_told_without_the_arguments(desk: Desk) -> None:
    asked = desk.asks()
    (found,) = desk.events()
    event = found.event
    assert (event.kind, event.monitor, event.severity, event.path, found.state) == (
        "approval",
        "agent/guide",
        "warning",
        "/approvals",
        "open",
    )
    assert event.sentence.startswith(
        "agent/guide asks to call tool/refund, for the task: Refund order 7. It does not go ahead by itself, since grant"
    )
    assert event.facts["approval"] == asked.approval
    assert "somebody" not in msgspec.json.encode(event).decode()
    with read(desk.engine) as c:
        told = c.execute(select(deliveries)).all()
        assert [d.address for d in told] == ["https://host.example/hook"]
        assert "somebody" not in repr(told)
        assert [h.kind for h in c.execute(select(handed_over))] == ["delivery"]
    desk.asks("another")  # each that waits is told
    assert len(desk.events()) == 2


@pytest.mark.parametrize("allow", [True, False])
def test_whoever_decides_acknowledges_it(desk: Desk, allow: bool) -> None:
    asked, other = desk.asks(), desk.asks("another")
    desk.broker.approvals.decide(Actor("key:ann", "developer"), ApprovalDecision(asked.approval, allow))
    found = {e.event.key: e for e in desk.events()}
    done = found[asked.approval]
    assert (done.state, done.acknowledged_by, done.note) == ("acknowledged", "key:ann", "let through" if allow else "denied")
    assert found[other.approval].state == "open"
    desk.broker.approvals.give_up(other.approval)
    desk.broker.approvals.give_up(other.approval)
    state = {e.event.key: e for e in desk.events()}[other.approval]
    assert (state.state, state.acknowledged_by, state.note) == ("acknowledged", "agent/guide", "it waits no longer")


def test_one_that_nobody_answered_stays_open(desk: Desk) -> None:
    asked = desk.asks()
    desk.time += 301 * 10**9
    with pytest.raises(Refused, match="nobody let it through in time"):
        desk.broker.resume(desk.attempt(arguments=SECRETIVE), asked)
    assert desk.events()[0].state == "open"


def test_what_is_not_written_is_not_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no event")

    monkeypatch.setattr(desk.alerts, "note", fails)
    with pytest.raises(RuntimeError, match="no event"):
        desk.broker.admit(desk.attempt(arguments=SECRETIVE))
    monkeypatch.undo()
    assert not desk.broker.approvals.list(OWNER, ApprovalQuery()).items
    assert desk.events() == ()


def test_a_loop_is_told_no_more_often_than_it_may_wait(desk: Desk) -> None:
    for n in range(30):
        try:
            desk.broker.admit(desk.attempt(arguments={"order": str(100 + n), "amount": 5}))
        except Refused:
            continue
    assert len(desk.events()) == 5
