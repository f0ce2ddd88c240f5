"""The tree of a giant trace: its page has a part of it, and the rest is a key away."""

from __future__ import annotations

import re
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
TRACE, CALLS, DEEP, TURN = "0a" * 16, "0b" * 16, "0c" * 16, "0d" * 16
LEVELS = 40


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


def calls() -> list[dict[str, Any]]:
    """A root with 300 calls of a model, of which the last are of another, and a record of an hour later."""
    now, made = time.time_ns() - 10**10, list[dict[str, Any]]()
    for n in range(1, 302):
        told = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o" if n < 300 else "o3"}
        counted = {"gen_ai.usage.input_tokens": 1_000, "gen_ai.usage.output_tokens": 10}
        attributes = [{"key": k, "value": {"stringValue": v}} for k, v in told.items()]
        attributes += [{"key": k, "value": {"intValue": v}} for k, v in counted.items()]
        over = {"parentSpanId": f"{1:016x}", "attributes": attributes} if n > 1 else {}
        times = {"startTimeUnixNano": str(now + n * 1_000), "endTimeUnixNano": str(now + 10**9)}
        made.append({"traceId": CALLS, "spanId": f"{n:016x}", "name": f"call {n}", **over, **times})
    return made


def deep() -> list[dict[str, Any]]:
    """Each step below the one before; what they are called is long."""
    now = time.time_ns() - 10**10
    times = {"startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 10**9)}
    over = [{"parentSpanId": f"{n - 1:016x}"} if n > 1 else {} for n in range(1, LEVELS + 1)]
    return [{"traceId": DEEP, "spanId": f"{n:016x}", "name": f"a step at level {n}", **over[n - 1], **times} for n in range(1, LEVELS + 1)]


def turn() -> list[dict[str, Any]]:
    """An agent that says what was asked, a call of a model that says nothing, a tool that failed."""
    now = time.time_ns() - 10**10

    def step(n: int, name: str, kind: str, **more: Any) -> dict[str, Any]:
        told = {"windlass.kind": kind} | ({} if n > 1 else {"windlass.input": '"why?"', "windlass.output": '"so"'})
        over = {"parentSpanId": f"{1:016x}"} if n > 1 else {}
        times = {"startTimeUnixNano": str(now + n), "endTimeUnixNano": str(now + 10**9)}
        attributes = [{"key": k, "value": {"stringValue": v}} for k, v in told.items()]
        attributes.append({"key": "tag.tags", "value": {"arrayValue": {"values": [{"stringValue": 'the "beta"'}]}}})
        return {"traceId": TURN, "spanId": f"{n:016x}", "name": name, "attributes": attributes, **over, **times, **more}

    raised = {"key": "exception.stacktrace", "value": {"stringValue": "Traceback <1>\n  File torn.py\nValueError: torn"}}
    events = [{"name": "exception", "timeUnixNano": str(now + 9), "attributes": [raised]}]
    failed = {"status": {"code": 2, "message": "the courier answered 503, and was asked again three times " * 3}, "events": events}
    return [step(1, "ask", "agent"), step(2, "chat", "model"), step(3, "look up", "tool", **failed)]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    up = Server(tmp_path_factory.mktemp("traced") / "home")
    with up.owner() as http:
        for some in (spans(), calls(), deep(), turn()):
            http.post("/v1/traces", json={"resourceSpans": [{"scopeSpans": [{"spans": some}]}]}).raise_for_status()
        late = {"traceId": CALLS, "timeUnixNano": str(time.time_ns() + 3600 * 10**9), "body": {"stringValue": "closed"}}
        http.post("/v1/logs", json={"resourceLogs": [{"scopeLogs": [{"logRecords": [late]}]}]}).raise_for_status()
        for span, name in ((f"{301:016x}", "late"), (f"{1:016x}", "whole")):
            said = {"trace": CALLS, "span": span, "name": name, "value": True}
            http.post("/api/v1/traces/score", json=said).raise_for_status()
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


def test_costs_and_scores_are_of_all_steps_and_a_late_record_takes_no_width(traced: Server) -> None:
    with traced.owner() as http:
        page, twin = http.get(f"/traces/{CALLS}").text, http.get(f"/traces/{CALLS}.json").json()
        below = http.get(f"/traces/{CALLS}/tree.json", params={"of": f"{1:016x}", "cursor": f"{250:016x}"}).json()
    last = f"{301:016x}"
    assert len(twin["trace"]["spans"]) == 200, "a page of them"
    assert {m["name"]: m["calls"] for m in twin["costs"]["models"]} == {"gpt-4o": 298, "o3": 2}
    assert twin["costs"]["cost"] == twin["trace"]["summary"]["cost"] > 0
    assert {s["name"] for s in twin["scores"]["whole"]} == {"whole"}
    assert [s["name"] for s in twin["scores"]["steps"][last]] == ["late"] and f'span={last}">call 301: late yes<' in page
    assert [s["name"] for s in below["scores"]["steps"][last]] == ["late"], "where more of it is asked for, too"
    widths = {x["step"]["name"]: (x["left"], x["width"]) for x in twin["drawn"]["lines"] if x.get("step")}
    assert widths["call 1"] == (0, 100) and widths["closed"][0] == 99.5


def test_one_looks_first_at_a_step_that_tells_and_failures_are_words(traced: Server) -> None:
    with traced.owner() as http:
        page, twin = http.get(f"/traces/{TURN}").text, http.get(f"/traces/{TURN}.json").json()
        tool = http.get(f"/traces/{TURN}?span={3:016x}").text
        given = http.get(f"/traces/{CALLS}.json").json()
    assert twin["chosen"]["span_id"] == f"{1:016x}" and given["chosen"]["span_id"] == f"{1:016x}", "a call that says nothing is not it"
    (address,) = re.findall(r'href="([^"]*)">the &#34;beta&#34;</a>', page)
    with traced.owner() as http:
        tagged = http.get(address.replace("&amp;", "&").replace("/traces?", "/traces.json?")).json()
    assert [t["trace_id"] for t in tagged["page"]["items"]] == [TURN], "a tag leads to all that have it"
    assert re.search(r'look up</a>\s*<span class="tag bad">failed</span>', page)
    assert "Traceback &lt;1&gt;\n  File torn.py\nValueError: torn</code>" in tool, "in lines, as it was raised"


@pytest.mark.browser
@pytest.mark.slow
def test_a_deep_tree_is_read_in_a_narrow_window(traced: Server, browser: Any) -> None:
    """Each line is whole in its window, the step that is looked at is in sight, and stays so beside its card."""
    context = browser.new_context(viewport={"width": 390, "height": 900}, color_scheme="dark")
    opened = Opened(context.new_page(), traced.address)
    opened.page.goto(f"{traced.address}/?once={Sessions(traced.home / 'run').make_link()}")
    page = opened.go(f"/traces/{DEEP}?span={30:016x}")
    page.wait_for_function("document.querySelector('.within').scrollTop > 0")
    lines = "[...document.querySelectorAll('trace-tree tbody tr')].map(r => r.getBoundingClientRect()).map(b => [b.height, b.right])"
    assert all(height < 90 and right <= 390 for height, right in page.evaluate(lines))
    took = "[...document.querySelectorAll('trace-tree td.n')].every(e => e.getBoundingClientRect().right <= innerWidth)"
    assert page.evaluate(took)
    edges = "[...document.querySelectorAll('tr.on, .within')].map(e => e.getBoundingClientRect()).map(b => [b.top, b.bottom])"
    around, on = page.evaluate(edges)
    assert around[0] <= on[0] and on[1] <= around[1]
    assert "Nothing is told of what went in or came out." in page.locator("main").inner_text()
    opened.go(f"/traces/{TURN}?span={3:016x}")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, "however long it says why it failed"
    assert opened.complaints == []
    context.close()


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
