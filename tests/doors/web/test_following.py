"""Traces as they come, on their page: what is new appears, what somebody ticked stays, and nobody is asked while it is paused. And a
view that is kept by its form."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.doors.server import Server, until
from tests.doors.web.conftest import Opened

from windlass.govern.sessions import Sessions

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("followed") / "home")
    yield made
    made.stop()


def send(up: Server, name: str) -> None:
    now = time.time_ns()
    span = {"traceId": f"{now:032x}", "spanId": f"{now:016x}", "name": name, "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 1)}
    with up.owner() as http:
        http.post("/v1/traces", json={"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).raise_for_status()


def opened(up: Server, browser: Any) -> Opened:
    page = Opened(browser.new_context(viewport={"width": 1280, "height": 900}).new_page(), up.address)
    page.page.goto(f"{up.address}/?once={Sessions(up.home / 'run').make_link()}")
    return page


def test_what_is_new_appears_and_what_is_ticked_stays(up: Server, browser: Any) -> None:
    send(up, "first <b>")
    window = opened(up, browser)
    page = window.go("/traces?follow=1")
    asked = "performance.getEntriesByType('resource').filter(e => e.initiatorType === 'fetch').map(e => e.startTime)"
    rows = page.locator("tr[data-trace]")
    rows.first.locator("input").check()
    send(up, "second")
    until(lambda: "second" in rows.first.inner_text())
    assert (rows.count(), rows.last.locator("input").is_checked()) == (2, True) and "first <b>" in rows.last.inner_text()
    assert page.locator("[role=status]").inner_text() == "Following. 1 new"
    until(lambda: len(page.evaluate(asked)) > 3)
    times = page.evaluate(asked)
    assert all(b - a > 950 for a, b in itertools.pairwise(times)), "a question waits a second, counted from the answer before"
    page.get_by_role("button", name="Pause").press("Enter")
    held = len(page.evaluate(asked))
    send(up, "third")
    page.wait_for_timeout(1_500)
    assert len(page.evaluate(asked)) <= held + 1 and rows.count() == 2 and "Paused" in page.locator("[role=status]").inner_text()
    page.get_by_role("button", name="Go on").click()
    until(lambda: rows.count() == 3)
    assert window.complaints == []
    page.context.close()


def test_a_view_is_kept_opened_and_removed(up: Server, browser: Any) -> None:
    window = opened(up, browser)
    page = window.go("/traces?filter=name:second*&last=24h&cursor=")
    page.get_by_text("Keep this view").click()
    page.get_by_role("textbox", name="Name").fill('se<b>c/"ond')
    page.get_by_label("for all").check()
    page.get_by_role("button", name="Keep", exact=True).click()
    page.get_by_role("link", name='se<b>c/"ond').click()
    assert page.locator("[name=filter]").input_value() == "name:second*" and page.locator("[name=last]").input_value() == "24h"
    with up.client() as client:
        (kept,) = client.views.list().items
        assert (kept.asked, kept.shared, kept.by) == ({"filter": "name:second*", "last": "24h"}, True, "owner")
    page = window.go("/views")
    page.get_by_role("button", name="Remove").click()
    assert page.get_by_text("None yet.").is_visible() and window.complaints == []
    with up.owner() as http:
        assert http.post("/views", data={"name": "x", "page": "policy", "asked": "a=b"}).status_code == 400
        assert http.post("/views", data={"name": "x", "page": "traces", "asked": "a=b"}).status_code == 400
    page.context.close()
