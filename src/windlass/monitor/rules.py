"""Rules of alerts on metrics as they are kept: what each said last, and when it looks next. Light, since a process that has no work asks
which are due."""

from __future__ import annotations

import math

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from windlass.core.alert import MetricRule
from windlass.core.errors import Invalid
from windlass.core.operations.alerts import MetricLook
from windlass.store.tables import metric_rules

WORK = "metric rule"  # the kind of work
LEASE_NS = 600 * 10**9  # after which a look that was handed over and never came is handed over again


def checked_rule(rule: MetricRule) -> MetricRule:
    """Raises `Invalid` naming the field."""
    bounds = [b for b in (rule.above, rule.below) if b is not None]
    if not bounds:
        raise Invalid("nothing is said of what the metric must not be", where="metric.above", remedy="give `above` or `below`, or both")
    if not all(map(math.isfinite, bounds)):
        raise Invalid("a bound is a number", where="metric.above", remedy="leave out the bound that there is not")
    if rule.above is not None and rule.below is not None and rule.above < rule.below:
        said = f"every number is above {rule.above:g} or below {rule.below:g}"
        raise Invalid(said, where="metric.above", remedy="what is good lies from `below` to `above`")
    return msgspec.structs.replace(rule, name=rule.name.strip(), filter=rule.filter.strip())


def watch(c: Connection, project: str, alert: str, rule: MetricRule | None, now: int) -> None:
    """Have this rule of an alert looked at from now on, or none. One that is as it was goes on. `c` is a write transaction."""
    r = metric_rules.c
    here = (r.project == project, r.alert == alert)
    encoded = msgspec.json.encode(rule).decode()
    if rule is not None and c.execute(select(r.rule).where(*here)).scalar() == encoded:
        return
    c.execute(delete(metric_rules).where(*here))
    if rule is not None:
        body = msgspec.json.encode(MetricLook()).decode()
        c.execute(insert(metric_rules).values(project=project, alert=alert, rule=encoded, body=body, next_ns=now))


def look_of(c: Connection, project: str, alert: str) -> MetricLook | None:
    r = metric_rules.c
    body = c.execute(select(r.body).where(r.project == project, r.alert == alert)).scalar()
    return msgspec.json.decode(body, type=MetricLook) if body else None


def rules_due(c: Connection, now: int) -> list[tuple[str, str]]:
    """Project and alert of the rules whose next look has come; the same is not due again for a while. `c` is a write transaction."""
    r = metric_rules.c
    due = select(r.project, r.alert).where(r.next_ns <= now).order_by(r.next_ns, r.project, r.alert)
    found = [(row.project, row.alert) for row in c.execute(due).all()]
    for project, alert in found:
        c.execute(update(metric_rules).where(r.project == project, r.alert == alert).values(next_ns=now + LEASE_NS))
    return found
