"""Evidence: what shows others how a release came to be, file by file."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.operations.deploy import RELEASES, ReleaseList, ReleaseQuery
from windlass.core.operations.evidence import EVIDENCE, EvidenceRequest, ReleaseEvidence
from windlass.doors.web.render import Asker, Handler, respond


class EvidenceContext(msgspec.Struct, omit_defaults=True):
    """`evidence` is of the release that is asked about; None until one is."""

    releases: ReleaseList
    asked: str = ""
    evidence: ReleaseEvidence | None = None


async def show(request: Request, ask: Asker) -> Response:
    context = EvidenceContext(await ask(RELEASES, ReleaseQuery(ask.actor.project)), request.query_params.get("release", "").strip())
    if context.asked:
        context.evidence = await ask(EVIDENCE, EvidenceRequest(context.asked, ask.actor.project))
    return respond(request, "evidence.html", context, nav="evidence", title="Evidence")


PAGES: tuple[tuple[str, Handler], ...] = (("/evidence", show),)
