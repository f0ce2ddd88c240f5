"""MLflow, from 3.0 on: its traces, and what was said of them.

POST /api/3.0/mlflow/traces/search             traces of an experiment, without their spans, the oldest first
GET  /api/3.0/mlflow/traces/batchGet           traces with spans, as OTLP's JSON with ids in base64
GET  /ajax-api/3.0/mlflow/get-trace-artifact   spans of one trace, where they lie with its artifacts

How far it was read is, for each experiment, when the newest trace began that was read (`at`, in milliseconds), and which began then.
"""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.core.ids import now_ns
from windlass.sdk.client import Client
from windlass.sdk.importing import spans as otlp
from windlass.sdk.importing.foreign import Foreign
from windlass.sdk.importing.source import Left, Marks, Page, Versioned, scored

TRACES = 100  # asked for at once
BATCH = 20  # of which spans are asked for at once
LISTED = 1_000  # experiments at once
RUNNING_NS = 86_400 * 10**9  # a trace that has run for longer will hardly end
TOKEN, USER, PASSWORD = "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
ATTACHMENT = "mlflow-attachment://"
# of a trace, what its spans tell themselves or only MLflow needs
_OWN = frozenset({
    "mlflow.traceInputs", "mlflow.traceOutputs", "mlflow.trace.sizeStats", "mlflow.trace.sizeBytes", "mlflow.trace.infoFinalized",
    "mlflow.trace.tokenUsage", "mlflow.trace.cost",
})  # fmt: skip


def headers_of(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The key, from the variables that MLflow's own client reads."""
    if token := environ.get(TOKEN):
        return {"authorization": f"Bearer {token}"}
    if user := environ.get(USER):
        pair = f"{user}:{environ.get(PASSWORD, '')}".encode()
        return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


class MLflow:
    """A server of it."""

    product = "MLflow"

    def __init__(self, server: Foreign) -> None:
        self._server = server

    def version(self) -> str:
        try:
            told = self._server.text("/version").strip()
        except NotFound:
            told = ""
        if not told or len(told) > 30 or not told[0].isdigit():
            raise NotFound("this is no MLflow", where=self._server.address, remedy="name the address of its tracking server")
        if told.split(".")[0] in ("0", "1", "2"):
            raise Invalid(f"MLflow {told} is too old", where=self._server.address, remedy="upgrade that server to 3.0 or newer first")
        return told

    def pages(self, marks: Marks, since_ns: int, project: str | None) -> Iterator[Page]:
        for id, name in self._experiments(project):
            yield from self._experiment(id, name, marks, since_ns)

    def _experiments(self, project: str | None) -> list[tuple[str, str]]:
        found, token = list[tuple[str, str]](), ""
        while True:
            asked = {"max_results": LISTED, "view_type": "ACTIVE_ONLY", **({"page_token": token} if token else {})}
            told = self._server.post("/api/2.0/mlflow/experiments/search", asked)
            found += [(str(e["experiment_id"]), str(e["name"])) for e in told.get("experiments", [])]
            if not (token := told.get("next_page_token", "")):
                break
        if project is None:
            return sorted(found, key=lambda e: (len(e[0]), e[0]))
        if named := [e for e in found if project in e]:
            return named
        raise NotFound(f"MLflow has no experiment {project!r}", where="--from", remedy=_known([name for _, name in found]))

    def _experiment(self, id: str, name: str, marks: Marks, since_ns: int) -> Iterator[Page]:
        mark = marks.get(id, {})
        at, seen = int(mark.get("at", 0)), set(mark.get("seen", ()))
        first = max(at, since_ns // 10**6)
        held = False  # one still runs: the next time begins before it
        token = ""
        where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id}}
        while True:
            asked: dict[str, Any] = {"locations": [where], "max_results": TRACES, "order_by": ["timestamp_ms ASC"]}
            asked |= {"filter": f"timestamp_ms >= {first}"} if first else {}
            told = self._server.post("/api/3.0/mlflow/traces/search", asked | ({"page_token": token} if token else {}))
            infos = [i for i in told.get("traces", []) if i["trace_id"] not in seen]
            for start in range(0, len(infos), BATCH):
                some = infos[start : start + BATCH]
                page = Page(name, {})
                for info, found in self._with_spans(some, page):
                    self._trace(page, info, found)
                held = held or any(map(_runs, some))
                if not held:
                    seen = {i["trace_id"] for i in some if _began(i) == _began(some[-1])} | (seen if _began(some[-1]) == at else set())
                    at = _began(some[-1])
                page.marks = marks = {**marks, id: {"at": at, "seen": sorted(seen)}}
                yield page
            if not (token := told.get("next_page_token", "")):
                return

    def _with_spans(self, infos: list[dict[str, Any]], page: Page) -> Iterator[tuple[dict[str, Any], list[Span]]]:
        """Traces with their spans. Those without any are told in the page."""
        try:
            told = self._server.get("/api/3.0/mlflow/traces/batchGet", [("trace_ids", i["trace_id"]) for i in infos])
            found = {t["trace_info"]["trace_id"]: t.get("spans", []) for t in told.get("traces", [])}
        except (Invalid, NotFound, Unavailable):  # of one of them the spans lie elsewhere, or cannot be read
            found = {}
        for info in infos:
            spans = [_parsed(s) for s in found.get(info["trace_id"], [])]
            if not spans and not _runs(info):
                spans = self._artifact(info["trace_id"])
            if spans:
                yield info, spans
            elif _runs(info):
                page.left[Left("traces", "they still run; asked again, they come along once they have ended")] += 1
            else:
                page.left[Left("traces", "MLflow has no spans of them")] += 1

    def _artifact(self, id: str) -> list[Span]:
        try:
            told = self._server.get("/ajax-api/3.0/mlflow/get-trace-artifact", [("request_id", id)])
        except (Invalid, NotFound, Unavailable):
            return []
        return [_from_artifact(s) for s in told.get("spans", [])] if isinstance(told, dict) else []

    def _trace(self, page: Page, info: dict[str, Any], found: list[Span]) -> None:
        id, about = info["trace_id"], info.get("trace_metadata", {})
        root = next((s for s in found if not s.parent_span_id), found[0])
        known = {pair.key for pair in root.attributes}
        otlp.put(root.attributes, {k: v for k, v in about.items() if k not in _OWN and k not in known})
        tags = [f"{k}={v}" if v else k for k, v in info.get("tags", {}).items() if not k.startswith("mlflow.")]
        if tags:
            otlp.put(root.attributes, {"tag.tags": tags})
        if any(ATTACHMENT.encode() in s.SerializeToString() for s in found):
            page.left[Left("traces' attachments", "files are not kept with a trace here; their names stay in the texts")] += 1
        page.traces += 1
        page.spans += found
        for said in info.get("assessments", []):
            _assessed(page, said, root.trace_id.hex(), id)

    def versioned(self, client: Client, left: Counter[Left], *, again: bool, dry: bool) -> Versioned:
        return Versioned()  # they are told by `rest`

    def rest(self) -> Counter[Left]:
        """Counted where it answers; other stores of it do not."""
        left: Counter[Left] = Counter()
        prompts = self._many("/api/2.0/mlflow/registered-models/search", "registered_models", "tags.`mlflow.prompt.is_prompt` = 'true'")
        left[Left("prompts", "write them as prompts/NAME.md of a workspace, and push it")] = prompts
        return +left

    def _many(self, path: str, what: str, filter: str) -> int:
        try:
            return len(self._server.get(path, [("max_results", "1000"), ("filter", filter)]).get(what, []))
        except (Invalid, NotFound, Unavailable):
            return 0


def _known(names: list[str]) -> str:
    return f"it has {', '.join(sorted(names)[:10])}" if names else "it has none"


def _began(info: dict[str, Any]) -> int:
    """In milliseconds."""
    return otlp.ns(info["request_time"]) // 10**6


def _runs(info: dict[str, Any]) -> bool:
    return info.get("state") == "IN_PROGRESS" and now_ns() - otlp.ns(info["request_time"]) < RUNNING_NS


def _parsed(told: dict[str, Any]) -> Span:
    """Of OTLP's JSON as Protobuf writes it: with ids in base64, which may be too wide."""
    ids = [otlp.from_base64(told.get(field) or "") for field in ("trace_id", "span_id", "parent_span_id")]
    inside = {k: v for k, v in told.items() if k not in ("trace_id", "span_id", "parent_span_id")}
    try:
        span: Span = json_format.ParseDict(inside, Span(), ignore_unknown_fields=True)
    except json_format.ParseError as e:
        raise Invalid(f"a span cannot be read: {e}", where="MLflow") from e
    otlp.name(span, *ids)
    return span


def _from_artifact(told: dict[str, Any]) -> Span:
    """Of a file, of any of the three forms that MLflow wrote: every attribute is JSON text."""
    old = told.get("context")
    if isinstance(old, dict):
        ids = [_hex(old.get("trace_id")), _hex(old.get("span_id")), _hex(told.get("parent_id"))]
        start, end = told.get("start_time"), told.get("end_time")
        code, message = told.get("status_code", ""), told.get("status_message", "")
    else:
        ids = [_hex(told.get(field)) for field in ("trace_id", "span_id", "parent_span_id")]
        start, end = told.get("start_time_unix_nano"), told.get("end_time_unix_nano")
        code, message = (told.get("status") or {}).get("code", ""), (told.get("status") or {}).get("message", "")
    span = Span(name=told.get("name", ""), start_time_unix_nano=int(start or 0), end_time_unix_nano=int(end or start or 0))
    otlp.ended(span, code.removeprefix("STATUS_CODE_"), message)
    otlp.put(span.attributes, told.get("attributes") or {})
    for event in told.get("events") or []:
        at = event.get("time_unix_nano", event.get("timestamp"))
        made = span.events.add(name=event.get("name", ""), time_unix_nano=int(at or 0))
        otlp.put(made.attributes, event.get("attributes") or {})
    otlp.name(span, *ids)
    return span


def _hex(told: Any) -> str:
    text = str(told or "").removeprefix("tr-").removeprefix("0x")
    return otlp.from_base64(text) if text.endswith("=") else text


def _assessed(page: Page, said: dict[str, Any], trace: str, id: str) -> None:
    """Feedback as a score; what was expected as a comment."""
    if said.get("valid") is False:  # another stands in its place
        return
    source = said.get("source") or {}
    by = f"{str(source.get('source_type', '')).lower().replace('_', ' ')} {source.get('source_id', '')}".strip()
    feedback, expected = said.get("feedback"), said.get("expectation")
    if feedback and feedback.get("error"):
        page.left[Left("scores", "they could not be measured there")] += 1
        return
    value, comment = (feedback or {}).get("value"), said.get("rationale")
    if expected is not None:
        told = expected.get("value", (expected.get("serialized_value") or {}).get("value"))
        value, comment = None, otlp.text(told)
    at = otlp.ns(said.get("create_time"))
    span = said.get("span_id")
    scored(
        page, id=f"mlflow {said.get('assessment_id') or id}", name=said.get("assessment_name", ""), value=value, comment=comment, by=by,
        at_ns=at, trace=trace, span=otlp.identity(span, otlp.SPAN_BYTES).hex() if span else None,
    )  # fmt: skip
