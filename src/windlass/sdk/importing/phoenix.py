"""Phoenix: its spans, and annotations of spans, traces and sessions.

GET /v1/projects/{id}/spans                spans, the newest first; the cursor is the id of the next
GET /v1/projects/{id}/span_annotations     …, trace_annotations, session_annotations: of those that are named
GET /v1/projects/{id}/sessions

How far it was read is, for each project, the number of the newest span below which nothing is missing (`done`), and of a reading that was
cut off where it began (`top`) and where it goes on (`cursor`). Its numbers rise with what comes in.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from windlass.core.errors import Invalid, NotFound
from windlass.sdk.client import Client
from windlass.sdk.importing import spans as otlp
from windlass.sdk.importing.foreign import Foreign, Query
from windlass.sdk.importing.source import Left, Marks, Page, scored

SPANS = 200  # of one page: what is annotated is asked for by their ids, in the address
LISTED = 100
ANNOTATIONS = 1_000
KEY = "PHOENIX_API_KEY"
_KIND = "openinference.span.kind"


def headers_of(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The key, from the variable that Phoenix's own client reads."""
    return {"authorization": f"Bearer {key}"} if (key := environ.get(KEY)) else {}


class Phoenix:
    """A server of it."""

    product = "Phoenix"

    def __init__(self, server: Foreign) -> None:
        self._server = server

    def version(self) -> str:
        try:
            told = self._server.text("/arize_phoenix_version").strip()
        except NotFound:
            told = ""
        if not told or len(told) > 30 or not told[0].isdigit():
            raise NotFound("this is no Phoenix", where=self._server.address, remedy="name the address that its pages are at")
        return told

    def pages(self, marks: Marks, since_ns: int, project: str | None) -> Iterator[Page]:
        for id, name in self._projects(project):
            of_this: Marks = dict(marks.get(id, {}))
            for page in self._project(id, name, of_this, since_ns):
                marks = {**marks, id: page.marks}
                page.marks = marks
                yield page

    def _projects(self, project: str | None) -> list[tuple[str, str]]:
        found = [(str(p["id"]), str(p["name"])) for p in self._all("/v1/projects", (), LISTED)]
        if project is None:
            return sorted(found, key=lambda p: p[1])
        if named := [p for p in found if project in p]:
            return named
        names = ", ".join(sorted(name for _, name in found)[:10]) or "none"
        raise NotFound(f"Phoenix has no project {project!r}", where="--from", remedy=f"it has {names}")

    def _project(self, id: str, name: str, marks: Marks, since_ns: int) -> Iterator[Page]:
        cut_off = "cursor" in marks
        for page in self._reading(id, name, marks, since_ns):
            marks = page.marks
            yield page
        if cut_off:  # what came since that one began
            for page in self._reading(id, name, marks, since_ns):
                marks = page.marks
                yield page
        page = Page(name, marks)
        brought = set(marks.get("sessions", ()))
        self._sessions(id, page, brought)
        if page.scores or page.left:
            page.marks = {**marks, "sessions": sorted(brought)}
            yield page

    def _reading(self, id: str, name: str, marks: Marks, since_ns: int) -> Iterator[Page]:
        """From the newest, or from where it was cut off, down to what was brought before."""
        done, top, cursor = int(marks.get("done", 0)), marks.get("top"), marks.get("cursor")
        kept = {k: v for k, v in marks.items() if k not in ("top", "cursor")}
        path = f"/v1/projects/{quote(id, safe='')}/spans"
        while True:
            query = [("limit", str(SPANS))] + ([("start_time", otlp.iso(since_ns))] if since_ns else [])
            told = self._server.get(path, [*query, ("cursor", cursor)] if cursor else query)
            found = [(_number(s["id"]), s) for s in told["data"]]
            top = top if top is not None or not found else found[0][0]
            new = [s for number, s in found if number > done]
            cursor = told.get("next_cursor")
            last = not cursor or len(new) < len(found)
            page = Page(name, {**kept, "done": max(done, top or 0)} if last else {**kept, "top": top, "cursor": cursor})
            for said in new:
                page.spans.append(_span(said))
                page.traces += not said.get("parent_id")
            if new:
                self._annotations(id, page, new)
                yield page
            elif last and page.marks != marks:
                yield page
            if last:
                return

    def _annotations(self, id: str, page: Page, found: list[dict[str, Any]]) -> None:
        base = f"/v1/projects/{quote(id, safe='')}"
        traces = {s["context"]["span_id"]: s["context"]["trace_id"] for s in found}
        for said in self._of_these(f"{base}/span_annotations", "span_ids", list(traces)):
            span = said["span_id"]
            trace = otlp.identity(traces[span], otlp.TRACE_BYTES).hex()
            _annotated(page, said, trace=trace, span=otlp.identity(span, otlp.SPAN_BYTES).hex())
        for said in self._of_these(f"{base}/trace_annotations", "trace_ids", list(dict.fromkeys(traces.values()))):
            _annotated(page, said, trace=otlp.identity(said["trace_id"], otlp.TRACE_BYTES).hex())

    def _sessions(self, id: str, page: Page, brought: set[str]) -> None:
        base = f"/v1/projects/{quote(id, safe='')}"
        sessions = [str(s["session_id"]) for s in self._all(f"{base}/sessions", (), LISTED)]
        for said in self._of_these(f"{base}/session_annotations", "session_ids", sessions):
            if (mark := f"{said['id']} {said['updated_at']}") not in brought:
                brought.add(mark)
                _annotated(page, said, session=str(said["session_id"]))

    def _of_these(self, path: str, field: str, ids: list[str]) -> Iterator[dict[str, Any]]:
        """A list of what is about these, which stand in the address: not too many at once."""
        for start in range(0, len(ids), LISTED):
            yield from self._all(path, [(field, id) for id in ids[start : start + LISTED]], ANNOTATIONS)

    def _all(self, path: str, query: Query, limit: int) -> Iterator[dict[str, Any]]:
        """What a list of it holds, page by page."""
        cursor = None
        while True:
            told = self._server.get(path, [*query, ("limit", str(limit)), *([("cursor", cursor)] if cursor else [])])
            yield from told["data"]
            if not (cursor := told.get("next_cursor")):
                return

    def prompts(self, client: Client, left: Counter[Left], *, dry: bool) -> tuple[dict[tuple[str, int], str], int]:
        return {}, 0  # they are told by `rest`

    def rest(self) -> Counter[Left]:
        left: Counter[Left] = Counter()
        for what, why in (
            ("prompts", "write them as prompts/NAME.md of a workspace, and push it"),
            ("datasets", "download them as JSONL there, and name the file in a workspace"),
        ):
            try:
                left[Left(what, why)] = sum(1 for _ in self._all(f"/v1/{what}", (), LISTED))
            except (Invalid, NotFound):  # an older one has no such list
                continue
        return +left


def _number(id: str) -> int:
    """The number within one of its ids, `Span:17` in base64. Raises `Invalid`."""
    try:
        return int(base64.b64decode(id, validate=True).decode().rpartition(":")[2])
    except (binascii.Error, ValueError) as e:
        raise Invalid(f"{id[:40]!r} is no id of a span", where="Phoenix", remedy="upgrade that server: older ones tell none") from e


def _span(said: dict[str, Any]) -> Span:
    start = otlp.ns(said["start_time"])
    span = Span(name=said["name"], start_time_unix_nano=start, end_time_unix_nano=max(otlp.ns(said["end_time"]), start))
    otlp.ended(span, said["status_code"], said.get("status_message"))
    otlp.put(span.attributes, {_KIND: said["span_kind"], **said.get("attributes", {})})
    for event in said.get("events") or []:
        made = span.events.add(name=event["name"], time_unix_nano=otlp.ns(event["timestamp"]))
        otlp.put(made.attributes, event.get("attributes") or {})
    otlp.name(span, said["context"]["trace_id"], said["context"]["span_id"], said.get("parent_id"))
    return span


def _annotated(page: Page, said: dict[str, Any], **about: Any) -> None:
    result = said.get("result") or {}
    score, label = result.get("score"), result.get("label")
    value, comment = (score if score is not None else label), result.get("explanation")
    if score is not None and label:
        comment = f"{label}\n\n{comment}" if comment else label
    by = {"HUMAN": "human", "LLM": "llm judge", "CODE": "code"}.get(said["annotator_kind"], said["annotator_kind"])
    id, at = f"phoenix {said['id']}", otlp.ns(said["created_at"])
    scored(page, id=id, name=said["name"], value=value, comment=comment, by=by, at_ns=at, **about)
