"""Playground: pick a component, chain, agent or model; run it; read the answer as it streams; open its trace."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.operations.registry import ARTIFACTS, SHOW, ArtifactQuery, ArtifactSummary, RefQuery, VersionDetail
from windlass.core.operations.runs import RUN_STREAM
from windlass.core.ref import Ref
from windlass.doors.web.render import Asker, Handler, respond

RUNNABLE = ("release", "chain", "agent", "component", "tool", "index")


class Field(msgspec.Struct, frozen=True):
    """One input of the target. `kind` is text or json."""

    name: str
    kind: str
    required: bool
    description: str


class PlaygroundContext(msgspec.Struct):
    targets: tuple[ArtifactSummary, ...]
    target: str
    detail: VersionDetail | None
    fields: tuple[Field, ...]
    stream: str  # where the page posts to


def fields_of(schema: dict[str, Any]) -> tuple[Field, ...]:
    """The inputs a JSON Schema of an object asks for."""
    required = schema.get("required", [])
    return tuple(
        Field(name, "text" if s.get("type") == "string" else "json", name in required, str(s.get("description", "")))
        for name, s in schema.get("properties", {}).items()
        if isinstance(s, dict)
    )


async def _schema(ask: Asker, detail: VersionDetail) -> dict[str, Any]:
    body, project = detail.version.body, ask.actor.project
    if detail.version.kind == "release":
        entry = next(k for k in detail.version.links if k.digest == body["entry"])
        ref = Ref(entry.kind, entry.name, entry.digest, None, project)
        return await _schema(ask, await ask(SHOW, RefQuery(str(ref), project)))
    if detail.version.kind in ("component", "agent"):
        prompt = next(k for k in detail.version.links if k.digest == body["prompt"])
        ref = Ref("prompt", prompt.name, prompt.digest, None, project)
        inputs = (await ask(SHOW, RefQuery(str(ref), project))).version.body["inputs"]
        return {"properties": inputs, "required": list(inputs)}
    if detail.version.kind == "index":
        return {"properties": {"query": {"type": "string"}, "k": {"type": "integer"}}, "required": ["query"]}
    return dict(body.get("input") or body.get("parameters") or {})


async def show(request: Request, ask: Asker) -> Response:
    project = ask.actor.project
    targets: list[ArtifactSummary] = []
    for kind in RUNNABLE:
        targets += (await ask(ARTIFACTS, ArtifactQuery(project, kind, limit=200))).items
    target = request.query_params.get("target") or (f"{targets[0].kind}/{targets[0].name}" if targets else "")
    detail = await ask(SHOW, RefQuery(target, project)) if target else None
    fields = fields_of(await _schema(ask, detail)) if detail else ()
    context = PlaygroundContext(tuple(targets), target, detail, fields, RUN_STREAM.path)
    return respond(request, "playground.html", context, nav="playground", title="Playground")


PAGES: tuple[tuple[str, Handler], ...] = (("/playground", show),)
