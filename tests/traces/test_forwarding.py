"""The follower of one endpoint, on real journals: in order, at least once, on after a restart, never for longer than it is told."""

from __future__ import annotations

import gzip
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.doors.otlp.sent import FORMATS, a_log, a_metric, good, request

from windlass.settings import Settings
from windlass.store.journal import Journal
from windlass.traces import forwarding
from windlass.traces.envelope import LOGS, METRICS, OTLP, seal, seal_rest, seal_spans
from windlass.traces.forward_targets import PATHS, Target, targets_of
from windlass.traces.forwarded import forwardings
from windlass.traces.forwarding import Answer, Follower, Post, Wire

OK = Answer(200)
URL = "http://a.example"


class There:
    """An endpoint in this process: answers what is next, else 200; keeps what it took, by name of span."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.took: list[str] = []
        self.asked: list[tuple[str, int]] = []

    def post(self, path: str, body: bytes) -> Answer:
        names = _names(path, gzip.decompress(body))
        self.asked.append((path, len(names)))
        answer = self.answers.pop(0) if self.answers else OK
        if answer.status == 200:
            self.took += names
        return answer


def _names(path: str, data: bytes) -> list[str]:
    kind = next(k for k, p in PATHS.items() if p == path)
    made = FORMATS[kind].FromString(data)
    if kind == OTLP:
        return [s.name for r in made.resource_spans for c in r.scope_spans for s in c.spans]
    if kind == LOGS:
        return [s.body.string_value for r in made.resource_logs for c in r.scope_logs for s in c.log_records]
    return [m.name for r in made.resource_metrics for c in r.scope_metrics for m in c.metrics]


def body(name: str, project: str = "default") -> bytes:
    return seal(project, request(good(name)).SerializeToString())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_pause", lambda tried: 0.001)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal" / "w1")
    yield made
    made.close()


def follower(tmp_path: Path, post: Post, behind: str = "", hours: float = 72) -> Follower:
    (target,) = targets_of(URL + behind)
    return Follower(tmp_path / "journal", tmp_path / "forward", target, post, hours)


def test_what_comes_is_sent_on_in_order_and_once(tmp_path: Path, journal: Journal) -> None:
    journal.append(body("before it was set"))
    there = There()
    one = follower(tmp_path, there.post)
    assert not one.step()
    for number in range(5):
        journal.append(body(f"n{number}"))
    journal.append(seal("default", a_log("said").SerializeToString(), LOGS))
    journal.append(seal_spans("default", []))  # Windlass's own
    journal.append(seal("default", a_metric("m").SerializeToString(), METRICS))
    journal.append(body("last"))
    other = Journal(tmp_path / "journal" / "w2")  # one that begins later is read from its beginning
    other.append(body("of another"))
    other.close()
    assert one.step() and not one.step()
    assert there.took == ["n0", "n1", "n2", "n3", "n4", "said", "m", "last", "of another"]
    assert [path for path, _ in there.asked] == ["/v1/traces", "/v1/logs", "/v1/metrics", "/v1/traces", "/v1/traces"], "merged by kind"
    one._save()
    again = follower(tmp_path, there.post)
    assert not again.step() and again.kept.sent == 9 and len(there.took) == 9
    told = forwardings(tmp_path, Settings(forward_to=URL))[URL]
    assert (told.sent, told.behind_bytes, told.problem, told.skipped, told.refused) == (9, 0, "", 0, {})
    assert forwardings(tmp_path, Settings()) == {}


def test_only_what_was_asked_for(tmp_path: Path, journal: Journal) -> None:
    there = There()
    one = follower(tmp_path, there.post, "?signals=traces&project=shop")
    for made in (body("a"), body("b", "shop"), seal("shop", a_log("said").SerializeToString(), LOGS)):
        journal.append(made)
    gone = seal_rest("shop", OTLP, b"", 200, {"x": 1})  # erased before it was sent
    journal.append(gone)
    one.step()
    assert there.took == ["b"]
    assert forwardings(tmp_path, Settings(forward_to=URL + "?signals=traces&project=shop")).keys() == {f"{URL} of shop"}


def test_one_that_is_away_gets_it_later(tmp_path: Path, journal: Journal) -> None:
    there = There(Answer(0, "ConnectionRefusedError"), Answer(429, "it answers 429", 0.002), Answer(503), Answer(500))
    one = follower(tmp_path, there.post)
    journal.append(body("n"))
    one.step()
    assert there.took == ["n"] and len(there.asked) == 5 and one.kept.sent == 1 and one.kept.problem == ""


def test_while_it_is_away_that_is_told(tmp_path: Path, journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    seen = threading.Event()

    def post(path: str, data: bytes) -> Answer:
        seen.set()
        return Answer(0, "ConnectionRefusedError: Connection refused")

    one = follower(tmp_path, post)
    journal.append(body("n"))
    with caplog.at_level(logging.WARNING, "windlass.forwarding"):
        thread = threading.Thread(target=one.run)
        thread.start()
        assert seen.wait(10)
        for _ in range(200):
            if (told := forwardings(tmp_path, Settings(forward_to=URL))[URL]).problem:
                break
            threading.Event().wait(0.01)
        one.stop.set()
        thread.join(10)
    assert "Connection refused" in told.problem and told.behind_bytes > 0 and told.oldest_ns and told.sent == 0
    assert len([r for r in caplog.records if "does not take" in r.message]) == 1, "once a minute"
    there = There()
    follower(tmp_path, there.post).step()
    assert there.took == ["n"], "the next one has it"


def test_what_is_refused_is_counted_and_stops_nothing(tmp_path: Path, journal: Journal) -> None:
    there = There(Answer(400), OK, Answer(413), OK)  # together, then one by one
    one = follower(tmp_path, there.post)
    for name in ("a", "b", "c"):
        journal.append(body(name))
    one.step()
    assert there.took == ["a", "c"] and [n for _, n in there.asked] == [3, 1, 1, 1]
    assert (one.kept.sent, one.kept.refused) == (2, {"413": 1})
    there.answers = [Answer(302), *[Answer(500)] * forwarding.FAILED_TRIES]
    for name in ("d", "e"):
        journal.append(body(name))
        one.step()
    assert one.kept.refused == {"413": 1, "302": 1, "500": 1} and not one.step()


def test_what_waits_too_long_is_skipped_and_counted(tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = forwarding.now_ns()
    one = follower(tmp_path, There(*[Answer(503)] * 3).post, hours=1)
    journal.append(body("a"))
    clock = iter([now] * 2)
    monkeypatch.setattr(forwarding, "now_ns", lambda: next(clock, now + 2 * forwarding.HOUR_NS))
    one.step()  # it waits, until it has for an hour
    assert (one.kept.sent, one.kept.skipped) == (0, 1)
    journal.append(body("b"))
    one.step()
    assert one.kept.skipped == 2 and not one.step(), "what is too old already is not tried"


def test_a_follower_that_is_stopped_leaves_the_rest(tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "MERGED", 1)
    took: list[str] = []

    def post(path: str, data: bytes) -> Answer:
        took.extend(_names(path, gzip.decompress(data)))
        if len(took) == 2:
            one.stop.set()
        return OK

    one = follower(tmp_path, post)
    for name in ("a", "b", "c"):
        journal.append(body(name))
    one.run()
    assert took == ["a", "b"]
    one = follower(tmp_path, post)
    one.step()
    assert took == ["a", "b", "c"]


def test_many_bodies_are_few_requests(tmp_path: Path, journal: Journal) -> None:
    there = There()
    one = follower(tmp_path, there.post)
    for number in range(300):
        journal.append(body(f"{number} " + "x" * 10_000))
    while one.step():
        pass
    assert [name.partition(" ")[0] for name in there.took] == [str(n) for n in range(300)]
    assert len(there.asked) < 8


@contextmanager
def http(answer: Callable[[BaseHTTPRequestHandler, bytes], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            answer(self, self.rfile.read(int(self.headers["content-length"])))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _at(url: str) -> Target:
    return targets_of(url)[0]


def test_over_the_wire() -> None:
    seen: list[tuple[str, dict[str, str], bytes, int]] = []

    def answer(handler: BaseHTTPRequestHandler, data: bytes) -> None:
        headers = {k.lower(): v for k, v in handler.headers.items()}
        seen.append((handler.path, headers, gzip.decompress(data), handler.client_address[1]))
        handler.send_response((200, 429, 302)[min(2, len(seen) - 1)])
        for name, value in (("retry-after", "7"), ("location", "http://elsewhere"), ("content-length", "2")):
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(b"{}")

    with http(answer) as url:
        wire = Wire(_at(url + "/otel"), {"authorization": "Bearer k"})
        told = [wire.post("/v1/traces", gzip.compress(b"data")) for _ in range(3)]
        assert [(a.status, a.after) for a in told] == [(200, 7.0), (429, 7.0), (302, 7.0)]
        wire._connection.sock.close()  # as when the other side has closed a connection that was kept
        assert wire.post("/v1/logs", gzip.compress(b"data")).status == 302
    path, headers, data, _ = seen[0]
    assert (path, data) == ("/otel/v1/traces", b"data")
    assert headers["content-encoding"] == "gzip" and headers["content-type"] == "application/x-protobuf"
    assert headers["authorization"] == "Bearer k" and len({port for _, _, _, port in seen[:3]}) == 1
    gone = Wire(_at(url), {}).post("/v1/traces", b"")
    assert gone.status == 0 and "refused" in gone.why.lower()


def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "SECONDS", 0.2)
    release = threading.Event()
    with http(lambda handler, data: release.wait(10) and None) as url:
        assert Wire(_at(url), {}).post("/v1/traces", b"").status == 0
        release.set()
