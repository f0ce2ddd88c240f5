"""Pages of Govern in a real browser: the policy."""

from __future__ import annotations

import pytest
from tests.doors.server import Server
from tests.doors.web.conftest import Opened

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_question_about_the_policy_is_answered_with_its_rule(wide: Opened, toured: Server) -> None:
    page = wide.go("/policy")
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
    with toured.owner() as http:
        table = http.get("/policy.json").json()["table"]
    for role in table["roles"]:
        cells = page.locator("tr", has=page.get_by_role("cell", name=role["role"], exact=True)).first.locator("td").all_inner_texts()[1:]
        assert [p for p, cell in zip(table["permissions"], cells, strict=True) if cell == "yes"] == role["may"]
    assert wide.complaints == []
