"""Langfuse: its observations, and scores of observations, traces and sessions. A key is of one project.

GET /api/public/v2/observations     observations, the newest first; a cursor leads on       (Langfuse 4, and its cloud)
GET /api/public/experiment-items    which traces are items of which run of a dataset
GET /api/public/v3/scores           scores, the newest first
GET /api/public/traces, traces/{id} traces, and one with its observations and scores        (Langfuse 3)

How far it was read is, of observations, items of runs and scores, the time up to which nothing is missing (`done`, in nanoseconds), and
of a reading that was cut off the time that it goes up to (`top`) and where it goes on (`cursor`). What is sent late is looked for an hour
back. Of Langfuse 3 it is when the newest trace began that was read (`traces`).
"""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from windlass.core.errors import Invalid, NotFound
from windlass.core.ids import now_ns
from windlass.sdk.client import Client
from windlass.sdk.importing import spans as otlp
from windlass.sdk.importing.foreign import Foreign, Query
from windlass.sdk.importing.langfuse_datasets import ItemOfRun, bring_datasets, item_of_run, items_of_runs, span_of
from windlass.sdk.importing.langfuse_prompts import bring_prompts
from windlass.sdk.importing.source import Left, Marks, Page, Versioned, scored

OBSERVATIONS, SCORES, TRACES = 200, 100, 50  # of one page
LATE_NS = 3_600 * 10**9
PUBLIC, SECRET = "LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"
VARIABLES = f"{PUBLIC} and {SECRET}"
FIELDS = "core,basic,time,io,metadata,model,usage,prompt,trace_context"
MEDIA = "@@@langfuseMedia:"
RUN_ITEMS = "/api/public/experiment-items"
SHORTENED = 200  # characters of a value of metadata, as it is told in a list
_JSON = {"usageDetails": "usage_details", "costDetails": "cost_details", "modelParameters": "model.parameters"}
_PLAIN = {
    "model": "model.name", "level": "level", "statusMessage": "status_message", "promptName": "prompt.name",
    "promptVersion": "prompt.version", "completionStartTime": "completion_start_time", "version": "version",
}  # fmt: skip


def headers_of(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The key, from the variables that Langfuse's own client reads."""
    if not (environ.get(PUBLIC) and environ.get(SECRET)):
        return {}
    pair = f"{environ[PUBLIC]}:{environ[SECRET]}".encode()
    return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}


class Langfuse:
    """A server of it, as one of its projects."""

    product = "Langfuse"

    def __init__(self, server: Foreign) -> None:
        self._server = server
        self._names: dict[str, str] = {}  # of datasets: id there → name here

    def version(self) -> str:
        try:
            told = self._server.get("/api/public/health")
        except NotFound:
            told = None
        if not isinstance(told, dict) or not isinstance(told.get("version"), str):
            raise NotFound("this is no Langfuse", where=self._server.address, remedy="name the address that its pages are at")
        return str(told["version"])

    def pages(self, marks: Marks, since_ns: int, project: str | None) -> Iterator[Page]:
        name = self._project(project)
        if "traces" in marks or not self._has_observations():
            yield from self._by_traces(name, marks, since_ns)
            return
        for what, path, query, add in (
            ("observations", "/api/public/v2/observations", [("fields", FIELDS), ("limit", str(OBSERVATIONS))], _observed),
            ("runs", RUN_ITEMS, [("fields", "core,dataset,experimentMetadata"), ("limit", str(SCORES))], self._ran),
            ("scores", "/api/public/v3/scores", [("fields", "details,subject,annotation"), ("limit", str(SCORES))], _scored),
        ):
            times = ("fromTimestamp", "toTimestamp") if what == "scores" else ("fromStartTime", "toStartTime")
            try:
                for found, of_this in self._reading(path, query, times, dict(marks.get(what, {})), since_ns, always=what == "runs"):
                    marks = {**marks, what: of_this}
                    page = Page(name, marks)
                    for said in found:
                        add(page, said)
                    yield page
            except (NotFound, Invalid):
                if what != "runs":  # which are told from some version on
                    raise
                if self._names:
                    yield Page(name, marks, left=Counter({Left("runs of datasets", "this server does not tell their items"): 1}))

    def _ran(self, page: Page, said: dict[str, Any]) -> None:
        page.spans.append(span_of(item_of_run(said, self._names), otlp.ns(said["startTime"])))

    def _project(self, asked: str | None) -> str:
        found = self._server.get("/api/public/projects")["data"]
        if not found:
            raise NotFound("this key is of no project", where=self._server.address, remedy=f"put a project's key in {VARIABLES}")
        id, name = str(found[0]["id"]), str(found[0]["name"])
        if asked not in (None, id, name):
            raise NotFound(
                f"this key is of project {name!r}", where="--from", remedy="a key of Langfuse is of one project: take that one's"
            )
        return name

    def _has_observations(self) -> bool:
        try:
            self._server.get("/api/public/v2/observations", [("limit", "1")])
        except (NotFound, Invalid):  # of before, or not switched on
            return False
        return True

    def _reading(
        self, path: str, query: Query, times: tuple[str, str], marks: Marks, since_ns: int, always: bool = False
    ) -> Iterator[tuple[list[dict[str, Any]], Marks]]:
        """From now, or from where it was cut off, down to what was brought before; one that was cut off is followed by what came since."""
        again = "cursor" in marks
        while True:
            done, top, cursor = int(marks.get("done", 0)), int(marks.get("top", now_ns())), marks.get("cursor")
            first = max(since_ns, done - LATE_NS)
            bounds = [(times[0], otlp.iso(first))] if first > 0 or always else []
            while True:
                asked = [*query, *bounds, (times[1], otlp.iso(top)), *([("cursor", cursor)] if cursor else [])]
                told = self._server.get(path, asked)
                cursor = (told.get("meta") or {}).get("cursor")
                marks = {"done": done, "top": top, "cursor": cursor} if cursor else {"done": top}
                yield told["data"], marks
                if not cursor:
                    break
            if not again:
                return
            again = False

    def _by_traces(self, name: str, marks: Marks, since_ns: int) -> Iterator[Page]:
        """As Langfuse 3 tells them, the oldest first: each trace takes a question of its own."""
        number, first, runs = 1, max(since_ns, int(marks.get("traces", 0))), items_of_runs(self._server, self._names)
        while True:
            query = [("page", str(number)), ("limit", str(TRACES)), ("orderBy", "timestamp.asc"), ("fields", "core")]
            told = self._server.get("/api/public/traces", [*query, *([("fromTimestamp", otlp.iso(first))] if first else [])])
            page = Page(name, marks)
            for summary in told["data"]:
                trace = self._server.get(f"/api/public/traces/{quote(summary['id'], safe='')}")
                _traced(page, trace, runs.get(trace["id"], []))
                page.marks = marks = {**marks, "traces": otlp.ns(trace["timestamp"])}
            if told["data"]:
                yield page
            number += 1
            if number > int((told.get("meta") or {}).get("totalPages", 0)):
                return

    def versioned(self, client: Client, left: Counter[Left], *, again: bool, dry: bool) -> Versioned:
        refs, prompts = bring_prompts(client, self._server, left, dry=dry)
        came = bring_datasets(client, self._server, left, again=again, dry=dry)
        self._names = came.names
        return Versioned(refs, prompts, came.datasets, came.rows)

    def rest(self) -> Counter[Left]:
        return Counter()


def _observed(page: Page, said: dict[str, Any], listed: bool = True) -> None:
    """An observation as a span; of one that is `listed` long values of metadata are cut short."""
    trace = said.get("traceId") or said["id"]
    start = otlp.ns(said["startTime"])
    span = Span(name=said.get("name") or said["type"].lower(), start_time_unix_nano=start)
    span.end_time_unix_nano = max(start, otlp.ns(said.get("endTime")))
    otlp.ended(span, "ERROR" if said.get("level") == "ERROR" else "", said.get("statusMessage"))
    told: dict[str, Any] = {"type": said["type"].lower(), "input": otlp.text(said.get("input")), "output": otlp.text(said.get("output"))}
    told |= {name: said.get(field) for field, name in _PLAIN.items()}
    told |= {name: otlp.text(said[field]) for field, name in _JSON.items() if said.get(field)}
    told["model.name"] = told["model.name"] or said.get("providedModelName")
    metadata = said.get("metadata")
    values = metadata if isinstance(metadata, dict) else {"": metadata} if metadata is not None else {}
    told |= {f"metadata.{key}".rstrip("."): value for key, value in values.items()}
    otlp.put(span.attributes, {f"langfuse.observation.{name}": value for name, value in told.items()})
    about = {"langfuse.trace.name": said.get("traceName"), "langfuse.release": said.get("release"), "session.id": said.get("sessionId")}
    about |= {
        "langfuse.environment": said.get("environment"),
        "user.id": said.get("userId"),
        "langfuse.trace.tags": said.get("tags") or None,
    }
    otlp.put(span.attributes, about)
    otlp.name(span, trace, said["id"], said.get("parentObservationId"))
    page.spans.append(span)
    page.traces += not said.get("parentObservationId")
    if listed and any(isinstance(v, str) and len(v) == SHORTENED for v in values.values()):
        page.left[Left("observations' metadata", f"Langfuse's list tells {SHORTENED} characters of a value")] += 1
    if any(MEDIA in (otlp.text(said.get(field)) or "") for field in ("input", "output")):
        page.left[Left("observations' media", "files are not kept with a trace here; their names stay in the texts")] += 1


def _traced(page: Page, trace: dict[str, Any], runs: list[ItemOfRun]) -> None:
    """A trace of Langfuse 3, with the runs that it is an item of. Where it has one outermost observation, that stands for it; else a span
    is made that does."""
    found, traces = list(trace.get("observations") or []), page.traces + 1
    known = {o["id"] for o in found}
    outer = [o["id"] for o in found if o.get("parentObservationId") not in known]
    about = {"sessionId": trace.get("sessionId"), "userId": trace.get("userId"), "tags": trace.get("tags"), "release": trace.get("release")}
    about |= {"traceName": trace.get("name"), "environment": trace.get("environment")}
    whole = {field: trace.get(field) for field in ("input", "output", "metadata")}
    above, start = None, min((otlp.ns(o["startTime"]) for o in found), default=otlp.ns(trace["timestamp"]))
    if len(outer) != 1:
        start = otlp.ns(trace["timestamp"])
        above = f"trace {trace['id']}"
        end = max([o.get("endTime") or o["startTime"] for o in found], key=otlp.ns, default=trace["timestamp"])
        made = {"id": above, "traceId": trace["id"], "type": "SPAN", "name": trace.get("name"), "startTime": trace["timestamp"]}
        _observed(page, about | whole | made | {"endTime": end}, listed=False)
    for said in found:
        told = {name: value for name, value in said.items() if value is not None}
        if said["id"] in outer:
            told = (whole if above is None else {}) | told | {"parentObservationId": above}
        _observed(page, about | told, listed=False)
    page.traces = traces
    page.spans += [span_of(run if run.observation else run._replace(observation=above or outer[0]), start) for run in runs]
    for score in trace.get("scores") or []:
        _scored(page, {"traceId": trace["id"], **score})


def _scored(page: Page, said: dict[str, Any]) -> None:
    """A score of either form: with a subject, or with what it is about beside it."""
    subject = said.get("subject") or {}
    kind, id = subject.get("kind"), subject.get("id")
    trace = id if kind == "trace" else subject.get("traceId") if kind == "observation" else said.get("traceId")
    span = id if kind == "observation" else said.get("observationId")
    run = id if kind == "experiment" else said.get("datasetRunId") if not trace else None
    session = id if kind == "session" else said.get("sessionId") if not (trace or run) else None
    if not (trace or session or run):
        page.left[Left("scores", "they are about no trace")] += 1
        return
    value, comment, form = said.get("value"), said.get("comment"), said.get("dataType")
    if form in ("CATEGORICAL", "TEXT", "CORRECTION"):
        value = said.get("stringValue", value if isinstance(value, str) else None)
    elif form == "BOOLEAN" and value in (0, 1):
        value = bool(value)
    if form in ("TEXT", "CORRECTION"):
        value, comment = None, "\n\n".join(filter(None, (str(value or ""), comment)))
    by = {"EVAL": "judge", "ANNOTATION": "human", "API": "api"}.get(str(said.get("source")), "")
    scored(
        page, id=f"langfuse {said['id']}", name=said["name"], value=value, comment=comment,
        by=f"{by} {said.get('authorUserId') or ''}".strip(), at_ns=otlp.ns(said.get("timestamp")),
        trace=otlp.identity(trace, otlp.TRACE_BYTES).hex() if trace else None,
        span=otlp.identity(span, otlp.SPAN_BYTES).hex() if span and trace else None, session=session, run=run,
    )  # fmt: skip
