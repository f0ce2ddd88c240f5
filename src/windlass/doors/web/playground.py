"""Playground: pick a component, chain, agent or index; run it; read the answer as it streams; open its trace.

It opens on a step of a trace too: what ran in it, in the version that ran, with what it was given; a call of a model that somebody's
application made is asked again of that model, by the gateway.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core import span as names
from windlass.core.conversation import gist
from windlass.core.json_text import json_said
from windlass.core.operations import Empty
from windlass.core.operations.query import taken
from windlass.core.operations.registry import ARTIFACTS, SHOW, ArtifactQuery, ArtifactSummary, RefQuery, VersionDetail
from windlass.core.operations.runs import MODELS, RUN_STREAM
from windlass.core.operations.traces import TEXT, TRACE, TextShow, TraceShow
from windlass.core.ref import Ref
from windlass.core.span import Span, StoredSpan, input_of
from windlass.doors.web.model_calls import CallAsked, call_of
from windlass.doors.web.render import Asker, Handler, respond
from windlass.govern.masking import is_masked

CHAT = "/v1/chat/completions"  # of the gateway
RUNNABLE = ("release", "chain", "agent", "component", "tool", "index")


class Field(msgspec.Struct, frozen=True):
    """One input of the target. `kind` is text or json."""

    name: str
    kind: str
    required: bool
    description: str
    value: str = ""


class PlaygroundContext(msgspec.Struct):
    targets: tuple[ArtifactSummary, ...]
    target: str
    detail: VersionDetail | None
    fields: tuple[Field, ...]
    stream: str  # where the page posts to
    taken: str = ""  # the trace whose step it opens on
    span: str = ""  # that step
    as_ran: bool = False  # in the version that ran there
    call: CallAsked | None = None  # asked of a model, where that is what the step did
    left: tuple[str, ...] = ()  # what was given there and is no input of the target, or is masked


def fields_of(schema: dict[str, Any]) -> tuple[Field, ...]:
    """The inputs a JSON Schema of an object asks for."""
    required = schema.get("required", [])
    return tuple(
        Field(name, "text" if s.get("type") == "string" else "json", name in required, str(s.get("description", "")))
        for name, s in schema.get("properties", {}).items()
        if isinstance(s, dict)
    )


def ran(span: Span | None) -> str | None:
    """The version that a step ran, if it can be run here."""
    held = (span.attributes.get(names.VERSIONS) or []) if span is not None else []
    return next((str(ref) for ref in held if str(ref).partition("/")[0] in RUNNABLE), None)


def asks_model(step: Span | None) -> bool:
    """Whether a step is a call of a model that no version of ours made."""
    return isinstance(step, StoredSpan) and step.kind == "model" and ran(step) is None


def filled(fields: tuple[Field, ...], told: str) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    """Fields with what a step was given, and what of it has no field. A conversation's last question goes into the only text there is."""
    given = json_said(told)
    texts = [f.name for f in fields if f.kind == "text"]
    if not (isinstance(given, dict) and any(f.name in given for f in fields)) and len(texts) == 1:
        given = {texts[0]: given if isinstance(given, str) else gist(told)}
    if not isinstance(given, dict):
        return fields, ("what it was given",) if told else ()
    shown = {str(name): _shown(value) for name, value in given.items()}
    masked = [name for name, value in shown.items() if is_masked(value)]
    made = tuple(msgspec.structs.replace(f, value="" if f.name in masked else shown.get(f.name, "")) for f in fields)
    unknown = [name for name in shown if name not in {f.name for f in fields}]
    return made, (*unknown, *(f"{name}, which is masked" for name in masked if name not in unknown))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else msgspec.json.format(msgspec.json.encode(value)).decode()


async def _step(ask: Asker, trace: str, span: str) -> tuple[StoredSpan | None, str]:
    """A step of a trace, its outermost by default, and all that it was given. Raises `NotFound`, and `Invalid` for ids that are none."""
    project = ask.actor.project
    found = await ask(TRACE, taken(TraceShow, {"id": trace, "project": project, "span": span}))
    step = next((s for s in found.spans if s.span_id == span or (not span and s.parent is None)), None)
    if step is None:
        return None, ""
    if step.cut:
        return step, (await ask(TEXT, TextShow(trace, step.span_id, "input", project))).text
    return step, input_of(step) or ""


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
    project, q = ask.actor.project, request.query_params
    targets: list[ArtifactSummary] = []
    for kind in RUNNABLE:
        targets += (await ask(ARTIFACTS, ArtifactQuery(project, kind, limit=200))).items
    taken = q.get("trace", "")
    step, given = await _step(ask, taken, q.get("span", "")) if taken else (None, "")
    context = PlaygroundContext(tuple(targets), "", None, (), CHAT, taken, q.get("span", ""))
    if step is not None and asks_model(step) and not q.get("target"):
        context.call = call_of(step, given, (await ask(MODELS, Empty())).items)
        return respond(request, "playground.html", context, nav="playground", title="Playground")
    target = q.get("target") or ran(step) or (f"{targets[0].kind}/{targets[0].name}" if targets else "")
    detail = await ask(SHOW, RefQuery(target, project)) if target else None
    fields = fields_of(await _schema(ask, detail)) if detail else ()
    fields, left = filled(fields, given) if taken else (fields, ())
    context.target, context.detail, context.fields, context.stream, context.left = target, detail, fields, RUN_STREAM.path, left
    context.as_ran = target == ran(step)
    return respond(request, "playground.html", context, nav="playground", title="Playground")


PAGES: tuple[tuple[str, Handler], ...] = (("/playground", show),)
