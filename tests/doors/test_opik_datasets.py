"""Datasets and experiments by the wire of Opik's SDK, and by the Python SDK itself as its users call it."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.doors.server import Server, until
from tests.doors.test_langfuse_datasets import of_project
from tests.doors.test_opik import BASE, TIMES, App
from tests.traces.sdks.capture import ROOT

from windlass.core.ids import uuid7

pytestmark = pytest.mark.slow
PYTHON = ROOT / ".sdks" / "opik-alone" / "bin" / "python"
EXPERIMENT = """
import json, logging, uuid
import opik
from opik.evaluation.metrics import base_metric, score_result
logging.disable(logging.CRITICAL)
client = opik.Opik()
items = [{"id": str(uuid.UUID(int=n)), "country": country, "expected": capital}
         for n, (country, capital) in enumerate((("France", "Paris"), ("Italy", "Rome"), ("Peru", "Lima")), 1)]
made = client.create_dataset("capitals", description="Of countries")
made.insert(items)
dataset = client.get_or_create_dataset("capitals")
first = dataset.get_current_version_name()
dataset.insert([{"country": "France", "expected": "Paris"}, {"country": "Nowhere", "expected": "-"}])
dataset.update([items[1] | {"expected": "Roma"}])
dataset.delete([item["id"] for item in dataset.get_items() if item["country"] == "Nowhere"])

class Right(base_metric.BaseMetric):
    def score(self, output, expected, **more):
        return score_result.ScoreResult(name="right", value=float(output == expected), reason="as told")

def task(item):
    return {"output": {"France": "Paris", "Italy": "Milan", "Peru": "Lima"}[item["country"]]}

def share(results):
    found = [r.score_results[0].value for r in results]
    return [score_result.ScoreResult(name="share right", value=sum(found) / len(found))]

runs = [
    opik.evaluate(dataset=dataset, task=task, scoring_metrics=[Right(name="right", track=False)], experiment_name=name,
                  experiment_config={"model": "none"}, experiment_scoring_functions=[share], verbose=0)
    for name in ("a", "a", "b")
]
opik.flush_tracker()
client.flush()

class Long(base_metric.BaseMetric):
    def score(self, output, **more):
        return score_result.ScoreResult(name="long", value=float(len(output)))

again = opik.evaluate_experiment(experiment_name="b", scoring_metrics=[Long(name="long", track=False)], verbose=0)
client.flush()
one = client.get_experiment_by_id(runs[0].experiment_id)
answers = one.get_items()
print(json.dumps({
    "items": dataset.get_items(), "streamed": len(list(dataset.__internal_api__stream_items_as_dataclasses__(batch_size=2))),
    "first": dataset.get_version_view(first).get_items(), "about": [dataset.description, dataset.dataset_items_count],
    "runs": [r.experiment_id for r in runs], "traces": [sorted(t.test_case.trace_id for t in r.test_results) for r in runs],
    "named": [e.id for e in client.get_experiments_by_name("A")],
    "of": [e.id for e in client.get_dataset_experiments("capitals")], "said": one.get_experiment_data().metadata,
    "answers": [[a.dataset_item_data["country"], a.evaluation_task_output,
                 [[s["name"], s["value"], s["reason"]] for s in a.feedback_scores]] for a in answers],
    "url": runs[0].experiment_url,
    "scored anew": sorted(t.score_results[0].value for t in again.test_results), "datasets": [d.name for d in client.get_datasets()],
}))
"""


@pytest.fixture
def app(server: Server) -> Iterator[App]:
    """An application whose key may write rows, in a project of its own."""
    with of_project(server) as client:
        key = client.keys.create("opik", role="developer").secret or ""
        with server.http(authorization=key) as http:
            yield App(http, client)


def put(app: App, *items: Any, name: str = "capitals") -> httpx2.Response:
    return app.http.put(f"{BASE}/datasets/items", json={"dataset_name": name, "items": items})


def made(app: App, *items: Any, name: str = "capitals") -> None:
    assert app.http.post(f"{BASE}/datasets", json={"name": name}).status_code == 201
    if items:
        answer = put(app, *items, name=name)
        assert answer.status_code == 204, answer.text


def rows(app: App, name: str = "capitals") -> list[dict[str, Any]]:
    return list(app.client.datasets.all(name))


def item(id: str, **data: Any) -> dict[str, Any]:
    return {"id": id, "source": "sdk", "data": data}


def refused(answer: httpx2.Response) -> tuple[int, str]:
    """In their form, and in ours beside."""
    said = answer.json()
    assert said["errors"] == [said["message"]]
    assert said["error"]["remedy"] in said["message"]
    assert said["code"] == answer.status_code
    return answer.status_code, said["error"].get("where", "")


@pytest.mark.skipif(not PYTHON.exists(), reason="there is no .sdks/opik-alone here: make .stamps/sdks installs it")
def test_an_experiment_of_the_sdk_is_a_run_of_traces(server: Server) -> None:
    with of_project(server) as client:
        key = client.keys.create("opik", role="developer").secret or ""
        environ = {
            "OPIK_URL_OVERRIDE": f"{server.address}/api", "OPIK_API_KEY": key, "OPIK_WORKSPACE": "default", "PATH": "/usr/bin:/bin",
            "OPIK_SENTRY_ENABLE": "false", "OPIK_PROJECT_NAME": "shop",
        }  # fmt: skip
        done = subprocess.run([PYTHON, "-c", EXPERIMENT], env=environ, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        ids = [f"00000000-0000-0000-0000-00000000000{n}" for n in (1, 2, 3)]
        wanted = [(ids[0], "France", "Paris"), (ids[1], "Italy", "Roma"), (ids[2], "Peru", "Lima")]
        assert told["items"] == [{"id": id, "country": c, "expected": e} for id, c, e in wanted]
        assert [i["expected"] for i in told["first"]] == ["Paris", "Rome", "Lima"], "an older version is as it was"
        assert (told["streamed"], told["about"], told["datasets"]) == (3, ["Of countries", 3], ["capitals"])
        assert list(client.datasets.all("capitals")) == [{"key": id, "country": c, "expected": e} for id, c, e in wanted]
        assert told["named"] == [told["runs"][1], told["runs"][0]]
        assert (told["of"], told["said"]["model"]) == (told["runs"][::-1], "none")
        right = {"France": ("Paris", 1.0), "Italy": ("Milan", 0.0), "Peru": ("Lima", 1.0)}
        assert {c: (o["output"], *s) for c, o, s in told["answers"]} == {
            c: (o, ["right", value, "as told"]) for c, (o, value) in right.items()
        }
        assert told["scored anew"] == [4.0, 5.0, 5.0]
        for run, traces in zip(told["runs"], told["traces"], strict=True):
            listed = client.traces.list(filter=f'attr.langfuse.experiment.id:"{run}"').items
            assert sorted(t.trace_id for t in listed) == [t.replace("-", "") for t in traces]
        names = Counter(t.name for t in client.traces.list().items)
        assert names == {"evaluation_task": 9, "metrics_calculation": 3}, "what is of a run as a whole is no trace"
        reader = client.keys.create("reader", role="viewer").secret
        with server.http(authorization=f"Bearer {reader}") as http:
            (of,) = http.get("/datasets/runs.json?of=capitals").json()["sets"]
            said = [(r["name"], r["figure"]["traces"], [(s["name"], s["value"]) for s in r["said"]]) for r in of["runs"]]
            share = [("share right", pytest.approx(2 / 3))]
            assert sorted(said) == [("a", 3, share), ("a", 3, share), ("b", 3, share)], "runs that are called alike are several"
            printed = http.get(told["url"].removeprefix(server.address))
            assert printed.headers["location"] == "/datasets/runs?of=capitals"


def test_an_item_is_a_row_and_the_same_id_sets_it_whole(app: App) -> None:
    trace, span = uuid7(), uuid7()
    made(app, item("a", q=1, input={"x": [1, "y"]}), item("b", q="text") | {"trace_id": trace, "span_id": span, "description": "odd"})
    first = rows(app)
    assert first[0] == {"key": "a", "q": 1, "input": {"x": [1, "y"]}}
    assert (first[1]["q"], first[1]["description"], first[1]["origin"]["trace"]) == ("text", "odd", trace.replace("-", ""))
    assert put(app, item("a", z=2)).status_code == 204
    assert rows(app)[0] == {"key": "a", "z": 2}, "nothing of what it said before is left"
    before = app.client.versions.list("dataset/capitals").items
    assert put(app, item("a", z=2)).status_code == 204
    assert app.client.versions.list("dataset/capitals").items == before, "the same again makes no version"
    told = app.http.get(f"{BASE}/datasets/capitals/items").json()["content"]
    assert [(i["id"], i["data"], i["description"], i["trace_id"]) for i in told] == [
        ("a", {"z": 2}, None, None), ("b", {"q": "text"}, "odd", trace),
    ]  # fmt: skip


def test_rows_of_langfuse_and_of_ours_are_read_as_items(app: App) -> None:
    app.client.datasets.edit("questions", [{"key": "q1", "question": "Why?", "split": "test", "input": {"a": 1}, "expected_output": "b"}])
    (told,) = app.http.get(f"{BASE}/datasets/questions/items").json()["content"]
    assert (told["id"], told["data"]) == ("q1", {"question": "Why?", "split": "test", "input": {"a": 1}, "expected_output": "b"})


def test_pages_streams_and_versions(app: App) -> None:
    made(app, *(item(f"i{n:03}", n=n) for n in range(250)))
    made(app, name="empty")
    old = app.http.get(f"{BASE}/datasets/capitals/versions?size=1").json()["content"][0]
    assert app.http.post(f"{BASE}/datasets/items/delete", json={"item_ids": ["i000", "i249"]}).status_code == 204

    def page(number: int, **more: Any) -> tuple[list[int], int]:
        told = app.http.get(f"{BASE}/datasets/capitals/items", params={"page": number, "size": 100, **more}).json()
        return [i["data"]["n"] for i in told["content"]], told["total"]

    assert page(3) == (list(range(201, 249)), 248), "a later one first"
    assert [page(n)[0] for n in (1, 2, 4)] == [list(range(1, 101)), list(range(101, 201)), []]
    assert page(1, version=old["version_hash"], size=250) == (list(range(250)), 250), "older versions have what was deleted"
    stream, read, after = f"{BASE}/datasets/items/stream", list[int](), None
    while True:
        lines = app.http.post(stream, json={"dataset_name": "capitals", "steam_limit": 90, "last_retrieved_id": after}).text.splitlines()
        read += [json.loads(line)["data"]["n"] for line in lines]
        if len(lines) < 90:
            break
        after = json.loads(lines[-1])["id"]
    assert read == list(range(1, 249))
    versions = app.http.get(f"{BASE}/datasets/capitals/versions").json()
    assert [(v["items_total"], v["is_latest"]) for v in versions["content"]] == [(248, True), (250, False), (0, False)]
    named = app.http.post(f"{BASE}/datasets/capitals/versions/retrieve", json={"version_name": old["version_name"]}).json()
    assert named["version_hash"] == old["version_hash"]
    listed = app.http.get(f"{BASE}/datasets?size=1&page=2").json()
    assert ([d["name"] for d in listed["content"]], listed["total"]) == (["empty"], 2)
    for odd in ("page=0", "page=x", "size=-1", "size=2001", "page=" + "9" * 40):
        assert refused(app.http.get(f"{BASE}/datasets/capitals/items?{odd}"))[0] == 400


def test_of_many_items_those_that_are_none_are_named(app: App) -> None:
    made(app)
    judged = item("c", q=1) | {"evaluators": [{"name": "j", "type": "llm_judge", "config": {}}]}
    answer = put(app, item("a", q=1), 7, item("b"), judged, item("d", key=1), item("e", origin=1), item("x" * 256, q=1), item("f", q=2))
    assert refused(answer) == (400, "items")
    assert [n for n in range(8) if f"items[{n}]" in answer.json()["message"]] == [1, 2, 3, 4, 5], "five are named"
    assert "and 1 more" in answer.json()["message"]
    assert [r["key"] for r in rows(app)] == ["a", "f"]


def test_what_cannot_be_kept_is_refused_and_says_why(app: App) -> None:
    made(app, item("a", q=1))
    made(app, item("a", q=1), name="other")
    post, put_ = app.http.post, app.http.put
    for answer, wanted in (
        (post(f"{BASE}/datasets", json={"name": "My Set"}), (400, "")),
        (post(f"{BASE}/datasets", json={"name": "capitals"}), (409, "about")),
        (post(f"{BASE}/datasets", json={"name": "suite", "type": "evaluation_suite"}), (400, "type")),
        (post(f"{BASE}/datasets", json={}), (400, "name")),
        (post(f"{BASE}/datasets/retrieve", json={"dataset_name": "nowhere"}), (404, "")),
        (put_(f"{BASE}/datasets/items", json={"dataset_name": "nowhere", "items": [item("a", q=1)]}), (404, "")),
        (put_(f"{BASE}/datasets/items", json={"dataset_name": "capitals", "items": []}), (400, "items")),
        (put_(f"{BASE}/datasets/items", json=[]), (400, "body")),
        (post(f"{BASE}/datasets/items/delete", json={"item_ids": ["a"]}), (409, "id")),
        (post(f"{BASE}/datasets/items/delete", json={"item_ids": ["b"]}), (404, "id")),
        (post(f"{BASE}/datasets/items/delete", json={"item_ids": ["a"], "filters": [{}]}), (400, "filters")),
        (app.http.get(f"{BASE}/datasets/capitals/items?filters=[1]"), (400, "filters")),
        (post(f"{BASE}/datasets/capitals/versions/retrieve", json={"version_name": "v1"}), (404, "version_name")),
        (post(f"{BASE}/experiments", json={"id": uuid7(), "dataset_name": "nowhere", "name": "x"}), (404, "")),
        (post(f"{BASE}/experiments", json={"id": "?", "dataset_name": "capitals"}), (400, "id")),
        (post(f"{BASE}/experiments", json={"id": uuid7(), "dataset_name": "capitals", "type": "trial"}), (400, "type")),
        (app.http.get(f"{BASE}/experiments/{uuid7()}"), (404, "experiment_id")),
        (post(f"{BASE}/experiments/stream", json={"name": "x", "limit": "y"}), (400, "limit")),
        (post(f"{BASE}/datasets/items/stream", json={"dataset_name": "capitals", "steam_limit": 0}), (400, "steam_limit")),
        (app.http.get(f"{BASE}/datasets/capitals/items/experiments/items?experiment_ids=x"), (400, "experiment_ids")),
        (post(f"{BASE}/datasets/delete", json={"dataset_name": "capitals"}), (404, f"{BASE}/datasets/delete")),
        (post(f"{BASE}/attachment/upload-start", json={}), (404, f"{BASE}/attachment/upload-start")),
        (put_(f"{BASE}/experiments/items/bulk", json={}), (404, f"{BASE}/experiments/items/bulk")),
    ):  # fmt: skip
        assert refused(answer) == wanted, answer.text
    assert [a.name for a in app.client.artifacts.list("dataset").items] == ["capitals", "other"]
    assert rows(app) == [{"key": "a", "q": 1}]


def test_a_run_is_there_before_its_traces_and_its_scores_are_its_own(app: App, server: Server) -> None:
    made(app, item("a", q=1))
    run, trace = uuid7(), uuid7()
    said = {"id": run, "name": 'first "try"*', "dataset_name": "capitals", "metadata": {"m": 1}, "tags": ["x"]}
    assert app.http.post(f"{BASE}/experiments", json=said).status_code == 201
    assert app.http.get(f"{BASE}/experiments/{run}").json()["tags"] == ["x"]
    assert app.client.traces.list().items == ()
    into = {"experiment_id": run, "dataset_item_id": "a", "trace_id": trace}
    answer = app.http.post(f"{BASE}/experiments/items", json={"experiment_items": [into, into | {"experiment_id": uuid7()}, 7]})
    assert refused(answer) == (400, "experiment_items")
    assert [n for n in range(3) if f"experiment_items[{n}]" in answer.json()["message"]] == [1, 2]
    assert app.put("traces", {"id": trace, "name": "run", "output": {"a": 2}, **TIMES}).status_code == 204
    assert app.http.post(f"{BASE}/experiments/items", json={"experiment_items": [into]}).status_code == 204
    (listed,) = app.client.traces.list(filter=f"attr.langfuse.experiment.id:{run}").items
    assert (listed.trace_id, listed.name, listed.spans) == (trace.replace("-", ""), "run", 2), "the same again is one item"
    scored = app.http.patch(f"{BASE}/experiments/{run}", json={"experiment_scores": [{"name": "whole", "value": 0.5}, {"name": "x"}]})
    assert refused(scored) == (400, "experiment_scores")
    assert refused(app.http.patch(f"{BASE}/experiments/{run}", json={"name": "other"})) == (400, "name")
    assert app.http.patch(f"{BASE}/experiments/{run}", json={"metadata": {"m": 2}}).status_code == 204
    told = app.http.get(f"{BASE}/experiments/{run}").json()
    assert (told["metadata"], told["experiment_scores"]) == ({"m": 2}, [{"name": "whole", "value": 0.5}])
    with server.http(authorization=f"Bearer {app.client.keys.create('r', role='viewer').secret}") as http:
        (of,) = until(lambda: http.get("/datasets/runs.json?of=capitals").json()["sets"])
        assert [(r["name"], r["figure"]["traces"], [s["value"] for s in r["said"]]) for r in of["runs"]] == [('first "try"*', 1, [0.5])]
    answers = app.http.get(f"{BASE}/datasets/capitals/items/experiments/items", params={"experiment_ids": json.dumps([run])}).json()
    assert [(c["data"], c["experiment_items"][0]["output"]) for c in answers["content"]] == [({"q": 1}, {"a": 2})]
    assert answers["total"] == 1


def test_who_may(app: App, server: Server) -> None:
    made(app, item("a", q=1))
    caller = app.client.keys.create("app").secret or ""
    reader = app.client.keys.create("reader", role="viewer").secret or ""
    for key, reads in (("", 401), ("wl_nonsense", 401), (caller, 403), (reader, 200)):
        with server.http(**({"authorization": key} if key else {})) as http:
            assert http.get(f"{BASE}/datasets/capitals/items").status_code == reads
            writes = reads if reads != 200 else 403
            assert http.put(f"{BASE}/datasets/items", json={"dataset_name": "capitals", "items": [item("b", q=1)]}).status_code == writes
            assert http.post(f"{BASE}/datasets", json={"name": "x"}).status_code == writes
            assert http.post(f"{BASE}/datasets/items/delete", json={"dataset_name": "capitals", "item_ids": ["a"]}).status_code == writes
            assert http.post(f"{BASE}/experiments/items", json={"experiment_items": []}).status_code in (writes, 400)
            assert http.get(f"{BASE}/experiments?dataset_id=capitals").status_code == reads
    assert [r["key"] for r in rows(app)] == ["a"]
