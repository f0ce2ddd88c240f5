"""`alert` in the terminal, alone and with a server that is killed while it tells."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from standardwebhooks import Webhook
from tests.doors.cli.conftest import Shell
from tests.doors.server import Server, until
from tests.monitor.application import SECRET, find
from tests.monitor.peer import Peer, says


def test_an_alert_is_set_tested_and_switched_off(shell: Shell) -> None:
    there = Peer(says(500, b"no [red]room[/red]"), says(200))
    shell.env["HOOK_SECRET"] = SECRET
    assert "no alert yet" in shell("alert", "list").stdout and "nothing is open" in shell("alert", "events").stdout
    said = shell("alert", "set", "ops", "--webhook", there.url, "--secret", "HOOK_SECRET", "--for", "skew,drift", "--quiet", "30m").stdout
    assert "skew, drift, warning or worse" in said and there.url in said and "next: windlass alert test ops" in said
    assert "status 500: no [red]room[/red]" in shell("alert", "test", "ops", code=1).stdout
    assert "delivered" in shell("alert", "test", "ops").stdout
    assert Webhook(SECRET).verify(there.asked[1].body, there.asked[1].headers)["type"] == "windlass.test"
    listed = shell.json("alert", "list")["items"]
    assert [a["name"] for a in listed] == ["ops"] and listed[0]["body"]["quiet"] == 1800 and listed[0]["last"]["status"] == "delivered"
    assert "off" in shell("alert", "set", "ops", "--off").stdout
    assert "windlass alert" not in shell("why", "alert/ops").stdout and len(shell.json("show", "alert/ops")["labels"]) == 1
    assert "problems" not in shell.json("verify")
    there.close()
    written = b"".join(p.read_bytes() for p in (shell.folder / "home").rglob("*") if p.is_file())
    assert SECRET.removeprefix("whsec_").encode() not in written


def test_events_are_read_and_acknowledged(shell: Shell) -> None:
    shell("alert", "list")  # makes the data folder
    home = shell.folder / "home"
    id = find(home, sentence="It [bold]moved[/bold].").event
    find(home, sentence="counted on the first")
    find(home, kind="topic", severity="info", monitor="topics", sentence="A new topic.")
    said = shell("alert", "events").stdout
    assert "It [bold]moved[/bold]." in said and "2 times" in said and "A new topic." in said
    assert "A new topic" not in shell("alert", "events", "--severity", "warning").stdout
    assert "A new topic" in shell("alert", "events", "--for", "topic").stdout
    said = shell("alert", "show", id[-8:]).stdout
    assert "asked  1240" in said and f"/alerts/{id}" in said
    assert "acknowledged by owner" in shell("alert", "ack", id[-8:], "--note", "a new product").stdout
    assert [e["event"]["monitor"] for e in shell.json("alert", "events")["items"]] == ["topics"]
    assert shell.json("alert", "events", "--all", "--monitor", "questions")["items"][0]["note"] == "a new product"


def test_a_metric_is_watched_and_one_that_never_came_is_unmeasured(shell: Shell) -> None:
    said = shell(
        "alert", "set", "slow", "--metric", "took", "--aggregate", "p95", "--above", "2", "--window", "10m", "-w", "service:till"
    ).stdout
    assert "p95 of took above 2 in 10 min of service:till" in said and "next: windlass alert look slow" in said
    said = shell("alert", "look", "slow", code=1).stdout
    assert "unmeasured" in said and "No point of took has come." in said
    (event,) = shell.json("alert", "events", "--for", "metric")["items"]
    assert event["event"]["monitor"] == "slow" and event["event"]["key"] == "unmeasured"
    (alert,) = shell.json("alert", "list")["items"]
    assert alert["look"]["status"] == "unmeasured" and "value" not in alert["look"] and alert["body"]["metric"]["window"] == 600


def test_wrong_questions_are_answered_in_a_sentence(shell: Shell) -> None:
    for arguments, said in (
        (("set", "x", "--webhook", "https://h/?token=hunter2", "--secret", "S"), "looks like a secret"),
        (("set", "x", "--webhook", "https://h/"), "is signed"),
        (("set", "x", "--webhook", "https://h/", "--secret", "hunter2"), "is signed"),
        (("set", "x", "--webhook", "http://169.254.169.254/", "--secret", "S"), "no alert may ask"),
        (("set", "x", "--email", "nobody"), "no e-mail address"),
        (("set", "x", "--for", "skwe"), "skwe"),
        (("set", "x", "--above", "2"), "--metric NAME"),
        (("set", "x", "--metric", "took", "--above", "2"), "one of increase"),
        (("set", "x", "--metric", "took", "--aggregate", "p94", "--above", "2"), "nothing that a metric tells"),
        (("set", "x", "--metric", "took", "--aggregate", "p95"), "`above` or `below`"),
        (("look", "nobody"), "no alert/nobody"),
        (("set", "x", "--severity", "bad"), "bad"),
        (("set", "x", "--quiet", "soon"), "no length of time"),
        (("set", "x", "--quiet", "99d"), "quiet"),
        (("set", "Two Words"), "not a name"),
        (("test", "nobody"), "no alert/nobody"),
        (("show", "ffffffff"), "no such event"),
        (("ack", "ffffffff"), "no such event"),
        (("events", "--for", "x"), "kind"),
    ):
        stderr = shell("alert", *arguments, code=1).stderr
        assert said in stderr and "hunter2" not in stderr and "defect" not in stderr, (arguments, stderr)
    assert shell.json("alert", "list")["items"] == []


def test_a_server_that_is_killed_while_it_tells_tells_it_after(tmp_path: Path) -> None:
    """`jobs` dies with the receiver's answer outstanding; the one that is started instead goes on, under the same id."""
    there = Peer(lambda connection: there.ended.wait() and None, says(200))
    server = Server(tmp_path / "home", env={"HOOK_SECRET": SECRET})
    try:
        with server.client() as client:
            client.alerts.set("ops", webhook=there.url, secret="HOOK_SECRET")
            event = find(server.home).event
            until(lambda: there.asked, 60)
            os.kill(server.parts()["jobs"]["pid"], signal.SIGKILL)
            (delivery,) = until(lambda: [d for d in client.alerts.show(event).deliveries if d.status == "delivered"], 90)
        assert [a.headers["webhook-id"] for a in there.asked] == [delivery.id] * 2
        assert there.asked[0].body == there.asked[1].body and [a.status for a in delivery.attempts] == [200]
    finally:
        server.stop()
        there.close()
    logs = "".join(p.read_text(errors="replace") for p in (server.home / "logs").glob("*"))
    assert SECRET not in logs and SECRET.removeprefix("whsec_") not in logs


@pytest.mark.parametrize("role", ["developer", "viewer"])
def test_who_may_over_the_wire(server: Server, role: str) -> None:
    with server.owner() as owner:
        key = owner.post("/api/v1/keys/create", json={"name": f"alerts-{role}", "role": role}).json()["secret"]
    with server.http(authorization=f"Bearer {key}") as http:
        outward = http.post("/api/v1/alerts/set", json={"name": "x", "webhook": "https://h.example/", "secret": "S"})
        assert outward.status_code == 403
        inward = http.post("/api/v1/alerts/set", json={"name": f"page-{role}"})
        assert inward.status_code == (200 if role == "developer" else 403)
        moved = http.post("/api/v1/labels/move", json={"ref": "alert/page-developer:main", "digest": "0000"})
        assert moved.status_code == 403
        assert http.get("/api/v1/alerts/events").status_code == http.get("/api/v1/alerts/list").status_code == 200
