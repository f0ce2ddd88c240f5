"""MLflow, from 3.0 on: its traces, and what was said of them.

POST /api/3.0/mlflow/traces/search             traces of an experiment, without their spans, the oldest first
GET  /api/3.0/mlflow/traces/batchGet           traces with spans, as OTLP's JSON with ids in base64
GET  /ajax-api/3.0/mlflow/get-trace-artifact   spans of one trace, where they lie with its artifacts
GET  /api/2.0/mlflow/registered-models/search, model-versions/search    prompts, and their versions

How far it was read is, for each experiment, when the newest trace began that was read (`at`, in milliseconds), and which began then.
"""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.core.ids import now_ns
from windlass.sdk.client import Client
from windlass.sdk.importing import spans as otlp
from windlass.sdk.importing.foreign import Foreign
from windlass.sdk.importing.mlflow_prompts import bring_prompts
from windlass.sdk.importing.mlflow_spans import assessed, from_artifact, parsed
from windlass.sdk.importing.prompt_links import LINKED
from windlass.sdk.importing.source import Left, Marks, Page, Versioned

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
            spans = [parsed(s) for s in found.get(info["trace_id"], [])]
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
        return [from_artifact(s) for s in told.get("spans", [])] if isinstance(told, dict) else []

    def _trace(self, page: Page, info: dict[str, Any], found: list[Span]) -> None:
        id, about = info["trace_id"], info.get("trace_metadata", {})
        root = next((s for s in found if not s.parent_span_id), found[0])
        known = {pair.key for pair in root.attributes}
        otlp.put(root.attributes, {k: v for k, v in about.items() if k not in _OWN and k not in known})
        told = info.get("tags", {})
        tags = [f"{k}={v}" if v else k for k, v in told.items() if not k.startswith("mlflow.")]
        if LINKED in told and LINKED not in known:  # the prompts that it used
            otlp.put(root.attributes, {LINKED: told[LINKED]})
        if tags:
            otlp.put(root.attributes, {"tag.tags": tags})
        if any(ATTACHMENT.encode() in s.SerializeToString() for s in found):
            page.left[Left("traces' attachments", "files are not kept with a trace here; their names stay in the texts")] += 1
        page.traces += 1
        page.spans += found
        for said in info.get("assessments", []):
            assessed(page, said, root.trace_id.hex(), id)

    def versioned(self, client: Client, left: Counter[Left], *, again: bool, dry: bool) -> Versioned:
        return Versioned(*bring_prompts(client, self._server, left, dry=dry))

    def rest(self) -> Counter[Left]:
        return Counter()


def _known(names: list[str]) -> str:
    return f"it has {', '.join(sorted(names)[:10])}" if names else "it has none"


def _began(info: dict[str, Any]) -> int:
    """In milliseconds."""
    return otlp.ns(info["request_time"]) // 10**6


def _runs(info: dict[str, Any]) -> bool:
    return info.get("state") == "IN_PROGRESS" and now_ns() - otlp.ns(info["request_time"]) < RUNNING_NS
