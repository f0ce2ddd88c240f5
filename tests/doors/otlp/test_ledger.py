"""The ledger of a live server: what is sent over HTTP and gRPC, what is refused, and what is left after everything was killed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.doors.otlp.sent import PROTOBUF, a_log, a_metric, good, request
from tests.doors.server import Server, until

from windlass.core.operations.ledger import LedgerAudited, LedgerLine


def of(service: str, *spans: tuple[bytes, bytes, str]) -> bytes:
    made = request(*spans)
    made.resource_spans[0].resource.attributes.add(key="service.name").value.string_value = service
    return made.SerializeToString()


def audited(server: Server) -> LedgerAudited:
    with server.client() as client:
        return list(client.traces.audit())[-1]


def lines(server: Server) -> dict[tuple[str, str], LedgerLine]:
    with server.client() as client:
        found = client.traces.ledger().items
    assert all(line.missing == 0 for line in found)
    whole: dict[tuple[str, str], LedgerLine] = {}
    for line in found:  # a test may run over the full hour
        there = whole.setdefault((line.source, line.signal), LedgerLine(0, line.source, line.signal, refused={}, turned_away={}))
        for figure in ("received", "indexed", "again", "kept", "unreadable"):
            setattr(there, figure, getattr(there, figure) + getattr(line, figure))
        for mine, more in ((there.refused, line.refused), (there.turned_away, line.turned_away)):
            mine.update({reason: mine.get(reason, 0) + n for reason, n in more.items()})
    return whole


def test_what_is_refused_is_there_after_a_restart(home: Path) -> None:
    server = Server(home)
    with server.client() as client:
        key = client.keys.create("app")
    with server.http(authorization=f"Bearer {key.secret}") as http:
        kept = good("a")
        body = of("shop", kept, (b"", b"x" * 8, "b"), (b"x" * 16, b"", "c"))
        assert [http.post("/v1/traces", content=body, headers=PROTOBUF).status_code for _ in range(2)] == [200, 200]
        http.post("/v1/logs", content=a_log("said").SerializeToString(), headers=PROTOBUF)
        http.post("/v1/metrics", content=a_metric("m").SerializeToString(), headers=PROTOBUF)
        assert http.post("/v1/traces", content=b"\xff\xff", headers=PROTOBUF).status_code == 400
    with server.http() as nobody:
        assert nobody.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 401
    assert server.stop() == 0
    again = Server(home)
    found = lines(again)
    shop = found["shop", "traces"]
    assert (shop.received, shop.indexed, shop.again, shop.refused) == (6, 1, 1, {"bad trace id": 2, "bad span id": 2})
    assert found[f"key:{key.id}", "traces"].turned_away == {"invalid": 1}
    assert ("", "traces") not in found, "whoever has no key writes nothing"
    assert (found["", "logs"].indexed, found["", "metrics"].indexed) == (1, 1)
    told = audited(again)
    assert [line.problems for line in told.items if line.problems] == []
    with again.http(authorization=f"Bearer {key.secret}") as http:
        assert http.get("/api/v1/traces/ledger").status_code == 403, "a key that sends may not look"
    again.stop()


def test_refusals_are_counted_while_the_server_runs(server: Server) -> None:
    with server.owner() as http:
        http.post("/v1/traces", content=of("refusing", (b"", b"", "b")), headers=PROTOBUF)
    assert until(lambda: lines(server).get(("refusing", "traces"))).refused == {"bad trace id": 1}


@pytest.mark.slow
def test_a_load_of_all_kinds_that_is_cut_by_kills_balances(home: Path) -> None:
    """Senders send again what was not acknowledged; what was, is there, and the audit agrees."""
    server = Server(home)
    acknowledged: set[str] = set()
    stopped = threading.Event()
    place: dict[str, Any] = {"server": server}

    def send(seed: int) -> None:
        chance = random.Random(seed)
        with httpx2.Client(timeout=10) as http:
            while not stopped.is_set():
                spans = [good(f"span {n}") for n in range(chance.randrange(1, 40))]
                bad = [(b"", b"", "bad")] * chance.randrange(3)
                body = of(f"service {chance.randrange(5)}", *spans, *bad)
                while not stopped.is_set():
                    try:
                        to = place["server"]
                        headers = {"authorization": f"Bearer {to.token}", **PROTOBUF}
                        sent = http.post(f"{to.address}/v1/traces", content=body, headers=headers).status_code == 200
                        http.post(f"{to.address}/v1/logs", content=a_log("x").SerializeToString(), headers=headers)
                    except httpx2.HTTPError:
                        time.sleep(0.05)
                        continue
                    if sent:
                        acknowledged.update(span[1].hex() for span in spans)
                        if chance.random() < 0.7:
                            break

    threads = [threading.Thread(target=send, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(2):
        time.sleep(1.0 + turn)
        for pid in (server.process.pid, *(p["pid"] for p in server.parts().values())):
            os.kill(pid, signal.SIGKILL)
        server.process.communicate()
        place["server"] = server = Server(home)
    time.sleep(1.0)
    stopped.set()
    for thread in threads:
        thread.join()
    told = audited(server)
    assert [line for line in told.items if line.problems] == []
    found = lines(server)
    assert sum(line.indexed for (_, signal), line in found.items() if signal == "traces") >= len(acknowledged) > 100
    assert any(line.again for line in found.values()) and any(line.refused for line in found.values())
    server.stop()
