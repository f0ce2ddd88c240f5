"""OTLP in, against a live server: what exporters send, and what nobody should."""

from __future__ import annotations

import gzip
import json
import os
import signal
import zlib

import pytest
from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from tests.doors.server import Server, until

PROTOBUF = {"content-type": "application/x-protobuf"}


def request(*spans: tuple[bytes, bytes, str]) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add().scope_spans.add()
    for trace_id, span_id, name in spans:
        scope.spans.add(trace_id=trace_id, span_id=span_id, name=name, start_time_unix_nano=10**18, end_time_unix_nano=10**18 + 10**6)
    return made


def good(name: str) -> tuple[bytes, bytes, str]:
    return os.urandom(16), os.urandom(8), name


def stored(server: Server, trace_id: bytes) -> list[str]:
    with server.client() as client:
        return [s.name for s in client.traces.show(trace_id.hex()).spans]


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate], ids=str)
def test_the_real_exporter(server: Server, compression) -> None:
    with server.client() as client:
        key = client.keys.create("app")
    exporter = OTLPSpanExporter(f"{server.address}/v1/traces", headers={"authorization": f"Bearer {key.secret}"}, compression=compression)
    provider = TracerProvider(resource=Resource.create({"service.name": "theirs"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("x").start_as_current_span("outer", attributes={"gen_ai.operation.name": "chat", "n": 5}) as span:
        with provider.get_tracer("x").start_as_current_span("inner") as inner:
            inner.set_status(api.StatusCode.ERROR, "went wrong")
            inner.add_event("retry", {"attempt": 2})
        trace_id = format(span.get_span_context().trace_id, "032x")
    provider.shutdown()
    with server.client() as client:
        found = client.traces.show(trace_id)
    outer, within = found.spans
    assert (outer.name, outer.service, outer.attributes["n"], found.summary.kind) == ("outer", "theirs", 5, "model")
    assert (within.status, within.status_message, within.parent) == ("error", "went wrong", outer.span_id)
    assert within.events[0].attributes == {"attempt": 2}


def test_json_as_the_specification_writes_it(server: Server) -> None:
    """Hex ids, 64-bit numbers as text, enums as numbers, unknown fields ignored."""
    trace_id = os.urandom(16)
    values = [{"doubleValue": 1.5}, {"boolValue": True}]
    span = {
        "traceId": trace_id.hex(), "spanId": os.urandom(8).hex(), "parentSpanId": "", "name": "I'm a server span", "kind": 2,
        "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000", "status": {"code": 2}, "new": {"x": 1},
        "attributes": [{"key": "my.span.attr", "value": {"stringValue": "some value"}}, {"key": "n", "value": {"intValue": "7"}},
                       {"key": "list", "value": {"arrayValue": {"values": values}}}],
    }  # fmt: skip
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "js"}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}
    with server.owner() as http:
        answer = http.post("/v1/traces", content=json.dumps(body), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (200, "application/json", {})
    with server.client() as client:
        span = client.traces.show(trace_id.hex()).spans[0]
    assert span.attributes == {"my.span.attr": "some value", "n": 7, "list": [1.5, True]}
    assert (span.status, span.service) == ("error", "js")


def test_a_span_with_a_bad_id_is_counted_and_the_others_are_kept(server: Server) -> None:
    trace_id = os.urandom(16)
    spans = (
        (trace_id, os.urandom(8), "kept"), (b"", os.urandom(8), "none"), (b"\0" * 16, os.urandom(8), "zero"),
        (trace_id, b"short", "short"), (trace_id, os.urandom(8), "also kept"),
    )  # fmt: skip
    with server.owner() as http:
        answer = http.post("/v1/traces", content=request(*spans).SerializeToString(), headers=PROTOBUF)
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_spans) == (200, 3)
    assert partial.error_message == (
        "bad trace id: 2 spans, the first is resourceSpans[0].scopeSpans[0].spans[1]; "
        "bad span id: 1 span, the first is resourceSpans[0].scopeSpans[0].spans[3]"
    )
    assert sorted(stored(server, trace_id)) == ["also kept", "kept"]


def test_what_is_broken_is_refused_whole(server: Server) -> None:
    data = request(good("a")).SerializeToString()
    packed = gzip.compress(data)
    zipped = {**PROTOBUF, "content-encoding": "gzip"}
    cases = [
        (data[:-5], PROTOBUF, 400, "cut off"),
        (b"\xff\xff\xff", PROTOBUF, 400, "not an OTLP"),
        (packed[:-9], zipped, 400, "cut off"),
        (b"no gzip", zipped, 400, "not gzip"),
        (data, {**PROTOBUF, "content-encoding": "br"}, 415, "not an encoding"),
        (b"{", {"content-type": "application/json"}, 400, "not an OTLP"),
        (b'{"resourceSpans": 5}', {"content-type": "application/json"}, 400, "not an OTLP"),
        (data, {"content-type": "text/plain"}, 415, "not a kind"),
    ]
    with server.owner() as http:
        for body, headers, status, says in cases:
            answer = http.post("/v1/traces", content=body, headers=headers)
            assert (answer.status_code, says in answer.text) == (status, True), (answer.status_code, answer.text)


@pytest.mark.parametrize("packer", ["gzip", "deflate"])
def test_a_bomb_is_refused_before_it_is_whole(server: Server, packer: str) -> None:
    """A hundred kilobytes that unpack to a hundred megabytes."""
    zeros = b"\0" * 100_000_000
    bomb = gzip.compress(zeros, 9) if packer == "gzip" else zlib.compress(zeros, 9)
    assert len(bomb) < 110_000
    with server.owner() as http:
        answer = http.post("/v1/traces", content=bomb, headers={**PROTOBUF, "content-encoding": packer})
        assert answer.status_code == 413
        assert "64,000,000" in answer.text
        assert http.get("/healthz").status_code == 200


def test_too_large_is_too_large(server: Server) -> None:
    with server.owner() as http:
        assert http.post("/v1/traces", content=b"\0" * 65_000_000, headers=PROTOBUF).status_code == 413


def test_an_empty_request_is_fine(server: Server) -> None:
    with server.owner() as http:
        assert http.post("/v1/traces", content=b"", headers=PROTOBUF).status_code == 200


def test_acknowledged_spans_survive_the_death_of_everything(home) -> None:
    """Sent, acknowledged, and at once every process is killed."""
    server = Server(home)
    kept = [good(f"s{n}") for n in range(50)]
    with server.owner() as http:
        for n in range(0, 50, 5):
            sent = http.post("/v1/traces", content=request(*kept[n : n + 5]).SerializeToString(), headers=PROTOBUF)
            assert sent.status_code == 200
    pids = [p["pid"] for p in server.parts().values()]
    for pid in (server.process.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    server.process.communicate()
    again = Server(home)
    with again.client() as client:
        found = until(lambda: client.traces.list(limit=200).items)
        assert {t.trace_id for t in found} == {k[0].hex() for k in kept}
        assert client.status().ingest["spans"] == 50
    assert again.stop() == 0


def test_loads_that_are_cut_by_kills_lose_and_double_nothing(home) -> None:
    """The short form of `python -m bench.kill_ingest`."""
    from bench.kill_ingest import run

    found = run(2, 3000, home)
    assert (found["acknowledged"], found["missing"], found["doubled"]) == (6000, 0, 0)
