"""Spans of another platform as OTLP's: values, times, and ids, of which those that are none become such."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from windlass.core.errors import Invalid

FOREIGN_PROJECT = "windlass.foreign.project"
FOREIGN_PRODUCT = "windlass.foreign.product"
FOREIGN_TRACE = "windlass.foreign.trace_id"  # where theirs is not of OpenTelemetry's form
FOREIGN_SPAN = "windlass.foreign.span_id"
TRACE_BYTES, SPAN_BYTES = 16, 8
_STATUS = {"OK": Status.STATUS_CODE_OK, "ERROR": Status.STATUS_CODE_ERROR}
LATEST = 2**63 - 10**6  # nanoseconds; a millisecond may still be added
DEEPEST = 25  # objects in one another; Protobuf reads 100 messages in one another, and one of these is three
_INT = range(-(2**63), 2**63)


def identity(original: str, size: int) -> bytes:
    """An id of so many bytes: as it is where it is such in hex, a UUID too, else made of it, always the same."""
    text = original.replace("-", "").lower()
    if len(text) == 2 * size and re.fullmatch("[0-9a-f]+", text) and text.strip("0"):
        return bytes.fromhex(text)
    return hashlib.sha256(original.encode()).digest()[:size]


def from_base64(text: str) -> str:
    """OTLP's JSON has ids as base64 in some products: as hex. Raises `Invalid`."""
    try:
        return base64.b64decode(text, validate=True).hex()
    except (binascii.Error, ValueError) as e:
        raise Invalid(f"{text[:40]!r} is no id", where="span") from e


def name(span: Span, trace: str, id: str, parent: str | None) -> None:
    """Give a span its ids; those that had to be made are told beside."""
    span.trace_id, span.span_id = identity(trace, TRACE_BYTES), identity(id, SPAN_BYTES)
    if parent:
        span.parent_span_id = identity(parent, SPAN_BYTES)
    if span.trace_id.hex() != trace:
        put(span.attributes, {FOREIGN_TRACE: trace})
    if span.span_id.hex() != id:
        put(span.attributes, {FOREIGN_SPAN: id})


def ended(span: Span, code: str, message: str | None) -> None:
    """How a span ended: `OK`, `ERROR`, or any other word for nobody said."""
    span.status.code = _STATUS.get(code, Status.STATUS_CODE_UNSET)
    span.status.message = message or ""


def put(pairs: Any, values: Mapping[str, Any], *, nulls: bool = False) -> None:
    """Add JSON values to OTLP's list of KeyValue. Those that are None are left out, or with `nulls` are a key without a value."""
    for key, value in values.items():
        if value is not None or nulls:
            _fill(pairs.add(key=key).value, value, nulls, 0)


def _fill(to: Any, value: Any, nulls: bool, depth: int) -> None:
    if isinstance(value, str):
        to.string_value = value
    elif isinstance(value, bool):
        to.bool_value = value
    elif isinstance(value, int) and value in _INT:
        to.int_value = value
    elif isinstance(value, (int, float)):
        try:
            to.double_value = float(value)
        except OverflowError:  # of more digits than any number here
            to.string_value = str(value)
    elif isinstance(value, (Mapping, list, tuple)) and depth > DEEPEST:
        to.string_value = text(value)
    elif isinstance(value, Mapping):
        to.kvlist_value.SetInParent()
        for key, inner in value.items():
            if inner is not None or nulls:
                _fill(to.kvlist_value.values.add(key=key).value, inner, nulls, depth + 1)
    elif isinstance(value, (list, tuple)):
        to.array_value.SetInParent()
        for inner in value:
            _fill(to.array_value.values.add(), inner, nulls, depth + 1)


def text(value: Any) -> str | None:
    """A value as text: JSON where it is no text already. Raises `Invalid` for what is nested too deeply."""
    try:
        return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()
    except RecursionError as e:
        raise Invalid("this is nested too deeply to be kept", where="span", remedy="send it as text") from e


def ns(told: Any, where: str = "span") -> int:
    """A time in UTC nanoseconds, of ISO 8601 or of a datetime; 0 for none. Raises `Invalid`, which says where it stands, also for one that
    is not between 1970 and 2262."""
    if told is None or told == "":
        return 0
    try:
        time = told if isinstance(told, datetime) else datetime.fromisoformat(str(told).replace("Z", "+00:00"))
    except ValueError as e:
        raise Invalid(f"{str(told)[:40]!r} is no time", where=where, remedy="give a time as ISO 8601 has it") from e
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    at = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000
    if not 0 <= at < LATEST:
        raise Invalid(f"{str(told)[:40]!r} is not between 1970 and 2262", where=where, remedy="give the time at which it was")
    return at


def iso(at_ns: int) -> str:
    """A time as their questions take it: UTC, to the millisecond before."""
    return datetime.fromtimestamp(at_ns // 10**6 / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def request(spans: list[Span], product: str, project: str) -> ExportTraceServiceRequest:
    """Spans of one of their projects as one request."""
    made = ExportTraceServiceRequest()
    of = made.resource_spans.add()
    put(of.resource.attributes, {"service.name": project, FOREIGN_PROJECT: project, FOREIGN_PRODUCT: product})
    of.scope_spans.add().spans.extend(spans)
    return made
