"""Pages of Govern in a real browser, over the world that the matrix asks about."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.doors.cli.conftest import Shell
from tests.doors.server import Server
from tests.doors.web.conftest import Opened
from tests.govern.world import MARK, World

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def governed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("governed")
    World(folder).close()
    made = Server(folder / "home")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def people(browser: Any, governed: Server) -> dict[str, Any]:
    """Cookies of an owner, and of a viewer who logs in with a key."""
    found = {}
    secrets = {}
    with governed.client() as client:
        for name, role in (("viewer", "viewer"), ("ann", "developer")):
            secrets[name] = client.keys.create(name, role).secret
    for who in ("owner", *secrets):
        context = browser.new_context()
        page = context.new_page()
        if who == "owner":
            page.goto(governed.told["link"])
        else:
            page.goto(governed.address)
            page.locator("input[name=key]").fill(secrets[who])
            with page.expect_navigation():
                page.keyboard.press("Enter")
            page.get_by_role("link", name="Policy").wait_for()
        found[who] = context.storage_state()
        context.close()
    return found


@pytest.fixture(params=["owner"])
def opened(request: pytest.FixtureRequest, browser: Any, governed: Server, people: dict[str, Any]) -> Iterator[Opened]:
    context = browser.new_context(storage_state=people[request.param], viewport={"width": 1280, "height": 900})
    yield Opened(context.new_page(), governed.address)
    context.close()


def test_a_question_about_the_policy_is_answered_with_its_rule(opened: Opened, governed: Server) -> None:
    page = opened.go("/policy")
    page.get_by_label("May", exact=True).fill("viewer")
    page.get_by_label("do", exact=True).fill("releases.promote")
    page.get_by_role("button", name="Ask").click()
    page.wait_for_url("**/policy?*")
    said = page.locator(".card").first.inner_text()
    assert "denied" in said and "is a viewer and may not deploy" in said and "Rule: role." in said
    page.get_by_label("May", exact=True).fill("me")
    page.get_by_label("do", exact=True).press("Enter")
    page.wait_for_url("**actor=me*")
    assert "allowed" in page.locator(".card").first.inner_text()
    page.get_by_label("do", exact=True).fill("<b>nothing</b>")
    page.keyboard.press("Enter")
    page.locator(".tag", has_text="no answer").wait_for()
    assert "'<b>nothing</b>' is no operation and no permission" in page.locator(".card").first.inner_text()
    with governed.owner() as http:
        table = http.get("/policy.json").json()["table"]
    for role in table["roles"]:
        cells = page.locator("tr", has=page.get_by_role("cell", name=role["role"], exact=True)).first.locator("td").all_inner_texts()[1:]
        assert [p for p, cell in zip(table["permissions"], cells, strict=True) if cell == "yes"] == role["may"]
    assert opened.complaints == []


def test_the_audit_is_narrowed_and_says_that_it_agrees(opened: Opened) -> None:
    page = opened.go("/audit")
    assert page.locator(".tag", has_text="agrees").count() == 1
    whole = page.locator(".found").count()
    page.get_by_label("Did", exact=True).fill("keys.")
    page.keyboard.press("Enter")
    page.wait_for_url("**action=keys.*")
    keys = page.locator(".found").count()
    assert 0 < keys < whole and all(t.strip().split()[1].startswith("keys.") for t in page.locator(".found").all_inner_texts())
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert "sha256:" in page.locator(".found").first.inner_text()
    page.get_by_label("To", exact=True).fill("<b>nobody</b>")
    page.keyboard.press("Enter")
    page.get_by_text("Nothing of this was done.").wait_for()
    assert opened.complaints == []


@pytest.mark.parametrize("opened", ["viewer"], indirect=True)
def test_a_viewer_sees_what_was_done_and_not_the_whole_audits_state(opened: Opened) -> None:
    page = opened.go("/audit")
    assert page.locator(".found").count() > 5
    assert "an owner can ask" in page.locator("main").inner_text() and page.locator(".tag", has_text="agrees").count() == 0


@pytest.mark.parametrize("opened", ["ann"], indirect=True)
def test_a_release_waits_for_two_people(opened: Opened, governed: Server, tmp_path: Path) -> None:
    (governed.home / "policy.toml").write_text("[[approval]]\npeople = 2\n")
    with governed.client() as client:
        bob = client.keys.create("bob", "developer").secret
        verdict = client.gates.verdicts().items[0]
    shell = Shell(tmp_path)
    shell.env |= {"WINDLASS_URL": governed.address, "WINDLASS_KEY": bob or ""}
    del shell.env["WINDLASS_HOME"]
    assert "waits  production needs 2 approvals" in shell("approvers", "answer", code=1).stdout
    assert "2 of those who may deploy approve a release of any project before it moves to production" in shell("policy", "show").stdout
    assert "waits for approvals: 0 of 2" in opened.go("/").locator("main").inner_text()
    page = opened.go("/releases")
    assert "and has 0" in page.locator("main").inner_text()
    page = opened.go(f"/verdicts/{verdict.id}")
    assert page.get_by_role("button", name="Promote to production").count() == 0
    page.get_by_label("Why, for the others").fill("I <b>asked</b> it.")
    page.get_by_role("button", name="Approve answer").click()
    page.get_by_role("button", name="Withdraw your approval").wait_for()
    assert "I <b>asked</b> it." in page.locator("main").inner_text() and "and has 1 (ann" in page.locator("main").inner_text()
    failed = shell("promote", "answer", code=1)
    assert "and has 1 (ann" in failed.stderr and "windlass approve answer" in failed.stderr
    assert "enough" in shell("approve", "answer", "--note", "me too").stdout
    shell("approvers", "answer")
    page.reload()
    page.get_by_role("button", name="Promote to production").click()
    page.wait_for_url("**/releases")
    assert "approved by key:" in page.locator(".timeline").inner_text()
    assert opened.complaints == []


def test_a_text_is_tried_and_kept_nowhere(opened: Opened) -> None:
    page = opened.go("/masking")
    assert "on" in page.locator("tr", has_text="api-key").inner_text() and "off" in page.locator("tr", has_text="email").first.inner_text()
    page.get_by_label("A text; it is kept nowhere").fill("<b>key</b> AKIAIOSFODNN7EXAMPLE")
    with page.expect_navigation():
        page.get_by_role("button", name="Mask it").click()
    assert "<b>key</b> [masked:api-key]" in page.locator("pre").inner_text()
    assert "AKIAIOSFODNN7EXAMPLE" not in page.content() and "AKIA" not in page.url
    assert opened.complaints == []


@pytest.mark.parametrize("opened", ["viewer"], indirect=True)
def test_evidence_of_a_release_is_gathered(opened: Opened, governed: Server) -> None:
    page = opened.go("/evidence")
    page.get_by_label("Release").fill("answer")
    page.get_by_role("button", name="Gather").click()
    page.wait_for_url("**release=answer")
    assert "gated once" in page.locator("main").inner_text() and "## Model baseline" in page.locator("pre").first.inner_text()
    page.get_by_text("bom.cdx.json").click()
    assert '"bomFormat": "CycloneDX"' in page.locator("pre").nth(1).inner_text()
    with page.expect_download() as got:
        page.get_by_role("link", name="All of it as JSON").click()
    assert MARK in got.value.path().read_text() or "answer" in got.value.path().read_text()
    assert opened.complaints == []


def test_somebody_is_let_in_changed_and_shown_out(opened: Opened, governed: Server) -> None:
    page = opened.go("/people")
    page.get_by_label("Name", exact=True).fill("carl <b>")
    page.locator("form[action='/people/keys'] select[name=role]").select_option("developer")
    page.locator("select[name=days]").select_option("30")
    with page.expect_navigation():
        page.get_by_role("button", name="Make it").click()
    secret = page.locator("code", has_text="wl_").inner_text()
    with governed.http(authorization=f"Bearer {secret}") as http:
        assert http.get("/api/v1/artifacts/list").status_code == 200
        page = opened.go("/people")
        assert secret not in page.content()
        row = page.locator(".found", has_text="carl <b>")
        assert "developer" in row.inner_text() and "ends" in row.inner_text() and "never changed anything" in row.inner_text()
        row.locator("select[name=role]").select_option("caller")
        with page.expect_navigation():
            row.get_by_role("button", name="Change the role of carl <b>").click()
        assert http.get("/api/v1/artifacts/list").status_code == 403
        with page.expect_navigation():
            page.get_by_role("button", name="Revoke carl <b>").click()
        assert http.get("/v1/models").status_code == 401
    page.get_by_text("that open").click()
    assert page.locator("details .found", has_text="carl <b>").locator(".tag", has_text="revoked").count() == 1
    page.locator("details .found", has_text="carl <b>").get_by_role("link", name="what it did").click()
    page.wait_for_url("**/audit?actor=*")
    assert opened.complaints == []


def test_an_audit_that_was_cut_says_so(opened: Opened, governed: Server) -> None:
    """Last: it leaves the audit as it is then."""
    path = Path(governed.home) / "windlass.db"
    with sqlite3.connect(path) as c:
        last = c.execute("SELECT max(seq) FROM audit").fetchone()[0]
        c.execute("DELETE FROM audit WHERE seq = ?", (last,))
    page = opened.go("/audit")
    assert f"entry {last} was cut off at the end" in page.locator(".card").first.inner_text()
    assert page.locator(".tag.bad", has_text="disagrees").count() == 1
    assert MARK not in page.locator(".card").first.inner_text()


def test_somebody_is_looked_for_and_erased(opened: Opened, governed: Server) -> None:
    with governed.client() as client:
        theirs = client.run("release/answer:production", "what do they hold of me?", user="user-4711").trace
    page = opened.go("/erasures")
    page.get_by_label("What one person is called").fill("user-4711\ndone")
    page.get_by_label("Why; kept").fill("ticket 12")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="What is held").wait_for()
    assert "user-4711" not in page.url
    found = page.locator("section.card").inner_text()
    assert "traces\t1" in found and "1 name too much like ordinary words" in found
    page.get_by_role("button", name="Erase 2 names").click()
    page.wait_for_url("**/erasures/*")
    page.locator(".tag.good", has_text="gone").wait_for()
    said = page.locator("main").inner_text()
    assert "done" in said and "ticket 12" in said and "spans" in said and "user-4711" not in said
    with governed.owner() as http:
        assert http.get(f"/traces/{theirs}.json").status_code == 404
        assert "user-4711" not in http.get("/erasures.json").text
    page = opened.go("/erasures")
    assert "ticket 12" in page.locator("main").inner_text()
    assert opened.complaints == []
