"""Coding agents over a live server, by the exporters they use: a trace for each turn, and other records on the page Logs."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from tests.doors.server import Server
from tests.traces import agents_sent as agents


def post(server: Server, key: str, sent: list) -> None:
    with server.http(authorization=f"Bearer {key}") as http:
        for request in sent:
            answer = http.post("/v1/logs", content=request.SerializeToString(), headers={"content-type": "application/x-protobuf"})
            assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def told(server: Server) -> Server:
    client = server.client()
    key = client.keys.create("agents").secret or ""
    post(server, key, agents.sent(agents.claude_code("live-1", "live-p1"), *agents.CLAUDE))
    post(server, key, agents.sent(agents.codex("live-c1"), *agents.CODEX))
    post(server, key, agents.sent(agents.gemini("live-g1", "live-g1########1"), *agents.GEMINI))
    exporter = OTLPLogExporter(f"{server.address}/v1/logs", headers={"authorization": f"Bearer {key}"})
    provider = LoggerProvider(Resource.create({"service.name": "till"}))
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = logging.Logger("till")
    logger.addHandler(LoggingHandler(logger_provider=provider))
    logger.warning("the drawer of till %d is open", 7, extra={"till": 7})
    logger.info("all is well")
    provider.shutdown()
    return server


def test_each_turn_is_a_trace(told: Server) -> None:
    client = told.client()
    for session, user, cost in (
        ("live-1", "ann@example.com", 0.0163),
        ("live-c1", "bob@example.com", None),
        ("live-g1", "cyd@example.com", None),
    ):
        (trace,) = client.traces.list(session=session).items
        assert trace.user == user and trace.cost == (pytest.approx(cost) if cost else trace.cost) and trace.cost
    assert client.traces.list(filter="tool:Bash session:live-1").items[0].output == "A header is missing."


def test_records_of_no_trace_can_be_asked_for(told: Server) -> None:
    client = told.client()
    warned = client.logs.list(service="till", severity="warn").items
    assert [(r.body, r.severity, r.level, r.trace_id) for r in warned] == [("the drawer of till 7 is open", "WARN", 13, None)]
    assert warned[0].attributes["till"] == 7
    assert [r.body for r in client.logs.list(service="till", search="WELL").items] == ["all is well"]
    page = client.logs.list(name="claude_code.*", limit=2)
    assert page.next and all(r.trace_id for r in page.items)
    for line in client.traces.ledger().items:
        assert line.missing == 0 and (line.signal != "logs" or line.kept == 0)
    *_, audited = client.traces.audit()
    assert audited.balanced == audited.lines


def test_the_page_has_them_with_their_trace(told: Server) -> None:
    with told.owner() as http:
        shown = http.get("/logs", params={"severity": "warn", "service": "till"}).text
        assert "the drawer of till 7 is open" in shown and "all is well" not in shown
        (record,) = http.get("/logs.json", params={"name": "claude_code.tool_result"}).json()["page"]["items"]
        assert f"/traces/{record['trace_id']}?span={record['span_id']}" in http.get("/logs?name=claude_code.tool_result").text
        assert http.get(f"/traces/{record['trace_id']}").status_code == 200
        wrong = http.get("/logs", params={"filter": "spans>2"})
        assert wrong.status_code == 200 and "asks for whole traces" in wrong.text
        assert http.get("/logs", params={"severity": "loud"}).text.count("is none of its values") == 1
        assert http.get("/logs.json", params={"severity": "loud"}).status_code == 400
