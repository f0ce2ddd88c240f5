"""Sessions: the list, and one as its runs with each step: what was wanted, decided, run and told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.operations.sessions import (
    SESSION,
    SESSION_KEEP,
    SESSIONS,
    Session,
    SessionCall,
    SessionKeep,
    SessionPage,
    SessionQuery,
    SessionRun,
    SessionShow,
)
from windlass.core.operations.traces import ScoreGiven
from windlass.core.ref import parse_ref
from windlass.doors.web.datasets import fields_of, names_of
from windlass.doors.web.render import Asker, Handler, query, respond


class SessionsContext(msgspec.Struct):
    page: SessionPage
    search: str
    agent: str


class SessionContext(msgspec.Struct):
    """`ran`, `refused` and `asked` count the calls that are shown; `cost` in US dollars, None where something had no price. `of_several`:
    it is no run that stands alone. `scores` are of the session as a whole, or of that run; `me` may withdraw what is theirs."""

    session: Session
    ran: int
    refused: int
    asked: int
    cost: float | None
    datasets: tuple[str, ...]  # that rows can be put into
    of_several: bool
    scores: tuple[ScoreGiven, ...]
    me: str


async def sessions(request: Request, ask: Asker) -> Response:
    given = request.query_params
    search, agent = ((given.get(name) or "").strip() for name in ("search", "agent"))
    asked = SessionQuery(ask.actor.project, search or None, agent or None, given.get("cursor") or None)
    return respond(
        request, "sessions.html", SessionsContext(await ask(SESSIONS, asked), search, agent), nav="sessions", title="Sessions"
    )  # fmt: skip


async def session(request: Request, ask: Asker) -> Response:
    asked = SessionShow(request.path_params["id"], ask.actor.project, request.query_params.get("cursor") or None)
    found = await ask(SESSION, asked)
    calls = [c for run in found.runs for c in calls_of(run)]
    costs = [run.trace.cost for run in found.runs if run.trace.tokens is not None or run.trace.cost is not None]
    several = any(run.trace.trace_id != found.id for run in found.runs)
    context = SessionContext(
        found, sum(c.executed for c in calls), sum(c.outcome == "refused" for c in calls), sum(c.waited is not None for c in calls),
        None if None in costs else sum(c for c in costs if c is not None),
        await names_of(ask),
        several, found.scores if several else tuple(s for run in found.runs for s in run.scores), ask.actor.id,
    )  # fmt: skip
    return respond(request, "session.html", context, nav="sessions", title=f"Session {found.id[:40]}")


def calls_of(run: SessionRun) -> Iterator[SessionCall]:
    """All calls of a run, those of its steps first."""
    for step in run.steps:
        yield from step.calls
    yield from run.calls


async def keep(request: Request, ask: Asker) -> Response:
    """Rows from the runs that were ticked, without the calls that were unticked."""
    form: Any = await request.form()
    id, good = request.path_params["id"], {str(s) for s in form.getlist("call")}
    shown = {str(s) for s in form.getlist("shown")}
    asked = SessionKeep(
        id, str(form.get("dataset") or "").strip(), tuple(str(t) for t in form.getlist("run")), tuple(sorted(shown - good)),
        fields=fields_of(form), project=ask.actor.project,
    )  # fmt: skip
    done = await ask(SESSION_KEEP, asked)
    ref = parse_ref(done.ref)
    return RedirectResponse(query(f"/datasets/{ref.kind}/{ref.name}", at=ref.digest, said="; ".join(done.problems[:5])), 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/sessions", sessions), ("/sessions/{id:path}", session))
FORMS: tuple[tuple[str, Handler], ...] = (("/sessions/{id:path}/keep", keep),)
