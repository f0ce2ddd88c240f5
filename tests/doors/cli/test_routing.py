"""`windlass routes` on a folder without a server: set by options and by a file, shown, listed, removed; what is wrong is said."""

from __future__ import annotations

import re

from tests.doors.cli.conftest import Shell

FILE = """\
sticky = "session"
fall_back_on = ["timeout", "5xx"]

[[upstreams]]
model = "baseline"
concurrency = 4

[timeouts]
total_s = 20
"""


def test_routes_are_set_shown_and_removed(shell: Shell) -> None:
    told = shell("routes", "set", "fast", "--upstream", "baseline=3", "--upstream", "openai/gpt-5-mini", "--fallback", "baseline/lead")
    assert "fast leads to baseline 3 | openai/gpt-5-mini, then baseline/lead" in told.stdout and "OPENAI_API_KEY is not set" in told.stderr
    (shell.folder / "slow.toml").write_text(FILE)
    kept = shell.json("routes", "set", "openai/gpt-5", "slow.toml")
    assert kept["route"]["upstreams"] == [{"model": "baseline", "concurrency": 4}] and kept["route"]["timeouts"]["total_s"] == 20
    assert re.search(r"^openai/gpt-5 +baseline +not asked yet +owner", shell("routes").stdout, re.M)
    shown = shell("routes", "show", "fast").stdout
    assert "goes on after: connection, timeout" in shown and "baseline/lead" in shown
    assert shell.json("routes", "remove", "fast")["name"] == "fast"


def test_what_is_wrong_is_said(shell: Shell) -> None:
    (shell.folder / "a.toml").write_text('[[upstreams]]\nmodel = "baseline"\nwieght = 1\n')
    for words, why in (
        (("set", "fast"), "a route needs upstreams"),
        (("set", "fast", "--upstream", "baseline=x"), "'x' is no weight"),
        (("set", "fast", "nowhere.toml"), "cannot be read"),
        (("set", "fast", "a.toml"), "wieght"),
        (("set", "fast", "a.toml", "--attempts", "3"), "a file says all"),
    ):
        assert why in shell("routes", *words, code=1).stderr, words
