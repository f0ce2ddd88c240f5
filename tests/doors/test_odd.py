"""Nothing odd that others' SDKs send is a defect, or reaches the projector. MLflow's is in `test_mlflow.py`."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import pytest
from tests.doors.odd import odd_ones
from tests.doors.server import Server

from windlass.core.ids import trace_id, uuid7
from windlass.sdk.client import Client
from windlass.sdk.transport import HttpTransport

pytestmark = pytest.mark.slow
OP, LF = "/api/v1/private", "/api/public"
TRACE, SPAN, RUN = uuid7(), uuid7(), uuid7()
NOW = "2026-11-30T08:00:00Z"
STEP = {
    "name": "n", "start_time": NOW, "end_time": NOW, "input": {"a": 1}, "tags": ["x"], "metadata": {"a": 1}, "usage": {"a.b": 1},
    "error_info": {"exception_type": "E", "message": "m", "traceback": "t"}, "last_updated_at": NOW, "project_name": "p",
}  # fmt: skip
OPIK: dict[str, tuple[str, str, Any]] = {
    "traces": ("POST", f"{OP}/traces/batch", {"traces": [{"id": TRACE, "thread_id": "t", **STEP}]}),
    "spans": ("POST", f"{OP}/spans/batch", {"spans": [{"id": SPAN, "trace_id": TRACE, "parent_span_id": SPAN, "type": "llm", **STEP}]}),
    "an update": ("PATCH", f"{OP}/traces/{TRACE}", {"end_time": NOW, "tags": ["x"], "tags_to_add": ["y"], "tags_to_remove": ["x"]}),
    "scores": ("PUT", f"{OP}/spans/feedback-scores", {"scores": [{"id": SPAN, "name": "n", "value": 1, "reason": "r"}]}),
    "items": ("PUT", f"{OP}/datasets/items", {"dataset_name": "odd", "items": [{"id": "i", "data": {"q": 1}, "trace_id": TRACE}]}),
    "a stream": ("POST", f"{OP}/datasets/items/stream", {"dataset_name": "odd", "last_retrieved_id": "a", "steam_limit": 5}),
    "an experiment": ("POST", f"{OP}/experiments", {"id": RUN, "name": "n", "dataset_name": "odd", "metadata": {"a": 1},
                                                   "dataset_version_id": "v", "tags": ["a"], "prompt_versions": [{"id": "p"}]}),
    "its items": ("POST", f"{OP}/experiments/items", {"experiment_items": [
        {"experiment_id": RUN, "trace_id": TRACE, "dataset_item_id": "i"}]}),
    "a prompt": ("POST", f"{OP}/prompts", {"name": "odd", "template": '[{"role": "user", "content": "x"}]', "template_structure": "chat",
                                          "metadata": {"a": 1}, "type": "mustache", "description": "d"}),
    "which prompt": ("POST", f"{OP}/prompts/versions/retrieve", {"name": "odd", "commit": None, "version_number": "v1"}),
}  # fmt: skip
LANGFUSE: dict[str, tuple[str, str, Any]] = {
    "a dataset": ("POST", f"{LF}/v2/datasets", {"name": "odd", "description": "d", "metadata": {"a": 1}}),
    "an item": ("POST", f"{LF}/dataset-items", {"datasetName": "odd", "id": "i", "input": {"a": 1}, "expectedOutput": 2, "metadata": 1,
                                               "sourceTraceId": trace_id(), "sourceObservationId": "cd" * 8, "status": "ACTIVE"}),
    "a run": ("POST", f"{LF}/dataset-run-items", {"runName": "r", "datasetItemId": "i", "traceId": trace_id(), "observationId": "cd" * 8,
                                                 "runDescription": "d", "metadata": {"a": 1}, "datasetVersion": "v"}),
    "scores": ("POST", f"{LF}/ingestion", {"batch": [{"type": "score-create", "id": "i", "body": {
        "name": "n", "value": 1, "id": "x", "traceId": trace_id(), "observationId": "cd" * 8, "comment": "c", "dataType": "NUMERIC"}}]}),
}  # fmt: skip


class App(NamedTuple):
    http: httpx2.Client
    client: Client


@pytest.fixture(scope="module")
def project(server: Server) -> Client:
    return Client(transport=HttpTransport(server.address, server.token), project=f"odd-{trace_id()[:8]}")


@pytest.fixture(scope="module")
def opik(server: Server, project: Client) -> Iterator[httpx2.Client]:
    key = project.keys.create("app", role="developer").secret or ""
    with server.http(authorization=key) as http:
        assert http.post(f"{OP}/datasets", json={"name": "odd"}).status_code == 201
        for what in ("items", "traces", "spans", "an experiment", "a prompt"):
            verb, path, whole = OPIK[what]
            assert http.request(verb, path, json=whole).is_success
        yield http


@pytest.fixture(scope="module")
def langfuse(server: Server, project: Client) -> Iterator[httpx2.Client]:
    key = project.keys.create("sdk", role="developer").secret or ""
    with server.http(authorization="Basic " + base64.b64encode(f"pk:{key}".encode()).decode()) as http:
        yield http


def together(whole: dict[str, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Of a body that is a list of steps, all that are odd at once: what is wrong with one is said of it alone."""
    for field, said in whole.items():
        if field in ("traces", "spans"):
            yield field, "each", {field: [sent for _, _, sent in odd_ones(said[0])]}
            return
    yield from odd_ones(whole)


@pytest.mark.parametrize("what", OPIK)
def test_nothing_odd_that_opik_sends_is_a_defect(opik: httpx2.Client, what: str) -> None:
    verb, path, whole = OPIK[what]
    for place, odd, sent in together(whole):
        answer = opik.request(verb, path, json=sent)
        assert answer.status_code < 500 or answer.json()["error"]["code"] == "unavailable", (place, odd, answer.text)
        assert "projector" not in answer.text and (answer.is_success or answer.json()["message"]), (place, odd, answer.text)


@pytest.mark.parametrize("what", LANGFUSE)
def test_nothing_odd_that_langfuse_sends_is_a_defect(langfuse: httpx2.Client, what: str) -> None:
    verb, path, whole = LANGFUSE[what]
    for place, odd, sent in odd_ones(whole):
        answer = langfuse.request(verb, path, json=sent)
        assert answer.status_code < 500 and "went wrong inside" not in answer.text, (place, odd, answer.text)
