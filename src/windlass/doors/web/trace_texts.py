"""A text of a span that is too long for its trace's page: as much of it as can be read, and all of it for programs."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Invalid
from windlass.core.operations.traces import TEXT, TextShow
from windlass.doors.web.render import Asker, Handler, respond

READ = 500_000  # characters that are shown


class TextContext(msgspec.Struct):
    id: str
    span: str
    of: str
    characters: int
    text: str
    shown: str = ""


async def text(request: Request, ask: Asker) -> Response:
    q = request.query_params
    given = {"id": request.path_params["id"], "span": q.get("span", ""), "of": q.get("of", "input"), "project": ask.actor.project}
    try:
        asked = msgspec.convert(given, TextShow)
    except msgspec.ValidationError as e:
        raise Invalid("this is no text of a span", where=str(e)[:100], remedy="the page of its trace links to it") from None
    found = await ask(TEXT, asked)
    whole = TextContext(asked.id, asked.span, asked.of, len(found.text), found.text)
    if not request.url.path.endswith(".json"):
        whole.text, whole.shown = "", found.text[:READ]
    return respond(request, "trace_text.html", whole, nav="traces", title=f"{asked.of.replace('_', ' ').capitalize()} of a step")


PAGES: tuple[tuple[str, Handler], ...] = (("/traces/{id}/text", text),)
