"""History of MLflow: as a real server was seen to answer, and with `make soak` from one that runs."""

from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path

import pytest
from tests.sdk.importing import servers, story
from tests.sdk.importing.served import Asked, Told, replaying, served, told

from windlass.core.ids import now_ns
from windlass.sdk.client import Client
from windlass.sdk.importing import mlflow, mlflow_spans
from windlass.sdk.importing import spans as otlp
from windlass.sdk.importing.bring import Brought, source_of
from windlass.sdk.importing.source import Left

SPANS, SCORES = servers.SPANS["mlflow"], servers.SCORES["mlflow"]


def test_history_comes_whole_and_once(client: Client, tmp_path: Path, small_pages: None) -> None:
    with served(replaying(servers.CAPTURED["mlflow"])) as address:
        brought = story.walk(client, "mlflow", address, tmp_path / "imports", SCORES, SPANS)
    _check(client, brought)


@pytest.mark.soak  # installs 850 MB the first time
def test_a_server_that_runs(client: Client, tmp_path: Path, small_pages: None) -> None:
    with servers.server("mlflow", tmp_path) as address:
        brought = story.walk(client, "mlflow", address, tmp_path / "imports", SCORES, SPANS)
    _check(client, brought)


def _check(client: Client, brought: Brought) -> None:
    early, late = (client.prompts.get("greeting", number=number) for number in (1, 2))
    assert [m.text for m in late.body.messages] == ["Be {{ how }}.", "{{name}}"] and late.body.parameters == {"temperature": 0.5}
    assert (early.tags, late.note, late.versions) == ({"team": "shop"}, "version 2 in MLflow: politer", 2)
    linked = client.traces.list(filter=f"uses:{late.ref}", limit=200).items
    assert (len(linked), client.traces.list(filter=f"uses:{early.ref}").items) == (7, ()), "all of them loaded the second"
    assert {n.why for n in brought.left if n.what == "prompts"} == {
        "their names have other letters than lower-case ones, digits, '-', '_' and '.'"
    }
    assert {(n.what, n.count) for n in brought.left} == {("prompts", 1), ("scores", 1)} and len(brought.left) == 3
    first = client.traces.list(limit=200).items[-1]
    trace = client.traces.show(first.trace_id)
    said = {s.name: (s.value, s.comment, s.given) for s in trace.scores}
    assert said == {
        "helpful": (True, "says when\n\n(human ann@example.com)", True),
        "tone": ("plain", "(llm judge gpt-5)", True),
        "expected": (None, "the right answer\n\n(human ann@example.com)", True),
    }
    assert all(0 < s.at_ns - first.start_ns < 60e9 for s in trace.scores), "when they were given there"
    root = next(s for s in trace.spans if s.parent is None)
    assert root.attributes["mlflow.traceRequestId"] == f"tr-{trace.summary.trace_id}" and root.attributes["tag.tags"] == ["shop=north"]
    assert root.attributes["mlflow.source.type"] == "LOCAL" and "mlflow.trace.sizeBytes" not in root.attributes
    second = client.traces.show(client.traces.list(limit=200).items[-2].trace_id)
    (faithful,) = second.scores
    assert (faithful.value, faithful.span) == (0.75, next(s.span_id for s in second.spans if s.name == "chat"))
    assert second.summary.cost == pytest.approx(3.15e-05), "what it was told to cost there"


RUNNING = {"trace_id": "tr-" + "1" * 32, "request_time": "2026-01-01T02:40:02.063Z", "state": "IN_PROGRESS"}
V2 = {
    "name": "old", "context": {"trace_id": "0x" + "2" * 32, "span_id": "0x" + "3" * 16}, "parent_id": None, "start_time": 5_000,
    "end_time": 9_000, "status_code": "OK", "status_message": "", "attributes": {"mlflow.spanType": '"CHAIN"'},
    "events": [{"name": "e", "timestamp": 6_000, "attributes": {"a": 1}}],
}  # fmt: skip
V3 = {
    "name": "new", "trace_id": base64.b64encode(b"\x22" * 16).decode(), "span_id": base64.b64encode(b"\x44" * 8).decode(),
    "parent_span_id": base64.b64encode(b"\x33" * 8).decode(), "start_time_unix_nano": 6_000, "end_time_unix_nano": 7_000,
    "events": [], "status": {"code": "STATUS_CODE_ERROR", "message": "no"}, "attributes": {"mlflow.spanOutputs": '"x"'}, "links": [],
}  # fmt: skip


def test_spans_that_lie_with_artifacts_and_traces_that_still_run() -> None:
    """As servers of before kept them. One that runs holds the mark back, unless it has for a day."""
    lying = {"trace_id": "tr-" + "2" * 32, "request_time": "2026-11-30T02:40:01Z", "state": "OK"}
    running = RUNNING | {"trace_id": "tr-" + "5" * 32, "request_time": otlp.iso(now_ns() - 10**9)}

    def answer(asked: Asked) -> Told:
        if asked.path.endswith("experiments/search"):
            return told({"experiments": [{"experiment_id": "0", "name": "Default"}]})
        if asked.path.endswith("traces/search"):
            return told({"traces": [lying, RUNNING, running]})
        if asked.path.endswith("batchGet"):
            return told({"error_code": "INTERNAL_ERROR"}, 400)
        assert running["trace_id"] not in str(asked.query) or not asked.path.endswith("artifact"), "half of it would come"
        if asked.path.endswith("get-trace-artifact") and dict(asked.query)["request_id"] == lying["trace_id"]:
            return told({"spans": [V2, V3]})
        return told({"error_code": "RESOURCE_DOES_NOT_EXIST"}, 404)

    with served(answer) as address:
        (page,) = source_of("mlflow", address, {}).pages({}, 0, None)
    old, new = page.spans
    assert old.trace_id.hex() == new.trace_id.hex() == "2" * 32 and new.parent_span_id == old.span_id == b"\x33" * 8
    assert (old.start_time_unix_nano, old.end_time_unix_nano, old.events[0].time_unix_nano) == (5_000, 9_000, 6_000)
    assert (old.status.code, new.status.code, new.status.message) == (1, 2, "no")
    assert page.traces == 1 and sum(page.left.values()) == 2
    assert Left("traces", "they still run; asked again, they come along once they have ended") in page.left
    assert page.marks == {"0": {"at": 0, "seen": []}}, "the next time begins before the one that runs"


def test_an_id_that_is_none_is_made_one() -> None:
    wide = base64.b64encode(b"\x05" * 20).decode()
    span = mlflow_spans.parsed({"trace_id": wide, "span_id": "AQIDBAUGBwg=", "name": "n", "start_time_unix_nano": "5"})
    assert span.trace_id == otlp.identity((b"\x05" * 20).hex(), 16) and span.attributes[0].key == otlp.FOREIGN_TRACE


def test_the_key_is_read_as_mlflows_own_client_does() -> None:
    assert mlflow.headers_of({"MLFLOW_TRACKING_TOKEN": "t"}) == {"authorization": "Bearer t"}
    assert mlflow.headers_of({"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "p"})["authorization"].startswith("Basic ")
    assert mlflow.headers_of({}) == {}


def test_prompts_are_counted_and_come_once(client: Client, tmp_path: Path, small_pages: None) -> None:
    with served(replaying(servers.CAPTURED["mlflow"])) as address:
        source = source_of("mlflow", address, {})
        told: list[tuple[int, int]] = []
        for dry in (True, False, True, False):
            new = source.versioned(client, Counter(), again=False, dry=dry).prompts
            told.append((new, len(client.artifacts.list("prompt").items)))
    assert told == [(2, 0), (2, 1), (0, 1), (0, 1)]
