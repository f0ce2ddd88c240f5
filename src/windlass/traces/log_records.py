"""Log records: what an application says while a span runs, told apart from the span.

A record that names a trace becomes a row of it, of kind `log` and without length, under the span it names. Newer conventions tell what
was said to a model and by it in such records alone: `joining.py` puts that into the span, whichever of the two came first. A record
without a trace stays in the journal.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from windlass.core import span as names
from windlass.core.span import LOG, Span, SpanEvent
from windlass.traces.otlp_values import attributes_of, value_of

SHORT = 120  # characters of a body that name a record that has no name
ERROR = 17  # the severity from which on it tells of an error, as OpenTelemetry counts
_SEVERITIES = ("", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_OURS = (names.KIND, names.LOG_SEVERITY, names.LOG_BODY)
_LATEST = 2**63 - 1
_json = msgspec.json.Encoder(order="sorted").encode


def span_of_record(sent: Any) -> Span | None:
    """An OTLP LogRecord as a step without length; None where it names no trace."""
    if not sent.trace_id.strip(b"\0"):
        return None
    at = min(sent.time_unix_nano or sent.observed_time_unix_nano, _LATEST)
    attributes, body = attributes_of(sent.attributes), value_of(sent.body)
    name = sent.event_name or str(attributes.get("event.name") or "") or _first_line(body) or LOG
    trace = sent.trace_id.hex()
    # of no span, it is put under one that is not there: without a parent it would be a root
    above = sent.span_id.hex() if sent.span_id.strip(b"\0") else hashlib.sha256(sent.trace_id).hexdigest()[:16]
    severity = sent.severity_text or _SEVERITIES[(sent.severity_number + 3) // 4 if 0 < sent.severity_number < 25 else 0]
    attributes |= {names.KIND: LOG, names.LOG_BODY: body, names.LOG_SEVERITY: severity}
    attributes = {k: v for k, v in attributes.items() if v not in (None, "")}
    id = hashlib.sha256(_json([trace, above, at, name, attributes])).hexdigest()[:16]
    return Span(
        trace, id, name, at, at, above, "error" if sent.severity_number >= ERROR else "unset", attributes=attributes
    )  # fmt: skip


def event_of(record: Span) -> SpanEvent:
    """A log record as an event of its span. A body that is an object says as attributes do."""
    attributes = {k: v for k, v in record.attributes.items() if k not in _OURS}
    body = record.attributes.get(names.LOG_BODY)
    if isinstance(body, dict):
        attributes |= body
    elif body is not None:
        attributes["body"] = body
    return SpanEvent(record.name, record.start_ns, attributes)


def _first_line(body: Any) -> str:
    text = (body if isinstance(body, str) else "" if body is None else _json(body).decode()).strip().partition("\n")[0]
    return text if len(text) <= SHORT else text[:SHORT] + "…"
