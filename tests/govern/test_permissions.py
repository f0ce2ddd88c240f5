"""Who may do what: the whole table, and that what is not in it is denied."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.actor import OWNER, Actor, Role
from windlass.core.errors import Forbidden
from windlass.core.operations import Permission
from windlass.govern.permissions import explain, guard

TABLE = {
    "owner": "read write run deploy admin call trace",
    "developer": "read write run deploy call trace",
    "viewer": "read",
    "caller": "call trace",
    "run": "call trace",
    "grant": "",
}


def test_the_whole_table() -> None:
    assert set(TABLE) == set(get_args(Role))
    for role, allowed in TABLE.items():
        for permission in (*get_args(Permission), "call", "trace"):
            said = explain(Actor("ann", role), permission, "default")  # type: ignore[arg-type]
            assert (said is None) == (permission in allowed.split()), (role, permission)
            if said is not None:
                assert f"ann is a {role} and may not {permission}" in said
                with pytest.raises(Forbidden, match="may not"):
                    guard(Actor("ann", role), permission, "default")  # type: ignore[arg-type]


@given(st.text(), st.text())
def test_what_is_not_known_is_denied(role: str, permission: str) -> None:
    if role not in TABLE or permission not in TABLE[role].split():
        assert explain(Actor("ann", role), permission, "default")  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["developer", "viewer", "caller", "run"])
def test_only_an_owner_reaches_another_project(role: Role) -> None:
    permission = TABLE[role].split()[0]
    assert explain(Actor("ann", role, "one"), permission, "one") is None
    assert explain(Actor("ann", role, "one"), permission, "two") == "ann belongs to project one, not two"
    guard(OWNER, "write", "anything")


def test_a_key_with_scopes_opens_only_those() -> None:
    key = Actor("key", "developer", scopes=("release/answer",))
    assert explain(key, "call", "default") is None, "the gateway asks again with the subject"
    assert explain(key, "call", "default", "release/answer") is None
    assert explain(key, "read", "default", "release/answer") is None
    for permission, subject in (("call", "release/other"), ("read", None), ("write", None), ("deploy", "release/other")):
        assert "is only for release/answer" in (explain(key, permission, "default", subject) or "")
