"""Questions to the graph: where a version came from, what a change of it touches, and whether it or a run can be had again."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Invalid
from windlass.core.operations.graph import IMPACT, REPRODUCE, WHY_VERSION, Impact, Reproduced, ReproduceRequest, VersionQuestion, WhyVersion
from windlass.doors.web.render import Asker, Handler, respond


class ImpactContext(msgspec.Struct):
    why: WhyVersion
    impact: Impact


class ReproducedContext(msgspec.Struct):
    done: Reproduced


async def impact(request: Request, ask: Asker) -> Response:
    ref = request.query_params.get("ref")
    if not ref:
        raise Invalid("no version is named", where=request.url.path, remedy="open one under Artifacts, and ask there")
    question = VersionQuestion(ref, ask.actor.project)
    context = ImpactContext(await ask(WHY_VERSION, question), await ask(IMPACT, question))
    return respond(request, "impact.html", context, nav="lineage", title="Impact")


async def reproduce(request: Request, ask: Asker) -> Response:
    form = await request.form()
    done = await ask(REPRODUCE, ReproduceRequest(str(form.get("what") or ""), ask.actor.project))
    return respond(request, "reproduced.html", ReproducedContext(done), nav="lineage", title="Done again")


PAGES: tuple[tuple[str, Handler], ...] = (("/impact", impact),)
FORMS: tuple[tuple[str, Handler], ...] = (("/reproduce", reproduce),)
