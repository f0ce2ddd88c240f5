"""Logging in by a certified OpenID provider in a real browser. The provider is at another site than the server, as it is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.doors.test_openid import Setup
from tests.doors.web.conftest import Opened
from tests.govern.openid_server import installed

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not installed(), reason="there is no OpenID provider here: make .stamps/openid installs one"),
]


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    made = Setup(tmp_path_factory.mktemp("openid"))
    yield made
    made.stop()


@pytest.fixture(params=[("light", 1280)])
def opened(request: pytest.FixtureRequest, browser: Any, setup: Setup) -> Iterator[Opened]:
    scheme, width = request.param
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    yield Opened(context.new_page(), setup.address)
    context.close()


def at_the_provider(page: Any, who: str) -> None:
    page.locator("input[name=login]").fill(who)
    page.locator("input[name=password]").fill("anything")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def test_the_button_leads_to_the_provider_and_back_logged_in(opened: Opened, setup: Setup) -> None:
    page = opened.page
    page.goto(setup.address + "/audit?action=people.")
    page.get_by_role("link", name="Log in with windlass").click()
    page.wait_for_url(f"{setup.provider.issuer}/**")
    at_the_provider(page, "ann")
    page.wait_for_url(f"{setup.address}/audit?action=people.")
    page.get_by_role("heading", name="Audit").wait_for()
    assert "Ann Lee (ann@a.example)" in page.locator(".found").first.inner_text()
    cookies = {c["name"]: c for c in page.context.cookies() if c["name"].startswith("windlass")}
    assert list(cookies) == [f"windlass_{setup.port}"] and cookies[f"windlass_{setup.port}"]["sameSite"] == "Strict"
    page.goto(setup.address + "/")
    assert page.get_by_role("link", name="Policy").count() == 1
    page.go_back()
    assert "code=" not in page.url  # what the provider sent is in no history
    assert page.evaluate("fetch('/logout', {method: 'POST'}).then(r => r.status)") == 401  # led to the log-in page
    page.reload()
    page.get_by_role("link", name="Log in with windlass").wait_for()


def test_somebody_whom_no_rule_lets_in_reads_why(opened: Opened, setup: Setup) -> None:
    page = opened.page
    page.goto(setup.address)
    page.get_by_role("link", name="Log in with windlass").click()
    at_the_provider(page, "bob")
    page.get_by_text("no rule lets you in here").wait_for()
    assert "groups (no match), email (not verified)" in page.locator("main").inner_text()


def test_an_owner_blocks_somebody_and_admits_them_again(opened: Opened, browser: Any, setup: Setup) -> None:
    page = opened.page
    page.goto(setup.address)
    page.get_by_role("link", name="Log in with windlass").click()
    at_the_provider(page, "ann")
    page.wait_for_url(setup.address + "/")
    owners = browser.new_context().new_page()
    owners.goto(setup.server.told["link"])
    owners.goto(setup.address + "/people")
    ann = owners.locator(".found", has_text="oidc:windlass:ann")
    assert "A browser, logged in" in ann.inner_text() and "developer" in ann.inner_text()
    owners.get_by_role("button", name="Block Ann Lee").click()
    owners.get_by_role("button", name="Admit Ann Lee").wait_for()
    assert "blocked" in ann.inner_text()
    page.reload()
    page.get_by_role("link", name="Log in with windlass").wait_for()
    page.get_by_role("link", name="Log in with windlass").click()
    page.get_by_text("Ann Lee (ann@a.example) is blocked here").wait_for()
    owners.get_by_role("button", name="Admit Ann Lee").click()
    owners.get_by_role("button", name="Block Ann Lee").wait_for()
    page.get_by_role("link", name="Log in with windlass").click()  # the provider knows them still
    page.wait_for_url(setup.address + "/")
    owners.context.close()


@pytest.mark.parametrize(
    "opened", [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)], indirect=True, ids=lambda p: f"{p[0]}-{p[1]}"
)
def test_the_log_in_page_fits(opened: Opened, setup: Setup) -> None:
    page = opened.page
    page.goto(setup.address)
    page.get_by_role("link", name="Log in with windlass").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Log in with windlass"
