"""Bake-offs: all, and one led by its recommendation, with the frontier drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.operations.bakeoffs import BAKEOFF, BAKEOFFS, DISCOVER, Arm, Bakeoff, BakeoffPage, BakeoffQuery, BakeoffRequest
from windlass.core.operations.evaluation import IdQuery
from windlass.core.operations.registry import ARTIFACTS, ArtifactQuery, ArtifactSummary
from windlass.doors import format as words
from windlass.doors.web.render import Asker, Handler, respond

LEFT, RIGHT, TOP, BOTTOM = 60.0, 660.0, 24.0, 230.0
FREE = 40.0  # width of the strip where what costs nothing stands, left of the logarithmic scale


class Dot(msgspec.Struct, frozen=True):
    """A model in the drawing: x by cost a row, y by the first guard's score, `low` and `high` its interval. `time` is 0 (quick) to 3."""

    model: str
    x: float
    y: float
    low: float
    high: float
    label_y: float
    anchor: str
    time: int
    out: bool
    frontier: bool
    chosen: bool
    said: str


class Tick(msgspec.Struct, frozen=True):
    at: float
    text: str


class Drawing(msgspec.Struct, frozen=True):
    """The frontier: `line` joins the models that no other beats on score and cost, as SVG points."""

    guard: str
    dots: tuple[Dot, ...]
    line: str
    costs: tuple[Tick, ...]
    scores: tuple[Tick, ...]
    unpriced: tuple[str, ...]


class BakeoffContext(msgspec.Struct):
    bakeoff: Bakeoff
    guards: tuple[str, ...]
    drawing: Drawing | None


class BakeoffsContext(msgspec.Struct):
    page: BakeoffPage
    suites: tuple[ArtifactSummary, ...]


def draw(arms: Sequence[Arm], guard: str, chosen: str | None) -> Drawing | None:
    """Where the models stand by cost and score. None while nothing is measured."""
    known = [(a, s) for a in arms for s in a.guards if s.name == guard and s.mean is not None]
    priced = [(a, s) for a, s in known if a.per_row is not None]
    if not priced:
        return None
    costs = [a.per_row for a, _ in priced if a.per_row]
    least, most = (math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)) + 1e-9)) if costs else (-4, -3)
    most = max(most, least + 1)
    ends = [v for _, s in priced for v in ((s.interval.low, s.interval.high) if s.interval else (s.mean, s.mean)) if v is not None]
    low, high = min(0.0, *ends), max(1.0, *ends) if max(ends) > 0.6 else max(ends) * 1.15
    free = any(not a.per_row for a, _ in priced)
    start = LEFT + (FREE * 2 if free else 0.0)

    def x(cost: float | None) -> float:
        if not cost:
            return round(LEFT + FREE, 1)
        return round(start + 20 + (RIGHT - start - 20) * (math.log10(cost) - least) / (most - least), 1)

    def y(score: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (score - low) / (high - low or 1.0), 1)

    slowest = max((a.latency or 0.0 for a, _ in priced), default=0.0) or 1.0
    dots: list[Dot] = []
    for a, s in sorted(priced, key=lambda one: -(one[1].mean or 0.0)):
        mean = s.mean or 0.0
        at, right = (x(a.per_row), y(mean)), x(a.per_row) > RIGHT - 150
        label = at[1] + 4
        while any(abs(label - d.label_y) < 13 and abs(at[0] - d.x) < 190 for d in dots):  # names must not lie on each other
            label += 13
        time = min(3, int(4 * (a.latency or 0.0) / slowest * 0.999))
        took = words.duration(a.latency * 1e9) if a.latency is not None else "time unmeasured"
        said = f"{guard} {mean:.2f}, {words.dollars(a.per_row)} a row, {took}"
        ends_of = (y(s.interval.low), y(s.interval.high)) if s.interval else (at[1], at[1])
        dots.append(
            Dot(a.model, *at, *ends_of, round(label, 1), "end" if right else "start", time, a.status != "done", a.frontier,
                a.model == chosen, said)
        )  # fmt: skip
    edge = sorted((d for d in dots if d.frontier), key=lambda d: (d.x, d.y))
    best: list[Dot] = []
    for d in edge:  # of those on the frontier for their speed alone, the line goes past
        if not best or d.y < best[-1].y:
            best.append(d)
    ticks = [Tick(x(10.0**p), f"${10.0**p:.{max(0, -p)}f}") for p in range(least, most + 1)] if costs else []
    ticks = [Tick(round(LEFT + FREE, 1), "free"), *ticks] if free else ticks
    step = 0.2 if high - low > 0.5 else 0.1
    marks = [Tick(y(v), f"{v:.1f}") for v in (round(low + step * i, 2) for i in range(12)) if v <= high + 1e-9]
    unpriced = tuple(a.model for a, _ in known if a.per_row is None)
    return Drawing(guard, tuple(dots), " ".join(f"{d.x},{d.y}" for d in best), tuple(ticks), tuple(marks), unpriced)


def context_of(found: Bakeoff, guard: str | None = None) -> BakeoffContext:
    guards = tuple(s.name for s in next((a.guards for a in found.arms if a.guards), ()))
    shown = guard if guard in guards else guards[0] if guards else ""
    chosen = found.recommendation.model if found.recommendation else None
    return BakeoffContext(found, guards, draw(found.arms, shown, chosen) if shown else None)


async def bakeoff(request: Request, ask: Asker) -> Response:
    found = await ask(BAKEOFF, IdQuery(request.path_params["id"], ask.actor.project))
    return respond(request, "bakeoff.html", context_of(found, request.query_params.get("guard")), nav="bakeoffs", title="Bake-off")


async def bakeoffs(request: Request, ask: Asker) -> Response:
    q, project = request.query_params, ask.actor.project
    page = await ask(BAKEOFFS, BakeoffQuery(project, q.get("suite") or None, q.get("cursor") or None))
    suites = await ask(ARTIFACTS, ArtifactQuery(project, "suite"))
    return respond(request, "bakeoffs.html", BakeoffsContext(page, suites.items), nav="bakeoffs", title="Bake-offs")


async def start(request: Request, ask: Asker) -> Response:
    form = await request.form()
    named = tuple(m.strip() for m in str(form.get("models") or "").replace("\n", ",").split(",") if m.strip())
    budget = str(form.get("budget") or "1")
    asked = {
        "suite": str(form["suite"]), "models": named, "project": ask.actor.project, "budget": float(budget) if _number(budget) else -1.0,
        "data_class": str(form.get("data_class") or "") or None,
    }  # fmt: skip
    begun = await ask(DISCOVER, msgspec.convert(asked, BakeoffRequest))
    return RedirectResponse(f"/bakeoffs/{begun.id}", 303)


def _number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


PAGES: tuple[tuple[str, Handler], ...] = (("/bakeoffs", bakeoffs), ("/bakeoffs/{id}", bakeoff))
FORMS: tuple[tuple[str, Handler], ...] = (("/bakeoffs", start),)
