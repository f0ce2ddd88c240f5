"""OTLP by HTTP, against a live server: what exporters send, and what nobody should."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import resource
import select
import signal
import socket
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from tests.doors.otlp import exporting
from tests.doors.otlp.sent import JSON, PROTOBUF, a_log, a_metric, good, log_records, metrics, request, zstd
from tests.doors.server import Server, until

ZSTD = {"content-encoding": "zstd"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes little at once, and that a test may harm."""
    made = Server(tmp_path_factory.mktemp("own") / "home", env={"WINDLASS_OTLP_LIMIT": "2000000", "WINDLASS_OTLP_PENDING": "2000000"})
    yield made
    made.stop()


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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_real_exporters_of_logs_and_metrics(server: Server) -> None:
    with server.client() as client:
        headers = {"authorization": f"Bearer {client.keys.create('app').secret}"}
    mark = os.urandom(4).hex()
    exporting.a_log(OTLPLogExporter(f"{server.address}/v1/logs", headers=headers, compression=Compression.Gzip), mark)
    exporting.a_metric(OTLPMetricExporter(f"{server.address}/v1/metrics", headers=headers, compression=Compression.Gzip), mark)
    exporting.check(server.home, mark)


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


def test_logs_and_metrics_in_json(server: Server) -> None:
    mark, trace = os.urandom(4).hex(), os.urandom(16).hex()
    record = {
        "timeUnixNano": "1544712660300000000", "observedTimeUnixNano": "1544712660300000000", "severityNumber": 10, "severityText": "Info",
        "traceId": trace.upper(), "spanId": "EEE19B7EC3C1B174", "body": {"stringValue": mark},
    }  # fmt: skip
    point = {"asDouble": 5, "startTimeUnixNano": 1544712660300000000, "timeUnixNano": "0", "exemplars": [{"traceId": trace, "asInt": "3"}]}
    total = {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": [point]}
    with server.owner() as http:
        for path, body in (
            ("/v1/logs", {"resourceLogs": [{"scopeLogs": [{"scope": {"name": "x"}, "logRecords": [record]}]}]}),
            ("/v1/metrics", {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": mark, "sum": total}]}]}]}),
        ):
            answer = http.post(path, json=body)
            assert (answer.status_code, answer.headers["content-type"], answer.json()) == (200, "application/json", {})
    (found,) = [r for r in log_records(server.home) if r.body.string_value == mark]
    assert (found.trace_id.hex(), found.span_id.hex(), found.severity_number) == (trace, "eee19b7ec3c1b174", 10)
    (metric,) = [m for m in metrics(server.home) if m.name == mark]
    assert (metric.sum.data_points[0].as_double, metric.sum.data_points[0].exemplars[0].trace_id.hex()) == (5.0, trace)


@pytest.mark.parametrize("kind", [PROTOBUF, JSON, {"content-type": "application/json; charset=utf-8"}, {}], ids=str)
def test_answers_are_in_the_content_type_of_the_request(server: Server, kind: dict[str, str]) -> None:
    json_ = "json" in kind.get("content-type", "")
    with server.owner() as http, server.http() as nobody:
        answers = [http.post("/v1/logs", content=body, headers=kind) for body in (b"{}" if json_ else b"", b"\xff{")]
        answers += [http.post("/v1/logs", content=b"x", headers={**kind, "content-encoding": "br"})]
        answers += [nobody.post("/v1/logs", content=b"", headers=kind)]
    assert [a.status_code for a in answers] == [200, 400, 415, 401]
    assert answers[2].headers["accept-encoding"] == "gzip, deflate, zstd"
    for answer in answers:
        assert answer.headers["content-type"] == ("application/json" if json_ else "application/x-protobuf")
        if answer.status_code != 200:
            read = answer.json() if json_ else Status.FromString(answer.content)
            code, message = (read["code"], read["message"]) if json_ else (read.code, read.message)
            assert (code, bool(message)) == ({400: 3, 415: 3, 401: 16}[answer.status_code], True)
            assert "retry-after" not in answer.headers


def test_what_is_turned_away_at_the_door_is_told_so_in_the_shape_of_otlp(server: Server) -> None:
    for wrong in ({"host": "elsewhere.example"}, {"origin": "https://elsewhere.example"}):
        with server.owner() as http:
            answer = http.post("/v1/traces", content=request(good("x")).SerializeToString(), headers={**PROTOBUF, **wrong})
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/x-protobuf")
        assert Status.FromString(answer.content).code == 7


@pytest.mark.parametrize(("kind", "shape"), [("text/plain", "application/json"), ("application/protobuf", "application/x-protobuf")])
def test_another_content_type_is_415_in_the_nearest_of_ours(server: Server, kind: str, shape: str) -> None:
    with server.owner() as http:
        answer = http.post("/v1/traces", content=b"", headers={"content-type": kind})
    assert (answer.status_code, answer.headers["content-type"], b"is not a kind of OTLP" in answer.content) == (415, shape, True)


@pytest.mark.parametrize("packer", ["gzip", "deflate", "bare", "zstd"])
def test_every_encoding_also_in_several_pieces(server: Server, packer: str) -> None:
    """Protobuf goes on where it is joined, so two requests one behind the other are one."""
    spans = [good("one"), good("two")]
    halves = [request(span).SerializeToString() for span in spans]
    whole = b"".join(halves)
    if packer == "gzip":
        body = b"".join(map(gzip.compress, halves)) + b"\0" * 7
    elif packer == "zstd":
        body = b"".join(map(zstd.compress, halves))
    else:
        body = zlib.compress(whole) if packer == "deflate" else zlib.compress(whole)[2:-4]
    with server.owner() as http:
        encoding = "deflate" if packer == "bare" else packer
        assert http.post("/v1/traces", content=body, headers={**PROTOBUF, "content-encoding": encoding}).status_code == 200
        for cut in (body[: len(body) // 3], b"", b"nothing of the kind"):
            answer = http.post("/v1/traces", content=cut, headers={**PROTOBUF, "content-encoding": encoding})
            assert answer.status_code == 400, cut
    assert [stored(server, span[0]) for span in spans] == [["one"], ["two"]]


def test_an_attribute_of_20_mb_is_taken(server: Server) -> None:
    sent = request(good("large"))
    span = sent.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="input.value").value.string_value = "y" * 20_000_000
    with server.owner() as http:
        assert http.post("/v1/traces", content=zstd.compress(sent.SerializeToString()), headers=PROTOBUF | ZSTD).status_code == 200
    assert stored(server, span.trace_id) == ["large"]


def test_absurd_times_are_kept_as_they_came(server: Server) -> None:
    sent = request(good("never"), good("far away"))
    never, far = sent.resource_spans[0].scope_spans[0].spans
    never.start_time_unix_nano = never.end_time_unix_nano = 0
    far.start_time_unix_nano, far.end_time_unix_nano = 2**64 - 2, 2**64 - 1
    with server.owner() as http:
        assert http.post("/v1/traces", content=sent.SerializeToString(), headers=PROTOBUF).status_code == 200
    assert [stored(server, s.trace_id) for s in (never, far)] == [["never"], ["far away"]]


def test_one_item_that_cannot_be_read_does_not_cost_its_batch(server: Server) -> None:
    trace = os.urandom(16)
    sent = request(*[(trace, os.urandom(8), name) for name in ("before", "BROKEN", "after")])
    body = sent.SerializeToString().replace(b"BROKEN", b"BRO\xff\xfe\xfd")  # a text that is not UTF-8
    spans = [{"traceId": trace.hex(), "spanId": os.urandom(8).hex(), "name": name, "startTimeUnixNano": at} for name, at in (
        ("fifth", "1"), ("sixth", "yesterday"))]  # fmt: skip
    with server.owner() as http:
        answer = http.post("/v1/traces", content=body, headers=PROTOBUF)
        partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
        assert (answer.status_code, partial.rejected_spans) == (200, 1)
        assert partial.error_message == "cannot be read: 1 span, the first is resourceSpans[0].scopeSpans[0].spans[1]"
        answer = http.post("/v1/traces", json={"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
        assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"
        logs = a_log("well").SerializeToString() + a_log("BROKEN").SerializeToString().replace(b"BROKEN", b"BRO\xff\xfe\xfd")
        partial = ExportLogsServiceResponse.FromString(http.post("/v1/logs", content=logs, headers=PROTOBUF).content).partial_success
        assert (partial.rejected_log_records, "resourceLogs[1]" in partial.error_message) == (1, True)
        points = [{"name": "ok", "gauge": {"dataPoints": [{"asInt": "1"}]}}, {"name": "bad", "gauge": {"dataPoints": [{"asInt": "x"}, {}]}}]
        answer = http.post("/v1/metrics", json={"resourceMetrics": [{"scopeMetrics": [{"metrics": points}]}]})
        assert answer.json()["partialSuccess"]["rejectedDataPoints"] == "2"
    assert sorted(stored(server, trace)) == ["after", "before", "fifth"]


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


@pytest.mark.parametrize("packer", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_refused_before_it_is_whole(server: Server, packer: str) -> None:
    """A hundred kilobytes that unpack to a hundred megabytes."""
    zeros = b"\0" * 100_000_000
    bomb = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress}[packer](zeros, 9)
    assert len(bomb) < 110_000
    with server.owner() as http:
        answer = http.post("/v1/traces", content=bomb, headers={**PROTOBUF, "content-encoding": packer})
        assert answer.status_code == 413
        assert "64,000,000" in answer.text
        assert http.get("/healthz").status_code == 200


def test_too_large_is_too_large(server: Server) -> None:
    with server.owner() as http:
        assert http.post("/v1/traces", content=b"\0" * 65_000_000, headers=PROTOBUF).status_code == 413
        assert http.post("/v1/traces", content=b"\0" * 90_000_000, headers=PROTOBUF).status_code == 413, "it is read to its end"
    with server.http() as http:
        assert http.post("/v1/traces", content=b"\0" * 30_000_000, headers=PROTOBUF).status_code == 401


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


def test_a_full_disk_is_503_and_said_so_and_it_goes_on_afterwards(own: Server) -> None:
    pid = own.parts()["doors"]["pid"]
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    lost, found = good("lost"), good("found")
    with own.owner() as http:
        assert http.post("/v1/traces", content=request(good("first")).SerializeToString(), headers=PROTOBUF).status_code == 200
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
        for path, sent in (("/v1/traces", request(lost)), ("/v1/logs", a_log("lost")), ("/v1/metrics", a_metric("lost"))):
            answer = http.post(path, content=sent.SerializeToString(), headers=PROTOBUF)
            assert (answer.status_code, answer.headers["retry-after"], b"the disk is full" in answer.content) == (503, "5", True)
            assert Status.FromString(answer.content).code == 14
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        assert http.post("/v1/traces", content=request(found).SerializeToString(), headers=PROTOBUF).status_code == 200
    assert stored(own, found[0]) == ["found"]
    assert (log_records(own.home), metrics(own.home)) == ([], [])


def test_beyond_what_may_be_under_way_senders_are_told_to_wait(own: Server) -> None:
    """A request that has not ended holds what it has sent; somebody else is told 429, until it ended."""
    host, port = own.address.removeprefix("http://").split(":")
    large = request(good("x" * 1_200_000)).SerializeToString()
    head = f"POST /v1/traces HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-protobuf\r\nAuthorization: Bearer {own.token}\r\n"
    with own.owner() as http, contextlib.ExitStack() as ends:

        def begin() -> socket.socket:
            made = ends.enter_context(socket.create_connection((host, int(port))))
            made.sendall(f"{head}Content-Length: {len(large)}\r\n\r\n".encode() + large[:-10])
            return made

        def told() -> Any:
            nonlocal slow
            if select.select([slow], [], [], 0)[0]:  # the other's came in between, and it was this one that was told to wait
                slow = begin()
            return (a := http.post("/v1/traces", content=large, headers=PROTOBUF)).status_code != 200 and a

        slow = begin()
        answer = until(told)
        assert (answer.status_code, answer.headers["retry-after"], Status.FromString(answer.content).code) == (429, "1", 8)
        assert http.post("/v1/traces", content=request(good("small")).SerializeToString(), headers=PROTOBUF).status_code == 200
        slow.sendall(large[-10:])
        assert slow.recv(20).startswith(b"HTTP/1.1 200")
        assert http.post("/v1/traces", content=large, headers=PROTOBUF).status_code == 200


def test_loads_that_are_cut_by_kills_lose_and_double_nothing(home) -> None:
    """The short form of `python -m bench.kill_ingest`."""
    from bench.kill_ingest import run

    found = run(2, 3000, home)
    assert (found["acknowledged"], found["missing"], found["doubled"]) == (6000, 0, 0)
    assert (found["off"], found["lines"] > 0) == (0, True)
