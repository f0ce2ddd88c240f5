"""The words of alerts: what can be found, how bad it is, and which alert is for it. Nothing here sends anything.

event     something a monitor found, or that it cannot look
alert     the rule that says which events are for whom, by which channel
delivery  one event on its way by one channel to one address
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

EventKind = Literal["skew", "coverage", "topic", "drift", "quality", "monitor", "tune", "approval", "test"]
Severity = Literal["info", "warning", "critical"]
Channel = Literal["webhook", "email"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # in order
# what an alert can be for; a test is sent through one alert by name, and to no other
EVENT_KINDS: tuple[EventKind, ...] = tuple(k for k in get_args(EventKind) if k != "test")

QUIET_SECONDS = 3600
LONGEST_QUIET = 30 * 24 * 3600


def at_least(severity: Severity, floor: Severity) -> bool:
    return SEVERITIES.index(severity) >= SEVERITIES.index(floor)


def concerns(kind: str, monitor: str, severity: Severity, events: Collection[str], monitors: Collection[str], floor: Severity) -> bool:
    """Whether an alert for these events and monitors (none named: for all) is for this one."""
    return (not events or kind in events) and (not monitors or monitor in monitors) and at_least(severity, floor)
