"""`forward_to` between two servers that run: masked, in order, on after every process was killed, and after the target was away."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from tests.doors.otlp.sent import PROTOBUF, a_log, good, kept, request
from tests.doors.server import Server, until

from windlass.govern.processes import resident
from windlass.traces.envelope import LOGS, OTLP

SECRET = "sk-proj-" + "a1B2" * 12
PROCESSOR = "forward"


def names(server: Server) -> list[str]:
    return [s.name for made in kept(server.home, OTLP) for r in made.resource_spans for c in r.scope_spans for s in c.spans]


def send(server: Server, *of: str) -> None:
    with server.owner() as http:
        for name in of:
            answer = http.post("/v1/traces", content=request(good(name)).SerializeToString(), headers=PROTOBUF)
            assert answer.status_code == 200


def forwarding(server: Server) -> dict[str, Any]:
    with server.owner() as http:
        (told,) = http.get("/api/v1/system/status").json()["forwarding"].values()
    return told


def test_side_by_side(tmp_path: Path) -> None:
    there = Server(tmp_path / "there")
    port = int(there.address.rpartition(":")[2])
    with there.client() as client:
        key = client.keys.create("mirror").secret
    env = {"WINDLASS_FORWARD_TO": f"{there.address}?headers=THEIR_HEADERS", "THEIR_HEADERS": f"authorization=Bearer%20{key}"}
    here = Server(tmp_path / "here", env=env)
    assert set(here.parts()) == {"projector", "jobs", "doors", PROCESSOR}
    rss = {name: resident(p["pid"]) for name, p in here.parts().items()} | {"supervisor": resident(here.process.pid)}
    print({name: f"{(size or 0) / 1e6:.0f} MB" for name, size in rss.items()})
    assert sum(size or 0 for size in rss.values()) <= 300e6
    send(here, "first", f"key {SECRET}")
    with here.owner() as http:
        http.post("/v1/logs", content=a_log(f"said {SECRET}").SerializeToString(), headers=PROTOBUF)
    until(lambda: len(names(there)) == 2 and kept(there.home, LOGS))
    assert names(there)[0] == "first" and SECRET not in str(names(there)) + str(kept(there.home, LOGS)), "as it is kept, masked"

    os.kill(here.parts()[PROCESSOR]["pid"], signal.SIGKILL)  # in the middle of it
    many = [f"n{number}" for number in range(40)]
    send(here, *many)
    until(lambda: set(many) <= set(names(there)))
    assert list(dict.fromkeys(n for n in names(there) if n in many)) == many, "in order"

    there.stop(signal.SIGKILL)  # the target is away
    send(here, "while away", "and more")
    until(lambda: forwarding(here).get("problem"))
    told = forwarding(here)
    assert told["behind_bytes"] > 0 and told["oldest_ns"] and key not in str(told)
    with here.owner() as http:
        page = http.get("/status").text
    assert there.address in page and "it does not answer" in page and key not in page
    for part in here.parts().values():
        os.kill(part["pid"], signal.SIGKILL)
    here.stop(signal.SIGKILL)  # and here everything is killed too
    here = Server(tmp_path / "here", env=env)
    there = Server(tmp_path / "there", port=port)
    until(lambda: {"while away", "and more"} <= set(names(there)), 60)
    send(here, "last")
    until(lambda: "last" in names(there))
    until(lambda: "behind_bytes" not in forwarding(here))
    told = forwarding(here)
    assert "problem" not in told and "refused" not in told and "skipped" not in told
    with there.client() as client:
        assert len(client.traces.list(limit=200).items) == 2 + 40 + 3, "what came twice is there once"
    with there.client() as client:
        client.keys.revoke(client.keys.list().items[0].id)
    send(here, "no key any more")
    until(lambda: "401" in forwarding(here).get("problem", ""))
    told = forwarding(here)
    assert "refused" not in told and told["behind_bytes"] > 0, "it waits for a key that is taken"
    for server in (here, there):
        server.stop()
        for log in (server.home / "logs").glob("*"):
            assert key not in log.read_text() and SECRET not in log.read_text()
    assert "does not take what is sent on to it: it answers 401" in (here.home / "logs" / f"{PROCESSOR}.log").read_text()
    assert key.encode() not in b"".join(p.read_bytes() for p in (here.home / "forward").iterdir())


def test_a_setting_that_is_none_ends_the_start_in_a_sentence(tmp_path: Path) -> None:
    for setting, words in (
        ("localhost:4318", "holds what is no address"),
        ("http://127.0.0.1:9?headers=NOT_SET", "NOT_SET: forward_to names this variable, and it is not set"),
    ):
        server = Server(tmp_path / "home", env={"WINDLASS_FORWARD_TO": setting}, ready=False)
        _, said = server.process.communicate(timeout=60)
        assert server.process.returncode == 1 and words in said and "Traceback" not in said


def test_a_server_is_not_its_own_target(tmp_path: Path) -> None:
    first = Server(tmp_path / "home")
    port = int(first.address.rpartition(":")[2])
    first.stop()
    env = {"WINDLASS_FORWARD_TO": f"http://localhost:{port}"}
    server = Server(tmp_path / "home", env=env, port=port, ready=False)
    _, said = server.process.communicate(timeout=60)
    assert server.process.returncode == 1 and "that is this server itself" in said
