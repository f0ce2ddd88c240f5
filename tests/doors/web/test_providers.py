"""The page Providers in a real browser: a key is given by keyboard, tested and removed, and shown nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.doors.server import Server
from tests.doors.test_planted import Echo

pytestmark = [pytest.mark.browser, pytest.mark.slow]
KEY = "gsk-typed-by-keyboard-00009876"


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "home")
    yield made
    made.stop()


def test_a_key_is_given_by_keyboard_tested_and_removed(browser: Any, bare: Server) -> None:
    echo = Echo()
    context = browser.new_context(viewport={"width": 390, "height": 900}, color_scheme="dark")
    page = context.new_page()
    page.goto(bare.told["link"])
    page.goto(f"{bare.address}/providers")
    assert "No provider has a key yet" in page.locator("main").inner_text()
    page.get_by_role("link", name="Give a key for groq").focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.locator("input[name=provider]").input_value() == "groq"
    page.locator("textarea[name=secret]").focus()
    page.keyboard.type(KEY)
    page.keyboard.press("Tab")
    page.keyboard.type(f"base_url={echo.url}/v1")
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    card = page.get_by_role("region", name="groq")
    assert "ready" in card.inner_text() and "9876" in card.inner_text() and "in use" in card.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    with page.expect_navigation():
        page.get_by_role("button", name="Test groq").click()
    assert "it took the key" in page.get_by_role("status").inner_text() and KEY in echo.seen
    with page.expect_navigation():
        page.get_by_role("button", name="Seal all anew").click()
    assert "1 key sealed anew" in page.get_by_role("status").inner_text()
    for path in ("/providers", "/providers.json", "/audit", "/audit.json"):
        assert KEY not in page.request.get(f"{bare.address}{path}").text()
    page.goto(f"{bare.address}/providers")
    with page.expect_navigation():
        page.get_by_role("button", name="Remove the key").click()
    assert "No provider has a key yet" in page.locator("main").inner_text()
    context.close()
