"""Traces of other libraries on the page of a trace: what each step is, and what was said in it, as a person reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest
from tests.doors.server import Server
from tests.traces.sdks.test_captured import CAPTURED

from windlass.core.operations.traces import Trace
from windlass.core.span import output_of
from windlass.sdk.client import Client
from windlass.sdk.transport import HttpTransport

pytestmark = pytest.mark.slow
SHOWN = ("openinference-langchain", "otel-openai-v2-2", "vercel-ai-7", "langfuse-python", "openllmetry-0", "mlflow-otlp")


class Sent:
    """One SDK's bytes in a project of its own."""

    def __init__(self, server: Server, name: str) -> None:
        self.client = Client(transport=HttpTransport(server.address, server.token), project=re.sub("[^a-z0-9]+", "-", name))
        key = self.client.keys.create("app").secret or ""
        self.page = httpx.Client(base_url=server.address, headers={"authorization": f"Bearer {key_to_read(self.client)}"})
        (folder,) = [f for f in CAPTURED if f.name.startswith(name)]
        for entry in json.loads((folder / "requests.json").read_bytes()):
            if entry["signal"] in ("traces", "logs"):
                headers = {"authorization": f"Bearer {key}", "content-type": entry["headers"]["content-type"]}
                body = (folder / entry["file"]).read_bytes()
                httpx.post(f"{server.address}/v1/{entry['signal']}", content=body, headers=headers).raise_for_status()

    def trace(self) -> Trace:
        """The one with most in it."""
        most = max(self.client.traces.list().items, key=lambda t: t.spans)
        return self.client.traces.show(most.trace_id)


def key_to_read(client: Client) -> str:
    return client.keys.create("eyes", role="viewer").secret or ""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    up = Server(tmp_path_factory.mktemp("foreign") / "home")
    yield up
    up.stop()


@pytest.mark.parametrize("name", SHOWN)
def test_steps_are_what_they_are_and_say_what_was_said(server: Server, name: str) -> None:
    sent = Sent(server, name)
    trace = sent.trace()
    assert (trace.summary.input, trace.summary.output) == ("Where is order 7?", "Order 7 was shipped on Monday.")
    html = sent.page.get(f"/traces/{trace.summary.trace_id}").raise_for_status().text
    assert "<h1>Where is order 7?</h1>" in html
    assert 'class="model"' in html
    assert 'class="msg user"' in html and 'class="msg assistant"' in html
    asks = next(s for s in trace.spans if s.kind == "model" and "look_up" in (output_of(s) or ""))
    html = sent.page.get(f"/traces/{trace.summary.trace_id}?span={asks.span_id}").text
    assert "calls look_up" in html


def test_a_row_is_made_of_what_another_library_told(server: Server) -> None:
    sent = Sent(server, "openinference-clients")
    trace = sent.trace()
    done = sent.client.datasets.harvest("questions", [trace.summary.trace_id], {"expected": "Monday"})
    assert not done.problems
    (row,) = sent.client.datasets.all("questions")
    assert "Where is order 7?" in json.dumps(row)
