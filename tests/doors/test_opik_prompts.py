"""Prompts by the wire of Opik's SDK, and by the Python SDK itself."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from tests.doors.server import Server
from tests.doors.test_langfuse_datasets import of_project
from tests.doors.test_opik import BASE, App
from tests.doors.test_opik_datasets import PYTHON, app, refused

from windlass.core.operations.prompts import GET, PromptQuery
from windlass.core.operations.prompts import PromptVersion as Version

__all__ = ["app"]
pytestmark = pytest.mark.slow
SCRIPT = """
import json, logging
import opik
logging.disable(logging.CRITICAL)
client = opik.Opik()
one = client.create_prompt("answer", "Answer {{question}}", metadata={"temperature": 0})
same = client.create_prompt("answer", "Answer {{question}}", metadata={"temperature": 0})
two = client.create_prompt("answer", "Answer well: {{question}}", metadata={"temperature": 0}, change_description="better")
chat = client.create_chat_prompt("talk", [{"role": "user", "content": "Hello {{name}}"}], description="Greets", tags=None)
got, old, nowhere = client.get_prompt("answer"), client.get_prompt("answer", commit=one.commit), client.get_prompt("nowhere")
print(json.dumps({
    "commits": [one.commit, same.commit, two.commit, got.commit, old.commit], "rendered": [got.format(question="why?"), old.prompt],
    "history": [[p.prompt, p.version] for p in client.get_prompt_history("answer")], "nowhere": nowhere, "metadata": got.metadata,
    "chat": client.get_chat_prompt("talk").format(variables={"name": "Ann"}), "again": client.create_chat_prompt(
        "talk", [{"role": "user", "content": "Hello {{name}}"}]).commit == chat.commit,
    "by number": client.get_prompt("answer", version="v1").prompt,
}))
"""


def add(app: App, template: str, name: str = "answer", **more: Any) -> Any:
    version = {"template": template, "type": "mustache"} | more
    return app.http.post(f"{BASE}/prompts/versions", json={"name": name, "version": version, "template_structure": "text"})


def retrieve(app: App, **more: Any) -> Any:
    return app.http.post(f"{BASE}/prompts/versions/retrieve", json={"name": "answer"} | more)


@pytest.mark.skipif(not PYTHON.exists(), reason="there is no .sdks/opik-alone here: make .stamps/sdks installs it")
def test_prompts_of_the_sdk_are_versions_of_the_registry(server: Server) -> None:
    with of_project(server) as client:
        key = client.keys.create("opik", role="developer").secret or ""
        environ = {"OPIK_URL_OVERRIDE": f"{server.address}/api", "OPIK_API_KEY": key, "OPIK_WORKSPACE": "default", "PATH": "/usr/bin:/bin",
                   "OPIK_SENTRY_ENABLE": "false"}  # fmt: skip
        done = subprocess.run([PYTHON, "-c", SCRIPT], env=environ, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        one, same, two, got, old = told["commits"]
        assert (one, two, one != two) == (same, got, True)
        assert old == one
        assert told["rendered"] == ["Answer well: why?", "Answer {{question}}"]
        assert told["history"] == [["Answer well: {{question}}", "v2"], ["Answer {{question}}", "v1"]]
        assert (told["nowhere"], told["metadata"], told["again"]) == (None, {"temperature": 0}, True)
        assert told["chat"] == [{"role": "user", "content": "Hello Ann"}]
        assert told["by number"] == "Answer {{question}}"
        found: Version = client.call(GET, PromptQuery("prompt/answer", client.project))
        assert [(m.role, m.text) for m in found.body.messages] == [("user", "Answer well: {{question}}")]
        assert (list(found.body.inputs), found.body.parameters) == (["question"], {"temperature": 0})


def test_what_is_there_and_what_the_name_means(app: App) -> None:
    first, second = (add(app, text).json() for text in ("A {{ x }}", "B {{ x }}"))
    assert (first["version_number"], second["version_number"]) == ("v1", "v2")
    assert retrieve(app).json() == second
    assert retrieve(app, commit=first["commit"]).json() == retrieve(app, version_number="v1").json()
    assert add(app, "A {{ x }}").json()["commit"] == first["commit"], "what says the same is there already"
    assert retrieve(app).json()["commit"] == first["commit"], "and is what was said last"
    listed = app.http.get(f"{BASE}/prompts?name=ANS").json()
    assert ([p["name"] for p in listed["content"]], listed["content"][0]["version_count"]) == (["answer"], 2)


def test_what_cannot_be_said_here_is_refused(app: App) -> None:
    add(app, "A {{ x }}")
    chat = {"name": "chat", "template_structure": "chat"}
    image = '[{"role": "user", "content": [{"type": "image"}]}]'
    for answer, wanted in (
        (add(app, "{{#x}}a{{/x}}"), (400, "template")), (add(app, "{% if x %}a{% endif %}", type="jinja2"), (400, "template")),
        (add(app, "{{{x}}}"), (400, "template")), (add(app, "A", name="My Prompt"), (400, "")),
        (add(app, "A", type="other"), (400, "type")),
        (add(app, "A", metadata=[1]), (400, "template")), (add(app, " "), (400, "template")), (add(app, "A", tags=["x"]), (400, "tags")),
        (app.http.post(f"{BASE}/prompts", json=chat | {"template": "text"}), (400, "template")),
        (app.http.post(f"{BASE}/prompts", json=chat | {"template": image}), (400, "template")),
        (app.http.post(f"{BASE}/prompts/versions", json={"name": "answer"}), (400, "version")),
        (retrieve(app, name="nowhere"), (404, "")), (retrieve(app, commit="../x"), (400, "commit")),
        (retrieve(app, commit="ffff"), (404, "")),
        (retrieve(app, version_number="3"), (400, "version_number")), (retrieve(app, version_number="v9"), (404, "")),
        (retrieve(app, environment="production"), (404, "")), (retrieve(app, mask_id="m"), (400, "mask_id")),
        (app.http.get(f"{BASE}/prompts/answer/versions?search=x"), (400, "search")),
        (app.http.request("DELETE", f"{BASE}/prompts/answer"), (404, f"{BASE}/prompts/answer")),
    ):  # fmt: skip
        status, where = refused(answer)
        assert (status, where if wanted[1] else "") == wanted, answer.text
    assert [a.name for a in app.client.artifacts.list("prompt").items] == ["answer"]


def test_who_may(app: App, server: Server) -> None:
    add(app, "A {{ x }}")
    caller = app.client.keys.create("app").secret or ""
    for key, reads, writes in (("", 401, 401), (caller, 200, 403)):
        with server.http(**({"authorization": key} if key else {})) as http:
            other = App(http, app.client)
            assert retrieve(other).status_code == reads, "who may call an application may have its prompts"
            assert add(other, "B").status_code == writes
            assert http.post(f"{BASE}/prompts", json={"name": "x", "template": "x"}).status_code == writes
