"""Tracing an application of one's own, in processes of their own, against a collector that comes and goes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Keeps the spans it is sent. `status` is what it answers."""

    def __init__(self, port: int = 0, status: int = 200) -> None:
        self.spans: list = []
        self.services: set[str] = set()
        self.keys: set[str | None] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.keys.add(self.headers.get("authorization"))
                if status == 200:
                    request = ExportTraceServiceRequest.FromString(body)
                    for resource in request.resource_spans:
                        collector.services |= {a.value.string_value for a in resource.resource.attributes if a.key == "service.name"}
                        collector.spans += [s for scope in resource.scope_spans for s in scope.spans]
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def named(self, name: str) -> dict[str, str]:
        span = next(s for s in self.spans if s.name == name)
        return {a.key: a.value.string_value for a in span.attributes}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def run(code: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment}
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=env, capture_output=True, text=True, timeout=60, cwd=tmp_path)


def test_every_kind_of_function_is_a_step(collector: Collector, tmp_path: Path) -> None:
    done = run(
        f"""
        import asyncio, windlass as w
        w.init({collector.url!r}, key="wlk_x", service="shop")

        @w.trace
        def plain(a, b=2): return a + b

        @w.trace("slow one", kind="tool")
        async def slow(x): await asyncio.sleep(0); return {{"x": x}}

        @w.trace
        def pieces(n):
            for i in range(n): yield str(plain(i))

        @w.trace
        async def later(n):
            for i in range(n): yield i

        @w.trace(capture=False)
        def secret(password): return password

        @w.trace
        def fails(): raise ValueError("no")

        async def main():
            with w.trace("outer") as step:
                step.input("hello")
                assert plain(1) == 3
                assert await slow(5) == {{"x": 5}}
                assert list(pieces(3)) == ["2", "3", "4"]
                assert [i async for i in later(2)] == [0, 1]
                assert secret("hunter2") == "hunter2"
                step.output([1])
            try: fails()
            except ValueError: pass
        asyncio.run(main())
        assert w.flush()
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (collector.services, collector.keys) == ({"shop"}, {"Bearer wlk_x"})
    assert collector.named("plain")["windlass.input"] == '{"a":1}'
    assert collector.named("plain")["windlass.output"] == "3"
    assert collector.named("slow one") == {"windlass.kind": "tool", "windlass.input": '{"x":5}', "windlass.output": '{"x":5}'}
    assert collector.named("pieces")["windlass.output"] == "234"
    assert collector.named("later")["windlass.output"] == "[0,1]"
    assert set(collector.named("secret")) == {"windlass.kind"}
    assert collector.named("outer")["windlass.output"] == "[1]"
    by_name = {s.name: s for s in collector.spans}
    assert by_name["slow one"].parent_span_id == by_name["outer"].span_id
    within = [s for s in collector.spans if s.name == "plain" and s.parent_span_id == by_name["pieces"].span_id]
    assert len(within) == 3
    assert by_name["fails"].status.code == 2
    assert by_name["fails"].events[0].name == "exception"


def test_without_init_it_does_nothing(tmp_path: Path) -> None:
    done = run(
        """
        import windlass as w
        @w.trace
        def f(x): return x
        assert f(1) == 1
        with w.trace("a") as step: step.output(object())
        """,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")


AWAY = """
import time, windlass as w
w.init({url!r}, key="k")
@w.trace
def f(x): return x
for i in range({count}): f(i)
"""


def test_a_server_that_is_away_slows_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """The process ends while the server is away; the next one, with the server back, sends what was kept."""
    gone = Collector()
    gone.close()
    done = run(AWAY.format(url=gone.url, count=2000), tmp_path)
    assert done.returncode == 0
    assert done.stderr.count("is away") == 1
    assert "dropped" not in done.stderr
    spool = tmp_path / ".cache" / "windlass" / "spool"
    assert all(p.stat().st_mode & 0o077 == 0 for p in spool.rglob("*.otlp"))
    back = Collector(gone.port)
    done = run(AWAY.format(url=gone.url, count=10), tmp_path)
    back.close()
    assert done.stderr == ""
    assert len(back.spans) == 2010
    assert len({s.span_id for s in back.spans}) == 2010
    assert not list(spool.rglob("*.otlp"))


def test_a_server_that_comes_back_is_sent_everything(tmp_path: Path) -> None:
    gone = Collector()
    gone.close()
    code = (
        AWAY.format(url=gone.url, count=700)
        + """
import threading, sys
sys.stdin.readline()
assert w.flush(20)
"""
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert "is away" in process.stderr.readline()
        back = Collector(gone.port)
        process.stdin.write("\n")
        process.stdin.close()
        assert process.wait(30) == 0
    back.close()
    assert len({s.span_id for s in back.spans}) == 700


def test_a_refused_key_is_told_once_and_harms_nothing(tmp_path: Path) -> None:
    refusing = Collector(status=401)
    done = run(AWAY.format(url=refusing.url, count=2000), tmp_path)
    refusing.close()
    assert done.returncode == 0
    assert done.stderr.count("refuses spans (401)") == 1


def test_a_forked_process_sends_its_own(collector: Collector, tmp_path: Path) -> None:
    done = run(
        f"""
        import os, windlass as w
        w.init({collector.url!r}, key="k")
        @w.trace
        def f(x): return x
        f(0)
        assert w.flush()
        if os.fork() == 0:
            f(1)
            assert w.flush()
            os._exit(0)
        os.wait()
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert len(collector.spans) == 2


def test_a_provider_that_is_there_is_kept(collector: Collector, tmp_path: Path) -> None:
    done = run(
        f"""
        import windlass as w
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider(resource=Resource.create({{"service.name": "mine"}})))
        w.init({collector.url!r}, key="k")
        w.init({collector.url!r}, key="k")
        with trace.get_tracer("x").start_as_current_span("theirs"): pass
        assert w.flush()
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert ([s.name for s in collector.spans], collector.services) == (["theirs"], {"mine"})


def test_spans_that_wait_for_a_server_outlive_a_kill(tmp_path: Path) -> None:
    """A process that is killed while the server is away leaves what it recorded on disk, and the next one sends it."""
    gone = Collector()
    gone.close()
    code = AWAY.format(url=gone.url, count=1000) + "\nimport time; time.sleep(60)"
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=env) as process:
        assert "is away" in process.stderr.readline()
        process.kill()
    left = list((tmp_path / ".cache" / "windlass" / "spool").rglob("*.otlp.*"))
    assert left and all(p.stat().st_mode & 0o077 == 0 for p in left)
    for path in left:  # whose process is gone for long
        os.utime(path, (1, 1))
    back = Collector(gone.port)
    done = run(AWAY.format(url=gone.url, count=10), tmp_path)
    back.close()
    assert (done.returncode, done.stderr) == (0, "")
    assert len({s.span_id for s in back.spans}) == 1010
    assert not list((tmp_path / ".cache").rglob("*.otlp*"))


def test_what_finds_no_room_is_told(tmp_path: Path) -> None:
    gone = Collector()
    gone.close()
    code = "import windlass.sdk.sending as s\ns.UNSENT = 40_000\n" + AWAY.format(url=gone.url, count=3000)
    done = run(code, tmp_path)
    dropped = int(done.stderr.partition(" spans were dropped")[0].rpartition(" ")[2])
    kept = sum(int(p.name.split("-")[1]) for p in (tmp_path / ".cache").rglob("*.otlp"))
    assert dropped > 0 and kept > 0
    assert dropped + kept == 3000


def test_init_loads_no_library_that_the_application_does_not(collector: Collector, tmp_path: Path) -> None:
    """It is done in a moment, also where many frameworks are installed; one that is imported later is traced from then on."""
    done = run(
        f"""
        import sys
        import windlass as w
        w.init({collector.url!r}, key="k")
        print([name for name in ("openai", "langchain_core", "agents", "httpx", "httpx2", "requests") if name in sys.modules])
        import langchain_core
        from langchain_core.runnables import RunnableLambda
        import opentelemetry.instrumentation.langchain as instrumentation
        print(instrumentation.LangchainInstrumentor().is_instrumented_by_opentelemetry)
        RunnableLambda(lambda x: x + 1).with_config(run_name="added").invoke(1)
        assert w.flush()
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\nTrue\n"
    assert collector.spans
