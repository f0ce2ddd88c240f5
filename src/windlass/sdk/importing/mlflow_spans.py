"""MLflow's spans and assessments as ours, as its server tells them and its SDKs send them."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from windlass.core.errors import Invalid
from windlass.sdk.importing import spans as otlp
from windlass.sdk.importing.source import Left, Page, scored


def parsed(told: dict[str, Any]) -> Span:
    """Of OTLP's JSON as Protobuf writes it: with ids in base64, which may be too wide. Raises `Invalid`."""
    ids = [otlp.from_base64(told.get(field) or "") for field in ("trace_id", "span_id", "parent_span_id")]
    inside = {k: v for k, v in told.items() if k not in ("trace_id", "span_id", "parent_span_id")}
    try:
        span: Span = json_format.ParseDict(inside, Span(), ignore_unknown_fields=True)
    except json_format.ParseError as e:
        raise Invalid(f"a span cannot be read: {e}", where="MLflow") from e
    otlp.name(span, *ids)
    return span


def from_artifact(told: dict[str, Any]) -> Span:
    """Of a file, of any of the three forms that MLflow wrote: every attribute is JSON text. Raises `Invalid` for ids that are none."""
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


def assessed(page: Page, said: dict[str, Any], trace: str, id: str) -> None:
    """Feedback as a score; what was expected as a comment. `id` stands for one that has none."""
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
