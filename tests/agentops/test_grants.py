"""Grants in a real store: made, spent, revoked, raced by processes; their tokens; and the switches."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from tests.agentops.conftest import Shop
from tests.stores import on_both

from windlass.agentops.broker import Admitted, Asked, Refused
from windlass.agentops.switches import suspend
from windlass.core.actor import OWNER, Actor
from windlass.core.digest import digest_bytes
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated, WindlassError
from windlass.core.grant import GrantedTool, Spent
from windlass.core.operations.approvals import ApprovalDecision
from windlass.core.operations.grants import (
    CallCheck,
    GrantId,
    GrantQuery,
    GrantRequest,
    Halted,
    Reach,
    StopLift,
    StopQuery,
    StopRequest,
    TokenRequest,
)
from windlass.govern.audit import verify
from windlass.govern.tokens import Tokens
from windlass.store.meta import read, write
from windlass.store.tables import audit

SEVEN = {"properties": {"order": {"const": "7"}, "amount": {"maximum": 50}}, "required": ["order", "amount"]}
S = 10**9


def refused(shop: Shop, **more: Any) -> str:
    with pytest.raises(Refused) as failure:
        shop.broker.admit(shop.attempt(**more))
    return failure.value.decision.code


def test_a_grant_is_the_whole_of_what_an_agent_may(shop: Shop) -> None:
    assert refused(shop) == "tool"
    made = shop.grant(GrantedTool("tool/refund", SEVEN, uses=2), calls=3)
    assert made.grant.tools[0].tool == f"tool/refund@{shop.refund.digest}"
    assert made.grant.approved_by == "owner"
    assert made.grant.expires_ns == shop.time + 86_400 * S
    for wrong in ({"order": "8", "amount": 5}, {"order": "7", "amount": 51}, {"order": "7", "amount": 5, "note": "x"}, {"order": "7"}):
        assert refused(shop, arguments=wrong) == "arguments"
    assert refused(shop, agent="agent/other") == "tool"
    assert refused(shop, tool=f"tool/refund@sha256:{'9' * 64}") == "definition"
    assert refused(shop, version=shop.look) == "tool"
    for _ in range(2):
        assert shop.admitted().grant.id == made.grant.id
    assert refused(shop) == "uses"
    state = shop.grants.show(OWNER, GrantId(made.grant.id[-8:]))
    assert state.spent == Spent(2, 60_000, 0, {made.grant.tools[0].tool: 2})
    shop.time += 86_400 * S
    assert refused(shop) == "tool"
    assert shop.grants.show(OWNER, GrantId(made.grant.id)).state == "expired"


def test_a_revoked_grant_opens_nothing_from_the_next_call_on(shop: Shop) -> None:
    made = shop.grant().grant
    shop.broker.admit(shop.attempt())
    assert shop.grants.revoke(OWNER, GrantId(made.id)).state == "revoked"
    assert shop.grants.revoke(OWNER, GrantId(made.id)).revoked_by == "owner"
    assert refused(shop) == "tool"
    assert refused(shop, grant=made.id) == "revoked"
    with pytest.raises(Conflict, match="revoked"):
        shop.grants.token(OWNER, TokenRequest(made.id))


def test_a_grant_that_is_named_is_the_only_one_that_counts(shop: Shop) -> None:
    wide, narrow = shop.grant().grant, shop.grant(GrantedTool("tool/refund", SEVEN)).grant
    assert shop.admitted(shop.attempt(arguments={"order": "8", "amount": 900})).grant.id == wide.id
    assert refused(shop, arguments={"order": "8", "amount": 900}, grant=narrow.id) == "arguments"
    assert refused(shop, version=shop.look, grant=wide.id) == "tool"
    assert refused(shop, agent="agent/other", grant=wide.id) == "agent"
    assert refused(shop, grant="0" * 36) == "revoked"


@on_both
def test_what_a_call_did_not_need_is_given_back_and_what_it_took_is_not(shop: Shop) -> None:
    id = shop.grant(GrantedTool("tool/refund", seconds=10, dollars=0.5), seconds=20, dollars=1.0).grant.id
    first, second = shop.admitted(), shop.admitted()
    assert refused(shop) == "seconds"
    shop.broker.settle(first, 1 * S + 1, 0.1, "ok")
    shop.broker.settle(second, 12 * S, 0.5, "failed: it took too long")
    assert shop.grants.show(OWNER, GrantId(id)).spent.milliseconds == 1001 + 12_000
    assert shop.grants.show(OWNER, GrantId(id)).spent.microdollars == 600_000
    assert refused(shop) == "seconds"
    assert first.seconds == 10


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"agent": "guide"}, "write agent/guide"),
        ({"agent": "agent/nobody"}, "there is no agent/nobody"),
        ({"agent": "tool/refund"}, "is no agent"),
        ({"agent": "rеfund"}, "is not a name of an agent"),
        ({"expires_ns": 1}, "expired already"),
        ({"tools": (GrantedTool("tool/nothing"),)}, "tool/nothing"),
        ({"tools": (GrantedTool("other/tool/refund"),)}, "no tool of this project"),
        ({"tools": (GrantedTool("agent/guide"),)}, "no tool of this project"),
        ({"tools": (GrantedTool("refund", {"properties": {"ordr": {}}}),)}, "tool/refund takes no 'ordr' (it takes amount, note, order)"),
        ({"tools": (GrantedTool("refund", {"properties": {"order": {"format": "x"}}}),)}, "tools[0].arguments.properties.order.format"),
        ({"tools": (GrantedTool("tool/refund"), GrantedTool("refund"))}, "listed twice"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_what_is_wrong_with_a_grant_is_said(shop: Shop, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(WindlassError) as failure:
        shop.grant(**asked) if "tools" not in asked else shop.grant(*asked["tools"])
    assert said in str(failure.value)
    assert not shop.grants.list(OWNER, GrantQuery()).items


def test_only_those_who_may_let_out_make_grants(shop: Shop) -> None:
    made = shop.grant().grant
    for role in ("viewer", "caller", "run", "grant"):
        actor = Actor(f"key:{role}", role)  # type: ignore[arg-type]
        attempts: tuple[tuple[Callable[..., Any], Any], ...] = (
            (shop.grants.make, GrantRequest("agent/guide", "x", (GrantedTool("refund"),))),
            (shop.grants.revoke, GrantId(made.id)),
            (shop.grants.token, TokenRequest(made.id)),
            (shop.stops.set, StopRequest("all", "x")),
            (shop.stops.lift, StopLift("all")),
        )
        for ask, asked in attempts:
            with pytest.raises(Forbidden):
                ask(actor, asked)
    with pytest.raises(Forbidden):
        shop.grants.list(Actor("key:x", "developer", "shop"), GrantQuery())


@on_both
def test_grants_are_listed_newest_first(shop: Shop) -> None:
    made = [shop.grant().grant.id for _ in range(5)]
    shop.grants.revoke(OWNER, GrantId(made[0]))
    first = shop.grants.list(OWNER, GrantQuery(limit=3))
    rest = shop.grants.list(OWNER, GrantQuery(limit=3, cursor=first.next))
    assert [s.grant.id for s in (*first.items, *rest.items)] == made[::-1]
    assert rest.next is None
    assert len(shop.grants.list(OWNER, GrantQuery(state="live")).items) == 4
    assert not shop.grants.list(OWNER, GrantQuery(agent="agent/other")).items
    for id in ("12345", "zzzzzz", "%%%%%%"):
        with pytest.raises(NotFound):
            shop.grants.show(OWNER, GrantId(id))


RACE = """
import sys
from collections.abc import Callable
from tests.agentops.conftest import Shop
from windlass.agentops.broker import Refused
from windlass.core.errors import Unavailable
shop = Shop(sys.argv[1])
allowed = 0
while True:
    try:
        shop.broker.admit(shop.attempt())
        allowed += 1
    except Refused as e:
        assert e.decision.code == "calls", e
        break
    except Unavailable:
        pass
print(allowed)
"""


@on_both
def test_racing_processes_never_exceed_a_budget(shop: Shop) -> None:
    """Four processes take what they can; together they were allowed what the grant says, and the record is whole."""
    id = shop.grant(calls=41).grant.id
    racing = [subprocess.Popen([sys.executable, "-c", RACE, shop.store], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    taken = [int(p.communicate(timeout=120)[0]) for p in racing]
    assert sum(taken) == 41
    assert [p.returncode for p in racing] == [0] * 4
    assert shop.grants.show(OWNER, GrantId(id)).spent.calls == 41
    with read(shop.engine) as c:
        assert verify(c) is None
        assert len(c.execute(select(audit).where(audit.c.action == "tools.allowed")).all()) == 41


@on_both
def test_racing_threads_share_one_use(shop: Shop) -> None:
    shop.grant(GrantedTool("tool/refund", uses=1))

    def attempt(_: int) -> bool:
        try:
            return isinstance(shop.broker.admit(shop.attempt()), Admitted)
        except Refused:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(24))) == 1


@on_both
def test_a_stopped_grant_lets_nothing_through_until_it_is_lifted(shop: Shop) -> None:
    other, first, second = Shop(shop.store), shop.grant().grant, shop.grant(agent="desk").grant
    shop.stops.set(OWNER, StopRequest(f"grant/{first.id[-8:]}", "look first"))
    assert [s.subject for s in shop.stops.list(OWNER, StopQuery()).items] == [f"grant/{first.id}"]
    with pytest.raises(Refused, match=f"grant {first.id[-8:]} was stopped by owner: look first") as failure:
        other.broker.admit(other.attempt())
    assert (failure.value.decision.code, failure.value.halts) == ("stopped", False)
    assert other.grants.check(OWNER, CallCheck(first.id, "refund", {"order": "7", "amount": 5})).code == "stopped"
    other.admitted(other.attempt(agent="desk"))
    assert other.admitted(other.attempt(agent="desk", grant=second.id)).grant.id == second.id
    third = shop.grant().grant  # another grant of that agent lets it go on
    assert other.admitted().grant.id == third.id
    assert refused(other, grant=first.id) == "stopped"
    assert refused(other, version=other.look, grant=third.id) == "tool"
    shop.stops.lift(OWNER, StopLift(f"grant/{first.id[-8:]}"))
    assert other.admitted(other.attempt(grant=first.id)).grant.id == first.id
    with pytest.raises(NotFound):
        shop.stops.set(OWNER, StopRequest("grant/00000000", "x"))
    with pytest.raises(NotFound):
        shop.stops.set(OWNER, StopRequest(f"grant/{first.id}", "of another project", "another"))


def test_a_call_that_a_person_let_through_does_not_pass_a_stopped_grant(shop: Shop) -> None:
    made = shop.grant(GrantedTool("tool/refund", SEVEN, on_miss="ask")).grant
    attempt = shop.attempt(arguments={"order": "8", "amount": 5})
    asked = shop.broker.admit(attempt)
    assert isinstance(asked, Asked)
    shop.broker.approvals.decide(OWNER, ApprovalDecision(asked.approval, True))
    shop.stops.set(OWNER, StopRequest(f"grant/{made.id}", "look first"))
    with pytest.raises(Refused) as failure:
        shop.broker.resume(attempt, asked)
    assert failure.value.decision.code == "stopped"


def test_a_stop_says_what_it_halts(shop: Shop) -> None:
    first, second = shop.grant().grant, shop.grant(GrantedTool("tool/look"), agent="desk", task="Look").grant
    ended = shop.grant(expires_ns=shop.time + S).grant
    shop.time += 2 * S

    def would(subject: str) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
        found = shop.stops.list(OWNER, StopQuery(subject=subject)).would
        assert found and (found.agents, found.tools, found.grants) == tuple(map(len, (found.agent_names, found.tool_names, found.granted)))
        return found.agent_names, found.tool_names, [h.id for h in found.granted]

    assert would("all") == (("agent/guide", "desk"), ("tool/look", "tool/refund"), [first.id, second.id])
    assert would("agent/guide") == (("agent/guide",), (), [first.id])
    assert would("desk") == (("desk",), (), [second.id])
    assert would("tool/look") == (("desk",), ("tool/look",), [second.id])
    assert would(f"grant/{second.id[-8:]}") == ((), (), [second.id])
    assert would(f"grant/{ended.id}") == would("tool/nothing") == would("agent/nobody") == ((), (), [])
    assert would("tool/refund")[2] == [first.id]
    other = f"tool/refund@sha256:{'9' * 64}"
    with write(shop.engine) as c:  # as the broker does where a server defines a tool otherwise now
        for n, ref in enumerate((str(shop.refund.ref), other)):
            suspend(c, OWNER, "default", ref, "its server defines it otherwise now", shop.time + n)
    newer, older = shop.stops.list(OWNER, StopQuery(reach=True)).items
    assert older.reach == Reach(1, 1, 1, ("agent/guide",), ("tool/refund",), (Halted(first.id, "agent/guide", "Refund order 7."),))
    assert newer.subject == other and newer.reach == Reach(tools=1, tool_names=("tool/refund",))
    assert shop.stops.list(OWNER, StopQuery()).items[0].reach is None
    shop.grants.revoke(OWNER, GrantId(second.id))
    assert would("all") == (("agent/guide",), ("tool/look", "tool/refund"), [first.id])
    with pytest.raises(Invalid):
        shop.stops.list(OWNER, StopQuery(subject="release/x"))


@on_both
def test_a_switch_holds_from_the_next_call_on_in_every_process(shop: Shop) -> None:
    other = Shop(shop.store)
    shop.grant()
    for subject in ("all", "agent/guide", "tool/refund"):
        other.broker.admit(other.attempt())
        shop.stops.set(OWNER, StopRequest(subject, "look into order 9"))
        with pytest.raises(Refused) as failure:
            other.broker.admit(other.attempt())
        assert failure.value.decision.code == "stopped"
        assert "stopped by owner: look into order 9" in str(failure.value)
        assert failure.value.halts == (subject != "tool/refund")
        assert [s.subject for s in shop.stops.list(OWNER, StopQuery()).items] == [subject]
        shop.stops.lift(OWNER, StopLift(subject))
    other.broker.admit(other.attempt())
    shop.stops.set(OWNER, StopRequest("agent/other", "x"))
    shop.stops.set(OWNER, StopRequest("all", "x", "another-project"))
    other.broker.admit(other.attempt())
    with pytest.raises(NotFound):
        shop.stops.lift(OWNER, StopLift("all"))
    for subject in ("release/x", "", "rеfund", "agent/"):
        with pytest.raises(Invalid):
            shop.stops.set(OWNER, StopRequest(subject, "x"))


@on_both
def test_every_decision_is_in_the_record_with_digests_and_without_arguments(shop: Shop) -> None:
    made = shop.grant(GrantedTool("tool/refund", SEVEN))
    secret = {"order": "7", "amount": 5}
    shop.broker.settle(shop.admitted(shop.attempt(arguments=secret)), S, 0.0, "ok")
    refused(shop, arguments={"order": "hunter2", "amount": 5})
    with read(shop.engine) as c:
        entries = c.execute(select(audit).order_by(audit.c.seq)).all()
        assert verify(c) is None
    assert "hunter2" not in repr(entries)
    by_action = {e.action: msgspec.json.decode(e.details) for e in entries}
    assert list(by_action) == ["grants.make", "tools.allowed", "tools.ended", "tools.denied"]
    assert by_action["tools.allowed"]["grant_digest"] == made.digest
    assert by_action["tools.allowed"]["arguments"] == digest_bytes(b'{"amount":5,"order":"7"}')
    assert by_action["tools.ended"]["outcome"] == "ok"
    assert by_action["tools.denied"]["code"] == "arguments"


def test_a_loop_cannot_flood_the_record(shop: Shop) -> None:
    id = shop.grant(GrantedTool("tool/refund", uses=0)).grant.id
    for n in range(200):
        assert refused(shop, grant=id) == "uses"
        assert refused(shop, grant=id, tool=f"tool/made-up-{n}@sha256:{'0' * 64}", name=f"tool/made-up-{n}") == "tool"
    with read(shop.engine) as c:
        denied = c.execute(select(audit).where(audit.c.action == "tools.denied")).all()
    assert [msgspec.json.decode(d.details)["times"] for d in denied if "made-up" in d.subject] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert len(denied) == 16
    assert shop.grants.show(OWNER, GrantId(id)).denied == 400


def test_a_million_steps_are_not_answered(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent outside that only loops is cut off, with what its grant would have allowed."""
    monkeypatch.setattr("windlass.agentops.grants.MOST_DENIED", 20)
    id = shop.grant(GrantedTool("tool/refund", SEVEN)).grant.id
    holder, steps = Actor(f"grant:{id}", "grant", grant=id), 0
    with pytest.raises(Forbidden, match="20 calls of this grant were denied"):
        for steps in range(10**6):
            shop.grants.opened(holder, "guide")
            refused(shop, arguments={"order": str(steps)}, grant=id)
    assert steps == 20
    for agent in ("other", "agent/other", "tool/guide", ""):
        with pytest.raises(Forbidden, match="not of"):
            shop.grants.opened(holder, agent)
    with pytest.raises(Forbidden, match="shows the token of its grant"):
        shop.grants.opened(OWNER, "guide")


def test_what_would_be_decided_is_told_and_nothing_is_spent(shop: Shop) -> None:
    id = shop.grant(GrantedTool("tool/refund", SEVEN, uses=1)).grant.id
    fits, other = {"order": "7", "amount": 5}, {"order": "8", "amount": 5}
    assert [shop.grants.check(OWNER, CallCheck(id, "tool/refund", fits)).answer for _ in range(2)] == ["allow", "allow"]
    assert shop.grants.check(OWNER, CallCheck(id, "tool/refund", other)).code == "arguments"
    assert shop.grants.check(OWNER, CallCheck(id, "tool/look", {"order": "7"})).code == "tool"
    assert shop.grants.check(OWNER, CallCheck(id, "tool/refund", fits, agent="agent/other")).code == "agent"
    assert shop.grants.show(OWNER, GrantId(id)).spent == Spent()


def test_a_token_names_its_grant_and_ends(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    id = shop.grant(expires_ns=shop.time + 90 * S).grant.id
    made = shop.grants.token(OWNER, TokenRequest(id, 3600))
    assert made.expires_ns == shop.time + 90 * S  # no longer than its grant
    monkeypatch.setattr("windlass.govern.tokens.time.time", lambda: shop.time / S)
    claim = shop.tokens.read_grant(made.token)
    assert (claim.grant, claim.agent, claim.project) == (id, "agent/guide", "default")
    monkeypatch.setattr("windlass.govern.tokens.time.time", lambda: shop.time / S + 90)
    with pytest.raises(Unauthenticated, match="has expired"):
        shop.tokens.read_grant(made.token)


@given(data=st.data())
def test_a_token_cannot_be_altered_nor_made(data: st.DataObject) -> None:
    tokens = Tokens(b"k" * 32)
    token = tokens.grant("g", "default", "agent/guide", 2**33)
    place = data.draw(st.integers(4, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_.=").filter(lambda c: c != token[place]))
    assert tokens.read_grant(token).grant == "g"
    run = tokens.run("g", "default", 60).removeprefix("wlr_")
    for forged in (token[:place] + letter + token[place + 1 :], token + "A", token[:-1], "wlg_" + run, "wlg_", "wlg_." * 5000):
        with pytest.raises(Unauthenticated):
            tokens.read_grant(forged)
    with pytest.raises(Unauthenticated):
        Tokens(b"j" * 32).read_grant(token)
    with pytest.raises(Unauthenticated):
        tokens.read_run("wlr_" + token.removeprefix("wlg_"), "x")
