"""The pages of metrics, by a real browser: what a real exporter sent, and what there is to do where there is nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.doors.server import Server
from tests.doors.web.conftest import Opened
from tests.doors.web.measuring import MODELS, send_metrics


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("metrics") / "home")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def opened(server: Server, browser: Any) -> Iterator[Opened]:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(server.told["link"])
    yield Opened(page, server.address)
    page.context.close()


def test_what_was_measured_is_found_and_drawn(server: Server, opened: Opened) -> None:
    page = opened.go("/metrics")
    said = page.locator(".empty").inner_text()
    assert f"OTEL_EXPORTER_OTLP_ENDPOINT={server.address}" in said and "OTEL_METRICS_EXPORTER=otlp" in said
    send_metrics(server)
    page = opened.go("/metrics?search=gen_ai")
    assert page.locator("table tr").count() == 2
    page.get_by_role("link", name="gen_ai.client.operation.duration").click()
    assert page.locator("h1").inner_text() == "gen_ai.client.operation.duration"
    cards = page.locator(".row.figures").inner_text()
    assert "30\n" in cards and "550 ms" in cards and "100 ms\nto 1.00 s" in cards
    titles = page.locator(".board section b").all_inner_texts()
    assert titles == ["Quantiles, estimated", "Mean", "Recorded"]
    page.get_by_label("By").fill("gen_ai.request.model")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**by=gen_ai.request.model*")
    assert page.locator(".of-groups tr td:first-child").all_inner_texts() == sorted(MODELS)
    assert page.locator(".board section b").first.inner_text() == "p95, estimated"
    page.locator(".of-groups a").first.click()
    assert page.get_by_label("Filter").input_value() == 'attr.gen_ai.request.model:"<b>claude</b>"'
    assert "10\n" in page.locator(".row.figures").inner_text()
    assert page.locator("svg.chart[aria-label]").count() == 3
    assert opened.complaints == []


def test_an_alert_on_it_is_set_looked_at_and_changed(opened: Opened) -> None:
    page = opened.go("/metrics/gen_ai.client.operation.duration")
    page.get_by_role("link", name="Tell somebody when").click()
    assert page.get_by_label("Metric", exact=True).input_value() == "gen_ai.client.operation.duration"
    page.get_by_label("Name", exact=True).fill("slow")
    page.get_by_label("Its").select_option("p95")
    page.get_by_label("is above", exact=True).fill("0.5")
    page.locator("select[name=window]").select_option("1 day")
    page.get_by_label("Of points that fit").fill("has:attr.gen_ai.request.model")
    page.get_by_role("button", name="Set it").click()
    page.wait_for_url("**/alerts#rules")
    page.get_by_role("button", name="Look at slow now").click()
    page.locator(".tag", has_text="found").wait_for()
    assert "above 0.5 s" in page.locator("main").inner_text()
    page.get_by_role("link", name="Change slow").click()
    assert (
        page.get_by_label("is above", exact=True).input_value() == "0.5" and page.get_by_label("or below", exact=True).input_value() == ""
    )
    page.get_by_label("is above", exact=True).fill("50")
    page.get_by_role("button", name="Change it").click()
    page.get_by_role("button", name="Look at slow now").click()
    page.locator(".tag", has_text="ok").wait_for()
    assert opened.complaints == []


def test_a_level_below_nothing_is_drawn_and_a_name_may_be_odd(opened: Opened) -> None:
    page = opened.go("/metrics")
    page.get_by_role("link", name="cold").click()
    page.wait_for_url("**/metrics/cold*")
    assert "−4.5" in page.locator(".row.figures").inner_text() and "°C" in page.locator(".board").inner_text()
    heights = [float(v) for v in page.locator("circle.dot").evaluate_all("all => all.map(e => e.getAttribute('cy'))")]
    assert heights and all(12 <= y <= 150 for y in heights)
    page = opened.go("/metrics")
    page.get_by_role("link", name="calls/models").click()
    page.wait_for_url("**/metrics/calls*")
    assert "60" in page.locator(".row.figures").inner_text()
    told = page.context.request.get(f"{opened.address}/metrics/calls%2Fmodels.json").json()["told"]
    assert told["whole"]["increase"] == 60 and told["metric"]["unit"] == "{call}"
    assert opened.complaints == []


def test_what_is_wrong_is_said_and_what_was_typed_is_kept(opened: Opened) -> None:
    response = opened.page.goto(opened.address + "/metrics/cold?filter=status:error&last=7d")
    assert response.status == 400
    opened.complaints.clear()  # the browser's own line about it
    assert "points have attr.NAME" in opened.page.get_by_role("alert").inner_text()
    assert opened.page.get_by_label("Filter").input_value() == "status:error"
    page = opened.go("/metrics/cold?filter=attr.room:warm&last=1h")
    assert "that fits" in page.locator(".empty").inner_text() and page.get_by_role("link", name="30 days").count() == 1
    assert opened.page.goto(opened.address + "/metrics/nothing").status == 404
    opened.complaints.clear()
