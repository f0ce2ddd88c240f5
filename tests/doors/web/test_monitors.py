"""The page of a monitor that found something new: it says what, shows it, and sends it to people in one step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.doors.server import Server
from tests.monitor.shop import Shop

from windlass.govern.sessions import Sessions

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on the folder of a shop whose customers began to ask about coins."""
    folder: Path = tmp_path_factory.mktemp("shop")
    shop = Shop(folder)
    shop.let_out()
    shop.client.monitors.set("questions", "answers")
    shop.ask(80)
    shop.client.monitors.look("questions")
    shop.ask(120, share_new=0.4)
    shop.client.monitors.look("questions")
    shop.close()
    shop.home.unlock()
    server = Server(folder / "home")
    yield server
    server.stop()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_exemplars_of_a_new_topic_go_to_people_in_one_step(browser: Any, skewed: Server, scheme: str, width: int) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"{skewed.address}/?once={Sessions(skewed.home / 'run').make_link()}")
    page.goto(skewed.address + "/monitors/questions")
    said = page.locator("main").inner_text()
    assert "skewed" in said and "crypto" in said and "Covered by the evaluation" in said
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("document.querySelectorAll('td.n').forEach(cell => cell.append(' or 1.1e-105'))")  # figures as long as they can be
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for name in ("the share of runs", "evidence that production differs", "a map of"):
        drawn = page.locator(f'svg[aria-label^="{name}"]')
        assert drawn.bounding_box()["width"] >= 560  # words in it can be read
    shown = page.locator(".asked li").all_inner_texts()
    page.get_by_role("button", name="Review").first.click()
    page.wait_for_url("**/reviews/rows**")
    asked = page.locator("main").inner_text()
    assert "new topic:" in asked and sum(text.split(" row ")[0] in asked for text in shown) >= 3
    context.close()
