"""`sessions` in the terminal."""

from __future__ import annotations

from tests.agentops.recorded import record_session
from tests.doors.cli.conftest import Shell

from windlass.store.home import Home


def test_sessions_are_listed_and_told(shell: Shell) -> None:
    home = Home(shell.folder / "home").path
    assert "no session is like that" in shell("sessions", "list").stdout
    trace = record_session(home, "talk/1")
    record_session(home, "talk/1", "And the rest?")
    record_session(home, "other [bold]one[/bold]")
    listed = shell.json("sessions", "list")["items"]
    assert [(s["id"], s["runs"], s["ran"], s["refused"], s["asked"], s["callers"]) for s in listed] == [
        ("other [bold]one[/bold]", 1, 2, 1, 1, ["agent/clerk"]), ("talk/1", 2, 4, 2, 2, ["agent/clerk"]),
    ]  # fmt: skip
    assert listed[1]["cost"] == 0.05
    assert "other [bold]one[/bold]" in shell("sessions", "list", "--search", "other").stdout
    said = shell("sessions", "show", "talk/1").stdout
    assert said.index("order <b>7</b>") < said.index("And the rest?")
    for part in (
        "step 1",
        "refund",
        "ok ran",
        "refused did not run",
        "wrong did not run",
        "waited",
        "use 1 of 2",
        "untrusted",
        "refunded 9",
    ):
        assert part in " ".join(said.split()), part
    (alone,) = shell.json("sessions", "show", trace)["runs"]
    assert alone["trace"]["trace_id"] == trace
    assert "there is no session 'nowhere'" in shell("sessions", "show", "nowhere", code=1).stderr
    newest = shell.json("sessions", "show", "talk/1", "--limit", "1")
    assert [r["trace"]["input"] for r in newest["runs"]] == ["And the rest?"]
    older = shell.json("sessions", "show", "talk/1", "--cursor", newest["next"])
    assert [r["trace"]["trace_id"] for r in older["runs"]] == [trace]
