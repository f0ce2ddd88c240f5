"""Opik's own interface by its wire. What its SDK itself sends is in `tests/traces/sdks/test_live.py`."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from tests.doors.server import Server, until

from windlass.core.ids import trace_id, uuid7
from windlass.core.span import GIVEN, StoredSpan
from windlass.sdk.client import Client
from windlass.sdk.transport import HttpTransport

pytestmark = pytest.mark.slow
BASE = "/api/v1/private"
TIMES = {"start_time": "2026-11-30T07:45:53.000000Z", "end_time": "2026-11-30T07:45:54.000000Z"}


class App(NamedTuple):
    """An application's way in, and the owner's to what came of it."""

    http: httpx2.Client
    client: Client

    def put(self, what: str, *items: Any) -> httpx2.Response:
        return self.http.post(f"{BASE}/{what}/batch", json={what: items})

    def steps(self, trace: str) -> dict[str, StoredSpan]:
        found = self.client.traces.show(trace.replace("-", "")).spans
        return {s.name: s for s in found if GIVEN not in s.attributes}


def of(server: Server) -> Iterator[App]:
    client = Client(transport=HttpTransport(server.address, server.token), project=f"opik-{trace_id()[:8]}")
    with server.http(authorization=client.keys.create("app").secret or "") as http:
        yield App(http, client)


@pytest.fixture
def app(server: Server) -> Iterator[App]:
    yield from of(server)


def test_a_step_is_sent_as_it_begins_and_when_it_ends(app: App) -> None:
    trace, span = uuid7(), uuid7()
    begun = {"id": trace, "name": "run", "project_name": "shop", "start_time": TIMES["start_time"], "thread_id": "s-1", "input": {"q": 1}}
    assert app.put("traces", begun).status_code == 204
    whole = {"id": span, "trace_id": trace, "name": "ask", "type": "llm", "model": "gpt-5-mini", "output": {"a": "x"}, **TIMES}
    packed = gzip.compress(json.dumps({"spans": [whole, whole | {"end_time": None, "output": None}]}).encode())
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    assert app.http.post(f"{BASE}/spans/batch", content=packed, headers=headers).status_code == 204
    assert app.put("traces", begun | {"end_time": TIMES["end_time"], "output": {"a": 2}}).status_code == 204
    steps = app.steps(trace)
    assert {n: (s.kind, s.end_ns - s.start_ns) for n, s in steps.items()} == {"run": ("span", 10**9), "ask": ("model", 10**9)}
    assert steps["ask"].parent == steps["run"].span_id
    summary = app.client.traces.show(trace.replace("-", "")).summary
    assert (summary.name, summary.session, summary.spans, summary.output) == ("run", "s-1", 2, '{"a":2}')


def test_updates_come_before_what_they_update_or_after(app: App) -> None:
    trace, span = uuid7(), uuid7()
    early = {"trace_id": trace, "output": {"a": "early"}, "end_time": TIMES["end_time"], "tags_to_add": ["b"]}
    assert app.http.patch(f"{BASE}/spans/{span}", json=early).status_code == 204
    assert app.steps(trace)["not told yet"].attributes["opik.output"] == '{"a":"early"}', "kept, though its beginning is not known"
    created = {"id": span, "trace_id": trace, "name": "ask", "start_time": TIMES["start_time"], "input": {"q": 1}, "tags": ["a"]}
    assert app.put("spans", created).status_code == 204
    assert app.http.patch(f"{BASE}/spans/{span}", json={"trace_id": trace, "metadata": {"k": 1}, "name": None}).status_code == 204
    (step,) = app.steps(trace).values()
    assert (step.name, step.end_ns - step.start_ns, step.attributes["opik.input"]) == ("ask", 10**9, '{"q":1}')
    assert (step.attributes["opik.output"], step.attributes["opik.metadata"]) == ('{"a":"early"}', '{"k":1}')
    assert step.attributes["opik.tags"] == ["b"], "an update is newer than what was told as a whole"


def test_an_update_after_a_restart_loses_nothing(tmp_path: Path) -> None:
    trace, span, times = uuid7(), uuid7(), {"start_time": TIMES["start_time"]}
    first = Server(tmp_path / "home")
    for app in of(first):
        key, project = app.http.headers["authorization"], app.client.project
        app.put("traces", {"id": trace, "name": "run", "input": {"q": 1}, "tags": ["a"], **times})
        app.put("spans", {"id": span, "trace_id": trace, "name": "ask", "usage": {"prompt_tokens": 3, "original_usage.x.y": 3}, **times})
    first.stop()
    second = Server(tmp_path / "home")
    client = Client(transport=HttpTransport(second.address, second.token), project=project)
    with second.http(authorization=key) as http:
        app = App(http, client)
        update: dict[str, Any] = {"end_time": TIMES["end_time"], "tags_to_add": ["b"]}
        assert http.patch(f"{BASE}/traces/{trace}", json=update).status_code == 204
        assert http.patch(f"{BASE}/spans/{span}", json={"trace_id": trace, "output": {"a": 1}}).status_code == 204
        steps = app.steps(trace)
        assert (steps["run"].attributes["opik.input"], steps["run"].attributes["opik.tags"]) == ('{"q":1}', ["a", "b"])
        assert steps["run"].end_ns - steps["run"].start_ns == 10**9
        assert (steps["ask"].attributes["opik.output"], steps["ask"].tokens_in) == ('{"a":1}', 3)
    second.stop()


def test_scores_of_traces_spans_and_threads(app: App) -> None:
    trace, span = uuid7(), uuid7()
    app.put("traces", {"id": trace, "name": "run", "thread_id": "s-9", **TIMES})
    app.put("spans", {"id": span, "trace_id": trace, "name": "ask", **TIMES})
    put = app.http.put
    score = {"id": trace, "name": "helpful", "value": 0.9, "reason": "says when", "category_name": "good", "source": "sdk"}
    assert put(f"{BASE}/traces/feedback-scores", json={"scores": [score]}).status_code == 204
    assert (
        put(f"{BASE}/spans/feedback-scores", json={"scores": [score | {"id": span, "name": "right", "category_name": None}]}).status_code
        == 204
    )
    thread = {"thread_id": "s-9", "name": "whole", "value": 1, "source": "sdk"}
    assert put(f"{BASE}/traces/threads/feedback-scores", json={"scores": [thread]}).status_code == 204
    found = {(s.name, s.value, s.comment, s.session) for s in app.client.traces.show(trace.replace("-", "")).scores}
    assert found == {("helpful", 0.9, "good\n\nsays when", None), ("right", 0.9, "says when", None), ("whole", 1.0, "", "s-9")}
    wrong = put(f"{BASE}/traces/feedback-scores", json={"scores": [score | {"name": "a<b"}, score | {"name": "kept"}, {"id": trace}]})
    assert (wrong.status_code, wrong.json()["error"]["message"].count("scores[")) == (400, 2)
    assert "kept" in {s.name for s in app.client.traces.show(trace.replace("-", "")).scores}
    early = put(f"{BASE}/traces/threads/feedback-scores", json={"scores": [thread | {"thread_id": "not yet"}]})
    assert (early.status_code, "retry-after" in early.headers) == (503, True), "their SDK sends it again"


def test_a_trace_is_read_back_as_it_was_told(app: App) -> None:
    reader = app.client.keys.create("reader", role="viewer").secret or ""
    trace = uuid7()
    long = {"a": "x" * 1_200_000}
    told = {"id": trace, "name": "run", "project_name": "shop", "input": {"q": [1]}, "output": long, "tags": ["t"], **TIMES}
    assert app.put("traces", told | {"metadata": {"m": 1}}).status_code == 204
    scores = [{"id": trace, "name": "helpful", "value": 0.9, "reason": "says when"}]
    assert app.http.put(f"{BASE}/traces/feedback-scores", json={"scores": scores}).status_code == 204
    assert app.http.get(f"{BASE}/traces/{trace}").status_code == 403, "a key that may send need not be one that may read"
    headers = {"authorization": reader}
    read = app.http.get(f"{BASE}/traces/{trace}", headers=headers).json()
    assert {field: read[field] for field in told} == told
    assert (read["metadata"], read["project_id"], read["duration"]) == ({"m": 1}, "shop", 1000.0)
    assert [(s["name"], s["value"], s["reason"]) for s in read["feedback_scores"]] == [("helpful", 0.9, "says when")]
    assert app.http.get(f"{BASE}/traces/{uuid7()}", headers=headers).status_code == 404
    assert app.http.get(f"{BASE}/projects/shop", headers=headers).json()["name"] == "shop"
    assert app.http.get(f"{BASE}/auth/workspace", headers=headers).json() == {"workspace_name": app.client.project}
    assert app.http.post(f"{BASE}/auth", json={}, headers={"authorization": "wl_nonsense"}).status_code == 401
    assert app.http.get("/api/is-alive/ver").json()["version"].startswith("2.2.")


def test_what_is_wrong_costs_nothing_else_and_is_in_the_ledger(app: App) -> None:
    trace = uuid7()
    told: dict[str, Any] = {"trace_id": trace, "name": "ok", **TIMES}
    items = [told | {"id": uuid7()}, told | {"id": "?"}, 7, {"id": uuid7(), "trace_id": trace}, told | {"id": uuid7(), "end_time": "soon"}]
    answer = app.put("spans", *items)
    assert answer.status_code == 400
    assert [f"spans[{n}]" in answer.json()["error"]["message"] for n in range(5)] == [False, True, True, True, True]
    assert len(app.steps(trace)) == 1

    def refused() -> Any:
        lines = app.client.traces.ledger().items
        return {reason: n for line in lines for reason, n in line.refused.items()} if any(line.refused for line in lines) else None

    assert until(refused) == {"malformed": 4}
    for body in (b"{", b"[]", b'{"spans": 7}', b"[" * 100_000, b"\xff"):
        assert app.http.post(f"{BASE}/spans/batch", content=body).status_code == 400
    assert app.http.post(f"{BASE}/spans/batch", content=b"x", headers={"content-encoding": "br"}).status_code == 400
    assert app.http.get(f"{BASE}/optimizations").status_code == 404


def test_who_is_refused_and_what_leads_where(app: App, server: Server) -> None:
    trace = uuid7()
    reader = app.client.keys.create("reader", role="viewer").secret or ""
    for headers, status in (({}, 401), ({"authorization": "wl_nonsense"}, 401), ({"authorization": reader}, 403)):
        with server.http(**headers) as http:
            for path in ("traces/batch", "spans/batch", "traces"):
                assert http.post(f"{BASE}/{path}", json={"traces": [{"id": trace, **TIMES}]}).status_code == status
            assert http.patch(f"{BASE}/traces/{trace}", json={}).status_code == status
            assert http.put(f"{BASE}/traces/feedback-scores", json={"scores": []}).status_code == status
            assert http.get("/api/is-alive/ping").status_code == 200
    printed = app.http.get(f"/api/v1/session/redirect/projects/?trace_id={trace}&path=x")
    assert printed.headers["location"] == f"/traces/{trace.replace('-', '')}"
