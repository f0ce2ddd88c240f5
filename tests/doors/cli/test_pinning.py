"""`pin` in the terminal, over a folder and over a database that `sources.toml` names."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.doors.cli.conftest import Shell
from tests.doors.server import Server
from tests.registry.sources.conftest import database, sql  # noqa: F401
from tests.registry.sources.postgresql_server import OWNER, PASSWORD, PostgreSqlServer


def test_a_folder_is_pinned_compared_and_read_anew(shell: Shell) -> None:
    files = shell.folder / "files"
    files.mkdir()
    (files / "a.txt").write_text("one")
    assert "no pin yet" in shell("pin", "list").stdout
    said = shell("pin", "add", "files", "--from", "./files").stdout
    assert "1 row from file://" in said and "kept here" in said
    assert json.loads(shell("pin", "read", "files").stdout.splitlines()[1])["text"] == "one"
    assert "the same 1 row" in shell("pin", "read", "files", "--again").stdout
    (files / "a.txt").write_text("two")
    (files / "b.txt").write_text("new")
    said = shell("pin", "read", "files", "--again", code=1).stdout
    assert "1 row added, 1 row changed" in said and "~ a.txt" in said and "+ b.txt" in said
    assert "kept here; the source has changed" in shell("pin", "list").stdout
    assert "2 rows" in shell("pin", "keep", "files", "--now").stdout
    assert "kept here" in shell("pin", "list").stdout
    history = [k["outcome"] for k in shell.json("pin", "show", "files")["history"]]
    assert history == ["kept", "changed", "same", "first"]
    assert "derived-from as rows  pin/files@" in shell("why", "dataset/files").stdout
    assert "dataset/files@" in shell("impact", "pin/files").stdout
    assert shell.json("reproduce", "pin/files")["same"] is True
    files.rename(shell.folder / "elsewhere")
    said = shell("pin", "read", "files", "--again", code=1).stdout
    assert "gone" in said and "--now" not in said  # there is nothing to take
    assert "kept here; the source is gone" in shell("pin", "list").stdout
    assert "problems" not in shell.json("verify")


def test_wrong_questions_are_answered_in_a_sentence(shell: Shell) -> None:
    for arguments, said in (
        (("x", "--from", "shop"), "no source is named so"),
        (("x", "--from", "postgresql://u:hunter2@h/db", "--table", "t"), "holds a password"),
        (("x", "--from", "postgresql://h/db"), "name a query or a table"),
        (("x", "--from", "ftp://h/x"), "nothing here reads ftp"),
        (("x", "--from", "postgresql://h/db", "--query", "@nowhere.sql"), "cannot be read"),
        (("x", "--from", "shop", "--set", "oops"), "no parameter"),
        (("x", "--from", str(shell.folder / "nowhere")), "no such folder"),
    ):
        stderr = shell("pin", "add", *arguments, code=1).stderr
        assert said in stderr and "hunter2" not in stderr
    assert (
        "there is no pin" in (said := shell("pin", "show", "x", code=1).stderr)
        and "windlass pin list" in said
        and "windlass pin add" in said
    )
    assert shell.json("pin", "list")["items"] == []


@pytest.mark.parametrize("server", [False, True], ids=["by itself", "by a server"])
def test_a_database_is_read_with_a_secret_of_the_environment(
    shell: Shell, postgresql: PostgreSqlServer, database: str, sql: Callable[[str], Any], server: bool  # noqa: F811
) -> None:  # fmt: skip
    sql("CREATE TABLE tickets (id int PRIMARY KEY, question text, open boolean)")
    sql("INSERT INTO tickets SELECT n, 'question ' || n, n % 2 = 0 FROM generate_series(1, 40) n")
    shell.env["SHOP"] = PASSWORD
    shell("pin", "list")  # makes the data folder
    (shell.folder / "home/sources.toml").write_text(f'[shop]\nurl = "{postgresql.url(database)}"\nuser = "{OWNER}"\nenv = "SHOP"\n')
    made = Server(shell.folder / "home", env={"SHOP": PASSWORD}) if server else None
    try:
        query = "SELECT id, question FROM tickets WHERE open = %(open)s"
        added = shell.json("pin", "add", "tickets", "--from", "shop", "--query", query, "--key", "id", "--set", "open=true")
        assert added["pin"]["record"]["count"] == 20 and added["pin"]["record"]["principal"] == OWNER
        sql("DROP TABLE tickets")
        assert "gone" in shell("pin", "read", "tickets", "--again", code=1).stdout
        assert len(shell.json("pin", "read", "tickets")["items"]) == 10
    finally:
        if made:
            made.stop()
    kept = b"".join(p.read_bytes() for p in (shell.folder / "home").rglob("*") if p.is_file())
    assert PASSWORD.encode() not in kept


def test_pinned_rows_come_into_a_workspace_and_keep_their_name(shop: Shell) -> None:
    files = shop.folder / "letters"
    files.mkdir()
    (files / "a.txt").write_text("one")
    added = shop.json("pin", "add", "letters", "--from", str(files))
    assert "--to data/letters.jsonl" in shop("data", "pull", "letters", code=1).stderr
    assert "not in the workspace" in shop("data", "pull", "letters", "--to", "../x.jsonl", code=1).stderr
    shop("data", "pull", "letters", "--to", "data/letters.jsonl")
    app = shop.cwd / "app.py"
    app.write_text(app.read_text() + '\nletters = w.data("data/letters.jsonl")\n')
    shop("push")
    assert shop.json("show", "dataset/letters")["version"]["digest"] == added["pin"]["rows"].partition("@")[2]
