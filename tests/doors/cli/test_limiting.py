"""`windlass limits`, as people and programs read it."""

from __future__ import annotations

from tests.doors.cli.conftest import Shell


def test_limits_are_set_listed_and_removed(shell: Shell) -> None:
    assert "nothing is limited" in shell("limits", "list").stdout
    key = shell.json("keys", "create", "app")["id"]
    made = shell.json("limits", "set", f"key:{key[-4:]}", "dollars", "20", "--per", "month", "--allow-unpriced")
    assert (made["subject"], made["amount"], made["window"], made["unpriced"]) == (f"key:{key}", 20.0, "month", "allow")
    again = shell.json("limits", "set", f"key:{key}", "dollars", "30", "--per", "month")
    assert (again["id"], again["amount"], again.get("unpriced", "refuse")) == (made["id"], 30.0, "refuse")
    shell("limits", "set", "user:*", "tokens", "50000", "--per", "hour", "--on", "model/openai/gpt-5")
    shell("limits", "set", "project", "concurrency", "8")
    said = shell("limits", "list").stdout
    assert f"key:{key} app  $30.00 a month (UTC)" in said and "$30.00 left" in said
    assert "user:*  50,000 tokens an hour on model/openai/gpt-5" in said and "project  8 calls at once" in said
    assert len(shell.json("limits", "list", "--subject", "project")["items"]) == 1
    assert "is removed" in shell("limits", "remove", made["id"][:5]).stdout
    assert f"key:{key}" not in shell("limits", "list").stdout
    audited = [e["action"] for e in shell.json("audit", "list")["items"]]
    assert audited[:5] == ["limits.remove", *["limits.set"] * 4]


def test_what_cannot_be_limited_is_told(shell: Shell) -> None:
    for arguments, said in (
        (("robots", "requests", "5"), "'robots' cannot be limited"),
        (("key:nobody", "requests", "5"), "there is no key 'nobody'"),
        (("project", "requests", "0.5"), "cannot be counted"),
        (("project", "concurrency", "5", "--per", "day"), "calls at once have no window"),
        (("project", "tokens", "5", "--on", "gpt-5"), "'gpt-5' is no target"),
        (("project", "tokens", "5", "--on", "release/answer:staging"), "whatever its version"),
        (("project", "tokens", "5", "--allow-unpriced"), "only a limit of dollars asks for prices"),
    ):
        assert said in shell("limits", "set", *arguments, code=1).stderr
    assert "there is no limit 'ab'" in shell("limits", "remove", "ab", code=1).stderr


def test_spend_of_nothing_is_nothing(shell: Shell) -> None:
    assert "$0.00 in all since" in shell("limits", "spend", "--by", "key").stdout
    assert shell.json("limits", "spend", "--last", "7d")["whole"].get("calls", 0) == 0
