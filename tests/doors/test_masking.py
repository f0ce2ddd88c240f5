"""Secrets that come by every door, on a real server: looked for afterwards in every file it left, unpacked, in logs and in pages."""

from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import duckdb
import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.doors.server import Server, until
from tests.govern.world import World
from tests.scripted_provider import ScriptedProvider

from windlass.doors.otlp.salvage import varint
from windlass.store.home import Home

pytestmark = pytest.mark.slow
SECRETS = {
    "api-key": "sk-ant-api03-Zx81Qw62Er43Ty24Ui05Op96As87Df",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJxdW9ra2EifQ.c2lnbmF0dXJlc2lnbmF0dXJl",
    "email": "quentin.quokka@example.org",
    "card": "5555555555554444",
    "iban": "DE89370400440532013000",
    "phone": "+44 20 7946 0958",
}
SAID = "I am " + ", ".join(SECRETS.values())
INSIDE = json.dumps({"deep": json.dumps({"é": "line\n" + SAID})})


def unpacked(home: Path) -> Iterator[tuple[str, bytes]]:
    """Every file as it lies there, and what is packed in it: rows of DuckDB, of Parquet and of SQLite."""
    for path in sorted(p for p in home.rglob("*") if p.is_file()):
        name = str(path.relative_to(home))
        data = path.read_bytes()
        yield name, data
        if path.suffix == ".duckdb":
            with duckdb.connect(str(path), read_only=True) as c:
                for (table,) in c.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                    yield f"{name}:{table}", repr(c.execute(f'SELECT * FROM "{table}"').fetchall()).encode()
        elif data[:4] == b"PAR1":
            with duckdb.connect() as c:
                yield f"{name}:rows", repr(c.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()).encode()
        elif data[:16] == b"SQLite format 3\0":
            with sqlite3.connect(path) as c:
                yield f"{name}:rows", "\n".join(c.iterdump()).encode()
        elif data[:2] == b"\x1f\x8b":
            yield f"{name}:unpacked", gzip.decompress(data)


def spans() -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add()
    resource.resource.attributes.add(key="host.owner").value.string_value = SAID
    scope = resource.scope_spans.add()
    scope.scope.attributes.add(key="x").value.string_value = SAID
    span = scope.spans.add(trace_id=b"\xab" * 16, span_id=b"\xcd" * 8, name=f"call for {SECRETS['email']}", start_time_unix_nano=10**18)
    span.end_time_unix_nano = 10**18 + 5
    for key, text in (("input.value", INSIDE), ("output.value", SAID), (SECRETS["email"], "key"), ("card", SECRETS["card"])):
        span.attributes.add(key=key).value.string_value = text
    span.attributes.add(key="number").value.int_value = int(SECRETS["card"])
    span.attributes.add(key="raw").value.bytes_value = SAID.encode()
    span.attributes.add(key="list").value.array_value.values.add().string_value = INSIDE
    span.attributes.add(key="map").value.kvlist_value.values.add(key=SECRETS["email"]).value.string_value = SAID
    span.events.add(name=f"at {SECRETS['iban']}").attributes.add(key="exception.message").value.string_value = SAID
    span.links.add(trace_id=b"\xef" * 16, span_id=b"\x01" * 8).attributes.add(key="x").value.string_value = SAID
    span.status.message = SAID
    return made


def logs() -> ExportLogsServiceRequest:
    made = ExportLogsServiceRequest()
    resource = made.resource_logs.add()
    resource.resource.attributes.add(key="host.owner").value.string_value = SAID
    scope = resource.scope_logs.add()
    scope.scope.name = f"of {SECRETS['email']}"
    record = scope.log_records.add(severity_text=SAID, event_name=f"told {SECRETS['iban']}")
    record.body.kvlist_value.values.add(key=SECRETS["email"]).value.string_value = INSIDE
    record.attributes.add(key="card").value.int_value = int(SECRETS["card"])
    scope.log_records.add().body.string_value = SAID
    scope.log_records.add().body.bytes_value = SAID.encode()
    return made


def metrics() -> ExportMetricsServiceRequest:
    made = ExportMetricsServiceRequest()
    metric = made.resource_metrics.add().scope_metrics.add().metrics.add(name=f"calls of {SECRETS['email']}", description=SAID, unit=SAID)
    metric.metadata.add(key="x").value.string_value = SAID
    point = metric.sum.data_points.add(as_int=1)
    point.attributes.add(key="caller").value.string_value = SAID
    point.exemplars.add(as_int=1).filtered_attributes.add(key=SECRETS["email"]).value.string_value = INSIDE
    for kind in ("gauge", "histogram", "exponential_histogram", "summary"):
        other = made.resource_metrics[0].scope_metrics[0].metrics.add(name=kind)
        point = getattr(other, kind).data_points.add()
        if kind == "gauge":
            point.as_int = 1
        point.attributes.add(key="caller").value.string_value = SAID
    return made


def unknown() -> bytes:
    """A field of a newer OTLP on a span, that holds a secret."""
    text = SAID.encode()
    field = b"\xfa\x06" + varint(len(text)) + text
    return spans().SerializeToString() + b"\x0a" + varint(len(field)) + field


async def test_nothing_of_what_is_masked_is_anywhere(tmp_path: Path) -> None:
    world = World(tmp_path)
    await asyncio.to_thread(world.close)
    home = tmp_path / "home"
    (home / "masking.toml").write_text("[default]\npersonal = true\n")
    async with ScriptedProvider() as provider:
        (home / "providers.toml").write_text(provider.table())
        server = await asyncio.to_thread(Server, home, env=provider.environ() | {"OPENAI_API_KEY": "sk-scripted-secret-key"})
        try:
            seen = await asyncio.to_thread(by_every_door, server, provider)
            told = await asyncio.to_thread(pages, server)
        finally:
            await asyncio.to_thread(server.stop)
    assert any(SECRETS["email"].encode() in raw for raw in seen), "the provider is told it all"
    assert "[masked:email]" in told and "[masked:card]" in told and "[masked:api-key]" in told
    places = list(unpacked(home))
    assert any(b"[masked:email]" in data for name, data in places if name.startswith("journal"))
    assert any(b"[masked:iban]" in data for name, data in places if name.startswith("spans"))
    for secret in SECRETS.values():
        assert secret not in told
        held = [name for name, data in places if secret.encode() in data or secret.encode("utf-16-le") in data]
        assert held == [], f"{secret} lies in {held}"


def by_every_door(server: Server, provider: ScriptedProvider) -> list[bytes]:
    """Send it all, by every door that leads to the journal."""
    with server.owner() as http:
        protobuf, encoded = {"content-type": "application/x-protobuf"}, {"content-encoding": "gzip"}
        assert http.post("/v1/traces", content=gzip.compress(spans().SerializeToString()), headers=protobuf | encoded).status_code == 200
        for path, sent in (("/v1/logs", logs()), ("/v1/metrics", metrics())):
            assert http.post(path, content=sent.SerializeToString(), headers=protobuf).status_code == 200
        assert http.post("/v1/traces", content=unknown(), headers=protobuf).status_code == 200
        key = (("authorization", http.headers["authorization"]),)
        with grpc.insecure_channel(server.told["grpc"]) as channel:
            for name, sent in (("trace.v1.Trace", spans()), ("logs.v1.Logs", logs()), ("metrics.v1.Metrics", metrics())):
                channel.unary_unary(f"/opentelemetry.proto.collector.{name}Service/Export")(sent.SerializeToString(), metadata=key)
        span = {"traceId": "12" * 16, "spanId": "34" * 8, "name": "json", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
        span["attributes"] = [{"key": "input.value", "value": {"stringValue": INSIDE}}]  # type: ignore[assignment]
        body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
        assert http.post("/v1/traces", content=body, headers={"content-type": "application/json"}).status_code == 200
        provider.say(f"You said: {SAID}")
        chat = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": SAID}]}
        assert SECRETS["email"] in http.post("/v1/chat/completions", json=chat).text, "who asks is answered whole"
        tools = [{"id": "c1", "type": "function", "function": {"name": "send", "arguments": INSIDE}}]
        chat["messages"] = [{"role": "assistant", "tool_calls": tools}, {"role": "tool", "tool_call_id": "c1", "content": SAID}]  # type: ignore[list-item]
        http.post("/v1/chat/completions", json=chat)
        http.post("/v1/chat/completions", json={"model": "baseline", "messages": [{"role": "user", "content": SAID}]})
        assert SECRETS["email"] in http.post("/invoke/answer", json={"question": SAID}).text
        http.post("/invoke/answer", json={"question": {"not": SAID}})  # fails, and says why
        http.post("/api/v1/runs/start", json={"target": "release/answer:production", "input": SAID, "user": SECRETS["email"]})
    with server.client() as client:
        until(lambda: len(client.traces.list(limit=50).items) >= 7)
    return [seen.raw for seen in provider.requests]


def pages(server: Server) -> str:
    """Every trace as the API and the pages tell it."""
    told = ""
    with server.client() as client, server.owner() as http:
        for trace in client.traces.list(limit=50).items:
            told += http.get(f"/traces/{trace.trace_id}").text + http.get(f"/traces/{trace.trace_id}.json").text
            told += http.get("/api/v1/traces/show", params={"id": trace.trace_id}).text
        told += http.get("/traces").text + http.get("/audit").text
    return told


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [("masking.toml", "[default]\nemial = true\n", "names 'emial', which is no rule"), ("policy.toml", "[[approval]]\n", "`people`")],
)
def test_rules_that_are_wrong_keep_the_server_from_starting(tmp_path: Path, file: str, text: str, said: str) -> None:
    home = Home(tmp_path / "home").path
    (home / file).write_text(text)
    server = Server(home, ready=False)
    _, told = server.process.communicate(timeout=120)
    assert server.process.returncode == 1
    assert said in told and file in told and "Traceback" not in told
