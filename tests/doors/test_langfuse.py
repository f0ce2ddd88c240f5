"""Scores by the wire of Langfuse's SDKs. What the SDKs themselves send is in `tests/traces/sdks/test_live.py`."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import pytest
from tests.doors.server import Server

from windlass.core.ids import span_id, trace_id
from windlass.sdk.client import Client

pytestmark = pytest.mark.slow


class Sender(NamedTuple):
    """An application's way in, and the owner's to what came of it."""

    http: httpx2.Client
    client: Client

    def said(self, trace: str) -> set[tuple[Any, ...]]:
        return {(s.name, s.value, s.comment, s.span) for s in self.client.traces.show(trace).scores}


@pytest.fixture
def sender(server: Server) -> Iterator[Sender]:
    with server.client() as client:
        key = client.keys.create("langfuse").secret or ""
        basic = base64.b64encode(f"pk-lf-any:{key}".encode()).decode()
        with server.http(authorization=f"Basic {basic}") as http:
            yield Sender(http, client)


def test_a_list_of_scores_as_python_sends_it(sender: Sender) -> None:
    trace, span = trace_id(), span_id()
    scores: list[dict[str, Any]] = [
        {"id": "s1", "traceId": trace, "name": "helpful", "value": 0.9, "comment": "says when", "environment": "production"},
        {"id": "s2", "traceId": trace, "observationId": span, "name": "tone", "value": "plain", "dataType": "CATEGORICAL"},
        {"id": "s3", "traceId": trace, "name": "thumbs", "value": 1.0, "dataType": "BOOLEAN", "metadata": {"a": [1]}},
        {"id": "s4", "traceId": trace, "name": "note", "value": "Ask\nagain.", "dataType": "TEXT", "comment": "later"},
        {"id": "s5", "traceId": trace, "name": "stars", "value": 3, "timestamp": "2026-11-29T12:00:00Z"},
    ]
    answer = sender.http.post("/api/public/scores", json=scores)
    assert (answer.status_code, answer.json()) == (202, {"message": "Accepted"})
    told = {
        ("helpful", 0.9, "says when", None), ("tone", "plain", "", span), ("thumbs", True, "", None),
        ("note", None, "Ask\nagain.\n\nlater", None), ("stars", 3.0, "", None),
    }  # fmt: skip
    assert sender.said(trace) == told
    again = [scores[4] | {"value": 4}, scores[4] | {"id": "s6", "value": 5}]
    assert sender.http.post("/api/public/scores", json=again).status_code == 202
    assert {s[1] for s in sender.said(trace) if s[0] == "stars"} == {4.0, 5.0}, "one is new, one is the same again"


def test_a_list_of_which_some_are_wrong(sender: Sender) -> None:
    trace = trace_id()
    scores: list[Any] = [
        {"traceId": trace, "name": "good", "value": 1},
        {"traceId": trace, "name": "a<b", "value": 1},
        {"traceId": "short", "name": "x", "value": 1},
        {"traceId": trace, "observationId": "zz", "name": "x", "value": 1},
        {"sessionId": "nobody's", "name": "x", "value": 1},
        {"name": "x", "value": 1},
        {"traceId": trace, "value": 1},
        {"traceId": trace, "name": "x", "value": {"a": 1}},
        "no object",
    ]
    answer = sender.http.post("/api/public/scores", json=scores)
    told = answer.json()
    assert (answer.status_code, told["accepted"], told["rejected"]) == (207, 1, 8)
    assert [e["message"].split(":")[0] for e in told["errors"]] == [
        "name", "traceId", "observationId", "session", "trace", "body", "value", "body",
    ]  # fmt: skip
    assert sender.said(trace) == {("good", 1.0, "", None)}


def test_one_score_alone(sender: Sender) -> None:
    trace = trace_id()
    dashed = f"{trace[:8]}-{trace[8:12]}-{trace[12:16]}-{trace[16:20]}-{trace[20:]}"
    answer = sender.http.post("/api/public/scores", json={"id": "mine", "traceId": dashed, "name": "helpful", "value": 1})
    assert (answer.status_code, answer.json()) == (200, {"id": "mine"})
    assert sender.said(trace) == {("helpful", 1.0, "", None)}
    answer = sender.http.post("/api/public/scores", json={"traceId": trace, "name": "helpful"})
    assert (answer.status_code, answer.json()["error"]["where"]) == (400, "value")


def test_a_batch_of_events_as_javascript_sends_it(sender: Sender) -> None:
    trace = trace_id()
    score = {"traceId": trace, "name": "helpful", "value": 0.9}
    batch: list[Any] = [
        {"id": "e1", "type": "score-create", "timestamp": "2026-11-29T12:00:00Z", "body": {"id": "s1", **score}},
        {"id": "e2", "type": "score-create", "body": {"traceId": trace, "name": "helpful"}},
        {"id": "e3", "type": "trace-create", "body": {"id": trace}},
        {"id": "e4", "type": "sdk-log", "body": {"log": "x"}},
        {"id": "e5", "type": "score-create"},
        7,
    ]  # fmt: skip
    answer = sender.http.post("/api/public/ingestion", json={"batch": batch, "metadata": {}})
    told = answer.json()
    assert answer.status_code == 207
    assert told["successes"] == [{"id": "e1", "status": 201}, {"id": "e4", "status": 201}]
    assert [(e["id"], e["status"], e["error"]) for e in told["errors"]] == [(i, 400, "invalid") for i in ("e2", "e3", "e5", "")]
    assert "only scores are" in told["errors"][1]["message"]
    assert sender.said(trace) == {("helpful", 0.9, "", None)}


def test_who_is_refused(sender: Sender, server: Server) -> None:
    score = {"traceId": trace_id(), "name": "x", "value": 1}
    reader = sender.client.keys.create("reader", role="viewer").secret
    basic = base64.b64encode(b"pk-lf-any:wl_nonsense").decode()
    for headers, status in (
        ({}, 401), ({"authorization": f"Basic {basic}"}, 401), ({"authorization": "Basic ?"}, 401),
        ({"authorization": f"Bearer {reader}"}, 403), ({"cookie": "windlass=x", "origin": server.address}, 401),
    ):  # fmt: skip
        with server.http(**headers) as http:
            for path, body in (("scores", [score]), ("ingestion", {"batch": [{"id": "e", "type": "score-create", "body": score}]})):
                assert http.post(f"/api/public/{path}", json=body).status_code == status, headers
    for body in (b"{", b"\xff", b"[" * 100_000, b""):
        answer = sender.http.post("/api/public/scores", content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid")
    assert sender.http.post("/api/public/ingestion", json=[]).status_code == 400
    assert sender.http.get("/api/public/scores").status_code == 404
