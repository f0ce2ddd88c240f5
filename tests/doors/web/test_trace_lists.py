"""The list of traces by a filter: the box completes by keyboard, the panel of fields counts and narrows, mistakes are told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.doors.server import Server
from tests.doors.web.conftest import Opened

from windlass.govern.sessions import Sessions

pytestmark = [pytest.mark.browser, pytest.mark.slow]
MODELS = ["gpt-5", "gpt-5-mini", "claude-sonnet-4-5"]
USERS = ["ada", "bob", "user with blanks"]
ASKED = ["Where is my refund?", "Do you sell kayaks?", "When do you open?"]


def attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def spans() -> list[dict[str, Any]]:
    """Twelve traces: an agent that asks a model, and half of the time calls a tool."""
    made, now = [], time.time_ns()
    for n in range(12):
        begun = now - n * 60 * 10**9
        shared = {"traceId": f"{n + 1:032x}", "startTimeUnixNano": str(begun), "endTimeUnixNano": str(begun + (n + 1) * 10**9)}
        asked = [attribute("windlass.input", f'"{ASKED[n % 3]}"'), attribute("user.id", USERS[n % 3]), attribute("http.route", "/chat")]
        status = {"code": 2, "message": "the stock is away"} if n % 4 == 3 else {}
        asked += [attribute("windlass.kind", "agent"), attribute("windlass.output", '"Let me look."')]
        made.append({**shared, "spanId": f"{n * 4 + 1:016x}", "name": "answer", "status": status, "attributes": asked})
        call = [attribute("gen_ai.operation.name", "chat"), attribute("gen_ai.request.model", MODELS[n % 3])]
        made.append({**shared, "spanId": f"{n * 4 + 2:016x}", "parentSpanId": f"{n * 4 + 1:016x}", "name": "chat", "attributes": call})
        if n % 2:
            tool = [attribute("windlass.kind", "tool"), attribute("gen_ai.tool.name", "stock"), attribute("windlass.output", '"kayaks: 3"')]
            made.append({**shared, "spanId": f"{n * 4 + 3:016x}", "parentSpanId": f"{n * 4 + 1:016x}", "name": "stock", "attributes": tool})
    return made


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    up = Server(tmp_path_factory.mktemp("traced") / "home")
    key = up.client().keys.create("app").secret or ""
    body = {"resourceSpans": [{"resource": {"attributes": [attribute("service.name", "shop")]}, "scopeSpans": [{"spans": spans()}]}]}
    with up.http(authorization=f"Bearer {key}") as http:
        http.post("/v1/traces", json=body).raise_for_status()
    yield up
    up.stop()


@pytest.fixture(params=[("light", 1280), ("dark", 390)], ids=lambda p: f"{p[0]}-{p[1]}")
def seen(request: pytest.FixtureRequest, browser: Any, traced: Server) -> Iterator[Opened]:
    scheme, width = request.param
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = Opened(context.new_page(), traced.address)
    page.page.goto(f"{traced.address}/?once={Sessions(traced.home / 'run').make_link()}")
    yield page
    assert page.complaints == []
    context.close()


def rows(page: Any) -> int:
    return page.locator("table.of-traces input[type=checkbox]").count()


def test_a_filter_is_written_by_keyboard_alone(seen: Opened) -> None:
    page = seen.go("/traces")
    assert rows(page) == 12
    box = page.get_by_role("combobox", name="Filter")
    box.focus()
    page.keyboard.type("mod")
    option = page.locator("filter-box").get_by_role("option")
    option.filter(has_text="model:").wait_for()
    assert box.get_attribute("aria-expanded") == "true"
    page.keyboard.press("ArrowDown")
    chosen = page.locator(f"#{box.get_attribute('aria-activedescendant')}")
    assert chosen.get_attribute("aria-selected") == "true"
    page.keyboard.press("Enter")
    assert box.input_value() == "model:"
    option.filter(has_text="gpt-5-mini").wait_for()
    assert [t.split() for t in option.all_inner_texts()] == [[f"model:{m}", "4"] for m in sorted(MODELS)]
    page.keyboard.type("gpt-5-")
    option.nth(1).wait_for(state="detached")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    assert box.input_value() == "model:gpt-5-mini "
    page.keyboard.type("-user:")
    option.first.wait_for()
    page.keyboard.press("Escape")
    assert option.count() == 0 and box.get_attribute("aria-expanded") == "false"
    page.keyboard.press("Backspace")
    for _ in "-user ":
        page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    page.wait_for_url("**filter=model*")
    assert rows(page) == 4


def test_fields_are_counted_within_the_filter_and_narrow_it(seen: Opened) -> None:
    page = seen.go("/traces?filter=kind:tool")
    panel = page.locator("#fields")
    panel.get_by_text("6 traces fit").wait_for()
    panel.locator("summary").click()
    user = panel.locator("section", has=page.get_by_role("heading", name="user", exact=True))
    assert [" ".join(t.split()) for t in user.locator("li").all_inner_texts()] == ["ada not 2", "bob not 2", "user with blanks not 2"]
    user.get_by_role("link", name="user with blanks", exact=True).click()
    page.get_by_text("2 traces fit").wait_for()
    assert page.get_by_label("Filter").input_value() == 'kind:tool user:"user with blanks"' and rows(page) == 2
    assert page.locator("#fields").get_attribute("open") is not None
    page.get_by_role("link", name="without status error").click()
    page.get_by_text("1 trace fits").wait_for()
    assert rows(page) == 1 and page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_text_is_found_in_any_step_and_counted_when_asked(seen: Opened) -> None:
    page = seen.go("/traces?filter=KAYAKS&status=ok")
    assert page.get_by_label("Filter").input_value() == "status:ok KAYAKS"
    assert 0 < rows(page) < 12
    panel = page.locator("#fields")
    panel.get_by_text("How many fit").click()
    panel.get_by_text("traces fit").wait_for()
    assert panel.get_by_role("heading", name="model").is_visible()


def test_a_mistake_is_told_at_the_box_and_what_was_written_stays(seen: Opened) -> None:
    response = seen.page.goto(f"{seen.address}/traces?filter=modle:a")
    assert response.status == 400
    seen.complaints.clear()  # the browser's own line about it
    page = seen.page
    assert "did you mean `model`" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Filter").input_value() == "modle:a"
    assert page.get_by_label("Filter").get_attribute("aria-describedby") == "wrong"


def test_a_list_is_whole_in_its_window_and_keeps_its_name(seen: Opened) -> None:
    """What is counted beside it does not take its title; figures are in sight; two are compared without going to the end of the page."""
    page = seen.go("/traces")
    page.locator("#fields summary", has_text="12 traces fit").wait_for()
    assert page.title() == "Traces · Windlass"
    beyond = "[...document.querySelectorAll('table.of-traces td')].filter(e => e.getBoundingClientRect().right > innerWidth).length"
    assert page.evaluate(beyond) == 0
    here = page.locator("nav a[aria-current]").bounding_box()
    assert here["x"] >= 0 and here["x"] + here["width"] <= page.viewport_size["width"], "the room one is in"
    for n in (0, 1):
        page.locator("table.of-traces input[type=checkbox]").nth(n).check()
    compare = page.get_by_role("button", name="Compare two")
    assert compare.bounding_box()["y"] < page.locator("table.of-traces").bounding_box()["y"]
    compare.click()
    page.wait_for_url("**/traces/compare?*")
    assert page.locator("table.of-two th a").count() == 2
    assert page.evaluate("document.querySelector('.of-two').getBoundingClientRect().right <= innerWidth")


def test_charts_say_their_scale_in_a_narrow_window_too(seen: Opened) -> None:
    page = seen.go("/dashboards")
    scale = page.evaluate(
        """[...document.querySelectorAll('.chart text')].filter(e => /^[0-9.]+$/.test(e.textContent)).map(e => e.getBoundingClientRect())
        .filter(b => b.width && b.left >= e_left() && b.right <= innerWidth).length; function e_left() {
        return document.querySelector('.scroll.latest').getBoundingClientRect().left }"""
    )
    assert scale > 0
