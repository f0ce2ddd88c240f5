"""`windlass up`: starting, stopping, and parts that die."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest
from tests.doors.server import Server, until
from tests.evaluate.application import APP

from windlass.doors.part_logs import shorten_log
from windlass.govern.processes import resident


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_it_starts_says_where_it_is_and_stops(home: Path) -> None:
    server = Server(home)
    assert set(server.told) == {"address", "link", "home", "grpc"}
    assert server.told["link"].startswith(server.address + "/?once=")
    with server.http() as http:
        health = http.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (200, "ok")
        assert http.get(server.told["link"].removeprefix(server.address)).status_code == 303
    pids = [p["pid"] for p in server.parts().values()]
    assert len(pids) == 3
    assert server.stop(signal.SIGINT) == 0
    assert not any(alive(pid) for pid in pids)
    began = time.monotonic()
    again = Server(home)
    print(f"a second start took {time.monotonic() - began:.2f} s")
    assert again.stop() == 0


def test_idle_it_is_small(home: Path) -> None:
    server = Server(home)
    with server.owner() as http:
        http.get("/api/v1/system/status")
    rss = {name: resident(p["pid"]) for name, p in server.parts().items()} | {"supervisor": resident(server.process.pid)}
    server.stop()
    print({name: f"{bytes_ / 1e6:.0f} MB" for name, bytes_ in rss.items()})
    assert sum(rss.values()) <= 300e6


def test_a_port_in_use_is_one_sentence(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Server(home, port=port, ready=False)
        _, said = server.process.communicate(timeout=30)
    assert server.process.returncode == 1
    assert f"port {port} is in use" in said
    assert f"--port {port + 1}" in said
    assert "Traceback" not in said


def test_a_folder_has_one_server(server: Server) -> None:
    other = Server(server.home, ready=False)
    _, said = other.process.communicate(timeout=30)
    assert other.process.returncode == 1
    assert f"runs here already, at {server.address}/?once=" in said
    with server.http() as http:
        assert http.get("/healthz").status_code == 200


def test_of_two_who_start_at_once_one_serves(home: Path) -> None:
    both = [Server(home, ready=False) for _ in range(2)]
    first = until(lambda: next((s for s in both if s.process.poll() is not None), None))
    assert first.process.returncode == 1
    other = next(s for s in both if s is not first)
    assert other.process.stdout.readline()
    assert other.stop() == 0


def test_a_folder_of_a_newer_version_is_refused(home: Path) -> None:
    home.mkdir()
    (home / "FORMAT").write_text("99\n")
    server = Server(home, ready=False)
    _, said = server.process.communicate(timeout=30)
    assert server.process.returncode == 1
    assert "newer than this Windlass" in said
    assert "upgrade" in said


def test_beyond_loopback_it_needs_an_owners_key(home: Path) -> None:
    refused = Server(home, host="0.0.0.0", ready=False)
    _, said = refused.process.communicate(timeout=30)
    assert refused.process.returncode == 1
    assert "no owner's key" in said
    short = Server(home, host="0.0.0.0", ready=False, env={"WINDLASS_OWNER_KEY": "short"})
    assert "shorter than 20" in short.process.communicate(timeout=30)[1]
    key = "a-long-random-secret-of-the-owner"
    server = Server(home, host="0.0.0.0", env={"WINDLASS_OWNER_KEY": key})
    with server.http() as http:
        assert http.get("/api/v1/system/status").status_code == 401
        assert http.get("/api/v1/system/status", headers={"authorization": f"Bearer {key}"}).status_code == 200
    with server.http(authorization=f"Bearer {key}") as http:
        ran = http.post("/api/v1/runs/start", json={"target": "model/baseline", "input": "hello"})
        assert ran.status_code < 500
    for name, part in server.parts().items():
        for process in [psutil.Process(part["pid"]), *psutil.Process(part["pid"]).children(recursive=True)]:
            given = key in process.environ().values()
            assert given == (name == "doors" and process.pid == part["pid"])  # who serves checks it; nobody else is told
    server.stop()
    found = subprocess.run(["grep", "-r", "-l", key, str(home)], capture_output=True, text=True)
    assert found.stdout == ""


@pytest.mark.parametrize("part", ["doors", "projector", "jobs"])
def test_a_part_that_is_killed_is_started_again(home: Path, part: str) -> None:
    server = Server(home)
    before = server.parts()[part]["pid"]
    os.kill(before, signal.SIGKILL)
    until(lambda: server.parts()[part]["pid"] not in (0, before))
    with server.client() as client:
        until(lambda: client.status().processes[part]["state"] == "running")
        assert client.status().processes[part]["restarts"] == 1
        until(lambda: client.traces.list() is not None)
    assert server.stop() == 0


def test_a_server_that_was_killed_gives_way_to_the_next_at_once(home: Path) -> None:
    """On the same port, while its parts are still ending."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for _ in range(2):
        server = Server(home, port=port)
        (home / "run" / "upload-cut-off").write_bytes(b"x")
        server.kill()
    again = Server(home, port=port)
    assert not (home / "run" / "upload-cut-off").exists()
    with again.owner() as http:
        assert http.get("/api/v1/system/status").status_code == 200
    assert again.stop() == 0


def test_the_port_stays_open_while_its_server_is_started_again(home: Path) -> None:
    server = Server(home)
    pid = server.parts()["doors"]["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid))
    with server.owner() as http:
        assert http.get("/api/v1/system/status").status_code == 200  # waits in the socket, and is not refused
    assert server.stop() == 0


def test_a_part_that_cannot_work_says_why_and_leaves_nothing(home: Path) -> None:
    Server(home).stop()
    with sqlite3.connect(home / "windlass.db") as database:
        database.execute("update alembic_version set version_num = '9999'")
    server = Server(home, ready=False)
    _, said = server.process.communicate(timeout=60)
    assert server.process.returncode == 1
    assert "newer than this Windlass" in said
    assert "Traceback" not in said
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(home) in " ".join(p.info["cmdline"] or ())]


def test_a_part_that_cannot_work_later_does_not_end_the_others(home: Path) -> None:
    server = Server(home)
    projector = server.parts()["projector"]["pid"]
    settings = home / "settings.toml"
    settings.write_text("nonsense = 1\n")
    os.kill(projector, signal.SIGKILL)
    until(lambda: server.parts()["projector"].get("restarts", 0) > 1)
    with server.http() as http:
        assert http.get("/healthz").status_code == 200
    settings.unlink()
    until(lambda: server.parts()["projector"]["state"] == "running")
    assert server.stop() == 0


def test_parts_end_with_a_supervisor_that_was_killed(home: Path) -> None:
    server = Server(home)
    pids = [p["pid"] for p in server.parts().values()]
    server.kill()
    until(lambda: not any(alive(pid) for pid in pids), 15)
    again = Server(home)
    assert again.stop() == 0


def workspace(folder: Path, rows: int = 400) -> Path:
    (folder / "prompts").mkdir(parents=True)
    (folder / "windlass.toml").write_text('name = "shop"\n')
    (folder / "prompts/note.md").write_text("---\ninputs: {text: string}\n---\nuser: Note this. {{ text }}\n")
    (folder / "app.py").write_text(APP.replace("    note(text=question)", "    import time\n    time.sleep(0.03)\n    note(text=question)"))
    lines = "".join(f'{{"key": "r{n:04}", "question": "question {n}", "expected": "answer {n}"}}\n' for n in range(rows))
    (folder / "data").mkdir()
    (folder / "data/rows.jsonl").write_text(lines)
    return folder


def test_a_gate_survives_the_death_of_the_process_that_works_on_it(home: Path, tmp_path: Path) -> None:
    server = Server(home)
    with server.client() as client:
        client.push(workspace(tmp_path / "shop"))
        job = client.gates.start("answers")
        until(lambda: client.gates.show(job.id).done > 20)
        os.kill(server.parts()["jobs"]["pid"], signal.SIGKILL)
        assert client.gates.show(job.id).status == "running"
        done = until(lambda: (j := client.gates.show(job.id)).status == "done" and j, 90)
        evaluation = client.evaluations.show(done.verdict.candidate_evaluation)
        assert (evaluation.done, evaluation.failed) == (400, 0)
        assert len(client.evaluations.list().items) == 1
        assert done.verdict.decision == "promote"
    assert server.stop() == 0


def test_work_can_be_asked_for_while_nobody_is_there_to_do_it(home: Path, tmp_path: Path) -> None:
    server = Server(home)
    with server.client() as client:
        client.push(workspace(tmp_path / "shop", rows=40))
        os.kill(server.parts()["jobs"]["pid"], signal.SIGKILL)
        job = client.gates.start("answers")
        assert job.status == "queued"
        for pid in (server.process.pid, *(p["pid"] for p in server.parts().values())):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
    server.process.communicate()
    again = Server(home)
    with again.client() as client:
        assert until(lambda: (j := client.gates.show(job.id)).status == "done" and j, 60).verdict.decision == "promote"
    assert again.stop() == 0


def test_stopping_while_work_is_under_way_loses_nothing(home: Path, tmp_path: Path) -> None:
    server = Server(home)
    with server.client() as client:
        client.push(workspace(tmp_path / "shop"))
        job = client.gates.start("answers")
        until(lambda: client.gates.show(job.id).done > 20)
    began = time.monotonic()
    assert server.stop() == 0
    print(f"stopping took {time.monotonic() - began:.2f} s")
    again = Server(home)
    with again.client() as client:
        done = until(lambda: (j := client.gates.show(job.id)).status == "done" and j, 90)
        assert done.verdict.decision == "promote"
    assert again.stop() == 0


def test_at_rest_memory_is_given_back_and_work_goes_on(home: Path, tmp_path: Path) -> None:
    server = Server(home, env={"WINDLASS_REST_SECONDS": "0.3"})
    parts = {name: p["pid"] for name, p in server.parts().items()}
    with server.client() as client:
        client.push(workspace(tmp_path / "shop", rows=30))
        # work that comes while the process begins anew is done all the same
        for n in range(6):
            job = client.gates.start("answers")
            busy = resident(parts["jobs"]) or 0
            until(lambda job=job: client.gates.show(job.id).status == "done", 60)
            busy = max(busy, resident(parts["jobs"]) or 0)
            assert until(lambda: client.status().ingest["spans"]) > 30
            time.sleep(0.1 * n)
        until(lambda: (resident(parts["jobs"]) or busy) < busy - 20e6)
        assert client.status().ingest["spans"] > 30
        assert {name: (p["pid"], p.get("restarts", 0)) for name, p in server.parts().items()} == {n: (pid, 0) for n, pid in parts.items()}
    assert server.stop() == 0


ENDLESS = """
import time
import windlass as w

@w.chain
def endless(text: str):
    while True:
        yield "on and on "
        time.sleep(0.05)

@w.chain
def stubborn(text: str) -> str:
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""


def test_runs_that_outlast_the_server_are_told_so(home: Path, tmp_path: Path) -> None:
    (tmp_path / "windlass.toml").write_text('name = "endless"\n')
    (tmp_path / "app.py").write_text(ENDLESS)
    server = Server(home)
    answers: dict[str, str] = {}

    def ask(how: str, name: str) -> None:
        with server.owner() as http:
            answers[name] = http.post(f"/api/v1/runs/{how}", json={"target": f"chain/{name}", "input": "x"}).text

    def by_the_gateway() -> None:
        with server.owner() as http:
            body = {"model": "chain/endless", "stream": True, "messages": [{"role": "user", "content": "x"}]}
            answers["gateway"] = http.post("/v1/chat/completions", json=body).text

    with server.client() as client:
        client.push(tmp_path)
    asking = [threading.Thread(target=ask, args=some) for some in (("stream", "endless"), ("start", "stubborn"))]
    for thread in asking:
        thread.start()
    asking.append(threading.Thread(target=by_the_gateway))
    asking[-1].start()
    doors = psutil.Process(server.parts()["doors"]["pid"])
    until(lambda: len(doors.children()) == 3)
    runners = doors.children()
    began = time.monotonic()
    assert server.stop() == 0
    print(f"stopping took {time.monotonic() - began:.2f} s")
    for thread in asking:
        thread.join()
    assert "the server stops" in answers["endless"].strip().splitlines()[-1]
    assert "the server stops" in answers["stubborn"]
    *_, last = [line for line in answers["gateway"].splitlines() if line]
    assert "on and on" in answers["gateway"] and "the server stops" in last and '"error"' in last
    until(lambda: not any(alive(r.pid) for r in runners))


def test_a_log_that_grew_long_begins_anew_under_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "doors.log"
    with path.open("ab", buffering=0) as log:
        log.write(b"before\n" * 100)
        shorten_log(path, 1000)
        assert path.stat().st_size == 700
        log.write(b"before\n" * 100)
        shorten_log(path, 1000)
        log.write(b"after\n")
    assert path.read_bytes() == b"after\n"
    assert (tmp_path / "doors.log.1").stat().st_size == 1400


def test_planted_secrets_are_nowhere(home: Path, tmp_path: Path) -> None:
    """Keys of providers and keys of ours, after runs that succeed and runs that fail."""
    secret = "sk-planted-0123456789abcdef"
    server = Server(home, env={"OPENAI_API_KEY": secret, "WINDLASS_CONNECT_SECONDS": "1", "WINDLASS_RETRIES": "0"})
    seen: list[str] = []
    with server.client() as client, server.owner() as http:
        folder = workspace(tmp_path / "shop", rows=4)
        text = (folder / "app.py").read_text()
        (folder / "app.py").write_text(text.replace('return f"answer {number}"', "import os\n    return str(dict(os.environ))"))
        client.push(folder)
        seen.append(str(client.run("chain/answer", "question 7").output))
        key = client.keys.create("app")
        calling = server.http(authorization=f"Bearer {key.secret}")
        for model in ("openai/gpt-5-mini", "answer", "baseline"):
            asked = {"model": model, "messages": [{"role": "user", "content": "hello 1"}]}
            seen.append(calling.post("/v1/chat/completions", json=asked).text)
        seen += [
            http.get(path).text for path in ("/api/v1/system/status", "/api/v1/keys/list", "/api/v1/traces/list", "/api/v1/models/list")
        ]
        seen += [http.get(path).text for path in ("/", "/status", "/traces", "/playground")]
    assert server.stop() == 0
    assert not [text for text in seen if secret in text or key.secret in text]
    for planted in (secret, key.secret):
        assert subprocess.run(["grep", "-r", "-l", planted, str(home)], capture_output=True, text=True).stdout == ""
