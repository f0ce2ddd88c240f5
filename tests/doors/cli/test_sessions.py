"""`sessions` in the terminal."""

from __future__ import annotations

from tests.agentops.recorded import record_session
from tests.doors.cli.conftest import Shell

from windlass.doors.local import open_local
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


def test_what_was_said_of_a_session_and_its_runs_is_told(shell: Shell) -> None:
    trace = record_session(Home(shell.folder / "home").path, "talk [bold]1[/bold]")
    shell("traces", "score", "--session", "talk [bold]1[/bold]", "resolved", "0.5", "--comment", "all [bold] well")
    step = next(s for s in shell.json("traces", trace)["spans"] if s.get("parent"))
    shell("traces", "score", trace, "tone", "plain", "--span", step["span_id"])
    said = " ".join(shell("sessions", "show", "talk [bold]1[/bold]").stdout.split())
    assert "resolved 0.5 all [bold] well of the session, by owner" in said
    assert f"tone plain of {trace[:8]}, by owner" in said
    said = " ".join(shell("traces", trace).stdout.split())
    assert "of session talk [bold]1[/bold], by owner" in said and f"tone plain of {step['name']}, by owner" in said


def test_good_runs_become_cases_once(shell: Shell) -> None:
    home = Home(shell.folder / "home").path
    first, second = record_session(home, "talk"), record_session(home, "talk", "And the parcel of yesterday evening?")
    assert "has several runs" in shell("sessions", "keep", "talk", "--to", "cases", code=1).stderr
    calls = [c for s in shell.json("sessions", "show", first)["runs"][0]["steps"] for c in s.get("calls", [])]
    assert [c["outcome"] for c in calls] == ["ok", "refused", "wrong", "ok"]
    kept = shell.json("sessions", "keep", "talk", "--to", "cases", "--run", first, "--run", second[:12], "--without", calls[3]["span"])
    assert (kept["count"], kept.get("problems", [])) == (2, [])
    rows = {r["question"]: r for r in _rows(shell, "cases")}
    way = [{"name": "refund", "arguments": {"order": "7", "amount": 12.5}}]
    assert rows["Refund order <b>7</b>, please."]["trajectory"] == way
    assert rows["Refund order <b>7</b>, please."]["origin"] == {"trace": first, "session": "talk"}
    # what one step wanted at once stands in a list of its own
    assert rows["And the parcel of yesterday evening?"]["trajectory"] == [[*way, {"name": "refund", "arguments": {"order": "9"}}]]
    again = shell("sessions", "keep", "talk", "--to", "cases", "--all", code=1)
    assert "it is row 'trace-" in again.stderr
    third = record_session(home, "talk", "Refund order <b>7</b>, please!")  # it asks what a row asks already
    said = shell("sessions", "keep", "talk", "--to", "cases", "--run", third, code=1).stderr
    assert "it says what row" in said and "nothing was changed" in said
    assert len(_rows(shell, "cases")) == 2
    assert f"cases#trace-{first[:16]}" in shell("why", first).stdout.replace("\n", "")
    other = record_session(home, "another", "Where is my parcel?")
    assert "it is not of session talk" in shell("sessions", "keep", "talk", "--to", "cases", "--run", other, code=1).stderr


def _rows(shell: Shell, name: str) -> list[dict]:
    with open_local(shell.folder / "home") as client:
        return list(client.datasets.rows(name).items)
