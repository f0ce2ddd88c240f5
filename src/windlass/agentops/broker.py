"""The broker: every call of a tool is let through here, or not.

The version of an agent is its grant by default: it may call the tools it was registered with, at their digests, as long as they only look
or compute. A tool that changes the world needs a grant for it. A call that a grant allows is spent in the transaction that allows it;
what is denied, and what may change the world, is entered in the record of what was done. A call that no model chose (code makes it, or
somebody by hand) needs no grant; switches and the record hold for it too.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from sqlalchemy import Connection, Engine

from windlass.agentops import approvals
from windlass.agentops.approvals import Approvals, Told
from windlass.agentops.deciding import Call, authorize, micro, set_aside
from windlass.agentops.definitions import changes, in_words
from windlass.agentops.grants import digest_of, find, grant_of, live, spent_of
from windlass.agentops.spending import count_denied, give_back, spend
from windlass.agentops.switches import GRANT, holding, stopped, suspend
from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.digest import canonical, digest_bytes
from windlass.core.errors import Forbidden, WindlassError
from windlass.core.grant import CallDecision, Code, Grant, GrantedTool, Spent
from windlass.core.ids import now_ns
from windlass.govern import audit
from windlass.govern.permissions import explain
from windlass.store.meta import read, write

READABLE = 10_000  # characters of arguments that a person can be asked about: what is let through was seen whole
ELSEWHERE: frozenset[Code] = frozenset({"agent", "tool"})  # a grant says so that has nothing to do with the call


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A call that somebody asks for. `tool` is the whole ref of what would run, `name` its `kind/name`; `effects` counts what its code
    calls, and `by` names what does more than it declares. `agent` is whose model wants it, or the `kind/name` of the code that calls, or
    who runs it by hand. `own` is the agent's version as a grant, where it runs here; `grant` names the one grant that counts, where one
    was named; `within` are the agents inside which it happens."""

    actor: Actor
    project: str
    agent: str
    tool: str
    name: str
    arguments: dict[str, object]
    parameters: dict[str, object]
    effects: str
    by: str = ""
    own: Grant | None = None
    grant: str | None = None
    within: tuple[str, ...] = ()

    @property
    def agents(self) -> tuple[str, ...]:
        """Whoever stops one of these stops the call."""
        return (*self.within, self.agent)


class Admitted(msgspec.Struct, frozen=True):
    """A call that may go ahead. `tool` is what was set aside for it; None: it goes by the agent's version, or code made it, and nothing
    was. `grant` is what let it through; None: no model chose it. `audit` is the number of
    the entry that records it."""

    attempt: Attempt
    decision: CallDecision
    grant: Grant | None
    tool: GrantedTool | None = None
    audit: int | None = None

    @property
    def seconds(self) -> float | None:
        """How long it may take; None: as long as its run may."""
        return float(self.tool.seconds) if self.tool else None


class Denied(msgspec.Struct, frozen=True):
    """A call that may not: why, and which grant says so, where one has something to do with it."""

    decision: CallDecision
    grant: str = ""


class Asked(msgspec.Struct, frozen=True):
    """A call that waits for a person: the request, and why it does not go ahead by itself; `begin` is done once it is written."""

    approval: str
    decision: CallDecision
    grant: str
    begin: Callable[[], None] = lambda: None


class Refused(Forbidden):
    """A call that was not allowed. The code of its decision is among the details; `halts`: its agent is stopped, so no other would be;
    `grant` is the one that says no, where one has something to do with it."""

    def __init__(self, decision: CallDecision, attempt: Attempt, halts: bool = False, grant: str = "") -> None:
        super().__init__(decision.why, remedy=decision.remedy or None, decision=decision.code, answer=decision.answer, tool=attempt.name)
        self.decision = decision
        self.halts = halts
        self.grant = grant


class Broker:
    """Lets calls through. One per process; what it goes by is read anew for each call."""

    def __init__(self, engine: Engine, now: Callable[[], int] = now_ns, approval_seconds: float = 300.0, told: Told | None = None) -> None:
        self._engine = engine
        self._now = now
        self._approval_seconds = approval_seconds
        self.approvals = Approvals(engine, now, told)

    def admit(self, attempt: Attempt) -> Admitted | Asked:
        """Let a call through, or ask a person. Raises `Refused` with the reason."""
        if attempt.grant is None and attempt.own is not None and attempt.effects != "write":
            with read(self._engine) as c:
                stop = stopped(c, attempt.project, *attempt.agents, attempt.name, attempt.tool)
            decision = authorize(self._call(attempt, stop), attempt.own)
            if decision.answer == "allow":
                why = f"{attempt.agent} was registered with {attempt.name}, which changes nothing"
                return Admitted(attempt, CallDecision("allow", why), attempt.own)
        with write(self._engine) as c:
            found = self._granted(c, attempt)
            halts = False
            if isinstance(found, Denied):
                self._record_denied(c, attempt, found)
                halts = stopped(c, attempt.project, *attempt.agents) is not None
        if isinstance(found, Asked):
            found.begin()
        if not isinstance(found, Denied):
            return found
        raise Refused(found.decision, attempt, halts, found.grant)

    def pass_code(self, attempt: Attempt) -> Admitted:
        """Let a call through that no model chose: code makes it, or somebody by hand. It needs no grant, but switches hold, and what
        changes the world is recorded. Raises `Refused`."""
        writes = attempt.effects == "write"
        by_hand = attempt.agent == attempt.actor.id
        with (write if writes else read)(self._engine) as c:
            stop = stopped(c, attempt.project, *attempt.agents, attempt.name, attempt.tool)
            decision = CallDecision("deny", stop, "stopped", "wait until it is lifted") if stop else None
            if by_hand and writes and explain(attempt.actor, "deploy", attempt.project, attempt.name) is not None:
                why = f"{attempt.name} changes the world, and {attempt.actor.id} could not grant it to anybody"
                decision = CallDecision("deny", why, "tool", "a developer may run it, or an agent that has a grant for it")
            if decision is None:
                entry = self._record(c, "tools.allowed", attempt, None) if writes else None
                how = "runs it by hand" if by_hand else "calls it in its code"
                return Admitted(attempt, CallDecision("allow", f"{attempt.agent} {how}: no model chose"), None, None, entry)
        with write(self._engine) as c:
            self._record_denied(c, attempt, Denied(decision))
            halts = stopped(c, attempt.project, *attempt.agents) is not None
        raise Refused(decision, attempt, halts)

    def resume(self, attempt: Attempt, asked: Asked) -> Admitted:
        """Let a call through that a person was asked about. Raises `Refused` unless it was approved, in time, and all else still holds."""
        with write(self._engine) as c:
            row = find(c, attempt.project, asked.grant)
            grant, spent, now = grant_of(row), spent_of(c, row), self._now()
            found = approvals.take(c, asked.approval, grant, attempt.tool, _digest(attempt.arguments), now)
            stop = stopped(c, attempt.project, *attempt.agents, attempt.name, attempt.tool, GRANT + row.id)
            call = msgspec.structs.replace(
                self._call(attempt, stop), spent=spent, revoked=row.revoked_ns is not None, approved=found.state == "used"
            )
            decision = authorize(call, grant)
            if decision.answer == "allow":
                why = f"{found.decided_by} let it through" + (f": {found.note}" if found.note else "")
                return self._go(c, attempt, grant, spent, CallDecision("allow", why), approval=found.id)
            if found.state != "used":
                said = {"denied": f"{found.decided_by} denied it" + (f": {found.note}" if found.note else "")}
                why = said.get(found.state, "nobody let it through in time")
                decision = CallDecision("deny", f"{asked.decision.why}; {why}", asked.decision.code)
            self._record_denied(c, attempt, Denied(decision, grant.id))
            halts = stopped(c, attempt.project, *attempt.agents) is not None
        raise Refused(decision, attempt, halts, grant.id)

    def suspend(self, actor: Actor, tool: Version, changed: dict[str, object] | None) -> str:
        """Stop this version of a server's tool, which its server defines otherwise now; None: not at all. Returns the reason as models may
        read it; below it, for people, stands what the server says now. A push of that is another version, and is not stopped."""
        reason, below = "its server has no such tool any more", ""
        if changed is not None:
            said = {"description": changed["description"], "parameters": changed["parameters"]}
            now = tool.body | said | {"mcp": {**tool.body["mcp"], "returns": changed.get("returns")}}
            was = tool.body | {"mcp": {"returns": None, **tool.body["mcp"]}}
            found = changes(was, now)
            reason = "its server defines it otherwise now"
            below = "".join(f"\n{in_words(c)}" for c in found)
        with write(self._engine) as c:
            suspend(c, actor, tool.project, str(tool.ref), (reason + below)[:4000], self._now())
        return reason

    def settle(self, admitted: Admitted, took_ns: int, dollars: float, outcome: str) -> None:
        """After an allowed call has ended, however it ended: give back what it did not need, and record what came of it."""
        attempt, tool, grant = admitted.attempt, admitted.tool, admitted.grant
        if tool is None and (grant is not None or attempt.effects != "write"):
            return
        with write(self._engine) as c:
            if tool is not None and grant is not None:
                unused = tool.seconds * 1000 - -(-took_ns // 1_000_000)
                give_back(c, grant.id, unused, micro(tool.dollars) - micro(dollars))
            if attempt.effects == "write":
                self._record(c, "tools.ended", attempt, grant, outcome=outcome, took_ms=took_ns // 1_000_000)

    def _granted(self, c: Connection, attempt: Attempt) -> Admitted | Asked | Denied:
        """By the grants in the store: the first that allows the call, else a person where one says so, else why none does."""
        now = self._now()
        try:
            rows = [find(c, attempt.project, attempt.grant)] if attempt.grant else live(c, attempt.project, attempt.agent, now)
        except WindlassError as e:
            return Denied(CallDecision("deny", e.message, "revoked", e.remedy or ""))
        held = holding(c, attempt.project, (*attempt.agents, attempt.name, attempt.tool, *(GRANT + row.id for row in rows)))
        stop = next((why for subject, why in held.items() if not subject.startswith(GRANT)), None)
        reasons, askable = [], []
        for row in rows:
            grant, spent = grant_of(row), spent_of(c, row)
            # a stop of a grant that has nothing to do with the call is not why it is refused
            halted = stop or (held.get(GRANT + row.id) if any(t.tool == attempt.tool for t in grant.tools) else None)
            call = msgspec.structs.replace(self._call(attempt, halted), spent=spent, revoked=row.revoked_ns is not None)
            decision = authorize(call, grant)
            if decision.answer == "allow":
                return self._go(c, attempt, grant, spent, decision)
            if decision.answer == "ask":
                askable.append((grant, decision))
            reasons.append(Denied(decision, grant.id))
        if askable:
            return self._ask(c, attempt, *askable[0])
        if stop is not None:
            return Denied(CallDecision("deny", stop, "stopped", "wait until it is lifted"))
        telling = [r for r in reasons if r.decision.code not in ELSEWHERE]
        if telling or (attempt.grant and reasons):
            return (telling or reasons)[0]
        return self._nothing(attempt)

    def _go(self, c: Connection, attempt: Attempt, grant: Grant, spent: Spent, decision: CallDecision, **more: object) -> Admitted:
        """Spend what the call sets aside, and let it through."""
        tool = next(t for t in grant.tools if t.tool == attempt.tool)
        after = set_aside(tool, spent)
        spend(c, grant.id, spent, after)
        entry = self._record(c, "tools.allowed", attempt, grant, **more) if attempt.effects == "write" or more else None
        counted = [
            *([f"use {after.uses[tool.tool]} of {tool.uses}"] if tool.uses is not None else []),
            *([f"call {after.calls} of {grant.calls}"] if grant.calls is not None else []),
        ]
        if counted:
            decision = msgspec.structs.replace(decision, why=f"{decision.why}: {', '.join(counted)}")
        return Admitted(attempt, decision, grant, tool, entry)

    def _ask(self, c: Connection, attempt: Attempt, grant: Grant, decision: CallDecision) -> Asked | Denied:
        call = _digest(attempt.arguments)
        if len(repr(attempt.arguments)) > READABLE:
            return Denied(CallDecision("deny", f"{decision.why}; and nobody can read so much to let it through", decision.code), grant.id)
        made = approvals.request(
            c, grant, attempt.tool, attempt.arguments, call, decision.why, self._now(), self._approval_seconds
        )  # fmt: skip
        if made is None:
            return Denied(CallDecision("deny", f"{decision.why}; too many such calls wait for a person already", decision.code), grant.id)
        self._record(c, "approvals.ask", attempt, grant, approval=made.id, why=decision.why[:500])
        return Asked(made.id, decision, grant.id, self.approvals.told.asked(c, attempt.project, made))

    def _nothing(self, attempt: Attempt) -> Denied:
        """No grant has anything to do with the call."""
        if attempt.own is not None and attempt.effects != "write":
            return Denied(authorize(self._call(attempt, None), attempt.own))
        what = "changes the world" if attempt.effects == "write" else "is none of its own"
        what += f" by {attempt.by}, which it calls" if attempt.by and attempt.effects == "write" else ""
        remedy = f"a person can allow it: windlass grants make {attempt.agent} --task '…' --tool {attempt.name}"
        return Denied(CallDecision("deny", f"{attempt.agent} has no grant for {attempt.name}, which {what}", "tool", remedy))

    def _call(self, attempt: Attempt, stop: str | None) -> Call:
        return Call(attempt.agent, attempt.tool, attempt.arguments, self._now(), parameters=attempt.parameters, stopped=stop)

    def _record_denied(self, c: Connection, attempt: Attempt, denied: Denied) -> None:
        """Count every denied call, and enter the first, second, fourth, eighth … of a kind: a loop cannot flood the record."""
        decision = denied.decision
        listed = "" if decision.code in ELSEWHERE else attempt.name  # names that an agent makes up are counted as one
        times = count_denied(c, denied.grant or f"{attempt.project} {attempt.agent}", f"{decision.code} {listed}")
        if times & (times - 1) == 0:
            self._record(c, "tools.denied", attempt, None, code=decision.code, why=decision.why[:500], by=denied.grant, times=times)

    def _record(self, c: Connection, action: str, attempt: Attempt, grant: Grant | None, **more: object) -> int:
        """With digests of the grant and of the arguments: what was allowed can be proven, and nothing of it is told."""
        if grant is not None:
            more |= {"grant": grant.id, "grant_digest": digest_of(grant)}
        what = {"agent": attempt.agent, "tool": attempt.tool[:300], "arguments": _digest(attempt.arguments), **more}
        return audit.record(c, attempt.actor, action, attempt.project, attempt.name[:200], **what)


def _digest(arguments: dict[str, object]) -> str:
    try:
        return digest_bytes(canonical(arguments))
    except WindlassError:
        return digest_bytes(repr(arguments).encode("utf-8", "replace"))
