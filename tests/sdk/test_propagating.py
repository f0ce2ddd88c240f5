"""Requests to the server carry the open step, by both libraries, waiting or not; requests elsewhere carry nothing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

CODE = """
import asyncio, sys
import httpx, httpx2
from opentelemetry.sdk.trace import TracerProvider
from windlass.sdk.propagating import carry

ours, theirs = sys.argv[1:]
carry(ours)
carry(ours)  # again is harmless
tracer = TracerProvider().get_tracer("t")

async def waiting(library):
    async with library.AsyncClient(trust_env=False) as client:
        await client.get(ours + "/" + library.__name__ + "-waiting")
        await client.get(theirs + "/" + library.__name__ + "-waiting")

for library in (httpx, httpx2):
    with library.Client(trust_env=False) as client:
        client.get(ours + "/" + library.__name__ + "-alone")
        with tracer.start_as_current_span("step") as span:
            print(format(span.get_span_context().trace_id, "032x"), format(span.get_span_context().span_id, "016x"))
            client.get(ours + "/" + library.__name__)
            client.get(theirs + "/" + library.__name__)
            client.get(ours + "/" + library.__name__ + "-own", headers={"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"})
            asyncio.run(waiting(library))
"""


class Listener:
    """Answers, and keeps the `traceparent` of each path."""

    def __init__(self) -> None:
        self.told: dict[str, str | None] = {}
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.told[self.path.strip("/")] = self.headers.get("traceparent")
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def listeners() -> Iterator[tuple[Listener, Listener]]:
    made = (Listener(), Listener())
    yield made
    for listener in made:
        listener.server.shutdown()
        listener.server.server_close()


def test_only_requests_to_the_server_carry_the_open_step(listeners: tuple[Listener, Listener]) -> None:
    ours, theirs = listeners
    command = [sys.executable, "-c", textwrap.dedent(CODE), ours.url, theirs.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for library, line in zip(("httpx", "httpx2"), done.stdout.splitlines(), strict=True):
        trace, span = line.split()
        assert ours.told[library] == ours.told[f"{library}-waiting"] == f"00-{trace}-{span}-01"
        assert ours.told[f"{library}-alone"] is None
        assert ours.told[f"{library}-own"] == "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    assert set(theirs.told) == {"httpx", "httpx2", "httpx-waiting", "httpx2-waiting"}
    assert set(theirs.told.values()) == {None}
