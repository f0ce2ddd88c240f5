"""What Opik's SDK says of a trace or a span, as OTLP, and back. Nothing it says is left out, so that `conventions/opik.toml` may be
read anew: each field is an attribute `opik.FIELD`, objects as JSON text.

Their trace is a step of its own, under which spans without a parent hang. Ids are UUIDs: a trace's is ours, a span's is made to 8 bytes
and told beside. An id of version 7 says when it was made: of what an update tells before the beginning was told, it is when it began.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from windlass.core.errors import Invalid
from windlass.core.json_text import json_said
from windlass.core.operations.traces import ScoreGiven
from windlass.core.span import StoredSpan as Kept
from windlass.sdk.importing import spans

PREFIX = "opik."
TEXTS = ("id", "trace_id", "parent_span_id", "project_name", "name", "type", "start_time", "end_time", "last_updated_at")
UNKNOWN = "not told yet"  # the name of what was updated before it was told


def uuid_of(value: Any, field: str) -> str:
    """An id in its usual form. Raises `Invalid`."""
    try:
        return str(uuid.UUID(value))
    except (ValueError, AttributeError, TypeError) as e:
        raise Invalid(f"{str(value)[:40]!r} is no UUID", where=field, remedy="give the id that Opik's SDK made") from e


def trace_hex(id: str) -> str:
    """The id of a trace: 32 hex digits."""
    return id.replace("-", "")


def trace_uuid(trace: Any) -> str | None:
    """The id of a trace as theirs are written; None for what is none."""
    return str(uuid.UUID(trace)) if isinstance(trace, str) and len(trace) == 32 and set(trace) <= set("0123456789abcdef") else None


def span_hex(id: str) -> str:
    """The id of a span, or of the step that stands for a trace: 16 hex digits."""
    return spans.identity(id, spans.SPAN_BYTES).hex()


def step(told: Mapping[str, Any], *, is_span: bool) -> Span:
    """One of theirs, whole. Raises `Invalid` for ids and times that are none."""
    id = uuid_of(told.get("id"), "id")
    trace = uuid_of(told.get("trace_id"), "trace_id") if is_span else id
    above = told.get("parent_span_id")
    parent = (uuid_of(above, "parent_span_id") if above else trace) if is_span else None
    for field in TEXTS:
        if not isinstance(told.get(field) or "", str):
            raise Invalid("this is no text", where=field)
    tags_in(told, "tags")
    start = spans.ns(told.get("start_time"), "start_time") or made_ns(id)
    made = Span(name=told.get("name") or UNKNOWN, start_time_unix_nano=start)
    made.end_time_unix_nano = max(spans.ns(told.get("end_time"), "end_time") or start, start)
    spans.name(made, trace_hex(trace), id, parent)
    spans.put(made.attributes, {PREFIX + field: _attribute(field, value) for field, value in told.items()})
    _failed(made, told.get("error_info"))
    return made


def tags_in(told: Mapping[str, Any], field: str) -> list[str]:
    """Raises `Invalid`."""
    tags = told.get(field) or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise Invalid("tags are a list of texts", where=field)
    return tags


def fields(span: Kept) -> dict[str, Any]:
    """What was told of a span that is kept: of it the same becomes. Objects are their JSON text, but for those that are looked into."""
    told = {name[len(PREFIX) :]: value for name, value in span.attributes.items() if name.startswith(PREFIX)}
    for field in ("usage", "error_info"):
        if isinstance(text := told.get(field), str):
            told[field] = json_said(text)
    if isinstance(usage := told.get("usage"), dict):
        told["usage"] = _flat(usage)
    return told


def trace_told(span: Kept, scores: Iterable[ScoreGiven]) -> dict[str, Any]:
    """The step that stands for a trace, as theirs reads it back, with what was said of the trace. A project's id is its name."""
    told = fields(span)
    for field in ("input", "output", "metadata"):
        if isinstance(text := told.get(field), str) and text[:1] in ("{", "["):
            told[field] = json_said(text)
    said = [scored for one in scores if one.span is None and one.session is None and (scored := score_told(one))]
    return told | {"project_id": told.get("project_name"), "duration": (span.end_ns - span.start_ns) / 1e6, "feedback_scores": said}


def score_told(score: ScoreGiven) -> dict[str, Any] | None:
    """One of ours as one of theirs, which are numbers; None for another."""
    if not isinstance(score.value, float | bool):
        return None
    return {"name": score.name, "value": float(score.value), "reason": score.comment or None, "source": "sdk"}


def request(steps: Iterable[tuple[str, Span]]) -> ExportTraceServiceRequest:
    """Steps with what they call their project."""
    made, by_project = ExportTraceServiceRequest(), dict[str, Any]()
    for project, one in steps:
        if (of := by_project.get(project)) is None:
            resource = made.resource_spans.add()
            name = project or "opik"
            spans.put(
                resource.resource.attributes,
                {"service.name": name, spans.FOREIGN_PROJECT: name, spans.FOREIGN_PRODUCT: "opik"},
            )
            of = by_project[project] = resource.scope_spans.add()
        of.spans.append(one)
    return made


def _attribute(field: str, value: Any) -> Any:
    if isinstance(value, (bool, int, float)) or (field == "tags" and isinstance(value, list)):
        return value
    if field == "usage" and isinstance(value, dict):
        value = _nested(value)
    return spans.text(value)


def _nested(usage: Mapping[str, Any]) -> dict[str, Any]:
    """`original_usage.a.b` as objects in one another, as tables of conventions read them; what does not fit so stays as it is."""
    made: dict[str, Any] = {}
    for name, value in usage.items():
        *way, last = name.split(".")
        at: Any = made
        for part in way:
            at = at.setdefault(part, {}) if isinstance(at, dict) else None
        if isinstance(at, dict) and last not in at:
            at[last] = value
        else:
            made[name] = value
    return made


def _flat(usage: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in usage.items():
        made |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return made


def _failed(made: Span, error: Any) -> None:
    if not isinstance(error, dict):
        return
    kind, message = str(error.get("exception_type") or "error"), str(error.get("message") or "")
    made.status.code, made.status.message = Status.STATUS_CODE_ERROR, f"{kind}: {message}" if message else kind
    event = made.events.add(name="exception", time_unix_nano=made.end_time_unix_nano)
    said = {"exception.type": kind, "exception.message": message, "exception.stacktrace": spans.text(error.get("traceback"))}
    spans.put(event.attributes, {name: value for name, value in said.items() if value})


def made_ns(id: str) -> int:
    """When an id of version 7 was made, by its first 48 bits; 0 for others. RFC 9562."""
    value = uuid.UUID(id)
    return (value.int >> 80) * 10**6 if value.version == 7 else 0
