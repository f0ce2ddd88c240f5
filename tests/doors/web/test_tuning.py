"""The page of a tuning in a real browser: its curves as they come, what the model says, its lineage, and the same as JSON."""

from __future__ import annotations

import time

import pytest
from tests.doors.web.conftest import Opened

from windlass.core.operations.tuning import Tune
from windlass.runtime.local.environment import why_no_torch

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.skipif(bool(why_no_torch()), reason=why_no_torch() or "all is there")]


def test_a_tuning_is_begun_watched_and_cancelled_in_the_browser(wide: Opened, tuned: Tune) -> None:
    page = wide.go("/tunes")
    page.get_by_label("Call it").fill("from-the-page")
    page.locator("select[name=data]").select_option("tickets")
    page.get_by_label("Steps").fill("2000")
    page.get_by_role("button", name="Begin").click()
    page.wait_for_url("**/tunes/*")
    page.wait_for_selector("svg.curve polyline", timeout=60_000)  # drawn while it goes on
    before, end = int(page.locator("progress").get_attribute("value")), time.monotonic() + 20
    while int(page.locator("progress").get_attribute("value")) <= before:
        assert time.monotonic() < end
        page.wait_for_timeout(100)
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector("text=Go on from step")
    assert not wide.complaints


def test_the_page_of_a_tuning_shows_curves_samples_and_what_it_is_made_of(window: Opened, tuned: Tune) -> None:
    page = window.go(f"/tunes/{tuned.id}")
    said = page.locator("main").inner_text()
    assert "held-out loss" in said and "it answers 5 canaries as it did when it was made" in said
    assert page.locator("svg.curve").count() == 3
    assert tuned.id_of_model in said and "torch" in said and "Apache-2.0" in said and "dataset/tickets@" in said
    assert page.evaluate("[...document.querySelectorAll('svg.curve')].every(s => s.getBoundingClientRect().right <= window.innerWidth)")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page is wider than the window"
    twin = page.request.get(f"{window.address}/tunes/{tuned.id}.json").json()
    assert twin["tune"]["adapter"] == tuned.adapter and len(twin["curves"]) == 3
    page = window.go(f"/weights?which={tuned.model}")
    assert "Apache-2.0" in page.locator("main").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page is wider than the window"
    assert not window.complaints
