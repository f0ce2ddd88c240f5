"""What a request says, without a network: JSON as OTLP writes it, what is bad, what is left, and what is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from windlass.core.errors import Busy, Invalid, Unavailable
from windlass.doors.otlp.intake import wait_after
from windlass.doors.otlp.salvage import LARGEST
from windlass.doors.otlp.wire import JSON, PROTOBUF, SIGNALS, parse, refuse, respond, status

TRACES, LOGS, METRICS = (SIGNALS[name] for name in ("traces", "logs", "metrics"))
TRACE, SPAN = "ab" * 16, "cd" * 8


def of_json(signal: Any, value: Any) -> tuple[Any, Any]:
    request, unreadable = parse(signal, json.dumps(value).encode(), JSON)
    return request, refuse(signal, request, unreadable)


def span(**more: Any) -> dict[str, Any]:
    return {"traceId": TRACE, "spanId": SPAN, "name": "x", **more}


def spans(*some: Any) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(some)}]}]}


def test_names_in_camel_case_alone_and_what_is_unknown_is_passed_over() -> None:
    given = span(start_time_unix_nano="5", parent_span_id=SPAN, newer={"a_b": [1]}, kind=3, droppedEventsCount=None)
    given["links"] = [{"traceId": TRACE, "spanId": SPAN.upper()}]
    given["attributes"] = [{"key": "a_b", "value": {"kvlistValue": {"values": [{"key": "c_d", "value": {"bytesValue": "aGk="}}]}}}]
    request, outcome = of_json(TRACES, {**spans(given), "resource_spans": [5]})
    (found,) = request.resource_spans[0].scope_spans[0].spans
    assert (found.start_time_unix_nano, found.parent_span_id, found.kind, outcome.refused) == (0, b"", 3, {})
    assert (found.links[0].span_id.hex(), found.attributes[0].key) == (SPAN, "a_b")
    assert found.attributes[0].value.kvlist_value.values[0].value.bytes_value == b"hi"


@pytest.mark.parametrize("number", [1544712660300000000, "1544712660300000000", "1544712660300000000.0", 1.5447126603e18])
def test_64_bit_numbers_as_text_and_as_numbers(number: Any) -> None:
    request, outcome = of_json(TRACES, spans(span(startTimeUnixNano=number)))
    assert (request.resource_spans[0].scope_spans[0].spans[0].start_time_unix_nano, outcome.kept) == (1544712660300000000, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"traceId": ""}, "bad trace id"), ({"traceId": "0" * 32}, "bad trace id"), ({"traceId": TRACE + "00"}, "bad trace id"),
        ({"traceId": "q" * 32}, "bad trace id"), ({"traceId": 5}, "bad trace id"), ({"traceId": "q83v"}, "bad trace id"),
        ({"spanId": "0" * 16}, "bad span id"), ({"parentSpanId": "ab"}, "bad parent span id"), ({"name": 5}, "cannot be read"),
        ({"attributes": [{"key": "x", "value": {"intValue": "9" * 30}}]}, "cannot be read"), ({"kind": {}}, "cannot be read"),
        ({"links": [{"traceId": "zz"}]}, None), ({"startTimeUnixNano": 2**64 - 1}, None), ({"endTimeUnixNano": 0}, None),
    ],
)  # fmt: skip
def test_one_bad_span_and_why(change: dict[str, Any], reason: str | None) -> None:
    request, outcome = of_json(TRACES, spans(span(), span(**change), span()))
    assert outcome.refused == ({reason: (1, "resourceSpans[0].scopeSpans[0].spans[1]")} if reason else {})
    assert (outcome.received, outcome.kept) == (3, 2 if reason else 3)
    assert len(request.resource_spans[0].scope_spans[0].spans) == outcome.kept


def test_the_first_of_each_reason_is_named_and_each_is_counted() -> None:
    body = spans(span(), span(traceId="x"))
    body["resourceSpans"] += [{"scopeSpans": [{}, {"spans": [span(spanId="x"), span(traceId="y"), span(name=[])]}]}]
    _, outcome = of_json(TRACES, body)
    answer = json.loads(respond(TRACES, outcome, JSON))["partialSuccess"]
    assert answer["rejectedSpans"] == "4"
    assert answer["errorMessage"] == (
        "bad trace id: 2 spans, the first is resourceSpans[0].scopeSpans[0].spans[1]; "
        "bad span id: 1 span, the first is resourceSpans[1].scopeSpans[1].spans[0]; "
        "cannot be read: 1 span, the first is resourceSpans[1].scopeSpans[1].spans[2]"
    )


def test_a_log_record_with_invalid_ids_is_kept_without_them() -> None:
    """Both are optional, and by the specification an invalid one counts as absent."""
    records = [{"traceId": TRACE, "spanId": SPAN}, {"traceId": "ab", "spanId": SPAN}, {"traceId": "0" * 32, "spanId": "0" * 16}, {}]
    request, outcome = of_json(LOGS, {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]})
    found = [(r.trace_id.hex(), r.span_id.hex()) for r in request.resource_logs[0].scope_logs[0].log_records]
    assert (found, outcome.refused) == ([(TRACE, SPAN), ("", SPAN), ("", ""), ("", "")], {})


def histogram(counts: list[Any], bounds: list[Any]) -> dict[str, Any]:
    return {"name": "m", "histogram": {"dataPoints": [{"bucketCounts": counts, "explicitBounds": bounds}]}}


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ({"name": "", "gauge": {"dataPoints": [{"asInt": "1"}]}}, "metric without a name"),
        ({"name": "m", "gauge": {"dataPoints": [{}]}}, "no value"),
        ({"name": "m", "sum": {"dataPoints": [{"flags": 1}]}}, None),
        ({"name": "m", "sum": {"dataPoints": [{"asDouble": "NaN"}]}}, None),
        (histogram([1], [1, 2]), "bucket counts that do not fit the bounds"),
        (histogram([1, 1, 1], [2, 2]), "bounds that do not rise"),
        (histogram([1, 1, 1], [1, "NaN"]), "bounds that do not rise"),
        ({"name": "m", "histogram": {"dataPoints": [{"count": "3", "sum": 1.5}]}}, None),
        ({"name": "m", "summary": {"dataPoints": [{"quantileValues": [{"quantile": 1.5}]}]}}, "quantile outside 0 to 1"),
        ({"name": "m", "summary": {"dataPoints": [{"quantileValues": [{"quantile": 1}]}]}}, None),
        ({"name": "m", "exponentialHistogram": {"dataPoints": [{"scale": 3, "count": "1"}]}}, None),
        ({"name": "m", "gauge": {"dataPoints": [{"asInt": "one"}]}}, "cannot be read"),
    ],
)  # fmt: skip
def test_one_bad_point_and_why(metric: dict[str, Any], reason: str | None) -> None:
    well = {"name": "well", "gauge": {"dataPoints": [{"asInt": "1"}, {"asDouble": 2}]}}
    request, outcome = of_json(METRICS, {"resourceMetrics": [{"scopeMetrics": [{"metrics": [well, metric, well]}]}]})
    (kind,) = [k for k in metric if k != "name"]
    where = "resourceMetrics[0].scopeMetrics[0].metrics[1]"
    if reason not in (None, "cannot be read", "metric without a name"):
        where += f".{kind}.dataPoints[0]"
    if reason == "metric without a name":
        where += ".gauge.dataPoints[0]"
    assert outcome.refused == ({reason: (1, where)} if reason else {})
    assert (outcome.received, outcome.kept) == (5, 4 if reason else 5)
    assert [m.name for m in request.resource_metrics[0].scope_metrics[0].metrics] == (["well", "well"] if reason else ["well", "m", "well"])


def test_an_exemplar_with_an_invalid_id_is_kept_without_it() -> None:
    point = {"asInt": "1", "exemplars": [{"traceId": "ab", "spanId": SPAN, "asInt": "1"}]}
    request, _ = of_json(METRICS, {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": [point]}}]}]}]})
    (exemplar,) = request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0].exemplars
    assert (exemplar.trace_id, exemplar.span_id.hex()) == (b"", SPAN)


def test_a_metric_that_cannot_be_read_counts_by_its_points() -> None:
    sent = ExportMetricsServiceRequest()
    scope = sent.resource_metrics.add().scope_metrics.add()
    for name in ("well", "BROKEN"):
        points = scope.metrics.add(name=name).sum.data_points
        for n in range(3):
            points.add(as_int=n)
    body = sent.SerializeToString().replace(b"BROKEN", b"BRO\xff\xfe\xfd")
    request, unreadable = parse(METRICS, body, PROTOBUF)
    outcome = refuse(METRICS, request, unreadable)
    assert outcome.refused == {"cannot be read": (3, "resourceMetrics[0].scopeMetrics[0].metrics[1]")}
    answer = METRICS.response.FromString(respond(METRICS, outcome, PROTOBUF)).partial_success
    assert (answer.rejected_data_points, outcome.kept) == (3, 3)


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=SIGNALS)
@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b'"x"', b'{"x"', b"\xff", b"[" * 100_000, b'{"resourceSpans": {"a": 5}}'], ids=repr)
def test_json_that_is_none_of_ours(signal: Any, body: bytes) -> None:
    try:
        request, unreadable = parse(signal, body, JSON)
    except Invalid as e:
        assert signal.name in e.message and len(e.message) < 1200
    else:
        assert (refuse(signal, request, unreadable).received, b"{" in body) == (0, True), "fields that are unknown are passed over"


@pytest.mark.parametrize(
    "body", [b"\x0a\x05\x12", b"\x0b", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x08", b"\x00", b"\x0d\x01"], ids=repr
)
def test_protobuf_with_a_broken_frame(body: bytes) -> None:
    for signal in SIGNALS.values():
        with pytest.raises(Invalid, match="is cut off"):
            parse(signal, body, PROTOBUF)


def test_what_is_very_large_is_not_looked_through() -> None:
    with pytest.raises(Invalid):
        parse(TRACES, b"\x0a\x00" * (LARGEST // 2) + b"\x0a", PROTOBUF)


def test_a_refusal_says_when_it_may_be_tried_again_and_only_then() -> None:
    for error, seconds in ((Busy("x"), 1), (Unavailable("x"), 5), (Invalid("é" * 5000), None)):
        assert wait_after(error) == seconds
        read, info = Status.FromString(status(error, PROTOBUF, wait_after(error))), RetryInfo()
        assert [d.Unpack(info) for d in read.details] == [True] * (seconds is not None)
        assert info.retry_delay.seconds == (seconds or 0)
        assert json.loads(status(error, JSON))["code"] == read.code
