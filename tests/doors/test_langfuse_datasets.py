"""Datasets by the wire of Langfuse's SDKs, and by the Python SDK itself as its users call it: items, upserts, pages, experiments."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.doors.server import Server, until
from tests.doors.test_langfuse import Sender
from tests.traces.sdks.capture import ROOT

from windlass.core.ids import span_id, trace_id
from windlass.sdk.client import Client
from windlass.sdk.transport import HttpTransport

pytestmark = pytest.mark.slow
PYTHON = ROOT / ".sdks" / "python" / "bin" / "python"
EXPERIMENT = """
import json, logging
from langfuse import Evaluation, get_client
logging.disable(logging.CRITICAL)
langfuse = get_client()
langfuse.create_dataset(name="capitals", description="Of countries", metadata={"by": "ann"})
for key, country, capital in (("c-1", "France", "Paris"), ("c-2", "Italy", "Rome"), ("c-3", "Peru", "Lima")):
    langfuse.create_dataset_item(dataset_name="capitals", id=key, input={"country": country}, expected_output=capital)
dataset = langfuse.get_dataset("capitals", fetch_items_page_size=2)

def task(*, item, **more):
    return {"France": "Paris", "Italy": "Milan", "Peru": "Lima"}[item.input["country"]]

def right(*, output, expected_output, **more):
    return Evaluation(name="right", value=float(output == expected_output))

def share(*, item_results, **more):
    found = [e.value for r in item_results for e in r.evaluations]
    return Evaluation(name="share right", value=sum(found) / len(found), comment="of all")

runs = [dataset.run_experiment(name="first", run_name=name, task=task, evaluators=[right], run_evaluators=[share]) for name in ("a", "b")]
local = langfuse.run_experiment(
    name="local", run_name="local", data=[{"input": "x"}], task=lambda *, item, **more: item["input"], run_evaluators=[]
)
langfuse.shutdown()
print(json.dumps({
    "items": [[i.id, i.input, i.expected_output, i.metadata, i.status.value] for i in dataset.items],
    "about": [dataset.description, dataset.metadata, dataset.project_id],
    "runs": [r.experiment_id for r in runs], "traces": [[i.trace_id for i in r.item_results] for r in runs],
    "keys": [[i.item.id for i in r.item_results] for r in runs],
}))
"""


def of_project(server: Server) -> Client:
    """The owner's client of a project that nobody else has."""
    return Client(transport=HttpTransport(server.address, server.token), project=f"sets-{trace_id()[:8]}")


@pytest.fixture
def sender(server: Server) -> Iterator[Sender]:
    """An application whose key may write rows, in a project of its own."""
    with of_project(server) as client:
        key = client.keys.create("langfuse", role="developer").secret or ""
        basic = base64.b64encode(f"pk-lf-any:{key}".encode()).decode()
        with server.http(authorization=f"Basic {basic}") as http:
            yield Sender(http, client)


def made(sender: Sender, *items: dict[str, Any], name: str = "capitals") -> None:
    assert sender.http.post("/api/public/v2/datasets", json={"name": name}).status_code == 200
    for item in items:
        answer = sender.http.post("/api/public/dataset-items", json={"datasetName": name, **item})
        assert answer.status_code == 200, answer.text


def rows(sender: Sender, name: str = "capitals") -> list[dict[str, Any]]:
    return list(sender.client.datasets.all(name))


def refused(answer: httpx2.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert error["remedy"]
    return answer.status_code, error.get("where", "")


@pytest.mark.skipif(not PYTHON.exists(), reason="there is no .sdks/python here: make .stamps/sdks installs it")
def test_an_experiment_of_the_sdk_is_a_run_of_traces(server: Server) -> None:
    with of_project(server) as client:
        key = client.keys.create("langfuse", role="developer").secret or ""
        environ = {"LANGFUSE_BASE_URL": server.address, "LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": key, "PATH": "/usr/bin:/bin"}
        done = subprocess.run([PYTHON, "-c", EXPERIMENT], env=environ, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["items"] == [
            ["c-1", {"country": "France"}, "Paris", None, "ACTIVE"], ["c-2", {"country": "Italy"}, "Rome", None, "ACTIVE"],
            ["c-3", {"country": "Peru"}, "Lima", None, "ACTIVE"],
        ]  # fmt: skip
        project = client.project
        assert told["about"] == ["Of countries", {"by": "ann"}, project]
        text = json.dumps(["langfuse-experiment-v1", project, "dataset/capitals", "a"], separators=(",", ":"))
        assert told["runs"][0] == hashlib.sha256(text.encode()).hexdigest()[:16] != told["runs"][1]
        for run, traces in zip("ab", told["traces"], strict=True):
            wanted = f'attr.langfuse.experiment.dataset.id:"dataset/capitals" attr.langfuse.experiment.name:"{run}"'
            until(lambda: {t.trace_id for t in client.traces.list(filter=wanted).items} == set(traces))  # noqa: B023
        right = [[s.value for s in client.traces.show(trace).scores if s.name == "right"] for trace in told["traces"][0]]
        assert dict(zip(told["keys"][0], right, strict=True)) == {"c-1": [1.0], "c-2": [0.0], "c-3": [1.0]}
        reader = client.keys.create("reader", role="viewer").secret
        with server.http(authorization=f"Bearer {reader}") as http:
            (of,) = http.get("/datasets/runs.json?of=capitals").json()["sets"]
            assert {r["name"]: (r["figure"]["traces"], [(s["name"], s["value"], s["comment"]) for s in r["said"]]) for r in of["runs"]} == {
                name: (3, [("share right", pytest.approx(2 / 3), "of all")]) for name in "ab"
            }
            assert of["scores"] == ["right"]
            assert [s["mean"] for r in of["runs"] for s in r["figure"]["scores"]] == [pytest.approx(2 / 3)] * 2
            everything = http.get("/datasets/runs.json").json()["sets"]
            assert {(s["dataset"], r["name"]) for s in everything for r in s["runs"]} == {
                ("capitals", "a"),
                ("capitals", "b"),
                ("", "local"),
            }
            page = http.get("/datasets/runs?of=capitals").text
            assert "share right" in page
            assert "of all" in page


def test_an_item_is_a_row_and_the_same_id_sets_it_again(sender: Sender) -> None:
    trace, span = trace_id(), span_id()
    source = {"sourceTraceId": trace, "sourceObservationId": span}
    made(sender, {"id": "a", "input": {"q": 1}, "expectedOutput": [2], "metadata": {"n": 1}, **source}, {"id": "b", "input": "text"})
    full = {"key": "a", "input": {"q": 1}, "expected_output": [2], "metadata": {"n": 1}, "origin": {"trace": trace, "span": span}}
    assert rows(sender) == [full, {"key": "b", "input": "text"}], "values of several types stand in one field"
    made(sender, {"id": "a", "metadata": {"n": 2}, "input": None})
    assert rows(sender)[0] == full | {"metadata": {"n": 2}}, "what is not told stays"
    before = sender.client.versions.list("dataset/capitals").items
    made(sender, {"id": "b", "input": "text"})
    assert sender.client.versions.list("dataset/capitals").items == before, "the same again makes no version"
    item = sender.http.get("/api/public/dataset-items/a").json()
    assert {k: item[k] for k in ("sourceTraceId", "sourceObservationId", "datasetName", "status")} == {
        **source, "datasetName": "capitals", "status": "ACTIVE",
    }  # fmt: skip
    generated = sender.http.post("/api/public/dataset-items", json={"datasetName": "capitals", "input": 0}).json()["id"]
    assert {r["key"]: r["input"] for r in rows(sender)} == {"a": {"q": 1}, "b": "text", generated: 0}


def test_what_is_archived_or_deleted_is_in_older_versions_only(sender: Sender) -> None:
    made(sender, {"id": "a", "input": 1}, {"id": "b", "input": 2})
    with_both = sender.client.versions.show("dataset/capitals").version.ref
    answer = sender.http.post("/api/public/dataset-items", json={"datasetName": "capitals", "id": "a", "status": "ARCHIVED"})
    assert (answer.json()["status"], answer.json()["input"]) == ("ARCHIVED", 1)
    assert [r["key"] for r in rows(sender)] == ["b"]
    again = sender.http.post("/api/public/dataset-items", json={"datasetName": "capitals", "id": "a", "status": "ACTIVE"})
    assert refused(again) == (400, "input"), "what it said is not made up"
    assert sender.http.delete("/api/public/dataset-items/b").status_code == 200
    assert rows(sender) == []
    assert [r["key"] for r in sender.client.datasets.all(str(with_both))] == ["a", "b"]
    for missing in (
        sender.http.delete("/api/public/dataset-items/b"), sender.http.get("/api/public/dataset-items/a"),
        sender.http.post("/api/public/dataset-items", json={"datasetName": "capitals", "id": "a", "status": "ARCHIVED"}),
    ):  # fmt: skip
        assert refused(missing) == (404, "id")


def test_pages_of_items_and_of_datasets(sender: Sender) -> None:
    made(sender, *({"id": f"i{n}", "input": n} for n in range(5)))
    made(sender, name="empty")

    def page(number: int, limit: int = 2) -> tuple[list[str], dict[str, int]]:
        told = sender.http.get(f"/api/public/dataset-items?datasetName=capitals&page={number}&limit={limit}").json()
        return [i["id"] for i in told["data"]], told["meta"]

    assert page(3) == (["i4"], {"page": 3, "limit": 2, "totalItems": 5, "totalPages": 3}), "a later one first"
    assert [page(n)[0] for n in (1, 2, 3, 4)] == [["i0", "i1"], ["i2", "i3"], ["i4"], []]
    made(sender, {"id": "i00", "input": 0})
    assert page(2)[0] == ["i1", "i2"], "pages are of the rows there are now"
    listed = sender.http.get("/api/public/v2/datasets?limit=1&page=2").json()
    assert ([d["name"] for d in listed["data"]], listed["meta"]["totalPages"]) == (["empty"], 2)
    assert sender.http.get("/api/public/dataset-items?datasetName=empty").json()["meta"]["totalPages"] == 0
    for odd in ("page=0", "page=x", "limit=-1", "page=1e3", "limit=999999999999"):
        assert refused(sender.http.get(f"/api/public/dataset-items?datasetName=capitals&{odd}"))[0] == 400


def test_rows_of_ours_are_read_as_items(sender: Sender) -> None:
    sender.client.datasets.edit("questions", [{"key": "q1", "question": "Why?", "split": "test", "symbols": ["a"]}])
    (item,) = sender.http.get("/api/public/dataset-items?datasetName=questions").json()["data"]
    assert (item["id"], item["input"], item["expectedOutput"]) == ("q1", {"question": "Why?", "symbols": ["a"]}, None)


def test_what_cannot_be_kept_is_refused_and_says_why(sender: Sender) -> None:
    made(sender, {"id": "a", "input": 1})
    made(sender, {"id": "a", "input": 1}, name="other")
    post = sender.http.post
    datasets: tuple[tuple[dict[str, Any], tuple[int, str]], ...] = (
        ({"name": "My Set"}, (400, "")), ({"name": "x", "inputSchema": {"type": "object"}}, (400, "inputSchema")),
        ({"name": "x", "expectedOutputSchema": {}}, (400, "expectedOutputSchema")),
        ({"name": "capitals", "description": "x"}, (400, "description")),
        ({"name": "capitals", "metadata": 1}, (400, "metadata")),
    )  # fmt: skip
    for body, told in datasets:
        assert refused(post("/api/public/v2/datasets", json=body)) == told
    assert [a.name for a in sender.client.artifacts.list("dataset").items] == ["capitals", "other"]
    items: tuple[tuple[dict[str, Any], tuple[int, str]], ...] = (
        ({"datasetName": "nowhere", "input": 1}, (404, "")), ({"datasetName": "capitals"}, (400, "input")),
        ({"datasetName": "capitals", "id": "a", "input": 1, "status": "GONE"}, (400, "status")),
        ({"datasetName": "capitals", "id": "x" * 256, "input": 1}, (400, "id")),
        ({"datasetName": "capitals", "input": 1, "sourceTraceId": "short"}, (400, "traceId")),
        ({"datasetName": "capitals", "input": 1, "sourceObservationId": "ab" * 8}, (400, "sourceTraceId")),
    )  # fmt: skip
    for body, (status, where) in items:
        answer = post("/api/public/dataset-items", json=body)
        assert answer.status_code == status, answer.text
        assert not where or answer.json()["error"]["where"] == where
    assert rows(sender) == [{"key": "a", "input": 1}]
    assert refused(sender.http.get("/api/public/dataset-items?datasetName=capitals&version=2026-01-01T00:00:00Z")) == (400, "version")
    assert refused(sender.http.get("/api/public/dataset-items")) == (400, "datasetName")
    assert refused(sender.http.get("/api/public/dataset-items/a")) == (409, "id"), "two datasets have it"
    assert refused(post("/api/public/dataset-run-items", json={"runName": "r", "datasetItemId": "a"})) == (400, "traceId")


def test_a_trace_is_put_into_a_run(sender: Sender, server: Server) -> None:
    made(sender, {"id": "a", "input": 1})
    trace = trace_id()
    said = {"runName": "by hand", "datasetItemId": "a", "traceId": trace, "runDescription": "x", "metadata": {"m": 1}}
    told = sender.http.post("/api/public/dataset-run-items", json=said).json()
    wanted = f"attr.langfuse.experiment.id:{told['datasetRunId']}"
    until(lambda: [t.trace_id for t in sender.client.traces.list(filter=wanted).items] == [trace])
    (span,) = sender.client.traces.show(trace).spans
    assert span.attributes["langfuse.experiment.item.id"] == "a"
    assert span.attributes["langfuse.experiment.metadata"] == '{"m":1}'
    both = sender.http.post("/api/public/dataset-run-items", json=said | {"runName": "a second"}).json()
    assert both["datasetRunId"] != told["datasetRunId"]
    score = {"datasetRunId": told["datasetRunId"], "name": "whole", "value": 0.5, "dataType": "NUMERIC"}
    assert sender.http.post("/api/public/scores", json=[score]).status_code == 202
    with server.http(authorization=f"Bearer {sender.client.keys.create('r', role='viewer').secret}") as http:
        found = until(lambda: http.get("/datasets/runs.json?of=capitals").json()["sets"])
        runs = {run["name"]: [(s["name"], s["value"]) for s in run["said"]] for run in found[0]["runs"]}
        assert runs == {"by hand": [("whole", 0.5)], "a second": []}, "one trace in two runs"
    assert [t.trace_id for t in sender.client.traces.list().items] == [trace], "what is of the run as a whole is no trace"


def test_who_may(sender: Sender, server: Server) -> None:
    made(sender, {"id": "a", "input": 1})
    assert sender.http.get("/api/public/projects").json()["data"][0]["id"] == sender.client.project
    caller = sender.client.keys.create("app").secret
    for headers, status in (({}, 401), ({"authorization": f"Bearer {caller}"}, 403)):
        with server.http(**headers) as http:
            assert http.get("/api/public/v2/datasets/capitals").status_code == status
            assert http.post("/api/public/v2/datasets", json={"name": "x"}).status_code == status
            assert http.delete("/api/public/dataset-items/a").status_code == status
    assert [r["key"] for r in rows(sender)] == ["a"]
    for path, to in (
        ("traces/abc", "/traces/abc"), ("experiments/results?baseline=x", "/datasets/runs"),
        ("datasets/dataset/capitals/runs/x", "/datasets/runs?of=capitals"),
    ):  # fmt: skip
        assert sender.http.get(f"/project/p/{path}").headers["location"] == to, "addresses that the SDKs print"
