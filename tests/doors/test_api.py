"""Operations over HTTP: every parameter checked, every error in one shape, streams that end."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator

import httpx2
import psutil
import pytest
from tests.doors.server import Server, until

from windlass.core.operations import OPERATIONS
from windlass.govern.processes import resident


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
        for limit in ("0", "201"):  # never quietly another number
            answer = http.get("/api/v1/artifacts/list", params={"limit": limit})
            assert (answer.status_code, error(answer)["where"]) == (400, "limit")
        assert "<= 200" in error(answer)["message"]
        assert error(http.post("/api/v1/runs/start", content=b"{"))["where"] == "body"
        assert error(http.post("/api/v1/runs/start", json={"target": 5}))["where"] == "target"
        assert http.post("/api/v1/runs/start", json={"target": "chain/nothing"}).status_code == 404
        assert http.post("/api/v1/runs/start", content=b" " * 33_000_000).status_code == 413
        assert http.post("/api/v1/runs/start", content=(b" " * 1_000_000 for _ in range(33))).status_code == 413
        assert http.options("/api/v1/runs/start").headers["allow"] == "POST"


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/runs/start", b'{"target": "chain/x", "input": ' + DEEP + b"}"),
        ("/api/v1/runs/start", DEEP),
        ("/api/v1/runs/start", b'{"target": "\xff"}'),
        ("/api/v1/runs/start", b'{"target": "chain/x", "input": "\\ud800"}'),
        ("/api/v1/runs/start", b'{"target": "chain/x", "input": 1' + b"0" * 5000 + b"}"),
        ("/api/v1/runs/start", b'{"target": "chain/\\u0000"}'),
        ("/api/v1/runs/start", b"null"),
        ("/v1/chat/completions", b'{"model": "baseline", "messages": ' + DEEP + b"}"),
        ("/v1/chat/completions", b'{"model": "\xff"}'),
        ("/v1/messages", b'{"model": "baseline", "messages": ' + DEEP + b"}"),
        ("/invoke/x", DEEP),
        ("/v1/traces", DEEP),
        ("/v1/traces", b'{"resourceSpans": ' + DEEP + b"}"),
        ("/v1/traces", b'{"resourceSpans": "\xff"}'),
        ("/v1/traces", b'{"resourceSpans": [{"scopeSpans": 5}]}'),
    ],
    ids=lambda v: v[:40] if isinstance(v, bytes) else v,
)
def test_what_nobody_should_send_is_refused(server: Server, path: str, body: bytes) -> None:
    with server.owner() as http:
        assert http.post(path, content=body, headers={"content-type": "application/json"}).status_code == 400


@pytest.mark.parametrize("path", ["/%ff%fe", "/api/v1/%00", "/artifacts/%ff", "/api/v1/blobs/..%2f..%2ftoken", "/static/..%2f..%2fapp.py"])
def test_paths_that_nobody_should_ask_for_are_not_there(server: Server, path: str) -> None:
    with server.owner() as http:
        assert http.get(path).status_code in (400, 404)


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


def test_large_blobs_pass_through_in_pieces(server: Server) -> None:
    """120 MB in and out, and the process that serves them has not grown by a third of that."""
    piece, times = bytes(range(256)) * 256, 1920
    hashed = hashlib.sha256()
    for _ in range(times):
        hashed.update(piece)
    path = f"/api/v1/blobs/sha256:{hashed.hexdigest()}"
    pid = server.parts()["doors"]["pid"]
    before, most = resident(pid), 0

    def sent() -> Iterator[bytes]:
        nonlocal most
        for n in range(times):
            if n % 100 == 0:
                most = max(most, resident(pid))
            yield piece

    with server.owner() as http:
        assert http.put(path, content=sent()).status_code == 201
        received = hashlib.sha256()
        with http.stream("GET", path) as answer:
            for data in answer.iter_bytes(2**20):
                received.update(data)
                most = max(most, resident(pid))
    assert received.digest() == hashed.digest()
    assert most - before < 40e6


def test_a_damaged_blob_never_arrives_whole(server: Server) -> None:
    for size in (1000, 5_000_000):
        data = os.urandom(size)
        digest = hashlib.sha256(data).hexdigest()
        with server.owner() as http:
            assert http.put(f"/api/v1/blobs/sha256:{digest}", content=data).status_code == 201
            with (server.home / "blobs" / digest[:2] / digest[2:]).open("r+b") as file:
                file.write(bytes([data[0] ^ 1]))
            try:
                answer = http.get(f"/api/v1/blobs/sha256:{digest}")
            except httpx2.HTTPError:
                assert size > 2**20
            else:
                assert answer.status_code == 503
                assert "is damaged" in error(answer)["message"]


def test_an_upload_that_breaks_off_leaves_nothing(server: Server) -> None:
    data = b"y" * 1_000_000
    path = f"/api/v1/blobs/sha256:{hashlib.sha256(data).hexdigest()}"
    port = int(server.address.rpartition(":")[2])
    head = f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + data[: len(data) // 2])
        until(lambda: list((server.home / "run").glob("upload-*")))
    until(lambda: not list((server.home / "run").glob("upload-*")))
    with server.owner() as http:
        assert http.get(path).status_code == 404


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

@w.chain(name="silent-start")
def silent_start(text: str) -> str:
    time.sleep(60)
    return text

@w.chain(name="silent-stream")
def silent_stream(text: str) -> str:
    time.sleep(60)
    return text
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


@pytest.mark.parametrize("how", ["start", "stream"])
def test_a_caller_that_leaves_before_the_first_word_ends_the_run(streaming: Server, how: str) -> None:
    body = json.dumps({"target": f"chain/silent-{how}", "input": "x"}).encode()
    head = (
        f"POST /api/v1/runs/{how} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {streaming.token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    doors = psutil.Process(streaming.parts()["doors"]["pid"])
    port = int(streaming.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + body)
        until(lambda: doors.children(recursive=True))
    with streaming.client() as client:
        found = until(lambda: [t for t in client.traces.list(search=f"silent-{how}").items if t.status == "error"])
        root = client.traces.show(found[0].trace_id).spans[0]
    assert "cancelled" in root.status_message


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
