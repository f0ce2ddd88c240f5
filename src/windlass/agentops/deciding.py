"""May this agent make this call now? One function without I/O: the call and what was spent so far go in, a decision with its reason comes
out.

Cedar decides who, what, when and how often (a policy for each tool of the grant, parsed once); JSON Schema decides the arguments. The
same is worked out a second time in plain code, which finds the sentence. A call is allowed only where both allow it: default deny, and
whatever cannot be read (a float, a null, a counter that is missing) is denied.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from windlass.agentops.arguments import misfit, misfit_own
from windlass.core.digest import short
from windlass.core.errors import WindlassError
from windlass.core.grant import ASKABLE, MICRO, CallDecision, Code, Grant, GrantedTool, Spent

if TYPE_CHECKING:
    import cedarpy

SCHEMA = """
entity Agent; entity Tool;
type Now = {
    now: Long, fits: Bool, approved: Bool, stopped: Bool, revoked: Bool,
    uses: Long, calls: Long, milliseconds: Long, dollars: Long
};
action call appliesTo { principal: Agent, resource: Tool, context: Now };
"""


class Call(msgspec.Struct, frozen=True):
    """One call that an agent asks for. `tool` is the whole ref `tool/name@sha256:…` of what would run, `parameters` its own schema.
    `stopped` says why a switch stops it. `approved`: a person let this one call through. `now_ns` is UTC."""

    agent: str
    tool: str
    arguments: dict[str, Any]
    now_ns: int
    spent: Spent = Spent()
    parameters: dict[str, Any] = {}
    stopped: str | None = None
    revoked: bool = False
    approved: bool = False


def authorize(call: Call, grant: Grant) -> CallDecision:
    """The decision about a call under a grant. Raises nothing: what is odd is denied."""
    try:
        granted = next((t for t in grant.tools if t.tool == call.tool), None)
        wrong = _misfit(call, granted) if granted else "no arguments"
        denied = _denied(call, grant, granted, wrong)
        allowed = _cedar(call, grant, wrong is None)
    except (WindlassError, TypeError, ValueError, OverflowError, RecursionError, AttributeError) as e:
        return CallDecision("deny", f"the call cannot be read ({type(e).__name__})", "odd", "send plain JSON")
    if denied is None and allowed:
        return CallDecision("allow", f"the grant {grant.id[-8:]} lets {call.agent} call {_name(call.tool)}")
    if denied is None:
        return CallDecision("deny", f"the policy of grant {grant.id[-8:]} does not allow it", "policy", "make the grant anew")
    if granted and granted.on_miss == "ask" and denied.code in ASKABLE:
        return msgspec.structs.replace(denied, answer="ask", remedy="a person may let this one call through")
    return denied


def set_aside(granted: GrantedTool, spent: Spent) -> Spent:
    """What is spent once a call of that tool is allowed."""
    return Spent(
        spent.calls + 1, spent.milliseconds + granted.seconds * 1000, spent.microdollars + micro(granted.dollars),
        {**spent.uses, granted.tool: spent.uses.get(granted.tool, 0) + 1},
    )  # fmt: skip


def micro(dollars: float) -> int:
    return round(dollars * MICRO)


def check_policies(grant: Grant) -> None:
    """Raises `ValueError` for a grant whose policies Cedar would not read as they are meant."""
    import cedarpy

    if not (found := cedarpy.validate_policies(_policies(grant), SCHEMA)):
        raise ValueError("; ".join(map(str, found.errors)))


def _misfit(call: Call, granted: GrantedTool) -> str | None:
    if granted.arguments is None:
        return misfit_own(call.parameters, call.arguments)
    return misfit(granted.arguments, call.arguments)


def _denied(call: Call, grant: Grant, granted: GrantedTool | None, wrong: str | None) -> CallDecision | None:
    """The first reason against the call, in words; None where there is none."""
    who, tool = f"grant {grant.id[-8:]}", _name(call.tool)

    def no(code: Code, why: str, remedy: str = "") -> CallDecision:
        return CallDecision("deny", why, code, remedy)

    if call.stopped is not None:
        return no("stopped", call.stopped, "wait until it is lifted")
    if call.agent != grant.agent:
        return no("agent", f"{who} is for {grant.agent}, not for {call.agent}", "use a grant of this agent")
    if call.revoked:
        return no("revoked", f"{who} was revoked", "ask for another grant")
    if grant.expires_ns is not None and call.now_ns >= grant.expires_ns:
        return no("expired", f"{who} has expired", "ask for another grant")
    if granted is None:
        if any(_name(t.tool) == tool for t in grant.tools):
            return no("definition", f"{tool} changed since {who} was made: it is {short(_digest(call.tool))} now", "make the grant anew")
        return no("tool", f"{who} does not list {tool}", "it lists " + (", ".join(_name(t.tool) for t in grant.tools) or "no tool"))
    return _over(call, grant, granted, wrong, who, tool, no)


def _over(call: Call, grant: Grant, granted: GrantedTool, wrong: str | None, who: str, tool: str, no: Any) -> CallDecision | None:
    """What is against the call in its arguments and in what was spent."""
    found: CallDecision | None = None
    after = set_aside(granted, call.spent)
    if grant.calls is not None and after.calls > grant.calls:
        found = no("calls", f"the {grant.calls} calls of {who} are used up")
    elif grant.seconds is not None and after.milliseconds > grant.seconds * 1000:
        found = no(
            "seconds", f"the {grant.seconds} s of {who} do not suffice for another call of {tool}, which may take {granted.seconds} s"
        )
    elif grant.dollars is not None and after.microdollars > micro(grant.dollars):
        found = no("dollars", f"the ${grant.dollars:g} of {who} do not suffice for another call of {tool}")
    elif call.approved:
        found = None
    elif wrong is not None:
        found = no("arguments", f"{who} does not allow these arguments of {tool}: {wrong}", "call it as the grant says")
    elif granted.uses is not None and after.uses[granted.tool] > granted.uses:
        found = no("uses", f"the {granted.uses} use{'' if granted.uses == 1 else 's'} of {tool} under {who} are used up")
    return found


def _cedar(call: Call, grant: Grant, fits: bool) -> bool:
    spent = call.spent
    context = {
        "now": call.now_ns, "fits": fits, "approved": call.approved, "stopped": call.stopped is not None, "revoked": call.revoked,
        "uses": spent.uses.get(call.tool, 0), "calls": spent.calls, "milliseconds": spent.milliseconds, "dollars": spent.microdollars,
    }  # fmt: skip
    request = {
        "principal": {"type": "Agent", "id": call.agent}, "action": {"type": "Action", "id": "call"},
        "resource": {"type": "Tool", "id": call.tool}, "context": context,
    }  # fmt: skip
    import cedarpy

    # `NoDecision` is what Cedar says of what it cannot read
    return cedarpy.is_authorized(request, _parsed(msgspec.json.encode(grant)), _nobody()).decision is cedarpy.Decision.Allow


@cache
def _nobody() -> cedarpy.Entities:
    """No entities: the language behind it takes 7 MB, which who grants nothing need not hold."""
    import cedarpy

    return cedarpy.Entities.from_json_str("[]")


@lru_cache(maxsize=4096)
def _parsed(grant: bytes) -> cedarpy.PolicySet:
    """A grant's policies, read once; by all it says, so that no grant is ever taken for another."""
    import cedarpy

    return cedarpy.PolicySet.from_str(_policies(msgspec.json.decode(grant, type=Grant)))


def _policies(grant: Grant) -> str:
    return "\n".join(_policy(grant, tool) for tool in grant.tools)


def _policy(grant: Grant, tool: GrantedTool) -> str:
    """Only permits, which say all that must hold: Cedar passes over a `forbid` whose condition cannot be worked out."""
    hold = ["!context.stopped", "!context.revoked"]
    if grant.expires_ns is not None:
        hold.append(f"context.now < {grant.expires_ns}")
    if grant.calls is not None:
        hold.append(f"context.calls < {grant.calls}")
    if grant.seconds is not None:
        hold.append(f"context.milliseconds + {tool.seconds * 1000} <= {grant.seconds * 1000}")
    if grant.dollars is not None:
        hold.append(f"context.dollars + {micro(tool.dollars)} <= {micro(grant.dollars)}")
    miss = ["context.fits"] + ([f"context.uses < {tool.uses}"] if tool.uses is not None else [])
    hold.append(f"(context.approved || ({' && '.join(miss)}))")
    who, what = _quoted(grant.agent), _quoted(tool.tool)
    return f'permit(principal == Agent::{who}, action == Action::"call", resource == Tool::{what}) when {{ {" && ".join(hold)} }};'


def _quoted(text: str) -> str:
    """As Cedar writes a text; names are plain words, so that anything else is a mistake."""
    if not text.isascii() or not text.isprintable() or '"' in text or "\\" in text:
        raise ValueError(f"{text!r} is no name")
    return f'"{text}"'


def _name(tool: str) -> str:
    return tool.partition("@")[0]


def _digest(tool: str) -> str:
    return tool.partition("@")[2]
