"""A step with texts of many megabytes: taken in, shown in part, read whole, by every door."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.doors.server import Server, until

LONG = "".join(f"{n} of many lines of a long document; " for n in range(600_000))[:20_000_000]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    made = Server(tmp_path_factory.mktemp("home"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def trace(server: Server) -> str:
    """The id of a trace whose root was asked with 20 MB."""
    body = ExportTraceServiceRequest()
    scope = body.resource_spans.add().scope_spans.add()
    for n in range(3):
        ids = {"trace_id": bytes([7] * 16), "span_id": bytes([n + 1] * 8), "parent_span_id": bytes([1] * 8) if n else b""}
        span = scope.spans.add(name=f"step {n}", **ids)
        span.start_time_unix_nano = time.time_ns() + n
        span.end_time_unix_nano = span.start_time_unix_nano + 10**9
        said = [{"role": "system", "content": LONG if n == 0 else "short"}, {"role": "user", "content": "What does it say?"}]
        span.attributes.add(key="gen_ai.input.messages").value.string_value = json.dumps(said)
        span.attributes.add(key="gen_ai.operation.name").value.string_value = "chat"
        span.attributes.add(key="gen_ai.request.model").value.string_value = "gpt-5-mini"
    with server.owner() as http:
        assert (
            http.post("/v1/traces", content=body.SerializeToString(), headers={"content-type": "application/x-protobuf"}).status_code == 200
        )
    client = server.client()
    (found,) = until(lambda: client.traces.list().items, 60)
    return found.trace_id


def test_pages_answer_and_show_what_can_be_read(server: Server, trace: str) -> None:
    with server.owner() as http:
        listed = http.get("/traces")
        page = http.get(f"/traces/{trace}", params={"span": "01" * 8})
        assert (listed.status_code, page.status_code) == (200, 200)
        assert len(listed.text) < 200_000 and len(page.text) < 300_000
        assert "What does it say?" in listed.text, "a list says what was asked last"
        assert "What does it say?" in page.text and "0 of many lines" in page.text
        assert "20,000," in page.text and f"/traces/{trace}/text?span={'01' * 8}&amp;of=input" in page.text
        whole = http.get(f"/traces/{trace}/text", params={"span": "01" * 8, "of": "input"})
        assert whole.status_code == 200 and 500_000 < len(whole.text) < 1_000_000
        twin = http.get(f"/traces/{trace}/text.json", params={"span": "01" * 8, "of": "input"}).json()
        assert json.loads(twin["text"])[0]["content"] == LONG
        assert http.get(f"/traces/{trace}/text", params={"span": "nonsense"}).status_code == 400
        assert http.get(f"/traces/{trace}/text", params={"span": "09" * 8}).status_code == 404


def test_rows_and_files_have_it_whole(server: Server, trace: str, tmp_path: Path) -> None:
    client = server.client()
    assert json.loads(client.traces.text(trace, "01" * 8))[0]["content"] == LONG
    rows = {r["span_id"]: r for r in client.traces.spans()}
    assert json.loads(rows["01" * 8]["input"])[0]["content"] == LONG
    assert rows["02" * 8]["input"] and len(rows["02" * 8]["input"]) < 200
    *_, audited = client.traces.audit()
    assert audited.balanced == audited.lines
