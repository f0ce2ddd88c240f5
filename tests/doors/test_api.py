"""Operations over HTTP: every parameter checked, every error in one shape, streams that end."""

from __future__ import annotations

import hashlib
import json
import threading
import time

import httpx2
import pytest
from tests.doors.server import Server, until

from windlass.core.operations import OPERATIONS


def error(answer: httpx2.Response) -> dict:
    body = answer.json()["error"]
    assert set(body) <= {"code", "message", "where", "remedy", "details"}
    return body


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_nobody_may_ask_anything(server: Server, name: str) -> None:
    op = OPERATIONS[name]
    with server.http() as http:
        answer = http.request(op.verb, op.path, content=b"{}" if op.verb == "POST" else None)
        assert answer.status_code == 401
        assert error(answer)["code"] == "unauthenticated"


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_parameter_that_is_none_is_named(server: Server, name: str) -> None:
    op = OPERATIONS[name]
    with server.owner() as http:
        if op.verb == "GET":
            answer = http.get(op.path, params={"nonsense": "1"})
        else:
            answer = http.post(op.path, json={"nonsense": 1})
        assert answer.status_code == 400
        assert error(answer)["where"] == "nonsense"
        if name == "blobs.missing":  # GET there asks for a blob of that digest
            return
        wrong = http.request("POST" if op.verb == "GET" else "GET", op.path)
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == op.verb


def test_what_is_wrong_is_said(server: Server) -> None:
    with server.owner() as http:
        missing = http.get("/api/v1/artifacts/lst")
        assert (missing.status_code, error(missing)["remedy"]) == (404, "did you mean /api/v1/artifacts/list?")
        assert (
            "'ref' is missing" in error(http.get("/api/v1/versions/show"))["message"]
            or http.get("/api/v1/versions/show").status_code == 400
        )
        assert error(http.get("/api/v1/artifacts/list", params={"limit": "many"}))["where"] == "limit"
        assert error(http.post("/api/v1/runs/start", content=b"{"))["where"] == "body"
        assert error(http.post("/api/v1/runs/start", json={"target": 5}))["where"] == "target"
        assert http.post("/api/v1/runs/start", json={"target": "chain/nothing"}).status_code == 404
        assert http.post("/api/v1/runs/start", content=b" " * 33_000_000).status_code == 413


def test_a_blob_is_what_its_digest_says(server: Server) -> None:
    data = b"x" * 100_000
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    with server.owner() as http:
        assert http.put(f"/api/v1/blobs/{digest}", content=data).status_code == 201
        assert http.get(f"/api/v1/blobs/{digest}").content == data
        wrong = http.put(f"/api/v1/blobs/{digest}", content=data + b"y")
        assert wrong.status_code == 400
        assert http.get(f"/api/v1/blobs/{digest}").content == data
        assert http.put("/api/v1/blobs/sha256:12", content=b"").status_code == 400
        assert http.get("/api/v1/blobs/sha256:" + "0" * 64).status_code in (404, 503)
    assert not list((server.home / "run").glob("upload-*"))


def test_the_description_has_every_operation(server: Server) -> None:
    with server.owner() as http:
        found = http.get("/api/v1/openapi.json").json()
    assert found["openapi"].startswith("3.")
    for op in OPERATIONS.values():
        assert op.verb.lower() in found["paths"][op.path]
    refs = json.dumps(found).split('"$ref": "#/components/schemas/')[1:]
    assert {r.partition('"')[0] for r in refs} <= set(found["components"]["schemas"])


SLOW = """
import time
import windlass as w

@w.chain
def slow(text: str):
    for i in range(200):
        yield f"{i} "
        time.sleep(0.05)

@w.chain
def fails(text: str):
    yield "so far "
    raise ValueError("and no further")
"""


@pytest.fixture(scope="module")
def streaming(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("slow")
    (folder / "windlass.toml").write_text('name = "slow"\n')
    (folder / "app.py").write_text(SLOW)
    with server.client() as client:
        client.push(folder)
    return server


def test_a_stream_comes_as_it_is_made_and_ends_with_its_error(streaming: Server) -> None:
    with streaming.owner() as http, http.stream("POST", "/api/v1/runs/stream", json={"target": "chain/fails", "input": "x"}) as answer:
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    assert events[0] == {"text": "so far "}
    assert events[-1]["error"]["error"]["code"] == "run_failed"
    assert "and no further" in events[-1]["error"]["error"]["message"]


def test_a_caller_that_leaves_ends_the_run(streaming: Server) -> None:
    with streaming.owner() as http, http.stream("POST", "/api/v1/runs/stream", json={"target": "chain/slow", "input": "x"}) as answer:
        next(answer.iter_lines())
    with streaming.client() as client:
        found = until(lambda: [t for t in client.traces.list(search="slow").items if t.status == "error"])
        root = client.traces.show(found[0].trace_id).spans[0]
    assert "cancelled" in root.status_message
    assert root.end_ns - root.start_ns < 5e9


def test_others_are_served_while_one_runs(streaming: Server) -> None:
    done: list[float] = []

    def run() -> None:
        with streaming.client() as client:
            client.run("chain/slow", "x")
        done.append(time.monotonic())

    thread = threading.Thread(target=run)
    thread.start()
    with streaming.client() as client:
        for _ in range(5):
            client.status()
    asked = time.monotonic()
    thread.join()
    assert asked < done[0]
