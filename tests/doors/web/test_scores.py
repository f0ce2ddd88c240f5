"""Thumbs and comments in a browser: by keyboard, without scripts, on a trace, a step and a session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.agentops.recorded import record_session
from tests.doors.server import Server
from tests.doors.web.conftest import Opened

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SESSION = "scored/1 <b>"


@pytest.fixture
def plain(browser: Any, toured: Server, session: Any) -> Iterator[Opened]:
    """A browser that runs no scripts."""
    context = browser.new_context(storage_state=session, java_script_enabled=False, viewport={"width": 390, "height": 900})
    yield Opened(context.new_page(), toured.address)
    context.close()


def test_a_trace_is_scored_by_keyboard_and_without_scripts(plain: Opened, toured: Server) -> None:
    trace = record_session(toured.home, SESSION)
    page = plain.go(f"/traces/{trace}")
    page.locator("#scores").get_by_label("Comment on this answer").focus()
    page.keyboard.type("Just <b>what</b> I wanted")
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url.endswith(f"/traces/{trace}#scores")
    with toured.client() as client:
        shown = client.traces.show(trace)
    assert [(s.name, s.value, s.comment, s.by) for s in shown.scores] == [("helpful", True, "Just <b>what</b> I wanted", "owner")]
    assert "Just <b>what</b> I wanted" in page.locator("#scores").inner_text()
    assert page.locator(".tree", has_text="score helpful").count() == 0, "it is no step"
    with page.expect_navigation():
        page.locator("#scores").get_by_role("button", name="withdraw helpful").click()
    assert page.locator("#scores li").count() == 0


def test_a_step_is_scored_where_it_is_looked_at(wide: Opened, toured: Server) -> None:
    trace = record_session(toured.home, SESSION)
    with toured.client() as client:
        step = next(s for s in client.traces.show(trace).spans if s.parent is not None)
    page = wide.go(f"/traces/{trace}?span={step.span_id}")
    page.get_by_label("Comment on this step").fill("the wrong order")
    with page.expect_navigation():
        page.locator("#step").get_by_role("button", name="Not helpful").click()
    assert page.url.endswith(f"?span={step.span_id}#step")
    assert page.locator("tr.on", has_text="helpful no").count() == 1
    assert page.locator("#scores li").count() == 0, "it is of the step"
    assert "the wrong order" in page.locator(".split").inner_text()
    page.goto(f"{wide.address}/traces?score=helpful%3Dno")
    assert page.locator(f"a[href='/traces/{trace}']").count() == 1
    page.goto(f"{wide.address}/traces?score=helpful%3Cplain")
    assert "is no number" in page.locator("main").inner_text()


def test_a_session_is_scored_as_a_whole(wide: Opened, toured: Server) -> None:
    record_session(toured.home, SESSION)
    trace = record_session(toured.home, SESSION)
    page = wide.go("/sessions/scored%2F1%20%3Cb%3E")
    page.get_by_label("Comment on this session").fill("all went well")
    with page.expect_navigation():
        page.get_by_role("button", name="Comment only").click()
    assert "all went well" in page.locator("#scores").inner_text()
    with toured.client() as client:
        assert [(s.name, s.comment) for s in client.sessions.show(SESSION).scores] == [("comment", "all went well")]
    page = wide.go(f"/traces/{trace}")
    assert "of the whole session" in page.locator("#scores").inner_text()
    page.locator("#scores a", has_text="session").click()
    with page.expect_navigation():
        page.get_by_role("button", name="withdraw comment").click()
    assert page.locator("#scores li").count() == 0
    assert wide.complaints == []
