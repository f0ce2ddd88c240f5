"""Looks of alerts on metrics: what a metric comes to over the last minutes, held against a rule, and noted as an event in the transaction
that keeps it. What is not measured is told as such, and is never 0.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from sqlalchemy import Engine, select, update

from windlass.core.actor import Actor
from windlass.core.alert import MetricRule, Severity
from windlass.core.errors import Invalid, NotFound, StoreAway, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations.alerts import AlertLook, AlertState, Event, MetricLook
from windlass.core.operations.metrics import Measurement, MetricShow, MetricTold
from windlass.govern.permissions import guard
from windlass.monitor.alerts import Alerts
from windlass.monitor.rules import watch
from windlass.store.meta import read, write
from windlass.store.tables import metric_rules
from windlass.traces.query import Traces

SECOND = 10**9
COUNTED = ("increase", "rate", "count", "sum")  # what is too low where series began before anybody was told of them
QUANTILES = ("p50", "p90", "p95", "p99")


class Measuring:
    """Service of alerts on metrics. `every_s`: seconds after which one looks again by itself, or after its window where that is
    shorter."""

    def __init__(self, engine: Engine, traces: Traces, alerts: Alerts, every_s: float, now: Callable[[], int] = now_ns) -> None:
        self._engine = engine
        self._traces = traces
        self._alerts = alerts
        self._every_ns = int(every_s * SECOND)
        self._now = now

    async def look(self, actor: Actor, asked: AlertLook) -> AlertState:
        """Operation `alerts.look`. Raises `NotFound`, `Invalid` for an alert that is on no metric or is off, and what asking raises."""
        guard(actor, "write", asked.project)
        name = asked.name.removeprefix("alert/")
        state = await asyncio.to_thread(self._alerts.state, asked.project, name)
        if state.body.metric is None or state.body.off:
            why = "is off" if state.body.metric else "watches no metric: monitors look for it"
            raise Invalid(f"alert/{name} {why}", where="name", remedy=f"windlass alert set {name} --metric NAME … makes it watch one")
        await asyncio.to_thread(self._watch, asked.project, name)
        if (away := await self._once(asked.project, name)) is not None:
            raise away
        return await asyncio.to_thread(self._alerts.state, asked.project, name)

    async def run(self, project: str, id: str) -> None:
        """Look once. `id` begins with the alert's name. What went wrong is kept and shown."""
        await self._once(project, id.partition(" ")[0])

    async def _once(self, project: str, alert: str) -> WindlassError | None:
        """Returns why nobody could be asked, where that is so: it says nothing of the metric."""
        if (kept := await asyncio.to_thread(self._kept, project, alert)) is None:
            return None
        rule, before = msgspec.json.decode(kept.rule, type=MetricRule), msgspec.json.decode(kept.body, type=MetricLook)
        now, away = self._now(), None
        asked = MetricShow(
            rule.name, project, rule.unit, rule.type, filter=rule.filter, since_ns=now - rule.window * SECOND, until_ns=now + 1,
            bucket_s=rule.window,
        )  # fmt: skip
        try:
            look = held(rule, await self._traces.measured(asked))
        except NotFound:
            look = MetricLook("unmeasured", f"No point of {rule.name} has come.")
        except Invalid as e:
            look = MetricLook("cannot look", f"{rule.name} cannot be asked: {e.message}. {e.remedy or ''}".strip())
        except StoreAway:
            raise  # it is begun again
        except WindlassError as e:
            look, away = msgspec.structs.replace(before, problem=e.message), e
        if away is None:
            since = before.since_ns if before.status == look.status else now
            look = msgspec.structs.replace(look, since_ns=since, looked_ns=now)
        await asyncio.to_thread(self._keep, project, alert, kept.rule, rule, look, now)
        return away

    def _kept(self, project: str, alert: str) -> Any:
        """The rule, and its last look; None where there is none."""
        r = metric_rules.c
        with read(self._engine) as c:
            return c.execute(select(r.rule, r.body).where(r.project == project, r.alert == alert)).first()

    def _watch(self, project: str, alert: str) -> None:
        with write(self._engine) as c:
            watch(c, project, alert, self._alerts.body(c, project, alert).metric, self._now())

    def _keep(self, project: str, alert: str, encoded: str, rule: MetricRule, look: MetricLook, now: int) -> None:
        """Keep a look and note what it found, unless the rule is another by now."""
        r = metric_rules.c
        with write(self._engine) as c:
            body = self._alerts.body(c, project, alert)
            watch(c, project, alert, None if body.off else body.metric, now)  # its label may have moved since
            here = (r.project == project, r.alert == alert, r.rule == encoded)
            again = now + min(self._every_ns, rule.window * SECOND)
            kept = c.execute(update(metric_rules).where(*here).values(body=msgspec.json.encode(look).decode(), next_ns=again))
            event = found_event(project, alert, body.severity, rule, look) if kept.rowcount and not look.problem else None
            noted = self._alerts.note(c, event) if event else None
        if noted is not None:
            self._alerts.begin(noted)


def held(rule: MetricRule, told: MetricTold) -> MetricLook:
    """A metric's window against a rule."""
    whole, unit = told.whole, told.metric.unit
    what, window = f"{rule.aggregate} of {rule.name}", length(rule.window)
    value = value_of(whole, rule.aggregate)
    look = MetricLook("unmeasured", unit=unit)
    if not whole.points:
        return msgspec.structs.replace(look, said=f"Nothing of {rule.name} that fits was measured in the last {window}.")
    above = value is not None and rule.above is not None and value > rule.above
    if whole.unknown and (value is None or rule.aggregate in COUNTED) and not above:
        series = "a series" if whole.unknown == 1 else f"{whole.unknown:,} series"
        said = f"The {what} in the last {window} is unknown: {series} began before, and by how much it grew nobody told."
        return msgspec.structs.replace(look, said=said)
    if value is None or not math.isfinite(value):
        if whole.count == 0:
            return msgspec.structs.replace(look, said=f"Nothing was recorded by {rule.name} in the last {window}.")
        tells = ", ".join(name for name in (*Measurement.__struct_fields__, *QUANTILES) if is_told(whole, name)) or "nothing"
        return MetricLook("cannot look", f"{rule.name} tells no {rule.aggregate}; it tells {tells}.", unit=unit)
    was = f"The {what} was {number(value, rule, unit)} in the last {window}"
    if above or (rule.below is not None and value < rule.below):
        bound, word = (rule.above, "above") if above else (rule.below, "below")
        return MetricLook("found", f"{was}, {word} {number(bound or 0.0, rule, unit)}.", value, unit)
    return MetricLook("ok", f"{was}.", value, unit)


def value_of(whole: Measurement, aggregate: str) -> float | None:
    """None where it is unknown."""
    held = whole.quantiles if aggregate in QUANTILES else whole
    return None if held is None else getattr(held, aggregate)


def is_told(whole: Measurement, name: str) -> bool:
    return name not in ("points", "unknown", "quantiles") and value_of(whole, name) is not None


def found_event(project: str, alert: str, severity: Severity, rule: MetricRule, look: MetricLook) -> Event | None:
    """What people are to be told of a look."""
    titles = {
        "found": f"{rule.name} is {'above' if rule.above is not None and (look.value or 0.0) > rule.above else 'below'} its bound",
        "unmeasured": f"{rule.name} is not measured", "cannot look": f"{alert} cannot look",
    }  # fmt: skip
    if look.status not in titles or (look.status == "unmeasured" and rule.sparse):
        return None
    told = {"metric": rule.name, "aggregate": rule.aggregate, "value": look.value, "above": rule.above, "below": rule.below}
    facts: dict[str, Any] = {k: v for k, v in told.items() if v is not None} | {"window_s": rule.window}
    facts |= {"unit": look.unit} if look.unit else {}
    facts |= {"filter": rule.filter} if rule.filter else {}
    return Event(
        project=project, kind="metric", monitor=alert, severity=severity, title=titles[look.status], sentence=look.said,
        path=page_of(rule), facts=facts, key=look.status, at_ns=look.looked_ns or now_ns(),
    )  # fmt: skip


def page_of(rule: MetricRule) -> str:
    """Where the metric's charts are."""
    told = {"filter": rule.filter, "unit": rule.unit, "type": rule.type}
    asked = urlencode({k: v for k, v in told.items() if v})
    return f"/metrics/{quote(rule.name, safe='')}" + (f"?{asked}" if asked else "")


def number(value: float, rule: MetricRule, unit: str) -> str:
    """A value with its unit as people write it: UCUM's `{token}` is `token`, `1` is none."""
    of = {"count": "", "rate": "a second"}.get(rule.aggregate, {"1": "", "Cel": "°C"}.get(unit, unit.strip("{}")))
    plain = f"{value:,.0f}" if value == round(value) and abs(value) < 10**15 else f"{value:,.4g}"
    return f"{plain} {of}".rstrip()


def length(seconds: int) -> str:
    for size, word in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {word}"
    return f"{seconds} s"
