"""The decision about one call: both workings of it agree on anything, and nothing odd is let through."""

from __future__ import annotations

from typing import Any

import cedarpy
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.agentops import deciding
from windlass.agentops.deciding import Call, authorize, check_policies, set_aside
from windlass.core.grant import ASKABLE, Grant, GrantedTool, Spent

A, B, OLD = (f"tool/{name}@sha256:{digit * 64}" for name, digit in (("refund", "a"), ("look", "b"), ("refund", "c")))
ORDER = {
    "type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"], "additionalProperties": False,
}  # fmt: skip


def grant(**more: Any) -> Grant:
    return Grant(**{"id": "0123456789", "agent": "agent/guide", "task": "Refund.", "tools": (GrantedTool(A, ORDER),), **more})


def call(**more: Any) -> Call:
    return Call(**{"agent": "agent/guide", "tool": A, "arguments": {"order": "1"}, "now_ns": 100, **more})


few = st.integers(0, 3)
maybe = st.none() | few
tools = st.builds(GrantedTool, st.sampled_from([A, B]), st.sampled_from([None, ORDER]), maybe, st.sampled_from(["deny", "ask"]), st.just(1))
grants = st.builds(
    grant, agent=st.sampled_from(["agent/guide", "other"]), tools=st.lists(tools, max_size=2, unique_by=lambda t: t.tool).map(tuple),
    calls=maybe, seconds=maybe, dollars=maybe, expires_ns=st.sampled_from([None, 99, 100, 101]),
)  # fmt: skip
spent = st.builds(
    Spent, few, st.sampled_from([0, 1000, 2001]), st.sampled_from([0, 1_000_000]), st.dictionaries(st.sampled_from([A, B]), few)
)
calls = st.builds(
    call, agent=st.sampled_from(["agent/guide", "other", "agent/guide "]), tool=st.sampled_from([A, B, OLD]), spent=spent,
    arguments=st.sampled_from([{}, {"order": "1"}, {"order": 1}, {"order": "1", "to": "x"}]),
    parameters=st.just(ORDER), stopped=st.sampled_from([None, "stopped"]), revoked=st.booleans(), approved=st.booleans(),
)  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(calls, grants)
def test_the_sentence_and_the_policy_agree(call: Call, grant: Grant) -> None:
    """Cedar's answer is that of the plain code, on calls and grants of all kinds: a difference would show as `policy`, or as an error."""
    granted = next((t for t in grant.tools if t.tool == call.tool), None)
    wrong = deciding._misfit(call, granted) if granted else "none"
    denied = deciding._denied(call, grant, granted, wrong)
    assert deciding._cedar(call, grant, wrong is None) == (denied is None)
    found = authorize(call, grant)
    assert (found.answer == "allow") == (denied is None)
    assert found.why
    if found.answer == "ask":
        assert found.code in ASKABLE
        assert granted is not None
        assert granted.on_miss == "ask"
    if found.answer == "allow":  # and what is allowed is within every bound of the grant, once it is spent
        assert granted is not None
        after = set_aside(granted, call.spent)
        assert call.agent == grant.agent
        assert grant.calls is None or after.calls <= grant.calls
        assert grant.seconds is None or after.milliseconds <= grant.seconds * 1000
        assert call.approved or granted.uses is None or after.uses[call.tool] <= granted.uses
        assert not (call.stopped or call.revoked)


def test_a_call_within_its_grant_is_allowed() -> None:
    found = authorize(call(), grant(calls=1, seconds=30, expires_ns=101))
    assert (found.answer, found.why) == ("allow", "the grant 23456789 lets agent/guide call tool/refund")


@pytest.mark.parametrize(
    ("changed", "granted", "code", "said"),
    [
        ({"stopped": "everything was stopped by owner: look"}, {}, "stopped", "everything was stopped by owner: look"),
        ({"agent": "agent/other"}, {}, "agent", "grant 23456789 is for agent/guide, not for agent/other"),
        ({"revoked": True}, {}, "revoked", "was revoked"),
        ({}, {"expires_ns": 100}, "expired", "has expired"),
        ({"tool": B}, {}, "tool", "does not list tool/look"),
        ({"tool": OLD}, {}, "definition", "tool/refund changed since grant 23456789 was made: it is cccccc now"),
        ({"arguments": {"order": "1", "to": "me"}}, {}, "arguments", "'to' was unexpected"),
        ({"arguments": {"order": 1}}, {}, "arguments", "order: what is given is not of type"),
        ({}, {"tools": (GrantedTool(A, ORDER, uses=0),)}, "uses", "the 0 uses of tool/refund"),
        ({"spent": Spent(2)}, {"calls": 2}, "calls", "the 2 calls of grant 23456789 are used up"),
        ({"spent": Spent(1, 1)}, {"seconds": 30}, "seconds", "the 30 s of grant 23456789 do not suffice"),
        ({}, {"tools": (GrantedTool(A, ORDER, dollars=0.2),), "dollars": 0.1}, "dollars", "the $0.1 of grant 23456789"),
    ],
)  # fmt: skip
def test_a_denial_says_why(changed: dict[str, Any], granted: dict[str, Any], code: str, said: str) -> None:
    found = authorize(call(**changed), grant(**granted))
    assert (found.answer, found.code) == ("deny", code)
    assert said in found.why


@pytest.mark.parametrize(
    "odd",
    [
        {"now_ns": 100.5}, {"now_ns": None}, {"now_ns": 2**70}, {"now_ns": "100"}, {"spent": Spent(calls=0.5)}, {"spent": None},  # type: ignore[arg-type]
        {"spent": Spent(uses={A: None})}, {"arguments": None}, {"arguments": {"order": float("nan")}}, {"arguments": {"order": {1, 2}}},  # type: ignore[dict-item]
        {"approved": None}, {"approved": 1}, {"revoked": 0}, {"agent": None}, {"agent": 7}, {"tool": None},
    ],
    ids=repr,
)  # fmt: skip
def test_what_cannot_be_read_is_denied(odd: dict[str, Any]) -> None:
    assert authorize(call(**odd), grant(calls=5, expires_ns=200)).answer == "deny"


def test_a_counter_that_is_missing_is_denied_and_never_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cedar passes over a `forbid` whose condition fails; our policies have none, so an unknown counter denies."""
    policies = deciding._policies(grant(calls=5, seconds=60, dollars=1.0, expires_ns=200, tools=(GrantedTool(A, ORDER, 3),)))
    assert "forbid" not in policies
    real = cedarpy.is_authorized
    context: dict[str, Any] = {}

    def without(request: dict[str, Any], *rest: Any) -> Any:
        context.update(request["context"])
        return real({**request, "context": {k: v for k, v in request["context"].items() if k != missing}}, *rest)

    monkeypatch.setattr(cedarpy, "is_authorized", without)
    for missing in ("now", "fits", "stopped", "revoked", "uses", "calls", "milliseconds", "dollars", "approved"):
        bounded = grant(calls=5, seconds=60, dollars=1.0, expires_ns=200, tools=(GrantedTool(A, ORDER, 3),))
        assert authorize(call(), bounded).code == "policy", missing
        assert missing in context


def test_policies_are_read_as_they_are_meant() -> None:
    check_policies(grant(calls=5, seconds=60, dollars=0.5, expires_ns=200, tools=(GrantedTool(A, ORDER, 3), GrantedTool(B))))
    for name in ('x" || true', "x\\", "x\n", "rеfund"):  # the last with a Cyrillic letter
        with pytest.raises(ValueError, match="is no name"):
            check_policies(grant(agent=name))
        assert authorize(call(agent=name), grant(agent=name)).code == "odd"


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda c: st.lists(c) | st.dictionaries(st.text(max_size=5), c)
    )
)
def test_only_what_fits_is_allowed_whatever_comes(value: Any) -> None:
    for arguments in ({"order": value}, value):
        found = authorize(call(arguments=arguments), grant())
        fits = isinstance(arguments, dict) and set(arguments) == {"order"} and isinstance(arguments["order"], str)
        assert (found.answer == "allow") == fits


def test_a_grant_is_never_taken_for_another() -> None:
    """Policies are kept by all that a grant says, also where two grants have one id."""
    assert authorize(call(), grant()).answer == "allow"
    assert authorize(call(), grant(calls=0)).code == "calls"
    assert authorize(call(), msgspec.structs.replace(grant(), tools=())).code == "tool"
