"""The dashboard: traffic, errors, latency, cost, tokens and scores over time, of all traces that fit or by a dimension. Everything that
was chosen is in the address, so it can be sent to somebody."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.operations.figures import ATTRIBUTE, FIGURES, Bucket, Figure, FigureGroup, Figures, FiguresQuery, Measure, Percentiles
from windlass.doors import format as words
from windlass.doors.web.boards import REST, SHADES, Chart, Frame, Series, chart
from windlass.doors.web.render import Asker, Handler, query, respond

SECOND = 10**9
SPANS = {"1h": (3600, 60), "24h": (86_400, 1800), "7d": (604_800, 10_800), "30d": (2_592_000, 43_200)}  # seconds: all, and of a bucket
BY = (
    "model",
    "provider",
    "release",
    "version",
    "prompt",
    "service",
    "environment",
    "user",
    "session",
    "kind",
    "name",
    "tool",
    "tag",
    "status",
)
OF_STEPS = ("kind", "name", "tool")  # where single steps say more than their traces
FILTERS = ("search", "status", "uses", "passage", "model", "session", "user", "environment", "evaluation", "score", "slower")
# the filter of the list of traces that finds those of a group
FOUND_BY = {"model": "model", "user": "user", "session": "session", "environment": "environment", "status": "status", "release": "uses",
            "version": "uses", "prompt": "uses"}  # fmt: skip
DRAWN = 4  # scores


class Group(msgspec.Struct):
    """A line of the table of groups. `url` is this board of it alone, `traces` the list; empty where no filter finds them."""

    name: str
    figure: Figure
    shade: str
    url: str = ""
    traces: str = ""


class BoardContext(msgspec.Struct):
    figures: Figures
    charts: tuple[Chart, ...]
    groups: tuple[Group, ...]
    filters: dict[str, str]  # also `last`, `by`, `attribute` and `first`
    filtered: bool
    traces: str  # the list of all of them
    dimensions: tuple[str, ...] = BY
    longer: str = ""  # the board of a longer time


async def show(request: Request, ask: Asker) -> Response:
    q = {k: v.strip() for k, v in request.query_params.items() if v.strip()}
    last = q["last"] if q.get("last") in SPANS else "24h"
    attribute = q.get("attribute", "") or (q.get("by", "").removeprefix(ATTRIBUTE) if q.get("by", "").startswith(ATTRIBUTE) else "")
    by = f"{ATTRIBUTE}{attribute}" if attribute else q.get("by")
    found = await ask(FIGURES, _query(ask.actor.project, q, last, by))
    kept = {k: q[k] for k in FILTERS if k in q}
    chosen = kept | {"last": last, "by": by or "", "first": q.get("first", "")}

    def traces(start: int, links: dict[str, str]) -> str:
        begins, ends = max(start, found.since_ns), min(start + found.bucket_ns, found.until_ns)
        return query("/traces", **kept | links, since_ns=begins, until_ns=ends)

    groups = _groups(found, by, chosen, kept)
    first = found.since_ns // found.bucket_ns * found.bucket_ns
    frame = Frame(range(first, found.until_ns, found.bucket_ns), found.bucket_ns, traces)
    told = {k: q.get(k, "") for k in FILTERS} | chosen | {"by": "" if attribute else by or "", "attribute": attribute}
    everything = query("/traces", **kept, since_ns=found.since_ns, until_ns=found.until_ns)
    longer = query("/dashboards", **chosen | {"last": "30d"}) if last != "30d" else ""
    charts = tuple(c for c in _charts(found, frame, by, groups) if c)
    context = BoardContext(found, charts, groups, told, bool(kept), everything, longer=longer)
    return respond(request, "dashboards.html", context, nav="dashboards", title="Dashboard")


def _query(project: str, q: dict[str, str], last: str, by: str | None) -> FiguresQuery:
    whole, bucket = SPANS[last]
    until = time.time_ns() + 1
    status = cast(Literal["ok", "error"], q["status"]) if q.get("status") in ("ok", "error") else None
    measures: tuple[Measure, ...] = ("traces", "calls", "scores")
    if by in OF_STEPS:
        measures += ("steps",)
    if q.get("first"):
        measures += ("first_token",)
    return FiguresQuery(
        project=project, search=q.get("search"), status=status, uses=q.get("uses"), passage=q.get("passage"), model=q.get("model"),
        session=q.get("session"), user=q.get("user"), environment=q.get("environment"), evaluation=q.get("evaluation"),
        score=q.get("score"), slower_than_ms=float(q["slower"]) if q.get("slower", "").replace(".", "", 1).isdigit() else None,
        since_ns=(until - whole * SECOND) // (bucket * SECOND) * bucket * SECOND, until_ns=until, by=by, measures=measures, bucket_s=bucket,
    )  # fmt: skip


def _groups(found: Figures, by: str | None, chosen: dict[str, str], kept: dict[str, str]) -> tuple[Group, ...]:
    groups = []
    for n, group in enumerate(found.groups):
        name = "others" if group.others else "none" if group.value is None else words.short_ref(group.value)
        made = Group(name, group.whole, SHADES[n] if group.value is not None and n < len(SHADES) else REST)
        if (links := _links(by, group)) is not None:
            made.url = query("/dashboards", **chosen | links | {"by": ""})
            made.traces = query("/traces", **kept | links, since_ns=found.since_ns, until_ns=found.until_ns)
        groups.append(made)
    return tuple(groups)


def _links(by: str | None, group: FigureGroup) -> dict[str, str] | None:
    """The filter that finds the traces of a group."""
    if by not in FOUND_BY or group.value is None or (by == "prompt" and not group.value.startswith("prompt/")):
        return None
    return {FOUND_BY[by]: group.value}


def _charts(found: Figures, frame: Frame, by: str | None, groups: Sequence[Group]) -> list[Chart | None]:
    draw = _Drawing(found, frame, by, groups)
    whole = found.whole
    price = f"{words.many(whole.unpriced, 'call')} with no price that is known" if whole.unpriced else ""
    cached = f"{whole.tokens_cached:,} of those read came from a cache" if whole.tokens_cached else ""
    charts = [
        draw.counts("Traces", lambda f: f.traces, [("worked", "c0", lambda f: f.traces - f.errors), ("failed", "c3", lambda f: f.errors)]),
        draw.one("Share that failed", lambda f: f.errors / f.traces if f.traces else None, words.percent),
        draw.latency("How long traces took", lambda f: f.latency),
        draw.latency("How long calls of models took", lambda f: f.call_latency),
        draw.latency("Time to the first token", lambda f: f.first_token),
        draw.counts("Cost", lambda f: f.cost, [("", "c0", lambda f: f.cost)], words.dollars, note=price),
        draw.counts("Tokens", _tokens, [("read", "c0", lambda f: f.tokens_in), ("written", "c1", lambda f: f.tokens_out)], note=cached),
    ]
    if by in OF_STEPS:
        charts += [
            draw.counts("Steps", lambda f: f.steps, [("", "c0", lambda f: f.steps)]),
            draw.one("Share of steps that failed", lambda f: f.failed_steps / f.steps if f.steps else None, words.percent),
            draw.latency("How long steps took", lambda f: f.step_latency),
        ]
    for score in sorted(whole.scores, key=lambda s: (-s.measured - s.unmeasured, s.name))[:DRAWN]:
        missing = f", {score.unmeasured:,} unmeasured" if score.unmeasured else ""
        note = f"mean {words.score(score.mean)} of {score.measured:,}{missing}"
        charts.append(draw.one(f"Score: {score.name}", partial(_mean, score.name), words.score, note=note, least=1.0))
    return charts


def _tokens(figure: Figure) -> int | None:
    told = [n for n in (figure.tokens_in, figure.tokens_out) if n is not None]
    return sum(told) if told else None


def _mean(name: str, figure: Figure) -> float | None:
    return next((s.mean for s in figure.scores if s.name == name), None)


Take = Callable[[Figure], float | None]


class _Drawing:
    """Charts of a board: of everything, or with a line for each of the groups that are drawn."""

    def __init__(self, found: Figures, frame: Frame, by: str | None, groups: Sequence[Group]) -> None:
        self._frame = frame
        self._whole = self._of(found.buckets)
        self._groups = [
            (group.name, group.shade, _links(by, g), self._of(g.buckets))
            for group, g in zip(groups, found.groups, strict=True)
            if group.shade != REST or g.others
        ]

    def _of(self, buckets: Sequence[Bucket]) -> list[Figure]:
        """By bucket; nothing where nothing began."""
        by_start = {b.start_ns: b for b in buckets}
        return [by_start.get(start, Figure()) for start in self._frame.starts]

    def _lines(self, take: Take) -> list[Series]:
        return [Series(name, [take(f) for f in figures], shade, links) for name, shade, links, figures in self._groups]

    def one(self, title: str, take: Take, say: Callable[[float], str], *, note: str = "", least: float = 0) -> Chart | None:
        lines = self._lines(take) if self._groups else [Series("", [take(f) for f in self._whole], "c0", {})]
        return chart(title, self._frame, lines, say, note=note, least=least)

    def counts(
        self, title: str, take: Take, piled: Sequence[tuple[str, str, Take]], say: Callable[[float], str] = words.compact, *, note: str = ""
    ) -> Chart | None:  # fmt: skip
        """A sum in bars of its parts, or by group in lines."""
        if self._groups:
            return chart(title, self._frame, self._lines(take), say, note=note)
        parts = [Series(name, [part(f) for f in self._whole], shade) for name, shade, part in piled]
        return chart(title, self._frame, parts, say, piled=True, note=note)

    def latency(self, title: str, of: Callable[[Figure], Percentiles | None]) -> Chart | None:
        """Three percentiles, or the 95th by group."""

        def share(which: str) -> Take:
            return lambda f: getattr(p, which) * 1e6 if (p := of(f)) else None

        if self._groups:
            return chart(f"{title}: p95", self._frame, self._lines(share("p95")), words.duration)
        lines = [Series(p, [share(p)(f) for f in self._whole], shade, {}) for p, shade in (("p50", "c0"), ("p95", "c1"), ("p99", "c3"))]
        return chart(title, self._frame, lines, words.duration)


PAGES: tuple[tuple[str, Handler], ...] = (("/dashboards", show),)
