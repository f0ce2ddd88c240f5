"""The tree of a giant trace: its page has a part of it, and the rest is a key away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.doors.server import Server, until
from tests.doors.web.conftest import Opened

from windlass.core.operations.trees import TreeShow
from windlass.doors.web.trace_trees import lines_of
from windlass.govern.sessions import Sessions
from windlass.store.span_tree import tree_of

COUNT = 2_000
TRACE = "0a" * 16


def spans() -> list[dict[str, Any]]:
    """A root with many steps, the first of which has some below it; the last failed."""
    now = time.time_ns() - 10**10
    made = []
    for n in range(1, COUNT + 1):
        over = {} if n == 1 else {"parentSpanId": f"{2 if n % 2 and n > 3 else 1:016x}"}
        times = {"startTimeUnixNano": str(now + n * 1_000), "endTimeUnixNano": str(now + 10**9)}
        status = {"status": {"code": 2, "message": "away"}} if n == COUNT else {}
        made.append({"traceId": TRACE, "spanId": f"{n:016x}", "name": f"step <b>{n}", **over, **times, **status})
    return made


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    up = Server(tmp_path_factory.mktemp("traced") / "home")
    with up.owner() as http:
        http.post("/v1/traces", json={"resourceSpans": [{"scopeSpans": [{"spans": spans()}]}]}).raise_for_status()
    yield up
    up.stop()


def test_what_is_left_out_has_a_line_where_it_is() -> None:
    rows = [(f"{n:016x}", None if n == 1 else f"{1 if n < 8 else 2:016x}", f"s{n}", "tool", n, n, "ok", *[None] * 6) for n in range(1, 13)]
    tree = tree_of(TRACE, rows, TreeShow(TRACE, limit=8), lambda ids: [])
    told = [(x.level, x.step.name if x.step else x.count) for x in lines_of(tree)]
    assert told == [(0, "s1"), *((1, f"s{n}") for n in range(2, 8))]
    on = tree_of(TRACE, rows, TreeShow(TRACE, of=f"{1:016x}", cursor=f"{4:016x}", limit=2), lambda ids: [])
    lines = lines_of(on)
    assert [(x.level, x.step.name if x.step else (x.count, x.next)) for x in lines] == [
        (1, (3, False)),
        (1, "s5"),
        (1, "s6"),
        (1, (1, True)),
    ]
    assert lines[-1].url == f"/traces/{TRACE}/tree?of={1:016x}&cursor={6:016x}"


def test_a_page_has_a_part_of_it(traced: Server) -> None:
    with traced.owner() as http:
        page, twin = http.get(f"/traces/{TRACE}"), http.get(f"/traces/{TRACE}.json").json()
        failed = http.get(f"/traces/{TRACE}/tree", params={"order": "failed"}).text
        wrong = [http.get(f"/traces/{TRACE}/tree", params=p).status_code for p in ({"of": "x"}, {"levels": "x"}, {"of": "f" * 16})]
    assert len(page.text) < 100_000 and len(twin["drawn"]["tree"]["items"]) <= 200
    assert f"step &lt;b&gt;{COUNT}" in failed and f"step &lt;b&gt;{COUNT - 1}<" not in failed
    assert wrong == [400, 400, 404]


@pytest.mark.browser
@pytest.mark.slow
def test_the_rest_is_a_key_away(traced: Server, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 900})
    opened = Opened(context.new_page(), traced.address)
    opened.page.goto(f"{traced.address}/?once={Sessions(traced.home / 'run').make_link()}")
    page = opened.go(f"/traces/{TRACE}")
    steps = "document.querySelectorAll('trace-tree tbody tr:not([hidden]) td svg').length"
    begun = page.evaluate(steps)
    assert 0 < begun <= 200
    page.locator("trace-tree a:not(.twist)").nth(1).focus()
    page.keyboard.press("ArrowRight")
    until(lambda: page.evaluate(steps) > begun)
    assert page.evaluate("document.activeElement.textContent") == "step <b>2", "it stays where it was"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(steps) == begun
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.textContent") == "step <b>1"
    page.locator("a.rest").last.press("Enter")
    until(lambda: page.evaluate(steps) > begun)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0 and opened.complaints == []
    context.close()
