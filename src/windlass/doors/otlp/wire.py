"""What an export of traces, logs or metrics says: read it, take out what cannot be kept, answer. One table for the three signals.

What is bad, by the specification: a span whose ids are not 16 and 8 bytes, or zero; a histogram whose counts do not fit its bounds; a
quantile that is none; a number that is missing and not said to be; a metric without a name. A log record is never bad once it can be read:
its ids are optional, and one that is invalid counts as absent, so it is taken out and the record is kept; likewise an exemplar's.
Times are kept as they came, however absurd: the time of receipt is ours.
"""

from __future__ import annotations

import binascii
import functools
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from windlass.core.errors import Invalid, WindlassError
from windlass.doors.otlp import salvage
from windlass.doors.otlp.salvage import CANNOT, Unreadable, varint
from windlass.doors.otlp.senders import FOREIGN_LONGEST, FOREIGN_PROJECT, RESOURCE_PROJECTS
from windlass.traces.envelope import LOGS, METRICS, OTLP

PROTOBUF, JSON = "application/x-protobuf", "application/json"
CODES = {400: 3, 401: 16, 403: 7, 413: 8, 415: 3, 429: 8, 500: 13, 503: 14}  # google.rpc.Code
UNREADABLE = "cannot be read"
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)
NO_VALUE = 1  # a point's flag: it says that nothing was measured
_PROJECTS = RESOURCE_PROJECTS | {FOREIGN_PROJECT}
_IDS = frozenset({"traceId", "spanId", "parentSpanId"})


class Signal(NamedTuple):
    name: str
    format: int  # in the journal
    one: str  # of what is counted, for people
    rejected: str  # its field of the partial success
    request: Any
    response: Any
    item: Any
    names: tuple[str, str, str]  # of the lists that lead to an item, in JSON
    fields: tuple[str, str, str]  # in protobuf
    fault: Callable[[Any], str | None]  # of an item; of a metric it is asked of each point


class Outcome:
    """What came of the items of a request. `refused`: reason → how many, and where the first stands."""

    def __init__(self) -> None:
        self.received = 0
        self.refused: dict[str, tuple[int, str]] = {}
        self.resource: Any = None  # whose items are looked at
        self.by_source: Counter[tuple[str, str]] = Counter()  # source and reason → how many

    @property
    def kept(self) -> int:
        return self.received - sum(count for count, _ in self.refused.values())

    def refuse(self, reason: str, where: str, count: int = 1) -> None:
        before, first = self.refused.get(reason, (0, where))
        self.refused[reason] = (before + count, first)
        self.by_source[_service(self.resource), reason] += count


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def parse(signal: Signal, body: bytes, kind: str) -> tuple[Any, Unreadable]:
    """The request, and which of its items could not be read. Raises `Invalid`."""
    return _parse_protobuf(signal, body) if kind == PROTOBUF else _parse_json(signal, body)


def _parse_protobuf(signal: Signal, body: bytes) -> tuple[Any, Unreadable]:
    try:
        return signal.request.FromString(body), {}
    except DecodeError:
        pass
    try:
        rest, unreadable = salvage.of_protobuf(body, signal.item, signal.format == METRICS)
        return signal.request.FromString(rest), unreadable
    except (DecodeError, ValueError) as e:
        raise Invalid(f"the body is not an OTLP request of {signal.name}, or is cut off") from e


def _parse_json(signal: Signal, body: bytes) -> tuple[Any, Unreadable]:
    try:
        if not isinstance(value := msgspec.json.decode(body), dict):
            raise TypeError("it is no object")
        _to_protobuf(value)
        request, unreadable = signal.request(), Unreadable()
        try:
            json_format.ParseDict(value, request, ignore_unknown_fields=True)
        except CANNOT:
            unreadable = salvage.of_json(value, signal.names, signal.item, signal.format == METRICS)
            request = signal.request()
            json_format.ParseDict(value, request, ignore_unknown_fields=True)
        return request, unreadable
    except (msgspec.DecodeError, *CANNOT) as e:
        raise Invalid(f"the body is not an OTLP request of {signal.name}: {e}"[:1000]) from e


def _to_protobuf(value: Any) -> None:
    """Where OTLP's JSON is not protobuf's: ids are hex, not base64; a field is known by its name in camel case alone. A bad id becomes one
    that is refused."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            for name in [n for n in here if "_" in n]:
                del here[name]
            for name in here.keys() & _IDS:
                if here[name]:
                    here[name] = _base64(str(here[name]))
            waiting.extend(v for v in here.values() if isinstance(v, dict | list))
        elif isinstance(here, list):
            waiting.extend(v for v in here if isinstance(v, dict | list))


def _base64(text: str) -> str:
    try:
        return binascii.b2a_base64(bytes.fromhex(text), newline=False).decode()
    except ValueError:
        return "AA=="


# ── taking out ────────────────────────────────────────────────────────────────────────────────────────────────────────


def refuse(signal: Signal, request: Any, unreadable: Unreadable) -> Outcome:
    """Take out of the request what cannot be kept."""
    outcome = Outcome()
    outer, inner, many = signal.fields
    for r, resource in enumerate(getattr(request, outer)):
        outcome.resource = resource.resource
        for s, scope in enumerate(getattr(resource, inner)):
            items = getattr(scope, many)
            bad = {i: count for (a, b, i), count in unreadable.items() if (a, b) == (r, s)} if unreadable else {}
            place = functools.partial(_place, signal, r, s)
            if signal.format == METRICS:
                _refuse_points(signal, items, bad, place, outcome)
            else:
                outcome.received += len(items)
                reasons = [signal.fault(item) for item in items]
                for i in bad:
                    reasons[i] = UNREADABLE
                if any(reasons):
                    _take_out(items, reasons, place, outcome)
    return outcome


def _refuse_points(signal: Signal, found: Any, bad: dict[int, int], place: Callable[[int], str], outcome: Outcome) -> None:
    gone = []
    for i, metric in enumerate(found):
        where = place(i)
        if i in bad:
            outcome.received += bad[i]
            outcome.refuse(UNREADABLE, where, bad[i])
            gone.append(i)
            continue
        kind = metric.WhichOneof("data")
        points = getattr(metric, kind).data_points if kind else []
        outcome.received += len(points)
        reasons = [signal.fault(p) if metric.name else "metric without a name" for p in points]
        if any(reasons):
            _take_out(points, reasons, functools.partial(_point_place, f"{where}.{_camel(kind)}"), outcome)
            if not points:
                gone.append(i)
    for i in reversed(gone):
        del found[i]


def _take_out(items: Any, reasons: list[str | None], where: Callable[[int], str], outcome: Outcome) -> None:
    kept = [item for item, reason in zip(items, reasons, strict=True) if not reason]
    for i, reason in enumerate(reasons):
        if reason:
            outcome.refuse(reason, where(i))
    del items[:]
    items.extend(kept)


def _service(resource: Any) -> str:
    return next((a.value.string_value for a in resource.attributes if a.key == "service.name"), "") if resource else ""


def _place(signal: Signal, resource: int, scope: int, item: int) -> str:
    outer, inner, many = signal.names
    return f"{outer}[{resource}].{inner}[{scope}].{many}[{item}]"


def _point_place(data: str, point: int) -> str:
    return f"{data}.dataPoints[{point}]"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _span_fault(span: Any) -> str | None:
    """The hot one: each look at a field makes its bytes anew."""
    trace, own, parent = span.trace_id, span.span_id, span.parent_span_id
    if len(trace) != 16 or trace == _NO_TRACE:
        return "bad trace id"
    if len(own) != 8 or own == _NO_SPAN:
        return "bad span id"
    if parent and len(parent) != 8:
        return "bad parent span id"
    return None


def _no_fault(record: Any) -> None:
    """Of a log record, or an exemplar: ids that are invalid count as absent."""
    if record.trace_id and (len(record.trace_id) != 16 or not any(record.trace_id)):
        record.ClearField("trace_id")
    if record.span_id and (len(record.span_id) != 8 or not any(record.span_id)):
        record.ClearField("span_id")


def _point_fault(point: Any) -> str | None:
    kind = point.DESCRIPTOR.name
    if kind == "SummaryDataPoint":
        return None if all(0 <= q.quantile <= 1 for q in point.quantile_values) else "quantile outside 0 to 1"
    for exemplar in point.exemplars:
        _no_fault(exemplar)
    if kind == "NumberDataPoint" and point.WhichOneof("value") is None and not point.flags & NO_VALUE:
        return "no value"
    if kind == "HistogramDataPoint":
        bounds, counts = point.explicit_bounds, len(point.bucket_counts)
        if (counts or bounds) and counts != len(bounds) + 1:
            return "bucket counts that do not fit the bounds"
        if any(not a < b for a, b in itertools.pairwise(bounds)):
            return "bounds that do not rise"
    return None


SIGNALS = {
    "traces": Signal(
        "traces", OTLP, "span", "rejected_spans", traces.ExportTraceServiceRequest, traces.ExportTraceServiceResponse, Span,
        ("resourceSpans", "scopeSpans", "spans"), ("resource_spans", "scope_spans", "spans"), _span_fault,
    ),
    "logs": Signal(
        "logs", LOGS, "log record", "rejected_log_records", logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse, LogRecord,
        ("resourceLogs", "scopeLogs", "logRecords"), ("resource_logs", "scope_logs", "log_records"), _no_fault,
    ),
    "metrics": Signal(
        "metrics", METRICS, "point", "rejected_data_points", metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse,
        Metric, ("resourceMetrics", "scopeMetrics", "metrics"), ("resource_metrics", "scope_metrics", "metrics"), _point_fault,
    ),
}  # fmt: skip


# ── whose project they say it is ──────────────────────────────────────────────────────────────────────────────────────


def mark(signal: Signal, request: Any, foreign: str) -> None:
    """Note what they call their project, on each resource: by a header, or by a name of theirs that the resource has."""
    for resource in getattr(request, signal.fields[0]):
        attributes = resource.resource.attributes
        known = {a.key: a.value.string_value for a in attributes if a.key in _PROJECTS}
        said = foreign or next(filter(None, known.values()), "")
        if said and FOREIGN_PROJECT not in known:
            attributes.add(key=FOREIGN_PROJECT).value.string_value = said[:FOREIGN_LONGEST]


# ── answering ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def respond(signal: Signal, outcome: Outcome, kind: str) -> bytes:
    if not outcome.refused:
        return b"{}" if kind == JSON else b""
    response = signal.response()
    setattr(response.partial_success, signal.rejected, outcome.received - outcome.kept)
    said = (
        f"{reason}: {count} {signal.one}{'s' * (count > 1)}, the first is {where}" for reason, (count, where) in outcome.refused.items()
    )
    response.partial_success.error_message = "; ".join(said)
    if kind == JSON:
        return json_format.MessageToJson(response, indent=None).encode()
    return response.SerializeToString()  # type: ignore[no-any-return]


def status(error: WindlassError, kind: str, retry: int | None = None) -> bytes:
    """A google.rpc.Status: code, message, and after how many seconds to try again."""
    code, message = CODES.get(error.status, 2), str(error)
    if kind == JSON:
        return msgspec.json.encode({"code": code, "message": message})
    text = message.encode()[:4000].decode("utf-8", "ignore").encode()
    found = bytes([0x08, code]) + _packed(2, text)
    if retry is not None:
        found += _packed(3, _packed(1, b"type.googleapis.com/google.rpc.RetryInfo") + _packed(2, retry_info(retry)))
    return found


def retry_info(seconds: int) -> bytes:
    """A google.rpc.RetryInfo."""
    return _packed(1, b"\x08" + varint(seconds))


def _packed(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(data)) + data
