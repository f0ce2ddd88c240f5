"""The dashboard: traffic, errors, latency, cost, tokens and scores over time, of all traces that fit or by a dimension. Everything that
was chosen is in the address, so it can be sent to somebody."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Invalid
from windlass.core.filter import Node, Term
from windlass.core.operations.figures import ATTRIBUTE, FIGURES, Bucket, Figure, FigureGroup, Figures, FiguresQuery, Measure, Percentiles
from windlass.doors import format as words
from windlass.doors.asked import Asked, asked_of
from windlass.doors.web.boards import REST, SHADES, Chart, Frame, Series, chart
from windlass.doors.web.render import Asker, Handler, query, respond, wants_json
from windlass.doors.web.views import ViewsShown
from windlass.doors.web.views import shown as views_of

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
# the field of filters that finds the traces of a group, where it is not called as the dimension
FIELD = {"environment": "env", "version": "uses"}
DRAWN = 4  # scores
Take = Callable[[Figure], float | None]


class Traces(Protocol):
    """The address of the traces of the bucket that begins at a time, or of a group of them."""

    def __call__(self, start: int, term: Node | None = None) -> str: ...


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
    asked: Asked
    last: str
    by: str  # a dimension
    attribute: str
    first: bool  # also the time to the first token
    traces: str  # the list of all of them
    dimensions: tuple[str, ...] = BY
    longer: str = ""  # the board of a longer time
    wrong: str = ""  # why the filter cannot be read
    views: ViewsShown | None = None


async def show(request: Request, ask: Asker) -> Response:
    q = {k: v.strip() for k, v in request.query_params.items() if v.strip()}
    last = q["last"] if q.get("last") in SPANS else "24h"
    attribute = q.get("attribute", "") or (q.get("by", "").removeprefix(ATTRIBUTE) if q.get("by", "").startswith(ATTRIBUTE) else "")
    by = f"{ATTRIBUTE}{attribute}" if attribute else q.get("by")
    shown, first = "" if attribute else by or "", bool(q.get("first"))
    try:
        asked = asked_of(request.query_params)
        found = await ask(FIGURES, _query(ask.actor.project, asked, last, by, first))
    except Invalid as e:
        if wants_json(request) or not (e.where or "").startswith("filter"):
            raise
        nothing, asked = Figures(0, 0, 0, Figure()), Asked(q.get("filter", ""), evaluation=q.get("evaluation", ""))
        unread = BoardContext(nothing, (), (), asked, last, shown, attribute, first, "", wrong=str(e))
        unread.views = await views_of(request, ask, "dashboards")
        return respond(request, "dashboards.html", unread, nav="dashboards", title="Dashboard", status=400)
    board = _board(found, Chosen(asked, last, by, first), shown, attribute)
    board.views = await views_of(request, ask, "dashboards")
    return respond(request, "dashboards.html", board, nav="dashboards", title="Dashboard")


def _board(found: Figures, chosen: Chosen, shown: str, attribute: str) -> BoardContext:
    """What was found, drawn; `shown` is the dimension where it is no attribute."""

    def traces(start: int, term: Node | None = None) -> str:
        begins, ends = max(start, found.since_ns), min(start + found.bucket_ns, found.until_ns)
        return chosen.traces(term, begins, ends)

    by = chosen.by
    groups = _groups(found, by, chosen)
    first = found.since_ns // found.bucket_ns * found.bucket_ns
    frame = Frame(range(first, found.until_ns, found.bucket_ns), found.bucket_ns, traces)
    charts = tuple(c for c in _charts(found, frame, by, groups, traces) if c)
    longer = msgspec.structs.replace(chosen, last="30d").url() if chosen.last != "30d" else ""
    return BoardContext(
        found, charts, groups, chosen.asked, chosen.last, shown, attribute, chosen.first,
        chosen.traces(None, found.since_ns, found.until_ns), longer=longer,
    )  # fmt: skip


class Chosen(msgspec.Struct):
    """What a board is of, and its addresses."""

    asked: Asked
    last: str
    by: str | None
    first: bool

    def url(self, term: Node | None = None) -> str:
        """This board; with a term that of one group, of everything in it."""
        asked = self.asked.narrowed(term) if term else self.asked
        by = None if term else self.by
        return query(
            "/dashboards", filter=asked.filter, evaluation=asked.evaluation, last=self.last, by=by, first="1" if self.first else ""
        )  # fmt: skip

    def traces(self, term: Node | None, since: int, until: int) -> str:
        """The list of the traces of a group that began then."""
        asked = self.asked.narrowed(term) if term else self.asked
        return query("/traces", filter=asked.filter, evaluation=asked.evaluation, since_ns=since, until_ns=until)


def _query(project: str, asked: Asked, last: str, by: str | None, first: bool) -> FiguresQuery:
    whole, bucket = SPANS[last]
    until = time.time_ns() + 1
    measures: tuple[Measure, ...] = ("traces", "calls", "scores")
    if by in OF_STEPS:
        measures += ("steps",)
    if first:
        measures += ("first_token",)
    return FiguresQuery(
        project=project, filter=asked.filter, evaluation=asked.evaluation or None, by=by, measures=measures, bucket_s=bucket,
        since_ns=(until - whole * SECOND) // (bucket * SECOND) * bucket * SECOND, until_ns=until,
    )  # fmt: skip


def _groups(found: Figures, by: str | None, chosen: Chosen) -> tuple[Group, ...]:
    groups = []
    for n, group in enumerate(found.groups):
        name = "others" if group.others else "none" if group.value is None else words.short_ref(group.value)
        made = Group(name, group.whole, SHADES[n] if group.value is not None and n < len(SHADES) else REST)
        if (term := _term(by, group)) is not None:
            made.url, made.traces = chosen.url(term), chosen.traces(term, found.since_ns, found.until_ns)
        groups.append(made)
    return tuple(groups)


def _term(by: str | None, group: FigureGroup) -> Node | None:
    """What finds the traces of a group."""
    if by is None or group.value is None:
        return None
    if by.startswith(ATTRIBUTE):
        return Term(f"attr.{by.removeprefix(ATTRIBUTE)}", group.value)
    if by in ("release", "version") or (by == "prompt" and group.value.startswith("prompt/")):
        return Term("uses", group.value)
    return Term(FIELD.get(by, by), group.value)


def _charts(found: Figures, frame: Frame, by: str | None, groups: Sequence[Group], traces: Traces) -> list[Chart | None]:
    draw = _Drawing(found, frame, by, groups, traces)
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


class _Drawing:
    """Charts of a board: of everything, or with a line for each of the groups that are drawn."""

    def __init__(self, found: Figures, frame: Frame, by: str | None, groups: Sequence[Group], traces: Traces) -> None:
        self._frame = frame
        self._whole = self._of(found.buckets)
        self._groups = [
            (group.name, group.shade, None if (term := _term(by, g)) is None else partial(traces, term=term), self._of(g.buckets))
            for group, g in zip(groups, found.groups, strict=True)
            if group.shade != REST or g.others
        ]

    def _of(self, buckets: Sequence[Bucket]) -> list[Figure]:
        """By bucket; nothing where nothing began."""
        by_start = {b.start_ns: b for b in buckets}
        return [by_start.get(start, Figure()) for start in self._frame.starts]

    def _lines(self, take: Take) -> list[Series]:
        return [Series(name, [take(f) for f in figures], shade, url) for name, shade, url, figures in self._groups]

    def one(self, title: str, take: Take, say: Callable[[float], str], *, note: str = "", least: float = 0) -> Chart | None:
        lines = self._lines(take) if self._groups else [Series("", [take(f) for f in self._whole], "c0", self._frame.url)]
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
        lines = [
            Series(p, [share(p)(f) for f in self._whole], shade, self._frame.url)
            for p, shade in (("p50", "c0"), ("p95", "c1"), ("p99", "c3"))
        ]
        return chart(title, self._frame, lines, words.duration)


PAGES: tuple[tuple[str, Handler], ...] = (("/dashboards", show),)
