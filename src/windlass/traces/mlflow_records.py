"""What MLflow's SDKs say of a trace beside its spans, as spans of it, and back: who and which session it was, its tags, its assessments,
the prompts it used.

Each is a span without length that counts as no step, under a parent that is not there, and says in JSON all that was told. Its id is made
of what it is about, so what is said anew is a revision; nothing is read before it is written, so two who say something at once both do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from windlass.core import span as names
from windlass.core.errors import Invalid, NotFound
from windlass.core.ids import now_ns
from windlass.core.json_text import json_said
from windlass.core.operations.traces import TraceSummary
from windlass.core.span import LOG, StoredSpan, input_of, output_of
from windlass.sdk.importing import spans
from windlass.sdk.importing.prompt_links import LINKED, linked_in

PREFIX = "tr-"
INFO, TAG, ASSESSMENT, PROMPTS = "mlflow.trace_info", "mlflow.trace_tag", "mlflow.trace_assessment", "mlflow.trace_prompts"
METADATA, TAGS = "mlflow.trace_metadata.", "mlflow.trace_tag."  # begin the attributes by which metadata and MLflow's own tags are found
NAME = "mlflow.traceName"  # a tag
SESSION, USER = "mlflow.trace.session", "mlflow.trace.user"
OWN = "mlflow."  # begins tags and metadata that its SDKs set
TYPE, INPUTS, OUTPUTS = "mlflow.spanType", "mlflow.spanInputs", "mlflow.spanOutputs"
LONGEST_PREVIEW = 1_000  # characters, as their server has it
_LARGE = frozenset({"mlflow.traceInputs", "mlflow.traceOutputs", "mlflow.trace.sizeStats"})  # metadata that nobody looks for
_TRACE = re.compile("(?:tr-)?([0-9a-f]{32})")
_MS = 10**6
_TYPES = {
    "model": "CHAT_MODEL",
    "retrieval": "RETRIEVER",
    "evaluator": "EVALUATOR",
    "component": "CHAIN",
    "request": "UNKNOWN",
    "span": "UNKNOWN",
}
_CODES: dict[str, Any] = {"ok": Status.STATUS_CODE_OK, "error": Status.STATUS_CODE_ERROR, "unset": Status.STATUS_CODE_UNSET}


def trace_hex(id: Any) -> str:
    """The id of a trace of theirs as ours: 32 hex digits. Raises `NotFound` for what can be none."""
    found = _TRACE.fullmatch(id) if isinstance(id, str) else None
    if found is None or not found[1].strip("0"):
        raise NotFound(f"there is no trace {str(id)[:60]!r}", where="trace_id", remedy="ids are tr- and 32 hex digits")
    return found[1]


def experiment_of(info: Mapping[str, Any]) -> str:
    """The id of the experiment that a trace says it is of; empty where it says none."""
    where: Any = info
    for field in ("trace_location", "mlflow_experiment", "experiment_id"):
        where = where.get(field) if isinstance(where, dict) else None
    return str(where or "")


# ── what is said, as spans ────────────────────────────────────────────────────────────────────────────────────────────────


def info(told: Any, find: Mapping[tuple[str, int], str]) -> list[Span]:
    """Spans that say a trace's info: itself, and each of its tags. `find` are refs of the prompts it names. Raises `Invalid`."""
    if not isinstance(told, dict):
        raise Invalid("there is no info of a trace", where="trace.trace_info", remedy="send what MLflow's SDK does")
    trace, at = trace_hex(told.get("trace_id")), spans.ns(told.get("request_time"), "request_time")
    about, tags = (_texts(told.get(field), field) for field in ("trace_metadata", "tags"))
    # not before the trace: its time is in whole milliseconds, that of its first span is not
    at = at + _MS if at else now_ns()
    said = {SESSION: about.get(SESSION), USER: about.get(USER)}
    said |= {METADATA + key: value for key, value in about.items() if key not in _LARGE}
    return [_span(trace, INFO, "", at, told, said), *(tag(trace, key, value, at, find) for key, value in tags.items())]


def tag(trace: str, key: str, value: str | None, at: int, find: Mapping[tuple[str, int], str]) -> Span:
    """A tag as it is now; None: it is gone."""
    said: dict[str, Any] = {}
    if value is not None:
        said["tag.tags" if not key.startswith(OWN) else TAGS + key] = [f"{key}={value}"] if not key.startswith(OWN) else value
        if key == LINKED:
            said[names.VERSIONS] = [find[one] for one in linked_in(value) if one in find] or None
    return _span(trace, TAG, key, at, {"key": key, "value": value}, said)


def prompts(trace: str, named: Sequence[tuple[str, int]], at: int, find: Mapping[tuple[str, int], str]) -> Span:
    """Which prompts a trace used."""
    told = [{"name": name, "version": str(number)} for name, number in named]
    return _span(trace, PROMPTS, str(named), at, told, {names.VERSIONS: [find[one] for one in named if one in find] or None})


def assessment(trace: str, told: Mapping[str, Any], at: int, actor: str) -> Span:
    """An assessment as it is now. `told` with its id alone: it is gone."""
    return _span(trace, ASSESSMENT, assessment_id(told), at, told, {names.ACTOR: actor})


def assessment_id(told: Mapping[str, Any]) -> str:
    return str(told.get("assessment_id") or "")


def span_of_assessment(trace: str, id: str) -> str:
    """The id of the span that tells an assessment: 16 hex digits."""
    return _id(trace, ASSESSMENT, id)


def request(made: Sequence[Span], experiment: str) -> ExportTraceServiceRequest:
    """These spans as OTLP. `experiment` is its id, empty where nobody said it."""
    sent = ExportTraceServiceRequest()
    resource = sent.resource_spans.add()
    spans.put(resource.resource.attributes, {spans.FOREIGN_PROJECT: experiment or None, spans.FOREIGN_PRODUCT: "mlflow"})
    resource.scope_spans.add().spans.extend(made)
    return sent


def _span(trace: str, what: str, key: str, at: int, told: Any, said: Mapping[str, Any]) -> Span:
    made = Span(name=what, start_time_unix_nano=at, end_time_unix_nano=at)
    spans.name(made, trace, _id(trace, what, key), trace[:16])
    spans.put(made.attributes, {names.KIND: "evaluator", names.GIVEN: names.TOLD, what: msgspec.json.encode(told).decode(), **said})
    return made


def _id(trace: str, what: str, key: str) -> str:
    return spans.identity(f"mlflow\0{trace}\0{what}\0{key}", spans.SPAN_BYTES).hex()


def _texts(told: Any, field: str) -> dict[str, str]:
    if not isinstance(told or {}, dict) or any(not isinstance(value, str) for value in (told or {}).values()):
        raise Invalid("this must be an object of texts", where=field)
    return dict(told or {})


# ── and back ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def is_step(span: StoredSpan) -> bool:
    return names.GIVEN not in span.attributes and span.kind != LOG


def told_info(summary: TraceSummary, found: Iterable[StoredSpan]) -> dict[str, Any]:
    """The info of a trace: as it was told, else as we know it; with the tags and assessments of now."""
    base, tags, assessments = dict[str, Any](), dict[str, str](), list[dict[str, Any]]()
    gone, experiment = set[str](), ""
    for span in found:
        experiment = experiment or str(span.resource.get(spans.FOREIGN_PROJECT) or "")
        if (text := span.attributes.get(INFO)) is not None:
            base = decoded(text)
        elif (text := span.attributes.get(TAG)) is not None:
            one = decoded(text)
            if (value := one.get("value")) is None:
                gone.add(str(one.get("key")))
            else:
                tags[str(one.get("key"))] = str(value)
        elif (text := span.attributes.get(ASSESSMENT)) is not None and len(one := decoded(text)) > 1:
            assessments.append(one)
    about = {"mlflow.trace_schema.version": "3"}
    about |= {key: value for key, value in ((SESSION, summary.session), (USER, summary.user)) if value}
    known = {
        "trace_id": PREFIX + summary.trace_id, "request_time": spans.iso(summary.start_ns),
        "execution_duration": f"{summary.duration_ns / 1e9:.9f}s",
        "state": "ERROR" if summary.status == "error" else "OK", "request_preview": summary.input[:LONGEST_PREVIEW],
        "response_preview": summary.output[:LONGEST_PREVIEW],
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment or "0"}},
    }  # fmt: skip
    made = known | {field: value for field, value in base.items() if value not in (None, "")}
    made["trace_metadata"] = about | dict(base.get("trace_metadata") or {})
    shown = {NAME: summary.name} | dict(base.get("tags") or {}) | tags
    # SDKs that find this tag leave spans where they sent them; those of before look for a file where the other says
    where = f"mlflow-artifacts:/{experiment_of(made)}/traces/{made['trace_id']}/artifacts"
    shown |= {"mlflow.trace.spansLocation": "TRACKING_STORE", "mlflow.artifactLocation": where}
    made["tags"] = {key: value for key, value in shown.items() if key not in gone}
    made["assessments"] = sorted(assessments, key=lambda a: str(a.get("create_time") or ""))
    return made


def told_span(span: StoredSpan) -> dict[str, Any]:
    """A step as OTLP's JSON of Protobuf, with MLflow's names for its type, input and output where it had others."""
    made = Span(
        trace_id=bytes.fromhex(span.trace_id), span_id=bytes.fromhex(span.span_id), name=span.name, start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns, parent_span_id=bytes.fromhex(span.parent or ""),
    )  # fmt: skip
    made.status.code, made.status.message = _CODES[span.status], span.status_message
    spans.put(made.attributes, attributes_of(span), nulls=True)
    for event in span.events:
        spans.put(made.events.add(name=event.name, time_unix_nano=event.time_ns).attributes, event.attributes)
    for link in span.links:
        linked = made.links.add(trace_id=bytes.fromhex(link.trace_id), span_id=bytes.fromhex(link.span_id))
        spans.put(linked.attributes, link.attributes)
    told: dict[str, Any] = json_format.MessageToDict(made, preserving_proto_field_name=True)
    return told


def told_in_file(span: StoredSpan) -> dict[str, Any]:
    """A step as it stands in `traces.json`: every attribute is JSON text."""
    told = told_span(span)
    attributes = {"mlflow.traceRequestId": PREFIX + span.trace_id, **attributes_of(span)}
    for field in ("start_time_unix_nano", "end_time_unix_nano"):
        told[field] = int(told.get(field) or 0)
    told["attributes"] = {key: msgspec.json.encode(value).decode() for key, value in attributes.items()}
    told["events"] = [{"name": e.name, "time_unix_nano": e.time_ns, "attributes": e.attributes} for e in span.events]
    told["status"] = {"code": Status.StatusCode.Name(_CODES[span.status]), "message": span.status_message}
    return {"parent_span_id": None, **told}


def attributes_of(span: StoredSpan) -> dict[str, Any]:
    """A step's attributes, with MLflow's own; texts that are objects as such."""
    made = {TYPE: _TYPES.get(span.kind, span.kind.upper()), **span.attributes}
    for name, text in ((INPUTS, input_of(span)), (OUTPUTS, output_of(span))):
        if text is not None:
            made[name] = _object(text)
    return made


def _object(text: str) -> Any:
    return json_said(text) if text[:1] in ("{", "[") else text


def decoded(text: Any) -> dict[str, Any]:
    """An object that was told as JSON text; empty where it is none: cut, masked, or of somebody else."""
    told = json_said(text) if isinstance(text, str) else None
    return told if isinstance(told, dict) else {}
