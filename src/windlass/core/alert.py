"""The words of alerts: what can be found, how bad it is, and which alert is for it. Nothing here sends anything.

event     something a monitor found, or that it cannot look; or what an alert on a metric found itself
alert     the rule that says which events are for whom, by which channel
delivery  one event on its way by one channel to one address
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal, get_args

import msgspec

from windlass.core.operations.metrics import PointType

EventKind = Literal["skew", "coverage", "topic", "drift", "quality", "metric", "monitor", "tune", "approval", "rollout", "test"]
Severity = Literal["info", "warning", "critical"]
Channel = Literal["webhook", "email"]
Aggregate = Literal["increase", "rate", "count", "sum", "mean", "min", "max", "last", "p50", "p90", "p95", "p99"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # in order
# what an alert can be for; a test is sent through one alert by name, and to no other
EVENT_KINDS: tuple[EventKind, ...] = tuple(k for k in get_args(EventKind) if k != "test")

QUIET_SECONDS = 3600
LONGEST_QUIET = 30 * 24 * 3600
SHORTEST_WINDOW, WINDOW, LONGEST_WINDOW = 60, 300, 7 * 24 * 3600  # seconds


class MetricRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an alert on a metric watches for: that the `aggregate` of the metric `name` over the last `window` seconds is greater than
    `above` or less than `below`, in the metric's unit. `aggregate` is a field of `Measurement`, or one of its quantiles. `filter`, `unit`
    and `type` as in `MetricShow`. Where nothing is measured that is found too, unless the metric is `sparse`: one that comes now and
    then."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    aggregate: Aggregate
    above: float | None = None
    below: float | None = None
    window: Annotated[int, msgspec.Meta(ge=SHORTEST_WINDOW, le=LONGEST_WINDOW)] = WINDOW
    filter: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    unit: str | None = None
    type: PointType | None = None
    sparse: bool = False


def at_least(severity: Severity, floor: Severity) -> bool:
    return SEVERITIES.index(severity) >= SEVERITIES.index(floor)


def concerns(kind: str, monitor: str, severity: Severity, events: Collection[str], monitors: Collection[str], floor: Severity) -> bool:
    """Whether an alert for these events and monitors (none named: for all) is for this one."""
    return (not events or kind in events) and (not monitors or monitor in monitors) and at_least(severity, floor)
