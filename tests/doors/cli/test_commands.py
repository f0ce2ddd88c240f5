"""The command line, used as a person uses it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.doors.cli.conftest import Edit, Shell
from tests.doors.server import Server

from windlass.core.operations import OPERATIONS, deploy, discover, evaluation, registry, runs, system, traces
from windlass.doors.cli.commands import DOES
from windlass.doors.cli.main import app


def test_every_operation_has_a_command() -> None:
    assert all((deploy, discover, evaluation, registry, runs, system, traces))  # what declares them
    assert OPERATIONS.keys() == DOES.keys()


def commands() -> list[list[str]]:
    import typer

    found = []
    for name, command in typer.main.get_command(app).commands.items():
        inner = getattr(command, "commands", None)
        found += [[name, sub] for sub in inner] if inner else [[name]]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_explains_itself_and_speaks_json(command: list[str]) -> None:
    import typer

    found = typer.main.get_command(app)
    for name in command:
        found = found.commands[name]
    assert found.help and found.help.strip().endswith(".")
    options = {o for p in found.params for o in p.opts}
    assert {"--json", "--home", "--project", "--debug"} <= options
    for parameter in found.params:
        assert getattr(parameter, "help", None) or parameter.name == "help", f"{command}: {parameter.name} has no help"


def test_the_whole_way(shop: Shell, edit: Edit) -> None:
    """init → push → run → gate → promote → better words → rollback, by hand."""
    pushed = shop("push")
    assert "8 versions · 8 new" in pushed.stdout
    assert "candidate" in pushed.stdout
    assert "8 unchanged" in shop("push").stdout
    answered = shop("run", "shop", "When do you open?")
    assert answered.stdout.startswith("The shop opens at nine")
    assert "why: windlass why" in answered.stdout
    gated = shop("gate")
    assert "FIRST RELEASE" in gated.stdout
    assert "nothing in production yet" in gated.stdout
    moved = shop("promote")
    assert moved.stdout.startswith("production  ")
    assert "by verdict" in moved.stdout
    refused = shop("gate", code=4)
    assert "is what production runs already" in refused.stderr
    edit("app.py", '"The workshop in the yard repairs bicycles and scooters.",', "")
    edit("app.py", '"Gift vouchers are valid for three years.",', "")
    assert "chain/shop" in shop("push").stdout
    verdict = shop.json("gate", code=1)
    assert (verdict["decision"], verdict["base"] is not None) == ("block", True)
    assert "the gate said block" in shop("promote", code=1).stderr
    assert "by override: we sold the workshop" in shop("promote", "--override", "we sold the workshop").stdout
    back = shop("rollback")
    assert "→" in back.stdout
    history = shop("history").stdout
    assert history.count("rollback") == 1
    assert history.count("override") == 1
    why = shop("why", shop.json("run", "shop", "When do you open?")["trace"])
    assert why.stdout.startswith("this answer ← release/shop@")
    assert "let out by verdict" in why.stdout


def test_worse_is_blocked_with_exit_1(shop: Shell, edit: Edit) -> None:
    shop("push")
    shop("gate")
    shop("promote")
    edit("app.py", "return clerk(question=question, facts=FACTS)", 'return "I am only a template."')
    shop("push")
    blocked = shop("gate", code=1)
    assert "BLOCK" in blocked.stdout
    assert "shown worse after" in blocked.stdout
    assert 'worst: "' in blocked.stdout


def test_what_is_run_is_said(shop: Shell, edit: Edit) -> None:
    shop("push")
    assert "chain/shop@" in shop("run", "shop", "When do you open?").stdout
    shop("gate")
    shop("promote")
    edit("app.py", "closes at six", "closes at seven")
    shop("push")
    answered = shop("run", "shop", "When do you open?").stdout
    assert "six" in answered and "release/shop@" in answered
    assert "this is what production runs; the newest is " in answered and answered.rstrip().endswith("windlass run chain/shop")
    assert "seven" in shop("run", "chain/shop", "When do you open?").stdout


def test_the_suite_is_the_workspaces_own(shop: Shell, edit: Edit) -> None:
    shop("push")
    shop("init", "../bar")
    shop.cwd = shop.folder / "bar"
    code = shop.cwd / "app.py"
    code.write_text(code.read_text().replace("shop", "bar").replace("clerk", "waiter"))
    shop("push")
    assert "release/bar@" in shop("gate").stdout
    shop.cwd = shop.folder
    refused = shop("gate", code=4)
    assert "which suite? there are bar, shop" in refused.stderr and "windlass gate bar" in refused.stderr
    assert "windlass eval bar" in shop("eval", code=1).stderr


def test_looking_around(shop: Shell, served: Server, edit: Edit) -> None:
    shop("push")
    listed = shop.json("artifacts")
    assert {i["kind"] for i in listed["items"]} >= {"prompt", "component", "chain", "evaluator", "suite", "dataset", "release"}
    shown = shop("show", "prompt/answer").stdout
    assert "{{ question }}" in shown
    assert "used by" in shown
    edit("prompts/answer.md", "Answer only", "Reply only")
    shop("push")
    versions = shop.json("artifacts", "prompt/answer")["items"]
    assert len(versions) == 2
    compared = shop("diff", f"prompt/answer@{versions[1]['digest'][7:19]}").stdout
    assert "-Answer only" in compared.replace("- ", "-") or "-system: Answer only" in compared or "Reply only" in compared
    drawn = shop("lineage", "release/shop").stdout
    assert "└─" in drawn
    assert "prompt/answer@" in drawn
    rows = shop("rows", "shop-questions", "--limit", "2").stdout.splitlines()
    assert rows[0].endswith("60 rows")
    assert json.loads(rows[1])["key"] == "q01"
    assert "everything is what its digest says" in shop("verify").stdout
    label = shop("label", "prompt/answer:try", versions[1]["digest"]).stdout
    assert label.startswith("prompt/answer:try → ")
    assert shop.json("models")["items"][0]["id"] == "baseline"
    assert "waits for a gate" in shop("releases").stdout


def test_evaluations_and_their_rows(shop: Shell, served: Server) -> None:
    shop("push")
    first = shop("eval")
    assert "60 rows" in first.stdout
    again = shop("eval")
    assert "60 recorded answers re-used" in again.stdout
    a, b = (e["id"] for e in shop.json("evaluations")["items"])
    rows = shop("evaluations", a, "--rows", "--limit", "30").stdout
    assert "right 1.00" in rows
    assert "60 pairs" in shop("compare", b, a).stdout
    assert shop("traces").stdout.startswith("no traces yet")
    found = shop.json("traces", "--evaluation", a)
    assert len(found["items"]) == 20
    tree = shop("traces", found["items"][0]["trace_id"]).stdout
    assert "component" in tree
    assert shop("figures").stdout.startswith("no trace that fits began in 24 h")
    figures = shop("figures", "--evaluation", a, "--by", "kind", "--with", "steps").stdout
    assert figures.startswith(f"{len(found['items'])} traces in 24 h" if not found.get("next") else "60 traces in 24 h")
    assert "component" in figures and any(block in figures for block in "▁▂▃▄▅▆▇█")
    whole = shop.json("figures", "--evaluation", a)["whole"]
    assert whole["traces"] == 60 and whole["latency"]["p50"] > 0
    assert "take steps or first_token" in shop("figures", "--with", "weather", code=1).stderr
    assert "read anew: they say what they said" in shop("traces", "remap").stdout
    told = shop.json("traces", "remap")
    assert told["finished"] and told["done"] == told["total"] > 120
    assert "windlass" in shop("traces", "ledger").stdout and shop.json("traces", "ledger")["items"][0]["received"] > 120
    assert "balance: " in shop("traces", "audit").stdout
    assert shop.json("logs", "--severity", "warn")["items"] == [] and "no record is like that" in shop("logs", "--name", "login").stdout
    assert "spans asks for whole traces" in shop("logs", "-w", "spans>2", code=1).stderr
    proven = shop.json("traces", "audit")
    assert proven["finished"] and proven["balanced"] == proven["lines"] > 0


def test_errors_teach(shell: Shell) -> None:
    nothing = shell("push", code=1).stderr
    assert "this is no workspace" in nothing
    assert "windlass init" in nothing
    assert "did you mean `windlass gate`?" in shell("gaet", code=2).stderr
    assert "--help" in shell("gate", "--nope", code=2).stderr
    shell("init", "shop")
    shell.cwd = shell.folder / "shop"
    assert "is there already" in shell("init", code=1).stderr
    shell("push")
    assert "did you mean chain/shop?" in shell("show", "chain/shoop", code=1).stderr
    assert "nothing to run by the name" in shell("run", "nobody", "hello", code=1).stderr
    assert "more than one" not in shell("run", "shop", "one question").stderr
    assert "not name=value" in shell("run", "shop", "two", "words", code=1).stderr
    wrong = json.loads(shell("show", "chain/shoop", "--json", code=1).stdout)
    assert wrong["error"]["code"] == "not_found"
    assert "Traceback" not in shell("show", "chain/shoop", code=1).stderr
    assert "Traceback" in shell("show", "chain/shoop", "--debug", code=1).stderr
    (shell.cwd / "prompts/answer.md").write_text("---\ninputs: {question: string}\n---\nuser: '{{ quesion }}'\n")
    broken = shell("push", code=1).stderr
    assert "prompts/answer.md" in broken
    assert "did you mean 'question'" in broken


def test_input_in_every_form(shop: Shell) -> None:
    shop("push")
    asked = "The shop opens at nine"
    assert shop("run", "shop", "question=When do you open?").stdout.startswith(asked)
    (shop.cwd / "q.json").write_text('{"question": "When do you open?"}')
    assert shop("run", "chain/shop", "--input", "q.json").stdout.startswith(asked)
    assert shop("run", "chain/shop", "-i", "-", stdin='{"question": "When do you open?"}').stdout.startswith(asked)
    assert "not JSON" in shop("run", "shop", "-i", "-", stdin="{", code=1).stderr
    assert shop("run", "clerk", "question=When do you open?", 'facts=["We open at ten."]').stdout.startswith("We open at ten.")


def test_dry_registers_nothing(shop: Shell) -> None:
    assert "nothing was registered" in shop("push", "--dry").stdout
    assert shop.json("artifacts")["items"] == []


def test_without_a_server_a_second_command_is_told_who_works(shop: Shell) -> None:
    shop("push")
    code = (
        "import sys; from pathlib import Path; from windlass.store.home import Home; h = Home(Path(sys.argv[1])); h.lock(); print('held')"
    )
    command = [sys.executable, "-c", code + "; input()", shop.env["WINDLASS_HOME"]]
    held = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert held.stdout.readline() == "held\n"
    refused = shop("artifacts", code=1).stderr
    held.communicate("\n")
    assert f"as process {held.pid}" in refused
    shop("artifacts")


def test_a_login_is_checked_before_it_is_kept(shell: Shell) -> None:
    refused = shell("login", "http://127.0.0.1:9", "--key", "wlk_x", code=1)
    assert "there is no Windlass at http://127.0.0.1:9" in refused.stderr
    assert not (shell.folder / ".config").exists()


@pytest.mark.parametrize(
    "arguments", [["--version"], ["models", "gpt", "--json"], ["keys", "list"], ["nope"], ["run"], ["artifacts", "--help"]]
)
def test_a_command_that_is_started_from_nothing_says_the_same(shop: Shell, arguments: list[str]) -> None:
    """The others are forked from a process that has loaded Windlass (`forked.py`)."""
    command = [sys.executable, "-m", "windlass.doors.cli.main", *arguments]
    wanted = subprocess.run(command, cwd=shop.cwd, env=shop.env, capture_output=True, text=True, timeout=120)
    found = shop(*arguments, code=wanted.returncode)
    assert (found.stdout, found.stderr) == (wanted.stdout, wanted.stderr)


def test_the_version() -> None:
    import windlass

    done = subprocess.run([sys.executable, "-m", "windlass.doors.cli.main", "--version"], capture_output=True, text=True)
    assert done.stdout.strip() == windlass.__version__


def test_what_every_command_takes_is_taken_before_its_name_too(shell: Shell) -> None:
    home = str(shell.folder / "other")
    for before in (["--json", "data", "diff"], ["data", "--json", "diff"], ["data", "diff", "--json"]):
        assert json.loads(shell(*before, "a", "b", code=1).stdout)["error"]["code"] == "not_found"
    for arguments in (["--json", "index", "list"], ["index", "--json", "list"], ["--json", "review"], ["review", "--json", "list", "x"]):
        assert isinstance(json.loads(shell(*arguments, code=1 if arguments[-1] == "x" else 0).stdout), dict)
    shell("--home", home, "pin", "list")
    assert (shell.folder / "other" / "FORMAT").exists()
    assert shell("--version").stdout.strip()
    shell("--home", home, "--jsn", "pin", "list", code=2)
