"""docs/frameworks.md: its applications run as they stand there, against a live server; their traces are whole, and a suite gates one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.doors.cli.conftest import Shell
from tests.doors.server import Server, until

from windlass.core import span as names
from windlass.core.operations.traces import Trace

PAGE = (Path(__file__).parents[2] / "docs/frameworks.md").read_text()
LANGCHAIN, LLAMA_INDEX, AGENTS, PYDANTIC, SUITE = re.findall(r"```python\n(.*?)```", PAGE, re.S)
USED = {"input": 20, "output": 6}  # tokens of each answer of the scripted provider


class Shop(NamedTuple):
    """A server in which the shop is in production, whose provider is scripted; `app` is what an application has in its environment."""

    server: Server
    shell: Shell
    app: dict[str, str]


def scripted(*says: dict[str, Any]) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([sys.executable, "-m", "tests.scripted_provider", json.dumps(says)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, process.stdout.readline().strip()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shell = Shell(tmp_path_factory.mktemp("shop"))
    tool = {"tools": [["opening_hours", {"day": "Monday"}]]}
    provider, address = scripted({"text": "At nine."}, tool, {"text": "From nine to six."}, {"text": "At nine, says the agent."})
    server = Server(Path(shell.env["WINDLASS_HOME"]), env={"OPENAI_BASE_URL": address, "OPENAI_API_KEY": "sk-scripted-secret-key"})
    try:
        shell("init", "shop")
        shell.cwd = shell.folder / "shop"
        shell("push")
        shell("gate", "shop")
        shell("promote", "shop")
        with server.client() as client:
            key = client.keys.create("app", role="caller").secret
        app = {
            "PATH": os.environ["PATH"], "HOME": str(shell.folder), "WINDLASS_URL": server.address, "WINDLASS_KEY": str(key),
            "OPENAI_BASE_URL": f"{server.address}/v1", "OPENAI_API_KEY": str(key),
        }  # fmt: skip
        yield Shop(server, shell, app)
    finally:
        server.stop()
        provider.kill()


def run(shop: Shop, code: str, name: str) -> str:
    """An application in a process of its own; what it printed."""
    path = shop.shell.folder / f"{name}.py"
    path.write_text(code)
    done = subprocess.run([sys.executable, str(path)], env=shop.app, cwd=shop.shell.folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "skipping trace export" not in done.stderr
    return done.stdout.strip()


def trace_of(shop: Shop, name: str) -> Trace:
    """The one trace of the application of that name, once all its spans are here; the only one it left."""
    with shop.server.client() as client:

        def mine() -> list[Trace]:
            shown = [client.traces.show(t.trace_id) for t in client.traces.list(limit=50).items]
            return [t for t in shown if any(s.service == name for s in t.spans)]

        until(lambda: any(s.parent is None for t in mine() for s in t.spans))
        (found,) = mine()
        alone = [t for t in client.traces.list(limit=50).items if t.name.startswith("chat ")]
        assert not alone, "a call through the gateway stands beside the trace it belongs to"
    return found


def models(trace: Trace, service: str) -> list[Any]:
    return [s for s in trace.spans if s.service == service and s.attributes.get("gen_ai.operation.name") == "chat"]


def test_a_langchain_chain_runs_as_it_is_with_a_prompt_of_the_registry(shop: Shop) -> None:
    assert run(shop, LANGCHAIN, "chain") == "At nine."
    trace = trace_of(shop, "chain")
    (ours,) = models(trace, "windlass")
    (theirs,) = models(trace, "chain")
    assert ours.parent == theirs.span_id
    assert ours.attributes[names.REQUEST_MODEL] == "openai/gpt-5-mini"
    said = json.loads(ours.attributes[names.INPUT_MESSAGES])
    assert [m["role"] for m in said] == ["system", "user"] and "[1] The shop opens at nine." in json.dumps(said[1])
    assert trace.summary.tokens == sum(USED.values()) and trace.summary.cost and trace.summary.kind == "chain"
    used = {v.rpartition("@")[0] for v in trace.versions}
    assert used == {"prompt/answer"}
    with shop.server.client() as client:
        assert any("prompt/answer" in ref for ref in client.traces.why(trace.summary.trace_id).versions)


def test_llama_index_finds_the_gateway_by_what_an_application_has(shop: Shop) -> None:
    """LlamaIndex is not installed for tests: what its example names is, and leads to the gateway."""
    named = set(re.findall(r'environ\["(\w+)"\]', LLAMA_INDEX))
    assert named <= set(shop.app) and shop.app["OPENAI_BASE_URL"] == f"{shop.server.address}/v1"
    compile(LLAMA_INDEX, "docs/frameworks.md", "exec")


def test_an_agent_of_openais_sdk_runs_as_it_is(shop: Shop) -> None:
    assert run(shop, AGENTS, "agent") == "From nine to six."
    trace = trace_of(shop, "agent")
    ours = models(trace, "windlass")
    by_id = {s.span_id: s for s in trace.spans}
    assert len(ours) == 2 and all(by_id[s.parent].attributes["openinference.span.kind"] == "LLM" for s in ours)
    (tool,) = [s for s in trace.spans if s.attributes.get("openinference.span.kind") == "TOOL"]
    assert "On Monday from nine to six." in str(tool.attributes["output.value"])
    assert trace.summary.tokens == 2 * sum(USED.values()) and trace.summary.cost


def test_an_agent_of_pydantic_ai_runs_as_it_is(shop: Shop) -> None:
    assert run(shop, PYDANTIC, "guide") == "At nine, says the agent."
    trace = trace_of(shop, "guide")
    (ours,), (theirs,) = models(trace, "windlass"), models(trace, "guide")
    assert ours.parent == theirs.span_id
    assert trace.summary.tokens == sum(USED.values()) and trace.summary.kind == "agent"


def test_a_chain_of_langchain_is_gated_and_its_calls_hang_in_the_traces_of_rows(shop: Shop) -> None:
    """Its own spans and the gateway's belong to the evaluation, and not to what production is asked."""
    workspace = shop.shell.folder / "bot"
    (workspace / "data").mkdir(parents=True)
    rows = [{"key": f"q{i}", "question": f"When do you open, {i}?", "must_say": "nine"} for i in range(12)]
    (workspace / "data" / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (workspace / "windlass.toml").write_text('project = "default"\nname = "bot"\n')
    bot = """
        import windlass
        from langchain_openai import ChatOpenAI

        windlass.init()

        def answer(question: str) -> str:
            with windlass.trace("think"):
                said = ChatOpenAI(model="gpt-5-mini").invoke(question).content
            windlass.flush()
            return said
    """
    (workspace / "bot.py").write_text(textwrap.dedent(bot))
    (workspace / "app.py").write_text(SUITE.replace("w.git_sha()", "'1'"))
    with shop.server.client() as client:
        before = len(client.traces.list(limit=200).items)
        client.push(workspace)
    shop.shell.cwd = workspace
    told = shop.shell("gate", "bot").stdout
    assert "FIRST RELEASE" in told, told
    with shop.server.client() as client:
        assert len(client.traces.list(limit=200).items) == before
        (evaluation,) = [e for e in client.evaluations.list(limit=50).items if e.suite.startswith("suite/bot")]
        traces = client.traces.list(evaluation=evaluation.id, limit=50).items
        assert len(traces) == len(rows)
        trace = client.traces.show(traces[0].trace_id)
        assert {s.service for s in trace.spans} >= {"windlass", "foreign"}
        (call,) = models(trace, "windlass")
        assert call.attributes[names.EVALUATION] == evaluation.id and trace.summary.cost


def test_the_command_line_renders_what_applications_get(shop: Shop) -> None:
    shop.shell.cwd = shop.shell.folder
    facts = "facts=" + json.dumps(["The shop opens at nine."])
    said = shop.shell.json("render", "answer", "question=When?", facts)
    assert [m["role"] for m in said["messages"]] == ["system", "user"] and said["ref"].startswith("prompt/answer@sha256:")
    assert "[1] The shop opens at nine." in shop.shell("render", "answer", "question=When?", facts).stdout
    assert "needs the input 'facts'" in shop.shell("render", "answer", "question=When?", code=1).stderr
    assert "has no input 'fact'" in shop.shell("render", "answer", "question=When?", facts, "fact=1", code=1).stderr
    assert "no release in production uses prompt/nothing" in shop.shell("render", "nothing", code=1).stderr
