"""Tunings: all, and one with live curves, what the model says, how it stands against the frozen and the previous one; and weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid
from windlass.core.operations.evaluation import IdQuery
from windlass.core.operations.registry import ARTIFACTS, ArtifactQuery, ArtifactSummary
from windlass.core.operations.tuning import (
    CANCEL_TUNE,
    COMPARE_TUNE,
    COMPARISONS,
    POINTS,
    RESUME_TUNE,
    SHOW_TUNE,
    TUNE,
    TUNES,
    CompareTune,
    ComparisonsQuery,
    PointsQuery,
    Sample,
    Tune,
    TuneComparison,
    TunePage,
    TunePoint,
    TuneQuery,
    TuneRequest,
)
from windlass.core.operations.weights import (
    CHECK_WEIGHTS,
    SHOW_WEIGHTS,
    WEIGHTS,
    WeightsCheck,
    WeightsPage,
    WeightsQuery,
    WeightsShow,
    WeightsState,
)
from windlass.doors.web.render import Asker, Handler, respond

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 340.0, 130.0, 52.0, 12.0, 106.0
CURVES = {
    "sft": ("loss", "mean_token_accuracy", "grad_norm"),
    "reward": ("loss", "accuracy", "margin"),
    "dpo": ("loss", "rewards/accuracies", "rewards/margins"),
    "grpo": ("reward", "kl", "completions/clipped_ratio", "reward_std"),
    "rloo": ("reward", "kl", "completions/clipped_ratio", "reward_std"),
}


LABELS = {
    "mean_token_accuracy": "tokens it has right", "grad_norm": "size of the gradient", "accuracy": "pairs it has right",
    "margin": "margin between the two", "rewards/accuracies": "pairs it has right", "rewards/margins": "margin between the two",
    "kl": "divergence from its base", "completions/clipped_ratio": "answers cut at the limit", "reward_std": "spread of rewards",
}  # fmt: skip


class Curve(msgspec.Struct, frozen=True):
    """One figure over steps, as points of a line in SVG, with its ends in words."""

    name: str
    label: str
    points: str
    low: str
    high: str
    last: str
    steps: int


class Said(msgspec.Struct, frozen=True):
    """What the model said to one prompt before, and at the newest checkpoint."""

    prompt: str
    before: str
    after: str
    step: int


class TuneContext(msgspec.Struct):
    tune: Tune
    curves: tuple[Curve, ...]
    said: tuple[Said, ...]
    comparisons: tuple[TuneComparison, ...]
    suites: tuple[ArtifactSummary, ...]
    weights: WeightsState | None  # what came of it


class TunesContext(msgspec.Struct):
    page: TunePage
    weights: WeightsPage
    datasets: tuple[ArtifactSummary, ...]


class WeightsContext(msgspec.Struct):
    weights: WeightsState
    check: WeightsCheck | None


def curves_of(method: str, points: Sequence[TunePoint]) -> tuple[Curve, ...]:
    """The figures of a method, drawn."""
    found = []
    for name in CURVES[method]:
        line = [(p.step, p.values[name]) for p in points if name in p.values]
        if not line:
            continue
        low, high = min(v for _, v in line), max(v for _, v in line)
        first, last = line[0][0], line[-1][0]
        across, up = (WIDTH - LEFT - 8) / max(1, last - first), (BOTTOM - TOP) / ((high - low) or 1)
        drawn = " ".join(f"{LEFT + (s - first) * across:.1f},{BOTTOM - (v - low) * up:.1f}" for s, v in line)
        found.append(Curve(name, LABELS.get(name, name), drawn, _figure(low), _figure(high), _figure(line[-1][1]), last))
    return tuple(found)


def _figure(value: float) -> str:
    return f"{value:.3g}".replace("-", "−") if math.isfinite(value) else "unmeasured"


def said_of(samples: Sequence[Sample]) -> tuple[Said, ...]:
    """For each prompt its answer before, and the newest."""
    first = {s.prompt: s for s in reversed(samples)}
    last = {s.prompt: s for s in samples}
    return tuple(Said(p, first[p].text if first[p].step == 0 else "", s.text, s.step) for p, s in last.items())


async def tune(request: Request, ask: Asker) -> Response:
    project, id = ask.actor.project, request.path_params["id"]
    found = await ask(SHOW_TUNE, IdQuery(id, project))
    points = await ask(POINTS, PointsQuery(found.id, project))
    compared = await ask(COMPARISONS, ComparisonsQuery(found.id, project))
    suites = await ask(ARTIFACTS, ArtifactQuery(project, "suite"))
    made = await ask(SHOW_WEIGHTS, WeightsShow(found.model or found.adapter, project)) if found.adapter else None
    curves, said = curves_of(found.request.method, points.items), said_of(found.samples)
    context = TuneContext(found, curves, said, compared.items, suites.items, made)
    return respond(request, "tune.html", context, nav="tunes", title=f"Tuning {found.request.name}")


async def tunes(request: Request, ask: Asker) -> Response:
    q, project = request.query_params, ask.actor.project
    page = await ask(TUNES, TuneQuery(project, q.get("name") or None, q.get("cursor") or None))
    weights = await ask(WEIGHTS, WeightsQuery(project))
    datasets = await ask(ARTIFACTS, ArtifactQuery(project, "dataset"))
    return respond(request, "tunes.html", TunesContext(page, weights, datasets.items), nav="tunes", title="Tuning")


async def weights(request: Request, ask: Asker) -> Response:
    which = request.query_params.get("which") or ""
    found = await ask(SHOW_WEIGHTS, WeightsShow(which, ask.actor.project))
    return respond(request, "weights.html", WeightsContext(found, None), nav="tunes", title=found.name)


async def check(request: Request, ask: Asker) -> Response:
    asked = WeightsShow(str((await request.form())["which"]), ask.actor.project)
    found = await ask(SHOW_WEIGHTS, asked)
    said = await ask(CHECK_WEIGHTS, asked)
    return respond(request, "weights.html", WeightsContext(found, said), nav="tunes", title=found.name)


async def start(request: Request, ask: Asker) -> Response:
    form = await request.form()
    asked: dict[str, object] = {k: str(form.get(k) or "").strip() for k in ("method", "name", "base", "data", "reward")}
    steps, rate = str(form.get("steps") or "100"), str(form.get("learning_rate") or "")
    try:
        asked |= {"project": ask.actor.project, "reward": asked["reward"] or None}
        asked["parameters"] = {"steps": int(steps), "batch": 16, **({"learning_rate": float(rate)} if rate else {})}
        made = msgspec.convert(asked, TuneRequest)
    except (ValueError, msgspec.ValidationError) as e:
        raise Invalid(f"this cannot be tuned: {e}", remedy="go back and mend it") from e
    begun = await ask(TUNE, made)
    return RedirectResponse(f"/tunes/{begun.id}", 303)


async def cancel(request: Request, ask: Asker) -> Response:
    found = await ask(CANCEL_TUNE, IdQuery(request.path_params["id"], ask.actor.project))
    return RedirectResponse(f"/tunes/{found.id}", 303)


async def resume(request: Request, ask: Asker) -> Response:
    found = await ask(RESUME_TUNE, IdQuery(request.path_params["id"], ask.actor.project))
    return RedirectResponse(f"/tunes/{found.id}", 303)


async def compare(request: Request, ask: Asker) -> Response:
    suite = str((await request.form())["suite"])
    found = await ask(COMPARE_TUNE, CompareTune(request.path_params["id"], suite, ask.actor.project))
    return RedirectResponse(f"/tunes/{found.tune}", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/tunes", tunes), ("/tunes/{id}", tune), ("/weights", weights))
FORMS: tuple[tuple[str, Handler], ...] = (
    ("/tunes", start),
    ("/tunes/{id}/cancel", cancel),
    ("/tunes/{id}/resume", resume),
    ("/tunes/{id}/compare", compare),
    ("/weights", check),
)
