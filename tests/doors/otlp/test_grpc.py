"""OTLP by gRPC, against a live server of two workers: real exporters, and every refusal."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from tests.doors.otlp import exporting
from tests.doors.otlp.sent import a_log, a_metric, good, request
from tests.doors.server import Server, until

from windlass.doors.listener import listen_for_grpc

TRACES, LOGS, METRICS = (
    f"/opentelemetry.proto.collector.{name}Service/Export" for name in ("trace.v1.Trace", "logs.v1.Logs", "metrics.v1.Metrics")
)
LIMIT = 4_000_000
APART = ("grpc.use_local_subchannel_pool", 1)  # each channel has a connection of its own


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"WINDLASS_OTLP_LIMIT": str(LIMIT), "WINDLASS_OTLP_PENDING": str(LIMIT)}
    made = Server(tmp_path_factory.mktemp("grpc") / "home", workers=2, env=limits)
    yield made
    made.stop()


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.told["grpc"], options=[APART, ("grpc.max_send_message_length", -1)]) as made:
        yield made


def export(channel: grpc.Channel, key: str, body: bytes, method: str = TRACES, **more: Any) -> bytes:
    return channel.unary_unary(method)(body, metadata=(("authorization", f"Bearer {key}"),), timeout=20, **more)  # type: ignore[no-any-return]


def refused(channel: grpc.Channel, key: str, body: bytes, **more: Any) -> tuple[grpc.StatusCode, str, Status]:
    with pytest.raises(grpc.RpcError) as told:
        export(channel, key, body, **more)
    details = dict(told.value.trailing_metadata()).get("grpc-status-details-bin", b"")
    return told.value.code(), told.value.details(), Status.FromString(details)


def wait_of(status: Status) -> int | None:
    """Seconds of its RetryInfo."""
    info = RetryInfo()
    return info.retry_delay.seconds if any(d.Unpack(info) for d in status.details) else None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip], ids=str)
def test_real_exporters_of_all_three(server: Server, compression: grpc.Compression) -> None:
    with server.client() as client:
        key = client.keys.create("app").secret
    where: dict[str, Any] = {"endpoint": server.told["grpc"], "insecure": True, "compression": compression}
    where["headers"] = (("authorization", f"Bearer {key}"),)
    provider = TracerProvider(resource=Resource.create({"service.name": "theirs"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(**where)))
    with provider.get_tracer("x").start_as_current_span("outer", attributes={"n": 5}) as span:
        trace_id = format(span.get_span_context().trace_id, "032x")
    provider.shutdown()
    mark = os.urandom(4).hex()
    exporting.a_log(OTLPLogExporter(**where), mark)
    exporting.a_metric(OTLPMetricExporter(**where), mark)
    exporting.check(server.home, mark)
    with server.client() as client:
        (found,) = client.traces.show(trace_id).spans
        calls, seconds = (client.metrics.show(f"{of}.{mark}", by="mark") for of in ("calls", "seconds"))
    assert (calls.whole.increase, calls.groups[0].value, calls.metric.temporalities) == (3, mark, ("cumulative",))
    assert (seconds.whole.count, seconds.whole.mean, seconds.whole.min) == (1, 0.5, 0.5)
    assert (found.name, found.service, found.attributes["n"]) == ("outer", "theirs", 5)


def test_a_bad_item_is_told_and_the_others_are_kept(server: Server, channel: grpc.Channel) -> None:
    kept = good("kept")
    answer = export(channel, server.token, request((b"short", b"x" * 8, "bad"), kept).SerializeToString())
    partial = ExportTraceServiceResponse.FromString(answer).partial_success
    assert partial.rejected_spans == 1
    assert partial.error_message == "bad trace id: 1 span, the first is resourceSpans[0].scopeSpans[0].spans[0]"
    assert export(channel, server.token, a_log("x").SerializeToString(), LOGS) == b""
    assert export(channel, server.token, a_metric("x").SerializeToString(), METRICS) == b""
    with server.client() as client:
        assert [s.name for s in client.traces.show(kept[0].hex()).spans] == ["kept"]


def test_what_is_refused_for_good_has_no_word_of_trying_again(server: Server, channel: grpc.Channel) -> None:
    codes = grpc.StatusCode
    with server.client() as client:
        viewer = client.keys.create("eye", role="viewer").secret
    body = request(good("x")).SerializeToString()
    cases = [
        (server.token, body[:-3], {}, codes.INVALID_ARGUMENT, "cut off"),
        ("wl_nobody_knows_this", body, {}, codes.UNAUTHENTICATED, "not known here"),
        (viewer, body, {}, codes.PERMISSION_DENIED, "may not trace"),
        (server.token, b"\0" * (LIMIT + 1), {}, codes.RESOURCE_EXHAUSTED, "larger than max"),
        (server.token, b"\0" * 50_000_000, {"compression": grpc.Compression.Gzip}, codes.RESOURCE_EXHAUSTED, "larger than max"),
        (server.token, body, {"method": "/opentelemetry.proto.collector.profiles.v1.Profiles/Export"}, codes.UNIMPLEMENTED, ""),
    ]
    for key, sent, more, code, says in cases:
        told, message, status = refused(channel, key, sent, **more)
        assert (told, says in message, wait_of(status)) == (code, True, None)
        assert status.code in (0, code.value[0])
        assert key not in message
    with pytest.raises(grpc.RpcError) as none:
        channel.unary_unary(TRACES)(body, timeout=5)
    assert none.value.code() == codes.UNAUTHENTICATED
    with pytest.raises(grpc.RpcError) as empty:
        channel.stream_unary(TRACES)(iter(()), metadata=(("authorization", f"Bearer {server.token}"),), timeout=5)
    assert (empty.value.code(), empty.value.details()) == (codes.INVALID_ARGUMENT, "there is no request in the call")
    logs = "".join(path.read_text() for path in (server.home / "logs").glob("doors*.log"))
    assert "Traceback" not in logs, logs[-2000:]


@pytest.mark.parametrize(
    "metadata",
    [("authorization", "{}"), ("x-api-key", "{}"), ("api_key", "{}"), ("authorization", "bearer {}")],
    ids=lambda m: ": ".join(m),
)
def test_keys_come_as_they_come_by_http(server: Server, channel: grpc.Channel, metadata: tuple[str, str]) -> None:
    name, value = metadata
    assert channel.unary_unary(TRACES)(b"", metadata=((name, value.format(server.token)),), timeout=5) == b""
    with pytest.raises(grpc.RpcError):  # neither of two is believed
        channel.unary_unary(TRACES)(b"", metadata=((name, value.format(server.token)),) * 2, timeout=5)


def test_a_full_disk_is_unavailable_and_worth_trying_again(server: Server, channel: grpc.Channel) -> None:
    export(channel, server.token, request(good("x")).SerializeToString())
    pids = [p["pid"] for name, p in server.parts().items() if name.startswith("doors")]
    before = resource.prlimit(pids[0], resource.RLIMIT_FSIZE)
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    code, message, status = refused(channel, server.token, request(good("x")).SerializeToString())
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    assert (code, "the disk is full" in message, wait_of(status)) == (grpc.StatusCode.UNAVAILABLE, True, 5)
    assert export(channel, server.token, request(good("x")).SerializeToString()) == b""


def test_under_pressure_it_says_when_to_come_again(server: Server, channel: grpc.Channel) -> None:
    """Both workers are kept busy by requests that do not end."""
    host, port = server.address.removeprefix("http://").split(":")
    large = request(good("x" * (LIMIT - 300_000))).SerializeToString()
    head = f"POST /v1/traces HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-protobuf\r\nAuthorization: Bearer {server.token}\r\n"
    slow = []

    def pressed() -> Any:
        slow.append(socket.create_connection((host, int(port))))
        slow[-1].sendall(f"{head}Content-Length: {len(large)}\r\n\r\n".encode() + large[:-10])
        try:
            export(channel, server.token, request(good("y" * 1_000_000)).SerializeToString())
        except grpc.RpcError as e:
            return e
        return None

    told = until(pressed)
    for connection in slow:
        connection.close()
    status = Status.FromString(dict(told.trailing_metadata())["grpc-status-details-bin"])
    assert (told.code(), wait_of(status)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 1)
    assert until(lambda: _taken(channel, server))


def _taken(channel: grpc.Channel, server: Server) -> bool:
    try:
        return export(channel, server.token, request(good("y" * 1_000_000)).SerializeToString()) == b""
    except grpc.RpcError:
        return False


def test_who_connects_and_says_nothing_or_nonsense_leaves_nothing_behind(server: Server, channel: grpc.Channel) -> None:
    export(channel, server.token, b"")
    doors = [psutil.Process(p["pid"]) for name, p in server.parts().items() if name.startswith("doors")]
    before = sum(p.num_fds() for p in doors)
    for said in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100_000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 9) * 5:
        with socket.create_connection(("127.0.0.1", _port(server))) as caller, contextlib.suppress(ConnectionError):
            caller.sendall(said)
            caller.shutdown(socket.SHUT_WR)
            while caller.recv(65_536):
                pass
    assert until(lambda: sum(p.num_fds() for p in doors) <= before + 8)  # a worker that had not served gRPC yet has its server now
    assert export(channel, server.token, b"") == b""


def test_bodies_are_let_go(server: Server, channel: grpc.Channel) -> None:
    doors = [psutil.Process(p["pid"]) for name, p in server.parts().items() if name.startswith("doors")]
    body = request(good("x" * 1_000_000)).SerializeToString()
    export(channel, server.token, body)
    before = sum(p.memory_info().rss for p in doors)
    for _ in range(80):
        export(channel, server.token, body)
    assert sum(p.memory_info().rss for p in doors) - before < 40e6, "80 MB went through"


def test_several_workers_share_the_port(server: Server) -> None:
    journals = server.home / "journal"

    def both() -> bool:
        channels = [grpc.insecure_channel(server.told["grpc"], options=[APART]) for _ in range(8)]
        calls = [
            c.unary_unary(TRACES).future(request(good("x")).SerializeToString(), metadata=(("authorization", f"Bearer {server.token}"),))
            for c in channels
        ]
        assert [c.result(timeout=20) for c in calls] == [b""] * 8
        for c in channels:
            c.close()
        return all(any((journals / name).glob("*.wj")) for name in ("doors-1", "doors-2"))

    assert until(both)


def test_callers_of_a_worker_that_died_come_to_another(server: Server) -> None:
    with grpc.insecure_channel(server.told["grpc"], options=[APART]) as channel:
        export(channel, server.token, request(good("x")).SerializeToString())
        own = [p["pid"] for name, p in server.parts().items() if name.startswith("doors")]
        (serving,) = [
            pid
            for pid in own
            if any(c.status == "ESTABLISHED" and c.laddr.port == _port(server) for c in psutil.Process(pid).net_connections())
        ]
        os.kill(serving, signal.SIGKILL)
        assert until(lambda: _taken_again(channel, server))


def _taken_again(channel: grpc.Channel, server: Server) -> bool:
    try:
        return export(channel, server.token, request(good("x")).SerializeToString(), wait_for_ready=True) == b""
    except grpc.RpcError:
        return False


def _port(server: Server) -> int:
    return int(server.told["grpc"].rpartition(":")[2])


def test_acknowledged_spans_survive_the_death_of_everything(home: Path) -> None:
    server = Server(home)
    kept = [good(f"s{n}") for n in range(30)]
    library = Path(f"/proc/{server.parts()['doors']['pid']}/maps")
    assert "cygrpc" not in library.read_text(), "it costs nothing until somebody comes"
    with grpc.insecure_channel(server.told["grpc"], options=[APART]) as channel:
        for n in range(0, 30, 5):
            assert export(channel, server.token, request(*kept[n : n + 5]).SerializeToString()) == b""
    assert "cygrpc" in library.read_text()
    pids = [p["pid"] for p in server.parts().values()]
    for pid in (server.process.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    server.process.communicate()
    again = Server(home)
    with again.client() as client:
        found = until(lambda: client.traces.list(limit=200).items)
        assert {t.trace_id for t in found} == {k[0].hex() for k in kept}
        assert client.status().grpc == again.told["grpc"]
    with grpc.insecure_channel(again.told["grpc"], options=[APART]) as channel:
        export(channel, again.token, request(good("x")).SerializeToString())
        assert again.stop() == 0


def test_a_port_in_use_is_said_and_the_server_starts(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Server(home, env={"WINDLASS_GRPC_PORT": str(port)})
        with server.client() as client:
            said = client.status().grpc
        with server.owner() as http:
            assert said in http.get("/status").text
        assert server.stop() == 0
    assert said == server.told["grpc_problem"]
    assert said.startswith(f"not served, since port {port} is in use; set WINDLASS_GRPC_PORT")


def test_it_can_be_off() -> None:
    assert listen_for_grpc("127.0.0.1", "off") == (None, "")
