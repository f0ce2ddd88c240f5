"""Targets that are not ours: an application in Node behind a URL, commands, Python functions."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from tests.evaluate.application import App

from windlass.core.errors import Invalid

NODE = Path(__file__).parents[2] / "examples" / "node"
SUITE = """
import windlass as w

@w.evaluator
def right(output, row) -> float:
    return float(output == row.expected)

w.suite("theirs", target=TARGET, data=w.data("data/rows.jsonl"), guards={right: w.not_worse(by=0.08)},
        first_release={right: w.at_least(0.6)})
"""


@contextmanager
def node(*, slip: int = 0) -> Iterator[str]:
    """The example's application; its address."""
    command = ["node", str(NODE / "server.mjs"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PATH": "/usr/bin:/bin:/usr/local/bin", "SLIP": str(slip)}) as p:
        try:
            yield f"http://127.0.0.1:{p.stdout.readline().split()[-1]}/"
        finally:
            p.kill()


def foreign(app: App, target: str) -> None:
    app.write("app.py", SUITE.replace("TARGET", target))
    app.client.push(app.folder)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
def test_an_application_in_node_is_gated_by_its_declared_version(app: App) -> None:
    shutil.rmtree(app.folder)
    shutil.copytree(NODE, app.folder)
    text = (NODE / "app.py").read_text()

    def gate(address: str, version: str):
        app.write("app.py", text.replace("http://127.0.0.1:3000/", address).replace("w.git_sha()", repr(version)))
        app.client.push(app.folder)
        return app.gate(suite="capitals").verdict

    with node() as address:
        first = gate(address, "1")
        assert (first.decision, first.base, first.candidate) == ("promote", None, f"{address}@1")
        same = gate(address, "2")
        assert (same.decision, same.base, same.identical) == ("promote", f"{address}@1", 0)
        with pytest.raises(Exception, match="runs already"):
            gate(address, "2")
    with node(slip=4) as other:
        worse = gate(other, "3")
        assert worse.decision == "block"
        assert worse.base == f"{address}@2"
        assert worse.guards[0].difference < -0.3
        outcome = app.client.evaluations.outcomes(worse.candidate_evaluation, limit=1).items[0]
        assert app.client.traces.show(outcome.trace).summary.name == other
        assert outcome.cost is None


def test_another_suite_cannot_be_compared_with_what_cannot_be_asked_again(app: App) -> None:
    app.write("said.py", "import json, sys\nn = json.load(sys.stdin)['input'].split()[-1]\nprint(json.dumps(f'answer {n}'))\n")
    line = f"w.command('{sys.executable} said.py', version='VERSION', input='question')"
    foreign(app, line.replace("VERSION", "1"))
    assert app.gate(suite="theirs").verdict.decision == "promote"
    app.write("app.py", (app.folder / "app.py").read_text().replace("'1'", "'2'").replace("row.expected)", "row.expected) * 1.0"))
    app.client.push(app.folder)
    job = app.gate(suite="theirs")
    assert "cannot be asked again" in job.error["error"]["message"]


def test_a_python_function_with_a_version(app: App) -> None:
    app.write("theirs.py", "print('noise')\nasync def ask(question):\n    return 'answer ' + question.split()[-1]\n")
    foreign(app, "w.function('theirs:ask', version='1', input='question')")
    found = app.evaluate("theirs")
    assert (found.status, found.failed, found.evaluators[0].mean) == ("done", 0, 1.0)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("import sys; sys.exit('broken')", "status 1: broken"),
        ("print('hello')", "no JSON"),
        ("print('x' * 9_000_000)", "more than 8,000,000 bytes"),
        ("raise SystemExit(3)", "status 3"),
    ],
)
def test_a_command_that_misbehaves_is_unmeasured(app: App, body: str, says: str) -> None:
    app.write("said.py", body)
    app.write("data/rows.jsonl", '{"key": "a", "question": "q", "expected": "x"}\n')
    foreign(app, f"w.command('{sys.executable} said.py', version='1', input='question')")
    found = app.evaluate("theirs")
    outcome = app.client.evaluations.outcomes(found.id).items[0]
    assert says in outcome.error
    assert outcome.scores[0].value is None
    assert found.evaluators[0].mean is None


def test_a_row_without_the_field_is_named(app: App) -> None:
    app.write("data/rows.jsonl", '{"key": "a", "query": "q", "expected": "x"}\n')
    foreign(app, "w.command('true', version='1', input='question')")
    outcome = app.client.evaluations.outcomes(app.evaluate("theirs").id).items[0]
    assert "row 'a' has no field 'question'" in outcome.error


def test_an_application_that_is_busy_is_asked_again(app: App) -> None:
    asked: dict[str, int] = {}

    async def answer(request: web.Request) -> web.Response:
        question = json.loads(await request.read())["input"]
        asked[question] = asked.get(question, 0) + 1
        if question.endswith("1"):
            return web.Response(status=404, text="nothing here")
        if asked[question] == 1 and question.endswith("2"):
            return web.Response(status=503)
        assert request.headers["traceparent"].startswith("00-")
        return web.json_response("answer " + question.split()[-1])

    async def start() -> tuple[web.AppRunner, int]:
        server = web.Application()
        server.router.add_post("/", answer)
        runner = web.AppRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, runner.addresses[0][1]

    runner, port = app.transport.run(start())
    app.write(
        "data/rows.jsonl", "".join(json.dumps({"key": f"r{n}", "question": f"q {n}", "expected": f"answer {n}"}) + "\n" for n in range(4))
    )
    foreign(app, f"w.url('http://127.0.0.1:{port}/', version='1', input='question')")
    found = app.evaluate("theirs")
    app.transport.run(runner.cleanup())
    errors = {o.row: o.error for o in app.client.evaluations.outcomes(found.id).items}
    assert errors == {"r0": None, "r1": f"http://127.0.0.1:{port}/: it answered 404: nothing here", "r2": None, "r3": None}
    assert asked == {"q 0": 1, "q 1": 1, "q 2": 2, "q 3": 1}


def test_a_server_that_others_reach_starts_no_commands(app: App) -> None:
    foreign(app, "w.command('true', version='1', input='question')")
    app.platform.experiments._targets._commands = False
    found = app.evaluate("theirs")
    assert found.status == "failed"
    assert "starts no commands" in found.error


def test_a_foreign_target_is_always_its_own(app: App) -> None:
    foreign(app, "w.command('true', version='1', input='question')")
    with pytest.raises(Invalid, match="always its own"):
        app.client.evaluations.start("theirs", "chain/answer")
