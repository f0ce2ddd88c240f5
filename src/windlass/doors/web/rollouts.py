"""Rollouts: all, and one with its arms side by side, what is shown of them, and one button each to step up, take back and stop."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid
from windlass.core.operations.deploy import RELEASES, ReleaseQuery
from windlass.core.operations.rollouts import (
    BACK_ROLLOUT,
    ROLLOUT,
    ROLLOUTS,
    START_ROLLOUT,
    STEP_ROLLOUT,
    STOP_ROLLOUT,
    Rollout,
    RolloutChange,
    RolloutEvidence,
    RolloutPage,
    RolloutQuery,
    RolloutShow,
    RolloutStart,
)
from windlass.core.ref import ENVIRONMENTS
from windlass.doors.web.render import Asker, Handler, respond

LEFT, RIGHT, TOP, BOTTOM = 80.0, 680.0, 12.0, 148.0  # of the picture of one guard


class Sequence(msgspec.Struct):
    """The interval of a guard as it ran, as SVG points: the band, its middle, and the heights of no difference and of the margin. `top` and
    `bottom` are the differences at its edges, `units` how many callers it ends with."""

    metric: str
    band: str
    middle: str
    zero: float
    margin: float | None
    top: float
    bottom: float
    units: int


class RolloutContext(msgspec.Struct):
    rollout: Rollout
    sequences: tuple[Sequence, ...]


class RolloutsContext(msgspec.Struct):
    """`releases` are those of which something stands in an environment."""

    page: RolloutPage
    releases: tuple[str, ...]
    environments: tuple[str, ...]


def sequence(found: RolloutEvidence, worse_is_more: bool) -> Sequence | None:
    """None before two looks have an interval."""
    if len(found.points) < 2:
        return None
    margin = None if found.margin is None else found.margin if worse_is_more else -found.margin
    last = found.points[-1]
    reach = max(abs(v) for v in (last[1], last[2], last[3], margin or 0.0)) * 1.5 or 1.0
    first, end = found.points[0][0], last[0]

    def x(units: int) -> float:
        return round(LEFT + (RIGHT - LEFT) * (units - first) / max(1, end - first), 1)

    def y(value: float) -> float:
        return round((TOP + BOTTOM) / 2 - (BOTTOM - TOP) / 2 * max(-1.0, min(1.0, value / reach)), 1)

    over = [f"{x(units)},{y(high)}" for units, _, _, high in found.points]
    under = [f"{x(units)},{y(low)}" for units, low, _, _ in reversed(found.points)]
    middle = " ".join(f"{x(units)},{y(value)}" for units, _, value, _ in found.points)
    return Sequence(found.metric, " ".join(over + under), middle, y(0.0), None if margin is None else y(margin), reach, -reach, end)


def worse_is_more(rollout: Rollout, metric: str) -> bool:
    """Whether more of it is worse: of errors, seconds and dollars, and of scores that say so."""
    guard = next(g for g in rollout.guards if g.metric == metric)
    return metric in ("error", "latency_s", "cost") or guard.less_is_better


async def rollouts(request: Request, ask: Asker) -> Response:
    q, project = request.query_params, ask.actor.project
    page = await ask(ROLLOUTS, RolloutQuery(project, q.get("release") or None, cursor=q.get("cursor") or None))
    releases = await ask(RELEASES, ReleaseQuery(project))
    context = RolloutsContext(page, tuple(r.name for r in releases.items if r.environments), ENVIRONMENTS)
    return respond(request, "rollouts.html", context, nav="rollouts", title="Rollouts")


async def rollout(request: Request, ask: Asker) -> Response:
    found = await ask(ROLLOUT, RolloutShow(request.path_params["id"], ask.actor.project))
    drawn = (sequence(e, worse_is_more(found, e.metric)) for e in found.evidence)
    context = RolloutContext(found, tuple(d for d in drawn if d))
    return respond(request, "rollout.html", context, nav="rollouts", title=f"Rollout of {found.release}")


async def start(request: Request, ask: Asker) -> Response:
    form = await request.form()
    asked = {
        "release": str(form.get("release") or ""), "environment": str(form.get("environment") or "production"),
        "mode": str(form.get("mode") or "canary"), "by": str(form.get("by") or "user"), "project": ask.actor.project,
        "share": _number(str(form.get("share") or "5"), "share"), "min_hours": _number(str(form.get("min_hours") or "1"), "min_hours"),
    }  # fmt: skip
    try:
        begun = await ask(START_ROLLOUT, msgspec.convert(asked, RolloutStart))
    except msgspec.ValidationError as e:
        raise Invalid(str(e), remedy="go back and choose again") from e
    return RedirectResponse(f"/rollouts/{begun.id}", 303)


def _number(text: str, where: str) -> float:
    try:
        return float(text.strip().removesuffix("%"))
    except ValueError:
        raise Invalid(f"{text!r} is no number", where=where, remedy="give one, such as 5") from None


async def change(request: Request, ask: Asker) -> Response:
    form = await request.form()
    asked = RolloutChange(request.path_params["id"], str(form.get("why") or "")[:2000], ask.actor.project)
    await ask({"step": STEP_ROLLOUT, "back": BACK_ROLLOUT}.get(str(form.get("do")), STOP_ROLLOUT), asked)
    return RedirectResponse(f"/rollouts/{asked.id}", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/rollouts", rollouts), ("/rollouts/{id}", rollout))
FORMS: tuple[tuple[str, Handler], ...] = (("/rollouts", start), ("/rollouts/{id}", change))
