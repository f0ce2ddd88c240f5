"""Thumbs and comments on traces, their spans, and sessions: two forms, and how scores lie on a page."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.operations.traces import GIVE_SCORE, ScoreGiven, ScoreRequest
from windlass.doors.web.render import Asker, Handler, query

THUMBS, REMARK = "helpful", "comment"  # names under which pages give scores, and comments alone


class ScoresShown(msgspec.Struct, frozen=True):
    """Scores of one trace: of the whole, and of steps by their span. `me` may withdraw what is theirs."""

    me: str
    whole: tuple[ScoreGiven, ...]
    steps: dict[str, tuple[ScoreGiven, ...]] = {}


def shown(scores: Iterable[ScoreGiven], me: str) -> ScoresShown:
    """What is about an outermost step, or one that has not come, is of the whole."""
    whole: list[ScoreGiven] = []
    steps: dict[str, tuple[ScoreGiven, ...]] = {}
    for score in scores:
        if score.span and score.step is not None:
            steps[score.span] = (*steps.get(score.span, ()), score)
        else:
            whole.append(score)
    return ScoresShown(me, tuple(whole), steps)


async def of_trace(request: Request, ask: Asker) -> Response:
    id, span = request.path_params["id"], request.query_params.get("span") or None
    await _give(request, ask, trace=id, span=span)
    return RedirectResponse(query(f"/traces/{quote(id)}", span=span) + ("#step" if span else "#scores"), 303)


async def of_session(request: Request, ask: Asker) -> Response:
    id = request.path_params["id"]
    await _give(request, ask, session=id)
    return RedirectResponse(f"/sessions/{quote(id, safe='')}#scores", 303)


async def _give(request: Request, ask: Asker, trace: str | None = None, span: str | None = None, session: str | None = None) -> None:
    form = await request.form()
    value = {"up": True, "down": False}.get(str(form.get("value")))
    withdraw = str(form.get("withdraw") or "")
    name = withdraw or (REMARK if value is None else THUMBS)
    comment = None if withdraw else str(form.get("comment") or "").strip() or None
    asked = ScoreRequest(name, value, comment, trace, span, session, withdraw=bool(withdraw), project=ask.actor.project)
    await ask(GIVE_SCORE, asked)


FORMS: tuple[tuple[str, Handler], ...] = (("/traces/{id}/scores", of_trace), ("/sessions/{id:path}/scores", of_session))
