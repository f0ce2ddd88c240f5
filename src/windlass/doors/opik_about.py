"""What Opik's SDK asks of the server itself, and an answer to whatever is not served.

GET  /api/is-alive/{ping,ver}           that it is there; which version of theirs it speaks like
GET  /api/v1/private/auth/workspace     the key's project, which stands for their workspace; POST /auth: whether the key may send
POST /api/v1/private/projects/retrieve  what they call a project is a word of theirs: its id is its name
GET  /api/v1/session/redirect/projects  an address that the SDK prints: to the page of the trace
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from windlass.core.errors import NotFound
from windlass.doors.opik_wire import BASE, Heard, refusal, serving, text_of, told
from windlass.doors.otlp import Intake
from windlass.traces import opik_spans

INSTEAD = {  # of what is not served, by how its path begins
    "attachment": "files stay where they are: set OPIK_IS_ATTACHMENT_EXTRACTION_ACTIVE=false, which leaves what is in a span there",
    "datasets": "datasets are versioned and nothing of them is deleted; docs/tracing.md says what of them is served",
    "experiments": "docs/tracing.md says what of experiments is served; `windlass traces` and the page Runs of a dataset have the rest",
    "prompts": "docs/tracing.md says what of prompts is served; the page of a prompt, or `windlass push`, has the rest",
    "traces": "`windlass traces`, client.traces and /api/v1/traces ask for them; retention and erasures take them out",
    "spans": "`windlass traces ID`, client.traces and /api/v1/traces ask for them; retention and erasures take them out",
    "guardrails": "docs/agents.md has what holds calls back here",
    "optimizations": "docs/tuning.md has what looks for better prompts here",
    "annotation-queues": "docs/review.md has queues of what people are to judge",
    "": "traces, spans, scores, datasets, experiments and prompts are, as far as docs/tracing.md says",
}
SERVED = "2.2.122"  # the version of their server that is spoken like; from 2.2.8 on their SDK sends several batches at once


def routes(intake: Intake) -> list[Route]:
    """After those of the other doors: the last takes all that is left."""
    return [
        Route(f"{BASE}/auth/workspace", serving(intake, _workspace, needs="read"), methods=["GET"]),
        Route(f"{BASE}/auth", serving(intake, _known, needs="trace"), methods=["POST"]),
        Route(f"{BASE}/projects/retrieve", serving(intake, _named, needs="read"), methods=["POST"]),
        Route(f"{BASE}/projects/{{id}}", serving(intake, _project, needs="read"), methods=["GET"]),
        Route(f"{BASE}/{{rest:path}}", _unserved, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        Route("/api/is-alive/ver", _version, methods=["GET"]),
        Route("/api/is-alive/ping", _alive, methods=["GET"]),
        Route("/api/v1/session/redirect/projects/", _printed, methods=["GET"]),
    ]


async def _workspace(heard: Heard) -> Any:
    return {"workspace_name": heard.actor.project}


async def _known(heard: Heard) -> None:
    """Who is not known was refused before."""


async def _named(heard: Heard) -> Any:
    name = text_of(heard.said, "name")
    return {"id": name, "name": name}


async def _project(heard: Heard) -> Any:
    name = heard.request.path_params["id"]
    return {"id": name, "name": name}


async def _unserved(request: Request) -> Response:
    """Whatever else their server has, and what to do instead."""
    path = request.url.path.removeprefix(f"{BASE}/")
    remedy = next((instead for begins, instead in INSTEAD.items() if path.startswith(begins)), INSTEAD[""])
    return refusal(NotFound("this of Opik's interface is not served here", where=request.url.path, remedy=remedy))


async def _version(request: Request) -> Response:
    return told({"version": SERVED})


async def _alive(request: Request) -> Response:
    return told({"message": "Healthy Server", "healthy": True})


async def _printed(request: Request) -> Response:
    id = opik_spans.trace_hex(request.query_params.get("trace_id", ""))
    return RedirectResponse(f"/traces/{id}" if id.isalnum() else "/traces")
