"""What other rooms tell as events: a call that waits for a person, acknowledged by whoever decides; a tuning that ended badly;
what came of a rollout."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from windlass.core.alert import Severity
from windlass.core.errors import WindlassError
from windlass.core.operations.alerts import Event
from windlass.core.operations.approvals import Approval
from windlass.core.operations.rollouts import Rollout
from windlass.core.operations.tuning import Tune
from windlass.core.ref import Ref
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


class TuneEvents:
    """What `tune.tunes` wants to be told whom of."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts

    def ended(self, c: Connection, tune: Tune, error: WindlassError) -> Callable[[], None]:
        """Note a tuning that ended badly; returns what is to be done after the transaction."""
        title = f"{tune.request.method} {tune.request.name} failed at step {tune.step}"
        noted = self._alerts.note(
            c, Event(project=tune.project, kind="tune", monitor=tune.request.name, severity="warning", title=title, sentence=str(error),
                     path=f"/tunes/{tune.id}", key=tune.id)
        )  # fmt: skip
        return lambda: self._alerts.begin(noted)


class RolloutEvents:
    """What `deploy.rollout_watching` wants to be told whom of."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts

    def stopped(self, c: Connection, rollout: Rollout, sentence: str) -> Callable[[], None]:
        """Note one that was shown worse; returns what is to be done after the transaction."""
        return self._note(c, rollout, "critical", f"the rollout of {rollout.release} was stopped", sentence)

    def promoted(self, c: Connection, rollout: Rollout, sentence: str) -> Callable[[], None]:
        return self._note(c, rollout, "info", f"the rollout of {rollout.release} is done", sentence)

    def _note(self, c: Connection, rollout: Rollout, severity: Severity, title: str, sentence: str) -> Callable[[], None]:
        facts = {"candidate": rollout.candidate, "base": rollout.base, "environment": rollout.environment} | {
            e.metric: {"candidate": e.candidate, "base": e.base, "low": e.low, "high": e.high, "margin": e.margin} for e in rollout.evidence
        }
        release = str(Ref("release", rollout.release, rollout.candidate, None, rollout.project))
        event = Event(
            project=rollout.project, kind="rollout", monitor=rollout.release, severity=severity, title=title, sentence=sentence,
            path=f"/rollouts/{rollout.id}", facts=facts, key=rollout.id, release=release,
        )  # fmt: skip
        noted = self._alerts.note(c, event)
        return lambda: self._alerts.begin(noted)
