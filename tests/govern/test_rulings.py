"""Why somebody may or may not: the answer is what really happens to whoever tries."""

from __future__ import annotations

import msgspec
import pytest
from tests.doors.cli.conftest import Shell
from tests.doors.cli.conftest import shell as shell
from tests.govern.test_permissions import TABLE

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Forbidden, Invalid, NotFound
from windlass.core.operations import OPERATIONS, Empty
from windlass.core.operations.policy import PolicyQuestion
from windlass.core.operations.system import KeyQuery, KeyRequest
from windlass.govern.actors import Actors
from windlass.govern.permissions import guard
from windlass.govern.rulings import Rulings
from windlass.govern.sessions import Sessions
from windlass.store.home import Home
from windlass.store.meta import open_meta


@pytest.fixture
def actors(tmp_path) -> Actors:  # type: ignore[no-untyped-def]
    home = Home(tmp_path / "home")
    return Actors(open_meta(home.database_url), Sessions(home.path / "run"), (home.token(),), b"k" * 32, "c")


def test_the_table_is_the_one_that_decides(actors: Actors) -> None:
    found = Rulings(actors).show(OWNER, Empty())
    assert {r.role: " ".join(r.may) for r in found.roles} == TABLE
    assert [o.operation for o in found.operations] == sorted(OPERATIONS)
    with pytest.raises(Forbidden):
        Rulings(actors).show(Actor("app", "caller"), Empty())


@pytest.mark.parametrize("role", sorted(TABLE))
@pytest.mark.parametrize("action", ["read", "releases.promote", "keys.create", "call"])
def test_the_answer_about_a_role_is_what_guard_does(actors: Actors, role: str, action: str) -> None:
    said = Rulings(actors).why(OWNER, PolicyQuestion(role, action))
    try:
        guard(Actor("x", role), said.permission, "default")  # type: ignore[arg-type]
        assert said.allowed and said.rule == "all"
    except Forbidden:
        assert not said.allowed and said.rule == "role"


def test_the_answer_about_a_key_names_the_rule(actors: Actors) -> None:
    rulings = Rulings(actors)
    key = actors.create(OWNER, KeyRequest("ci", "developer", "shop", scopes=("release/answer",)))

    def why(action: str, subject: str = "", project: str = "shop") -> tuple[bool, str]:
        said = rulings.why(OWNER, PolicyQuestion(key.id[-6:], action, subject, project))
        assert said.actor == f"key:{key.id}" and said.role == "developer"
        return said.allowed, said.rule

    assert why("call") == (True, "all") and why("call", "release/answer") == (True, "all")
    assert why("call", "release/other") == (False, "scope") and why("read") == (False, "scope")
    assert why("call", "model/openai/gpt-5") == (False, "scope")
    assert why("call", "default/release/answer") == (False, "project") and why("call", project="default") == (False, "project")
    assert why("keys.create") == (False, "role")
    actors.revoke(OWNER, KeyQuery(key.id))
    assert why("call") == (False, "key")


def test_who_may_ask_about_whom(actors: Actors) -> None:
    rulings = Rulings(actors)
    key = actors.create(OWNER, KeyRequest("ci", "viewer"))
    viewer = actors.of_secret(key.secret or "")
    assert rulings.why(viewer, PolicyQuestion("me", "write")).sentence == f"key:{key.id} is a viewer and may not write; a viewer may read"
    assert rulings.why(viewer, PolicyQuestion(viewer.id, "read")).allowed
    other = actors.create(OWNER, KeyRequest("other", "owner"))
    for name in (other.id, "unknown"):  # not even whether there is such a key
        with pytest.raises(Forbidden):
            rulings.why(viewer, PolicyQuestion(name, "read"))
    with pytest.raises(NotFound):
        rulings.why(OWNER, PolicyQuestion("unknown", "read"))
    with pytest.raises(Invalid) as e:
        rulings.why(OWNER, PolicyQuestion("viewer", "releases.promot"))
    assert e.value.remedy == "did you mean releases.promote?"


def test_the_commands(shell: Shell) -> None:
    assert "developer  builds, tests and deploys in one project" in shell("policy", "show").stdout
    assert "releases.promote" in shell("policy", "show", "--operations").stdout
    assert shell("policy", "why", "me", "keys.create").stdout.startswith("allowed  owner is an owner")
    key = shell.json("keys", "create", "ci", "--role", "viewer")
    said = shell("policy", "why", key["id"][-8:], "labels.move", "alert/x", code=1).stdout
    assert "is a viewer and may not write; a viewer may read" in said and "rule: role" in said and "needs more for some" in said
    assert msgspec.convert(shell.json("policy", "why", "viewer", "write", code=1)["allowed"], bool) is False
    shell("keys", "revoke", key["id"][-8:])
    assert "was revoked" in shell("policy", "why", key["id"], "read", code=1).stdout
