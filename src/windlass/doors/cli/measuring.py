"""`metrics`: which metrics applications send, and one of them over time, in numbers and as small charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.metrics import Measurement, MetricGroup, MetricPage, MetricTold
from windlass.doors import format as words
from windlass.doors.asked import HOURS
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor
from windlass.doors.cli.figuring import spark
from windlass.doors.cli.session import Session, plain
from windlass.doors.measures import Take, kind_of, shown_of

LISTED = 720  # hours
ALONE = ("by", "where", "bucket", "unit", "type")  # what says more of one metric


def add(app: typer.Typer) -> None:
    command(app, "metrics", "metrics.list", "metrics.show", panel="Look")(metrics)


def metrics(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="One metric; without it, which there are.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Also in groups: by an attribute, service, or resource.NAME.")] = None,
    where: Annotated[
        str | None, typer.Option("--where", "-w", help="Of points that fit: attr.NAME:value, -service:bot, attr.A>5 (… or …).")
    ] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", min=0.01, help="Measured in the last so many hours. [24; of the list 720]")
    ] = None,
    bucket: Annotated[int | None, typer.Option("--bucket", min=1, help="Seconds of one bucket; by default what fits.")] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="Where a name is measured in several.")] = None,
    type: Annotated[str | None, typer.Option("--type", help="gauge, sum, histogram, exponential_histogram or summary.")] = None,
    search: Annotated[str, typer.Option("--search", help="List those with this in their name.")] = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, max=200, help="At most so many; of groups at most 50.")] = None,
    cursor: Cursor = None,
) -> None:
    """Metrics that applications send by OpenTelemetry: which there are; and one over time, by any attribute of its points."""
    if name is None:
        given = {"by": by, "where": where, "bucket": bucket, "unit": unit, "type": type}
        if told := next((option for option, value in given.items() if value is not None), None):
            raise Invalid(f"--{told} is of one metric", where=f"--{told}", remedy="name it: windlass metrics NAME")
        page = session.client.metrics.list(
            hours=max(1, round(hours or LISTED)), search=search, cursor=cursor, **({} if limit is None else {"limit": limit})
        )
        session.result(page)
        return _list(session, page, hours)
    given = {"by": by, "filter": where or "", "bucket_s": bucket, "unit": unit, "type": type, "limit": limit}
    found = session.client.metrics.show(name, hours or 24, **{k: v for k, v in given.items() if v is not None})
    session.result(found)
    last = next((span for span, most in HOURS.items() if (hours or 24) <= most), "30d")
    page_of = {"filter": where, "last": last, "by": by, "unit": unit, "type": type}
    _print(session, found, hours or 24, f"/metrics/{quote(name, safe='')}?" + urlencode({k: v for k, v in page_of.items() if v}))


def _list(session: Session, page: MetricPage, hours: float | None) -> None:
    if not page.items:
        session.print(
            f"no metric was measured in {hours or LISTED:g} h: set OTEL_EXPORTER_OTLP_ENDPOINT={session.address or 'the server'} and"
            " OTEL_METRICS_EXPORTER=otlp; docs/tracing.md says how"
        )
        return
    now = now_ns()
    rows = [
        (plain(m.name), kind_of(m), plain(m.unit) or "–", f"{m.series:,}", f"{m.points:,}", words.ago(m.last_ns, now)) for m in page.items
    ]
    session.table(("metric", "kind", "unit", "series", "points", "last seen"), rows, right=frozenset({3, 4}))
    if page.next:
        session.print(f"[dim]more: --cursor '{plain(page.next)}'[/dim]")


def _print(session: Session, found: MetricTold, hours: float, page: str) -> None:
    metric, whole = found.metric, found.whole
    if not whole.points:
        session.print(f"nothing of {plain(metric.name)} that fits was measured in {hours:g} h: ask for more --hours")
        return
    said = " · ".join(f"{name} {value}" for name, value in _figures(whole, metric.unit))
    sort, points = plain(kind_of(metric, unit=True)), words.many(whole.points, "point")
    session.print(f"[bold]{plain(metric.name)}[/bold]  {sort}, {points} in {hours:g} h · {plain(said)}")
    if whole.unknown:
        session.print(f"[dim]{whole.unknown:,} series began before: by how much they grew until their first point is unknown[/dim]")
    lines = [(f"{shown.title} {name}".strip(), _values(found, take)) for shown in shown_of(found) for name, take in shown.lines]
    rows = [(name, spark(values)) for name, values in lines if any(v is not None for v in values)]
    session.table(("", f"each {words.length(found.bucket_ns)}"), rows)
    if found.groups:
        columns = [name for name, _ in _figures(whole, metric.unit)]
        session.table(
            ("", "points", *columns), [_row(g, columns, metric.unit) for g in found.groups], right=frozenset(range(1, len(columns) + 2))
        )
    if found.more:
        session.print(f"[dim]{words.many(found.more, 'more value')} in others: --limit tells more[/dim]")
    if not found.groups and found.attributes:
        session.print(f"[dim]--by {plain(', '.join(a.name for a in found.attributes[:12]))}[/dim]")
    session.print(f"[dim]{plain(session.link(page))}[/dim]")


def _figures(of: Measurement, unit: str) -> list[tuple[str, str]]:
    """What is known, by name."""
    told = [("increase", of.increase), ("last", of.last), ("mean", of.mean), ("min", of.min), ("max", of.max)]
    if q := of.quantiles:
        told += [("p50", q.p50), ("p95", q.p95), ("p99", q.p99)]
    counted = [("recorded", f"{of.count:,}")] if of.count is not None else []
    rate = [("a second", words.measured(of.rate, unit if of.count is None else ""))] if of.rate is not None else []
    return [*counted, *((name, words.measured(value, unit)) for name, value in told if value is not None), *rate]


def _row(group: MetricGroup, columns: Sequence[str], unit: str) -> tuple[str, ...]:
    name = "others" if group.others else "none" if group.value is None else plain(group.value)
    told = dict(_figures(group.whole, unit))
    return (name, f"{group.whole.points:,}", *(plain(told.get(column, "–")) for column in columns))


def _values(found: MetricTold, take: Take) -> list[float | None]:
    step = found.bucket_ns
    first, count = found.since_ns // step, (found.until_ns - 1) // step - found.since_ns // step + 1
    by_place = {b.start_ns // step - first: take(b) for b in found.buckets}
    return [by_place.get(n) for n in range(count)]
