"""So many people before production: who counts, for what, how long; and whatever is tried instead."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.evaluate.application import App
from tests.govern.openid_server import scripted

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Conflict, Forbidden, Invalid, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations.deploy import ApprovalsQuery, ApproveRequest, PromoteRequest, RollbackRequest
from windlass.core.operations.rollouts import RolloutChange, RolloutStart
from windlass.core.operations.system import KeyQuery, KeyRequest
from windlass.govern import audit
from windlass.store.meta import read
from windlass.store.tables import audit as entries

TWO = "[[approval]]\npeople = 2\nhours = 72\n"
ANSWER = ApproveRequest("answer")


class Team:
    """An application of which a candidate was let through, pushed and gated by the owner; and people with keys."""

    def __init__(self, folder: Path, policy: str = TWO) -> None:
        self.app = App(folder, rows=80)
        self.platform = self.app.platform
        self.approvers = self.platform.approvers
        self.policy(policy)
        self.candidate = self.app.push()
        self.verdict = self.app.gate().verdict
        assert self.verdict and self.verdict.decision == "promote"

    def policy(self, text: str) -> None:
        (self.app.home.path / "policy.toml").write_text(text)

    def key(self, name: str, role: str = "developer", project: str = "default") -> Actor:
        made = self.platform.actors.create(OWNER, KeyRequest(name, role, project))  # type: ignore[arg-type]
        return self.platform.actors.of_secret(made.secret or "")

    def approve(self, actor: Actor, **more: str) -> None:
        self.approvers.approve(actor, ApproveRequest("answer", **more))

    def production(self) -> str | None:
        return self.app.client.releases.list().items[0].environments.get("production")

    def actions(self) -> list[tuple[str, str]]:
        with read(self.platform.engine) as c:
            assert audit.verify(c) is None
            rows = c.execute(select(entries.c.action, entries.c.actor).order_by(entries.c.seq)).all()
        return [(r.action, r.actor) for r in rows if r.action.startswith("releases.")]


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    made = Team(tmp_path)
    yield made
    made.app.close()


def refused(team: Team, actor: Actor, said: str) -> None:
    before = team.actions()
    with pytest.raises(Forbidden, match=said):
        team.platform.releases.promote(actor, PromoteRequest("answer"))
    assert team.production() is None and team.actions() == before


def test_somebody_who_logged_in_by_a_provider_is_one_of_them_and_a_machine_is_not(team: Team) -> None:
    with scripted() as provider:
        rule = '[[provider.rule]]\nclaims = { groups = "ml-team" }\nrole = "developer"\n'
        named = f'[[provider]]\nname = "company"\nissuer = "{provider.issuer}"\nclient_id = "windlass"\naudience = "us"\n'
        file = team.app.home.path / "oidc.toml"
        file.write_text(named + rule)
        people, bob = team.platform.people, team.key("bob")
        url, pending = people.openid.begin("company", "http://127.0.0.1/login/company/back", "/")
        people.log_in("company", pending, provider.come_back(url))
        ann = Actor("oidc:company:ann", "developer")
        machine = team.platform.actors.of_secret(provider.keys.sign(provider.claims(aud="us", sub="ci")))
        team.approve(bob)
        with pytest.raises(Forbidden, match="is a machine, and approves no release"):
            team.approve(machine)
        refused(team, OWNER, r"and has 1 \(bob \(key:\w+\)\); ann \(oidc:company:ann\) could")
        team.approve(ann)
        assert team.approvers.show(OWNER, ApprovalsQuery("answer")).enough
        file.write_text(named + rule.replace("ml-team", "ml-gone"))  # whoever may not any more does not count
        refused(team, OWNER, "and has 1")
        file.write_text("[[provider")
        refused(team, OWNER, "and has 1")
        file.write_text(named + rule)
        move = team.platform.releases.promote(OWNER, PromoteRequest("answer"))
        assert set(move.approved_by) == {bob.id, ann.id}


def test_two_people_besides_whoever_proposed_it(team: Team) -> None:
    ann, bob, carl = team.key("ann"), team.key("bob"), team.key("carl", "owner")
    team.key("looks", "viewer"), team.key("elsewhere", project="other")
    refused(
        team, ann, r"needs 2 approvals of release/answer@\w+ by verdict \w+, and has 0; ann \(key:\w+\), bob \(key:\w+\), carl .* could"
    )
    team.approve(ann, note="I asked it ten questions")
    team.approve(ann)  # again is one
    refused(team, bob, r"and has 1 \(ann \(key:\w+\)\); bob \(key:\w+\), carl")
    team.approve(bob)
    standing = team.approvers.show(carl, ApprovalsQuery("answer"))
    assert (standing.enough, standing.needed, [a.actor for a in standing.given]) == (True, 2, [ann.id, bob.id])
    assert standing.proposed_by == ("owner",) and standing.may and not standing.mine
    move = team.platform.releases.promote(OWNER, PromoteRequest("answer"))
    assert move.approved_by == (ann.id, bob.id) and team.production() == move.after
    (shown,) = team.app.client.releases.history("answer").items
    assert shown.approved_by == (ann.id, bob.id)
    assert [a for a, _ in team.actions()] == ["releases.approve"] * 3 + ["releases.promote"]
    with read(team.platform.engine) as c:
        said = c.execute(select(entries.c.details).where(entries.c.action == "releases.promote")).scalar_one()
    assert f'"approved_by":["{ann.id}","{bob.id}"]' in said


def test_whoever_proposed_it_does_not_count(team: Team) -> None:
    with pytest.raises(Forbidden, match="you proposed release/answer"):
        team.approve(OWNER)
    ann = team.key("ann")
    team.app.client.transport._headers[0] = (  # type: ignore[attr-defined]
        b"authorization", f"Bearer {team.platform.actors.create(OWNER, KeyRequest('ci', 'developer')).secret}".encode(),
    )  # fmt: skip
    verdict = team.app.gate().verdict  # the same candidate, gated again, by ci
    ci = team.app.client.policy.why("me", "read").actor
    assert verdict
    standing = team.approvers.show(ann, ApprovalsQuery("answer"))
    assert standing.verdict == verdict.id and standing.proposed_by == ("owner", ci)
    with pytest.raises(Forbidden, match="you proposed"):
        team.app.client.releases.approve("answer")


def test_an_approval_is_for_one_release_and_one_verdict(team: Team) -> None:
    ann, bob = team.key("ann"), team.key("bob")
    team.approve(ann)
    team.approve(bob)
    team.app.edit("app.py", '"""Answer."""', '"""Answer."""\n    0')
    team.app.push()
    newer = team.app.gate().verdict
    assert newer and newer.candidate != team.candidate
    with pytest.raises(Forbidden, match="and has 0"):
        team.platform.releases.promote(ann, PromoteRequest("answer"))  # the newest candidate was let through, and not approved
    team.platform.releases.promote(ann, PromoteRequest("answer", verdict=team.verdict.id))
    with pytest.raises(Conflict, match="has moved since"):
        team.approve(ann, verdict=newer.id)


def test_a_second_verdict_about_the_same_takes_nothing_from_the_first(team: Team) -> None:
    ann, bob = team.key("ann"), team.key("bob")
    team.approve(ann)
    team.approve(bob)
    again = team.app.gate().verdict
    assert again and again.id != team.verdict.id
    with pytest.raises(Forbidden, match="and has 0"):
        team.platform.releases.promote(ann, PromoteRequest("answer", verdict=again.id))
    assert team.platform.releases.promote(ann, PromoteRequest("answer")).verdict == team.verdict.id


def test_a_withdrawn_approval_does_not_count(team: Team) -> None:
    ann, bob = team.key("ann"), team.key("bob")
    team.approve(ann)
    team.approve(bob)
    team.approvers.withdraw(ann, ApproveRequest("answer", note="it told me nonsense"))
    refused(team, bob, r"has 1 \(bob")
    with pytest.raises(Invalid, match="you have not approved"):
        team.approvers.withdraw(ann, ANSWER)
    team.approve(ann)
    assert team.platform.releases.promote(bob, PromoteRequest("answer")).approved_by == (bob.id, ann.id)


def test_an_old_approval_does_not_count(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = team.key("ann"), team.key("bob")
    team.approve(ann)
    monkeypatch.setattr(team.approvers, "_now", lambda: now_ns() + 71 * 3600 * 10**9)
    team.approve(bob)
    assert team.approvers.show(ann, ApprovalsQuery("answer")).enough
    monkeypatch.setattr(team.approvers, "_now", lambda: now_ns() + 72 * 3600 * 10**9 + 10**9)
    refused(team, bob, r"has 1 \(bob")
    assert [a.why_not for a in team.approvers.show(ann, ApprovalsQuery("answer")).given] == ["older than 72 hours", ""]


def test_who_may_no_longer_deploy_does_not_count(team: Team) -> None:
    ann, bob = team.key("ann"), team.key("bob")
    team.approve(ann)
    team.approve(bob)
    team.platform.actors.revoke(OWNER, KeyQuery(ann.id.removeprefix("key:")))
    refused(team, bob, r"has 1 \(bob .*; nobody else may deploy here, which is too few: make a key")
    assert team.approvers.show(bob, ApprovalsQuery("answer")).given[0].why_not == "may not deploy any more"


def test_an_approval_lets_out_once(team: Team) -> None:
    first = team.app.mistakes(0)
    team.platform.releases.promote(OWNER, PromoteRequest("answer", override="first", digest=first.partition("@")[2]))
    team.app.edit("app.py", '"""Answer."""', '"""Answer."""\n    1')
    second = team.app.push()
    assert team.app.gate().verdict
    ann, bob = team.key("ann"), team.key("bob")
    team.approve(ann)
    team.approve(bob)
    team.platform.releases.promote(ann, PromoteRequest("answer"))
    team.platform.releases.rollback(bob, RollbackRequest("answer"))  # back is never held up
    assert team.production() == first.partition("@")[2] != second.partition("@")[2]
    with pytest.raises(Forbidden, match="and has 0"):
        team.platform.releases.promote(ann, PromoteRequest("answer"))
    assert {a.why_not for a in team.approvers.show(ann, ApprovalsQuery("answer")).given} == {"given before production moved"}


def test_only_an_owner_goes_past_approvals_with_a_reason(team: Team) -> None:
    ann = team.key("ann")
    before = team.actions()
    with pytest.raises(Forbidden, match="needs 2 approvals, which only an owner may override"):
        team.platform.releases.promote(ann, PromoteRequest("answer", override="it burns"))
    assert team.production() is None and team.actions() == before
    team.platform.releases.promote(OWNER, PromoteRequest("answer", override="it burns"))
    assert team.production()
    team.platform.releases.promote(ann, PromoteRequest("answer", "staging", override="only staging"))


def test_the_strictest_rule_counts_and_other_projects_and_environments_are_free(team: Team) -> None:
    ann, bob = team.key("ann"), team.key("bob")
    team.policy(TWO + '[[approval]]\nproject = "default"\npeople = 1\nhours = 1\n[[approval]]\nproject = "shop"\npeople = 9\n')
    standing = team.approvers.show(ann, ApprovalsQuery("answer"))
    assert standing.needed == 2
    team.approve(bob)
    given = team.approvers.show(ann, ApprovalsQuery("answer")).given[0]
    assert given.expires_ns - given.at_ns == 3600 * 10**9
    team.policy("")
    assert team.approvers.show(ann, ApprovalsQuery("answer")).sentence == "no approval is demanded for production"
    with pytest.raises(Invalid, match="nobody demands approvals"):
        team.approve(ann)
    team.platform.releases.promote(ann, PromoteRequest("answer"))


@pytest.mark.parametrize(
    "text",
    [
        "[[approval]]\n",
        "[[approval]]\npeople = 0\n",
        '[[approval]]\npeople = 1\nenvironment = "live"\n',
        "[[aproval]]\npeople = 1\n",
        "x =",
    ],
)
def test_a_policy_that_cannot_be_read_lets_nothing_out(team: Team, text: str) -> None:
    ann = team.key("ann")
    team.policy(text)
    with pytest.raises(Invalid, match="the policy cannot be read"):
        team.platform.releases.promote(ann, PromoteRequest("answer"))
    assert team.production() is None


@pytest.mark.slow
def test_approvals_withdrawals_and_promotions_that_race(team: Team) -> None:
    """Whatever comes first: nothing moves without two approvals that stand at that moment. Told by the audit, which is in the order of
    the transactions."""
    people = [team.key(name) for name in ("ann", "bob", "carl")]
    end = time.monotonic() + 20

    def act(n: int) -> None:
        actor, turn = people[n % 3], 0
        while time.monotonic() < end and team.production() is None:
            turn += 1
            with contextlib.suppress(WindlassError):
                if n >= 3:
                    team.platform.releases.promote(actor, PromoteRequest("answer"))
                elif turn % 2:
                    team.approvers.approve(actor, ANSWER)
                    time.sleep(0.005 * n)
                else:
                    team.approvers.withdraw(actor, ANSWER)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(act, range(6)))
    standing: set[str] = set()
    moved = 0
    for action, actor in team.actions():
        if action == "releases.approve":
            standing.add(actor)
        elif action == "releases.withdraw":
            standing.discard(actor)
        elif action == "releases.promote":
            assert len(standing) >= 2
            moved += 1
    assert moved == 1 and team.production()


def test_a_rollout_needs_them_as_a_promotion_does(team: Team) -> None:
    """They are demanded before the first caller is answered, and are on record when it takes the environment."""
    client = team.app.client
    client.releases.promote("answer", override="the first")
    team.app.edit("app.py", 'return f"answer {number}"', 'return "" + f"answer {number}"')
    team.app.push()
    verdict = team.app.gate().verdict
    assert verdict and verdict.decision == "promote"
    with pytest.raises(Forbidden, match=r"needs 2 approvals .* has 0"):
        client.rollouts.start("answer")
    assert not client.rollouts.list().items
    ann, ben = team.key("ann"), team.key("ben")
    team.approve(ann)
    with pytest.raises(Forbidden, match="has 1"):
        team.platform.rollouts.start(ann, RolloutStart("answer"))
    team.approve(ben)
    rollout = team.platform.rollouts.start(ann, RolloutStart("answer", steps=(5,)))
    assert rollout.started_by == ann.id and set(rollout.approved_by) == {ann.id, ben.id}
    with pytest.raises(Forbidden, match="may not deploy"):
        team.platform.rollouts.stop(team.key("eve", "viewer"), RolloutChange(rollout.id, "because"))
    assert client.rollouts.step(rollout.id, "everybody agrees").status == "promoted"
    move = client.releases.history().items[0]
    assert (move.kind, move.verdict, set(move.approved_by)) == ("rollout", verdict.id, {ann.id, ben.id})
