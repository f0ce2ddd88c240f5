"""Log records, the newest first: what applications say beside their spans."""

from __future__ import annotations

import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Invalid
from windlass.core.operations.logs import LEAST, LOGS, LogPage, LogQuery
from windlass.core.operations.query import taken
from windlass.doors.web.render import Asker, Handler, respond, wants_json

HOURS = {"1h": 1, "24h": 24, "7d": 168, "30d": 720}
FIELDS = ("filter", "severity", "service", "name", "search")


class LogsContext(msgspec.Struct):
    """`asked` are the fields of the form as they were written. `wrong` is why they cannot be read."""

    page: LogPage
    asked: dict[str, str]
    severities: tuple[str, ...]
    wrong: str = ""


async def logs(request: Request, ask: Asker) -> Response:
    given = request.query_params
    asked = {name: (given.get(name) or "").strip() for name in (*FIELDS, "last")}
    since = time.time_ns() - HOURS[asked["last"]] * 3_600_000_000_000 if asked["last"] in HOURS else None
    params = {name: asked[name] for name in FIELDS if asked[name]}
    context = LogsContext(LogPage(items=()), asked, tuple(LEAST))
    try:
        query = taken(LogQuery, {"project": ask.actor.project, "since_ns": since, "cursor": given.get("cursor") or None} | params)
        context.page = await ask(LOGS, query)
    except Invalid as e:
        if wants_json(request):
            raise
        context.wrong = str(e)
    return respond(request, "logs.html", context, nav="logs", title="Logs")


PAGES: tuple[tuple[str, Handler], ...] = (("/logs", logs),)
