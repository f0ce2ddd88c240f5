"""Prompts of the registry, read by Langfuse's own SDK as its users do."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.doors.server import Server, until
from tests.doors.test_serve import workspace
from tests.traces.sdks.capture import ROOT

from windlass.core.ids import span_id, trace_id
from windlass.sdk.client import Client

pytestmark = pytest.mark.slow
PYTHON = ROOT / ".sdks" / "python" / "bin" / "python"
READ = """
import json, sys
from langfuse import get_client
langfuse = get_client()
told = []
for name, how in json.loads(sys.argv[1]):
    try:
        p = langfuse.get_prompt(name, max_retries=0, cache_ttl_seconds=0, **how)
        told.append([p.version, p.labels, p.config, p.compile(text="Tides.", tone="short")])
    except Exception as e:
        told.append(type(e).__name__)
print(json.dumps(told))
"""


USED = """
from langfuse import get_client
langfuse = get_client()
for number in (1, 2):
    prompt = langfuse.get_prompt("note", version=number)
    with langfuse.start_as_current_observation(as_type="generation", name=f"note {number}", model="gpt-5-mini", prompt=prompt):
        pass
fallen = langfuse.get_prompt("nowhere", fallback="Hello", max_retries=0)
with langfuse.start_as_current_observation(as_type="generation", name="fallen", model="gpt-5-mini", prompt=fallen):
    pass
langfuse.shutdown()
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Client, str]]:
    """A server with a prompt in two versions, of which production uses the first, and two others."""
    folder = tmp_path_factory.mktemp("langfuse")
    up, made = Server(folder / "home"), workspace(folder / "shop", rows=4)
    with up.client() as client:
        note = made / "prompts" / "note.md"
        client.push(made)
        client.releases.promote("answer", override="to try")
        note.write_text(note.read_text().replace("Note", "Please note", 1))
        (made / "prompts" / "talk.md").write_text(
            "---\ninputs: {text: string, tone: string}\nparameters: {temperature: 0.5}\n---\nsystem: Be {{ tone }}.\nuser: {{text}}\n"
        )
        (made / "prompts" / "clever.md").write_text("---\ninputs: {text: string}\n---\nuser: {% if text %}{{ text | upper }}{% endif %}\n")
        with (made / "app.py").open("a") as app:
            app.writelines(f'{name} = w.component("{name}", prompt="prompts/{name}.md", model="baseline")\n' for name in ("talk", "clever"))
        client.push(made)
        yield up, client, client.keys.create("langfuse").secret or ""
    up.stop()


@pytest.mark.skipif(not PYTHON.exists(), reason="there is no .sdks/python here: make .stamps/sdks installs it")
def test_the_sdk_reads_and_fills_them_in(shop: tuple[Server, Client, str]) -> None:
    up, client, key = shop
    first = client.prompts.get("note:production").body.messages[0].text.replace("{{ text }}", "Tides.")
    newest = first.replace("Note", "Please note", 1)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("note", {}), ("note", {"label": "latest"}), ("note", {"version": 1}), ("note", {"version": 2}),
        ("talk", {"label": "latest"}), ("talk", {}), ("nowhere", {"label": "latest"}), ("note", {"version": 3}), ("clever", {"version": 1}),
    ]  # fmt: skip
    environ = {"LANGFUSE_BASE_URL": up.address, "LANGFUSE_PUBLIC_KEY": "pk-lf-any", "LANGFUSE_SECRET_KEY": key, "PATH": "/usr/bin:/bin"}
    done = subprocess.run([PYTHON, "-c", READ, json.dumps(asked)], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [told[0][n] == told[2][n] for n in (0, 2, 3)] == [True] * 3 and (told[0][0], told[0][3]) == (1, first)
    assert "production" in told[0][1]
    assert told[1] == told[3] and (told[1][0], told[1][3]) == (2, newest)
    assert "latest" in told[1][1]
    assert told[4][2:] == [{"temperature": 0.5}, [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Tides."}]]
    assert told[5:8] == ["NotFoundError"] * 3, "production uses no prompt talk; there is none of that name, and no third version"
    assert isinstance(told[8], str)


def test_what_cannot_be_told_is_said(shop: tuple[Server, Client, str]) -> None:
    up, client, key = shop
    reader = client.keys.create("reader", role="viewer").secret or ""
    for path, secret, status, said in (
        ("clever?label=latest", key, 400, "windlass.prompt"), ("nowhere?label=latest", key, 404, "push it first"),
        ("note?version=9", key, 404, "it has 1 to 2"), ("note?version=x", key, 400, "a number from 1"),
        ("note?version=0", key, 400, "from 1"),
        ("team%2Fnote", key, 400, "is not a name"), ("note?label=..", key, 400, "is not a label"), ("note", "wl_nonsense", 401, ""),
        ("note", reader, 403, ""),
    ):  # fmt: skip
        basic = base64.b64encode(f"pk-lf-any:{secret}".encode()).decode()
        answer = httpx2.get(f"{up.address}/api/public/v2/prompts/{path}", headers={"authorization": f"Basic {basic}"})
        assert (answer.status_code, said in answer.text) == (status, True), (path, answer.text)
    with pytest.raises(Exception, match="not both"):
        client.prompts.get("note:main", number=1)
    assert client.prompts.get("note", number=0).ref == client.prompts.get("note", number=2).ref


@pytest.mark.skipif(not PYTHON.exists(), reason="there is no .sdks/python here: make .stamps/sdks installs it")
def test_an_answer_is_linked_to_the_version_of_the_prompt_that_made_it(shop: tuple[Server, Client, str]) -> None:
    up, client, key = shop
    environ = {"LANGFUSE_BASE_URL": up.address, "LANGFUSE_PUBLIC_KEY": "pk-lf-any", "LANGFUSE_SECRET_KEY": key, "PATH": "/usr/bin:/bin"}
    done = subprocess.run([PYTHON, "-c", USED], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    until(lambda: len(client.traces.list(filter="model:gpt-5-mini").items) == 3)
    for number in (1, 2):
        ref = client.prompts.get("note", number=number).ref
        (trace,) = client.traces.list(filter=f"uses:{ref}").items
        assert (trace.name, client.traces.show(trace.trace_id).versions) == (f"note {number}", (ref,))
        assert client.traces.why(trace.trace_id).versions == (ref,)
    assert len(client.traces.list(filter="uses:prompt/note").items) == 2


def test_what_is_not_known_stays_as_it_was_told(shop: tuple[Server, Client, str]) -> None:
    up, client, key = shop
    told: list[tuple[str, str, Any]] = [  # path, name, number
        ("/v1/traces", "note", {"intValue": "1"}), ("/api/public/otel/v1/traces", "note", {"intValue": "7"}),
        ("/api/public/otel/v1/traces", "Not A Name", {"intValue": "1"}), ("/api/public/otel/v1/traces", "note", {"stringValue": "first"}),
        ("/api/public/otel/v1/traces", "note", {"intValue": "-1"}), ("/api/public/otel/v1/traces", "note", {"stringValue": "2"}),
    ]  # fmt: skip
    found = []
    for path, name, number in told:
        trace = trace_id()
        attributes = [
            {"key": "langfuse.observation.prompt.name", "value": {"stringValue": name}},
            {"key": "langfuse.observation.prompt.version", "value": number},
        ]
        span = {
            "traceId": trace,
            "spanId": span_id(),
            "name": "x",
            "startTimeUnixNano": "1",
            "endTimeUnixNano": "2",
            "attributes": attributes,
        }
        body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
        basic = base64.b64encode(f"pk-lf-any:{key}".encode()).decode()
        assert httpx2.post(f"{up.address}{path}", json=body, headers={"authorization": f"Basic {basic}"}).status_code == 200
        found.append(client.traces.show(trace))
    assert [f.versions for f in found] == [()] * 5 + [(client.prompts.get("note", number=2).ref,)]
    assert found[1].spans[0].attributes["langfuse.observation.prompt.version"] == 7
