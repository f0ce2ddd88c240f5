"""The page Limits and spend in a real browser: by keyboard, in the dark, on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.doors.server import Server, until
from tests.doors.web.conftest import Opened

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("limited") / "home")
    with made.client() as client, made.owner() as http:
        client.limits.set("user:*", "tokens", 100_000, "day")
        for user in ("ann", "bob <b>"):
            body = {"model": "baseline", "messages": [{"role": "user", "content": "hi"}]}
            assert http.post("/v1/chat/completions", json=body, headers={"windlass-user": user}).status_code == 200
        until(lambda: client.limits.spend("user").whole.calls == 2)
    yield made
    made.stop()


@pytest.fixture
def page(limited: Server, browser: Any) -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    opened = context.new_page()
    opened.goto(limited.told["link"])
    if "used already" in opened.content():
        with limited.client() as client:
            secret = client.keys.create("browser", "owner").secret
        opened.goto(limited.address)
        opened.locator("input[name=key]").fill(secret)
        with opened.expect_navigation():
            opened.keyboard.press("Enter")
    yield Opened(opened, limited.address)
    context.close()


def test_a_limit_is_set_and_removed_by_keyboard(page: Opened, limited: Server) -> None:
    at = page.go("/limits?by=user")
    said = at.locator("main").inner_text()
    assert "100,000 tokens a day (UTC) for user:*" in said and "user:bob <b>" in said and "left" in said
    assert at.evaluate("document.documentElement.scrollWidth") == 390
    at.locator("[name=subject]").focus()
    for text in ("project", "2.5"):
        at.keyboard.type(text)
        at.keyboard.press("Tab")
    with at.expect_navigation():
        at.locator("[name=amount]").press("Enter")
    assert "$2.50 a month (UTC) for project" in at.locator("main").inner_text()
    with limited.client() as client:
        (made,) = client.limits.list("project").items
        assert (made.measured, made.amount, made.window) == ("dollars", 2.5, "month")
    with at.expect_navigation():
        at.get_by_label("Remove the limit of $2.50 a month (UTC) for project").press("Enter")
    assert "$2.50" not in at.locator("main").inner_text()
    assert not page.complaints


def test_spend_is_told_by_what_one_chooses(page: Opened) -> None:
    at = page.go("/limits")
    at.locator("[name=by]").select_option("user")
    with at.expect_navigation():
        at.get_by_role("button", name="Show").press("Enter")
    rows = at.locator("main table.of-groups").inner_text()
    assert "ann" in rows and "bob <b>" in rows and "$0.00" in rows
    twin = at.request.get(at.url.replace("/limits?", "/limits.json?")).json()
    assert {r["value"] for r in twin["spend"]["rows"]} == {"ann", "bob <b>"}


def test_what_a_form_gets_wrong_is_told(limited: Server) -> None:
    with limited.owner() as http:
        answer = http.post("/limits", data={"subject": "project", "amount": "much", "measured": "tokens", "window": "day"})
        assert answer.status_code == 400 and "is no number" in answer.text
        assert http.get("/limits", params={"by": "planet"}).status_code == 400
