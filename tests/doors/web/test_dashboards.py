"""The dashboard of what the tour left: figures, charts, tables, and where they lead."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from tests.doors.server import Server
from tests.doors.web.conftest import Opened


def test_every_bucket_leads_to_the_list_of_its_traces(wide: Opened, toured: Server) -> None:
    with toured.client() as client:
        found = client.traces.figures(24)
    page = wide.go("/dashboards")
    assert f"{found.whole.traces:,}" in page.locator(".card .big").first.inner_text()
    page.locator("details > summary").first.click()
    rows = page.locator("details").first.locator("tr")
    counted = 0
    for n in range(1, rows.count()):
        ok, failed = (0 if c == "–" else int(c) for c in rows.nth(n).locator("td.n").all_inner_texts())
        if ok + failed == 0:
            continue
        counted += ok + failed
        assert wide.page.context.request.get(wide.address + (rows.nth(n).locator("a").get_attribute("href") or "")).ok
        asked = {k: int(v[0]) for k, v in parse_qs(urlsplit(rows.nth(n).locator("a").get_attribute("href") or "").query).items()}
        with toured.client() as client:
            listed = client.traces.list(limit=200, **asked)
        assert len(listed.items) + (200 if listed.next else 0) >= min(200, ok + failed)
        if listed.next is None:
            assert len(listed.items) == ok + failed
            assert sum(t.status == "error" for t in listed.items) == failed
    assert counted == found.whole.traces
    assert wide.complaints == []


def test_a_link_into_the_traces_says_of_which_time_they_are(wide: Opened) -> None:
    page = wide.go("/dashboards")
    page.locator("details > summary").first.click()
    page.locator("details").first.locator("tr a").last.click()
    page.wait_for_url("**/traces?*")
    assert "began from" in page.locator("form .tag.accent").inner_text()
    page.get_by_role("button", name="Show").first.click()
    page.wait_for_url("**since_ns=*")
    assert page.locator("form .tag.accent").count() == 1, "further filters keep the time"


def test_groups_lead_to_a_board_of_their_own(wide: Opened) -> None:
    page = wide.go("/dashboards?by=release")
    assert page.locator(".of-groups tr").count() > 2
    page.locator(".of-groups a[href^='/dashboards']").first.click()
    page.wait_for_url("**uses%3Arelease*")
    assert page.locator(".board section").count() >= 3
    assert page.locator("input[name=filter]").input_value().startswith("uses:release/")


def test_what_was_chosen_is_in_the_address(wide: Opened) -> None:
    page = wide.go("/dashboards")
    page.locator("select[name=by]").select_option("kind")
    page.locator("select[name=last]").select_option("7d")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**by=kind*")
    assert "last=7d" in page.url
    assert page.locator("select[name=by]").input_value() == "kind"
    assert page.get_by_text("Share of steps that failed").count() + page.get_by_text("How long steps took").count() > 0
    again = wide.go("/dashboards?attribute=windlass.kind")
    assert again.locator(".of-groups th").first.inner_text().lower() == "windlass.kind"


def test_an_empty_board_says_what_to_do_next(wide: Opened) -> None:
    page = wide.go("/dashboards?user=nobody-at-all&last=1h")
    text = page.locator(".empty").inner_text()
    assert "fits" in text and "Clear" in text and "30 days" in text


def test_what_figures_cannot_be_told_by_is_said(wide: Opened) -> None:
    response = wide.page.goto(wide.address + "/dashboards?by=weather")
    assert response.status == 400
    assert "take one of" in wide.page.locator("main").inner_text()


def test_its_charts_need_no_script_and_few_stops_of_the_keyboard(wide: Opened) -> None:
    page = wide.go("/dashboards?by=release")
    assert page.locator("svg a:not([tabindex='-1'])").count() == 0, "tables have the links for the keyboard"
    assert page.locator("svg[role=img][aria-label]").count() == page.locator("svg.chart").count() > 0


def test_a_filter_that_cannot_be_read_keeps_what_was_chosen(wide: Opened) -> None:
    response = wide.page.goto(wide.address + "/dashboards?filter=modle:a&by=model&last=7d")
    assert response.status == 400
    wide.complaints.clear()  # the browser's own line about it
    page = wide.page
    assert "did you mean `model`" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Filter").input_value() == "modle:a"
    assert (page.locator("select[name=by]").input_value(), page.locator("select[name=last]").input_value()) == ("model", "7d")
