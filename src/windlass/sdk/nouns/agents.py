"""What agents may do: tools, grants, calls that wait for a person, and the switches that stop agents and tools."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from windlass.core.grant import CallDecision
from windlass.core.operations import approvals, grants, tools
from windlass.core.operations.query import taken
from windlass.sdk.nouns.group import Group


class Grants(Group):
    def make(self, agent: str, task: str, tools: Iterable[str | dict[str, Any]], **bounds: Any) -> grants.GrantState:
        """Let an agent do a task. Each tool is a ref, or the fields of `GrantedTool`; `bounds` are the further fields of
        `GrantRequest`. Operation `grants.make`."""
        listed = [{"tool": t} if isinstance(t, str) else t for t in tools]
        asked = {"agent": agent, "task": task, "tools": listed, "project": self._project} | bounds
        return self._client.call(grants.MAKE_GRANT, taken(grants.GrantRequest, asked))

    def list(self, **filters: Any) -> grants.GrantPage:
        """Filters are the fields of `GrantQuery`. Operation `grants.list`."""
        return self._client.call(grants.GRANTS, grants.GrantQuery(project=self._project, **filters))

    def show(self, id: str) -> grants.GrantState:
        """Operation `grants.show`."""
        return self._client.call(grants.GRANT, grants.GrantId(id, self._project))

    def revoke(self, id: str) -> grants.GrantState:
        """Operation `grants.revoke`."""
        return self._client.call(grants.REVOKE_GRANT, grants.GrantId(id, self._project))

    def token(self, id: str, seconds: int = 3600) -> grants.GrantToken:
        """What an agent shows to use the grant. Operation `grants.token`."""
        return self._client.call(grants.GRANT_TOKEN, grants.TokenRequest(id, seconds, self._project))

    def check(self, id: str, tool: str, arguments: dict[str, Any] | None = None, agent: str | None = None) -> CallDecision:
        """Would this call be allowed now? Nothing is called. Operation `grants.check`."""
        return self._client.call(grants.CHECK_CALL, grants.CallCheck(id, tool, arguments or {}, agent, self._project))


class Stops(Group):
    def set(self, subject: str, reason: str) -> grants.Stop:
        """Stop `all`, an agent, a tool or a grant, from the next call on. Operation `stops.set`."""
        return self._client.call(grants.STOP, grants.StopRequest(subject, reason, self._project))

    def lift(self, subject: str) -> grants.Stop:
        """Operation `stops.lift`."""
        return self._client.call(grants.LIFT_STOP, grants.StopLift(subject, self._project))

    def list(self, reach: bool = False, subject: str | None = None) -> grants.StopList:
        """With `reach`, what each halts; with a `subject`, what a stop of that would. Operation `stops.list`."""
        return self._client.call(grants.STOPS, grants.StopQuery(self._project, reach, subject))


class Approvals(Group):
    def list(self, **filters: Any) -> approvals.ApprovalPage:
        """Filters are the fields of `ApprovalQuery`. Operation `approvals.list`."""
        return self._client.call(approvals.APPROVALS, approvals.ApprovalQuery(project=self._project, **filters))

    def decide(self, id: str, allow: bool, note: str = "") -> approvals.Approval:
        """Let one call through, or not. Operation `approvals.decide`."""
        return self._client.call(approvals.DECIDE_APPROVAL, approvals.ApprovalDecision(id, allow, note, self._project))


class Tools(Group):
    def list(self, search: str | None = None, cursor: str | None = None, limit: int = 50) -> tools.ToolPage:
        """Operation `tools.list`."""
        return self._client.call(tools.TOOLS, tools.ToolQuery(self._project, search, cursor, limit))

    def show(self, name: str) -> tools.ToolDetail:
        """A tool with its versions, what changed in each, and who uses it. Operation `tools.show`."""
        return self._client.call(tools.TOOL, tools.ToolName(name, self._project))
