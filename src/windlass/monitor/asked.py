"""A call that waits for a person is an event: alerts tell whoever they are for, and it is acknowledged by whoever decides."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from windlass.core.operations.alerts import Event
from windlass.core.operations.approvals import Approval
from windlass.monitor.alerts import Alerts

KIND = "approval"


class AskedEvents:
    """What `agentops.approvals.Told` wants. `alerts` gives the service, which is opened later than the broker."""

    def __init__(self, alerts: Callable[[], Alerts]) -> None:
        self._alerts = alerts

    def asked(self, c: Connection, project: str, approval: Approval) -> Callable[[], None]:
        """Note it in the transaction that asks; returns what is to be done after it. The arguments are on the page, and are told nobody."""
        tool = approval.tool.partition("@")[0]
        event = Event(
            project=project, kind="approval", monitor=approval.agent, severity="warning", title=f"{approval.agent} waits for a person",
            sentence=f"{approval.agent} asks to call {tool}, for the task: {approval.task[:500]} It does not go ahead by itself, since "
            f"{approval.why[:500]}.",
            path="/approvals", facts={"approval": approval.id, "grant": approval.grant, "expires_ns": approval.expires_ns}, key=approval.id,
        )  # fmt: skip
        alerts = self._alerts()
        noted = alerts.note(c, event)
        return lambda: alerts.begin(noted)

    def over(self, c: Connection, project: str, id: str, by: str, note: str) -> None:
        """Acknowledge it, in the transaction in which somebody decided, or whoever waited was gone."""
        self._alerts().over(c, project, KIND, id, by, note)
