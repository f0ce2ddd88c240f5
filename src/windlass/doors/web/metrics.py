"""Metrics that applications send: which there are, and one over time, of everything or by an attribute. What was chosen is in the
address."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Invalid
from windlass.core.filter import Term, all_of, attribute_of, printed
from windlass.core.filter_reading import read
from windlass.core.operations.metrics import (
    METRIC,
    METRICS,
    MeasuredBucket,
    Measurement,
    MetricGroup,
    MetricPage,
    MetricQuery,
    MetricSeen,
    MetricShow,
    MetricTold,
)
from windlass.core.operations.query import taken
from windlass.doors import format as words
from windlass.doors.measures import Shown, kind_of, shown_of
from windlass.doors.web.boards import REST, SHADES, Chart, Frame, Series, chart
from windlass.doors.web.dashboards import SECOND, SPANS
from windlass.doors.web.render import Asker, Handler, query, respond, wants_json


class Line(msgspec.Struct):
    metric: MetricSeen
    kind: str
    url: str


class MetricsContext(msgspec.Struct):
    page: MetricPage
    lines: tuple[Line, ...]
    search: str
    older: str = ""  # the next page


class Group(msgspec.Struct):
    """A line of the table of groups. `url` is this metric of it alone; empty where no filter finds it."""

    name: str
    measured: Measurement
    shade: str
    url: str = ""


class MetricContext(msgspec.Struct):
    name: str
    last: str
    by: str
    filter: str
    unit: str
    type: str
    kind: str = ""  # with its unit
    told: MetricTold | None = None
    charts: tuple[Chart, ...] = ()
    groups: tuple[Group, ...] = ()
    longer: str = ""  # the same of a longer time
    wrong: str = ""  # why the filter cannot be read


async def index(request: Request, ask: Asker) -> Response:
    search, cursor = (request.query_params.get(name, "").strip() for name in ("search", "cursor"))
    page = await ask(METRICS, MetricQuery(ask.actor.project, 0, search, cursor or None))
    lines = tuple(Line(m, kind_of(m), query(f"/metrics/{quote(m.name, safe='')}", unit=m.unit, type=m.type)) for m in page.items)
    older = query("/metrics", search=search, cursor=page.next) if page.next else ""
    return respond(request, "metrics.html", MetricsContext(page, lines, search, older), nav="metrics", title="Metrics")


class Chosen(NamedTuple):
    name: str
    last: str
    by: str
    filter: str
    unit: str
    type: str

    def url(self) -> str:
        told = self._asdict()
        return query(f"/metrics/{quote(told.pop('name'), safe='')}", **told)

    def of(self, value: str) -> str:
        """This metric of one group, of everything in it."""
        field = self.by if self.by == "service" or attribute_of(self.by) else f"attr.{self.by}"
        tree, term = read(self.filter), Term(field, value)
        return self._replace(by="", filter=printed(all_of([tree, term]) if tree else term)).url()


async def show(request: Request, ask: Asker) -> Response:
    q = {k: v.strip() for k, v in request.query_params.items()}
    last = q["last"] if q.get("last") in SPANS else "24h"
    chosen = Chosen(request.path_params["name"], last, *(q.get(name, "") for name in ("by", "filter", "unit", "type")))
    whole, bucket = SPANS[last]
    until = time.time_ns() + 1
    asked = {
        "name": chosen.name, "project": ask.actor.project, "by": chosen.by or None, "filter": chosen.filter, "unit": chosen.unit or None,
        "type": chosen.type or None, "since_ns": (until - whole * SECOND) // (bucket * SECOND) * bucket * SECOND, "until_ns": until,
        "bucket_s": bucket,
    }  # fmt: skip
    context = MetricContext(**chosen._asdict())
    try:
        told = await ask(METRIC, taken(MetricShow, asked))
    except Invalid as e:
        if wants_json(request) or not (e.where or "").startswith("filter"):
            raise
        context.wrong = str(e)
        return respond(request, "metric.html", context, nav="metrics", title=chosen.name, status=400)
    context.told, context.kind = told, kind_of(told.metric, unit=True)
    context.groups = tuple(_group(n, g, chosen) for n, g in enumerate(told.groups))
    context.charts = tuple(c for shown in shown_of(told) if (c := _chart(told, shown, context.groups)))
    context.longer = chosen._replace(last="30d").url() if last != "30d" else ""
    return respond(request, "metric.html", context, nav="metrics", title=chosen.name)


def _group(n: int, group: MetricGroup, chosen: Chosen) -> Group:
    name = "others" if group.others else "none" if group.value is None else group.value
    shade = SHADES[n] if group.value is not None and n < len(SHADES) else REST
    return Group(name, group.whole, shade, "" if group.value is None else chosen.of(group.value))


def _chart(told: MetricTold, shown: Shown, groups: Sequence[Group]) -> Chart | None:
    step = told.bucket_ns
    frame = Frame(range(told.since_ns // step * step, told.until_ns, step), step, lambda start: "")

    def of(buckets: Sequence[MeasuredBucket]) -> list[Measurement]:
        by_start = {b.start_ns: b for b in buckets}
        return [by_start.get(start, Measurement()) for start in frame.starts]

    def say(value: float) -> str:
        return words.measured(value, shown.unit)

    unit = f" in {name}" if (name := words.unit(shown.unit)) else ""

    if groups:
        drawn = [(g, group) for g, group in zip(told.groups, groups, strict=True) if group.shade != REST or g.others]
        lines = [Series(group.name, [shown.main(m) for m in of(g.buckets)], group.shade) for g, group in drawn]
        return chart((shown.of_groups or shown.title) + unit, frame, lines, say)
    whole = of(told.buckets)
    lines = [Series(name, [take(m) for m in whole], shade) for (name, take), shade in zip(shown.lines, ("c0", "c1", "c3"), strict=False)]
    note = f"{say(told.whole.rate)} a second" if shown.counted and told.whole.rate is not None else ""
    return chart(shown.title + unit, frame, lines, say, piled=shown.counted, note=note)


PAGES: tuple[tuple[str, Handler], ...] = (("/metrics", index), ("/metrics/{name:path}", show))
