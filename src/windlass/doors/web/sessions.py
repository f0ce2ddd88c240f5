"""Sessions: the list, and one as its runs with each step: what was wanted, decided, run and told."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.operations.sessions import SESSION, SESSIONS, Session, SessionCall, SessionPage, SessionQuery, SessionRun, SessionShow
from windlass.doors.web.render import Asker, Handler, respond


class SessionsContext(msgspec.Struct):
    page: SessionPage
    search: str
    agent: str


class SessionContext(msgspec.Struct):
    """`ran`, `refused` and `asked` count the calls that are shown; `cost` in US dollars, None where something had no price."""

    session: Session
    ran: int
    refused: int
    asked: int
    cost: float | None


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
    context = SessionContext(
        found, sum(c.executed for c in calls), sum(c.outcome == "refused" for c in calls), sum(c.waited is not None for c in calls),
        None if None in costs else sum(c for c in costs if c is not None),
    )  # fmt: skip
    return respond(request, "session.html", context, nav="sessions", title=f"Session {found.id[:40]}")


def calls_of(run: SessionRun) -> Iterator[SessionCall]:
    """All calls of a run, those of its steps first."""
    for step in run.steps:
        yield from step.calls
    yield from run.calls


PAGES: tuple[tuple[str, Handler], ...] = (("/sessions", sessions), ("/sessions/{id:path}", session))
