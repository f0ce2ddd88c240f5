"""Commands that speak to a real server: the same answers as without one, logins and keys, a gate left running, the tour."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.doors.cli.conftest import Edit, Shell
from tests.doors.server import Server

pytestmark = pytest.mark.slow


def reads(shell: Shell) -> list[tuple[str, ...]]:
    """Every command that only reads, as this shell's data folder needs it asked."""
    trace = shell.json("traces")["items"][0]["trace_id"]
    evaluation = shell.json("evaluations")["items"][0]["id"]
    verdict = shell.json("verdicts")["items"][0]["id"]
    release = shell.json("artifacts", "release/shop")["items"][0]["digest"]
    return [
        ("artifacts",), ("artifacts", "release/shop"), ("show", f"release/shop@{release[7:15]}"), ("show", "chain/none"),
        ("diff", "chain/shop"), ("lineage", "prompt/answer"), ("rows", "shop-questions", "--limit", "5"), ("releases",), ("history",),
        ("verdicts",), ("verdicts", verdict), ("evaluations",), ("evaluations", evaluation), ("evaluations", evaluation, "--rows"),
        ("compare", evaluation, evaluation, "--only", "all"), ("traces",), ("traces", trace), ("why", trace), ("models",),
        ("models", "gpt-5", "--can", "tools,vision", "--max-input-price", "2", "--open"), ("models", "--all", "--limit", "3"),
        ("keys", "list"), ("verify",),
    ]  # fmt: skip


MANY = """
import contextlib, io, json, sys
from windlass.doors.cli.main import main

found = []
for arguments in json.load(sys.stdin):
    sys.argv = ["windlass", *arguments, "--json"]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main()
    found.append([arguments, json.loads(out.getvalue())])
json.dump(found, sys.stdout)
"""


def answers(shell: Shell, commands: list[tuple[str, ...]]) -> dict[str, object]:
    """What each command prints; one process does them all, as starting Python over and over is most of the time."""
    done = subprocess.run(
        [sys.executable, "-c", MANY], cwd=shell.cwd, env=shell.env, input=json.dumps(commands), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return {" ".join(arguments): answer for arguments, answer in json.loads(done.stdout)}


def test_with_and_without_a_server_the_answers_are_the_same(shop: Shell, served: Server) -> None:
    assert "8 new" in shop("push").stdout
    assert "8 unchanged" in shop("push").stdout
    assert f"{served.address}/verdicts/" in shop("gate").stdout
    shop("promote")
    shop("run", "shop", "When do you open?")
    shop.json("keys", "create", "app")
    assert shop.json("status")["address"] == served.address
    commands = reads(shop)
    over_http = answers(shop, commands)
    served.stop()
    assert shop.json("status").get("address") is None
    alone = answers(shop, commands)
    assert alone == over_http
    assert len(alone) == len(commands)


def test_a_login_is_kept_once_the_server_knows_the_key(shop: Shell, served: Server) -> None:
    made = shop.json("keys", "create", "laptop", "--role", "developer")
    laptop = Shell(shop.folder / "laptop")
    laptop.folder.mkdir()
    kept = laptop.folder / ".config" / "windlass" / "login.toml"
    assert "does not know this key" in laptop("login", served.address, "--key", made["secret"] + "x", code=1).stderr
    assert not kept.exists()
    told = laptop("login", served.address, "--key", made["secret"])
    assert made["secret"] not in told.stdout + told.stderr
    assert kept.stat().st_mode & 0o777 == 0o600
    assert laptop.json("status")["address"] == served.address
    assert "is revoked" in shop("keys", "revoke", made["id"]).stdout
    refused = laptop("artifacts", code=1)
    assert "windlass" in refused.stderr
    assert made["secret"] not in refused.stderr


def test_a_callers_key_is_no_login(shop: Shell, served: Server) -> None:
    made = shop("keys", "create", "app")
    key = made.stdout.strip()
    assert "cannot be shown again" in made.stderr
    assert key not in shop("keys", "list").stdout
    laptop = Shell(shop.folder / "laptop")
    laptop.folder.mkdir()
    assert "may only call the gateway" in laptop("login", served.address, "--key", key, code=1).stderr


def test_a_server_that_is_gone_is_said_and_a_gate_ends_with_4(shop: Shell) -> None:
    shop.env["WINDLASS_URL"] = "http://127.0.0.1:9"
    gone = shop("releases", code=1)
    assert "does not answer" in gone.stderr
    assert "windlass up" in gone.stderr
    assert gone.stdout == ""
    shop("gate", code=4)


def test_a_gate_goes_on_when_its_watcher_leaves(shop: Shell, served: Server, edit: Edit) -> None:
    edit("app.py", "    return clerk(", "    import time\n\n    time.sleep(1)\n    return clerk(")
    shop("push")
    command = [sys.executable, "-m", "windlass.doors.cli.main", "gate"]
    watching = subprocess.Popen(
        command, cwd=shop.cwd, env=shop.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell that runs tests in the background has it ignored
    )  # fmt: skip
    assert "nothing in production yet" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert "Traceback" not in told
    found = re.search(r"windlass gate --resume (\w+)", told)
    assert found, told
    assert "FIRST RELEASE" in shop("gate", "--resume", found[1]).stdout


def test_inconclusive_is_3_or_what_the_workspace_makes_of_it(shop: Shell, served: Server, edit: Edit) -> None:
    shop("push")
    shop("gate")
    shop("promote")
    edit("app.py", "within thirty days", "within 30 days")
    shop("push")
    assert "waits for a gate" in shop("releases").stdout
    assert "INCONCLUSIVE" in shop("gate", code=3).stdout
    assert "was inconclusive" in shop("releases").stdout
    shop("gate", "--fail-inconclusive", code=1)
    (shop.cwd / "windlass.toml").write_text('name = "shop"\non_inconclusive = "fail"\n')
    shop("gate", code=1)


def test_what_is_written_is_printed_as_it_is(shop: Shell, served: Server, edit: Edit) -> None:
    edit("app.py", '"The shop opens at nine and', '"[/dim] The shop [bold]opens\\x1b]0;owned\\x07 at nine and')
    shop("push")
    moved = shop("promote", "--override", "because [/red] of [link]").stdout
    assert "by override: because [/red] of [link]" in moved
    trace = shop.json("run", "shop", "When do you open?")["trace"]
    for command in (("traces",), ("traces", trace), ("why", trace)):
        shown = shop(*command).stdout
        assert "\x1b" not in shown
        assert "\x07" not in shown
    assert "[/dim] The shop [bold]opens" in shop("traces", trace).stdout
    assert "\x1b" not in shop("show", "chain/shop").stdout


def test_up_walks_the_tour_goes_on_with_one_that_was_cut_off_and_init_does_not_meet_it(walked: Path, shell: Shell) -> None:
    first, second = ((walked / name).read_text() for name in ("first", "second"))
    assert re.match(r"Windlass is at http://127\.0\.0\.1:\d+/\?once=\S+ ", first)
    assert "BLOCK" not in first
    assert "stopped; everything is kept" in first
    assert second.count("PROMOTE") + first.count("PROMOTE") == 3
    assert re.search(
        "BLOCK.*SKEWED.*a new topic.*watched again.*it may not.*let this one call through.*the audit agrees", second, re.DOTALL
    )
    home = Path(shell.env["WINDLASS_HOME"])
    shutil.copytree(walked / "home", home, ignore=shutil.ignore_patterns("run"))
    served = Server(home)
    assert json.loads(shell("tour", "--json").stdout)["stages"] == []
    (state,) = (r for r in shell.json("releases")["items"] if r["name"] == "answer")
    assert "production" in state["environments"]
    shell("init", "shop")
    shell.cwd = shell.folder / "shop"
    assert {c["status"] for c in shell.json("push")["changes"] if c["kind"] != "model"} == {"new"}
    assert "FIRST RELEASE" in shell("gate", "shop").stdout
    served.stop()
