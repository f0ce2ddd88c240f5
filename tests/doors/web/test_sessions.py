"""A session by keyboard: from call to call, open, to the grant."""

from __future__ import annotations

import pytest
from tests.agentops.recorded import record_session
from tests.doors.server import Server
from tests.doors.web.conftest import Opened

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_session_is_read_by_keyboard(wide: Opened, toured: Server) -> None:
    with toured.client() as client:
        tool = client.artifacts.list(kind="tool").items[0].name
        grant = client.grants.make("elsewhere", "A task.", [f"tool/{tool}"]).grant.id
    trace = record_session(toured.home, "keys", grant=grant)
    page = wide.go("/sessions?search=keys")
    page.get_by_role("link", name="keys").click()
    summaries = page.locator("summary")
    assert summaries.count() == 4
    assert [s.split()[-2:] for s in summaries.all_inner_texts()][1:3] == [["not", "run"], ["wrong", "call"]]
    for _ in range(2):
        page.keyboard.press("j")
    page.keyboard.press("Enter")
    opened = page.locator("details[open]")
    assert opened.count() == 1
    assert '"7" was expected. (arguments)' in opened.inner_text()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    said = page.locator("details[open]").first.inner_text()
    assert "use 1 of 2, call 1 of 9" in said and "Entry 41 of the audit" in said
    assert "speaks to a model" in said and "<i>order 8</i>" in said  # shown, not obeyed
    page.locator("details[open] a", has_text="Grant").first.click()
    assert page.url.endswith(f"/grants/{grant}")
    page = wide.go(f"/traces/{trace}")
    page.get_by_role("link", name="what was called, and why").click()
    assert page.url.endswith(f"/sessions/{trace}")
    assert page.locator("summary").count() == 4
    assert wide.complaints == []


def test_a_good_run_is_kept_as_a_case(wide: Opened, toured: Server) -> None:
    first = record_session(toured.home, "keeping", "Refund the lamp of last week.")
    record_session(toured.home, "keeping", "Where is the parcel that I sent in March?")
    page = wide.go("/sessions/keeping")
    page.get_by_label("This run was good").first.check()
    page.locator("summary").nth(3).click()
    page.locator("details[open]").get_by_label("This call was right").uncheck()
    page.get_by_label("Dataset").fill("kept-cases")
    page.get_by_label("with these fields").fill('{"split": "test"}')
    page.get_by_role("button", name="Keep them").click()
    assert "/datasets/dataset/kept-cases" in page.url
    with toured.client() as client:
        (row,) = client.datasets.rows("kept-cases").items
    assert row["question"] == "Refund the lamp of last week."
    assert row["trajectory"] == [{"name": "refund", "arguments": {"order": "7", "amount": 12.5}}]
    assert row["origin"] == {"trace": first, "session": "keeping"}
    page = wide.go("/sessions/keeping")
    page.get_by_label("This run was good").first.check()
    page.get_by_label("Dataset").fill("kept-cases")
    with page.expect_navigation() as navigated:
        page.get_by_role("button", name="Keep them").click()
    assert navigated.value.status == 400
    assert "it is row" in page.locator("main").inner_text()
