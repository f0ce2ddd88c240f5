"""The review queue in a real browser: by keyboard, without JavaScript, in the dark and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.doors.server import Server
from tests.doors.web.conftest import Opened

from windlass.core.operations.reviews import NewReview

pytestmark = pytest.mark.browser
QUESTIONS = (
    "How do I read one member of an archive?", "Which module makes directories that clean up after themselves?",
    "What computes the median of some numbers?",
)  # fmt: skip


@pytest.fixture
def plain(browser: Any, toured: Server, session: Any) -> Iterator[Opened]:
    """A window in which no script runs."""
    context = browser.new_context(storage_state=session, java_script_enabled=False, viewport={"width": 1280, "height": 900})
    yield Opened(context.new_page(), toured.address)
    context.close()


def queue(server: Server, name: str, **more: Any) -> list[str]:
    """Three traces to label; a dataset with a field of each kind."""
    rows = [
        {"key": f"k{i}", "question": f"old {i}", "says": f"text {i}", "split": ["dev", "test"][i % 2], "sure": bool(i % 2), "weight": i}
        for i in range(12)
    ]
    with server.client() as client:
        client.datasets.edit(name, rows)
        traces = [client.run("release/answer:production", q).trace for q in QUESTIONS]
        ids: list[str] = list(client.reviews.add(name, traces, suggested={"split": "test", "weight": 1}, **more).items)
    return ids


def in_the_field(page: Any) -> None:
    """Once the first field has the focus, which a browser gives it some time after the page is there."""
    page.wait_for_function("document.activeElement.name == 'field:says'")


def out_of_the_field(page: Any) -> None:
    in_the_field(page)
    page.keyboard.press("Escape")


def test_three_items_are_labelled_by_keyboard_alone(wide: Opened, toured: Server) -> None:
    ids = queue(toured, "by-keyboard", reason="asked by phone", guidelines="Be exact.")
    page = wide.go("/reviews/by-keyboard")
    page.get_by_role("link", name="Review", exact=True).last.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{ids[0]}")
    assert page.locator("h1").inner_text() == QUESTIONS[0] and "asked by phone" in page.locator("main").inner_text()
    in_the_field(page)
    page.keyboard.type("jk12?s: text, for one is writing")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # yes
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{ids[1]}")
    out_of_the_field(page)
    page.keyboard.press("j")
    page.wait_for_url(f"**/{ids[2]}")
    out_of_the_field(page)
    page.keyboard.press("k")
    page.wait_for_url(f"**/{ids[1]}")
    out_of_the_field(page)
    page.keyboard.press("?")
    page.get_by_text("save and go on", exact=False).last.wait_for()
    page.keyboard.press("s")
    page.keyboard.type("nobody asks that")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{ids[2]}")
    in_the_field(page)
    page.keyboard.type("statistics.median")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")  # no
    page.keyboard.press("Enter")
    page.wait_for_url("**/reviews/by-keyboard?said=*")
    assert "Nothing waits for you" in page.locator("main").inner_text()
    page.get_by_label("What for").fill("asked by phone in November")
    page.keyboard.press("Enter")
    page.wait_for_url("**/datasets/dataset/by-keyboard?at=*")
    assert "asked by phone in November" in page.locator("main").inner_text()
    with toured.client() as client:
        rows = {r["question"]: r for r in client.datasets.all("by-keyboard") if "origin" in r}
        assert client.reviews.show(ids[1]).state == "aside"
    assert rows.keys() == {QUESTIONS[0], QUESTIONS[2]}
    first, third = rows[QUESTIONS[0]], rows[QUESTIONS[2]]
    assert (first["says"], first["sure"], first["split"], first["weight"]) == ("jk12?s: text, for one is writing", True, "test", 1)
    assert (third["says"], third["sure"]) == ("statistics.median", False)
    page = wide.go(f"/datasets/dataset/by-keyboard/rows/{first['key']}")
    page.get_by_role("link", name="in review").click()
    page.wait_for_url(f"**/{ids[0]}")
    assert "It is row" in page.locator("main").inner_text() and page.get_by_role("button").count() == 0
    page = wide.go(f"/traces/{first['origin']['trace']}")
    assert "It is a row of by-keyboard" in page.locator("main").inner_text()
    assert wide.complaints == []


def test_pairs_are_compared_by_keyboard_blind(wide: Opened, toured: Server) -> None:
    items = [
        NewReview(input={"question": f"Which {word}?"}, outputs=(f"good {word}", f"bad {word}"), sources=("release/new", "release/old"))
        for word in ("rope", "sail", "mast")
    ]
    with toured.client() as client:
        ids = client.reviews.add("by-pairs", items=items).items
    page = wide.go("/reviews/by-pairs/next")
    for place, id in enumerate(ids):
        page.wait_for_url(f"**/{id}")
        assert "release/" not in page.content()
        first = page.get_by_role("region", name="Answer 1").inner_text()
        page.keyboard.press("0" if place == 2 else "1" if "good" in first else "2")
    page.wait_for_url("**/reviews/by-pairs?said=*")
    page = wide.go(f"/reviews/by-pairs/{ids[0]}")
    page.keyboard.press("u")
    page.get_by_text("waiting").first.wait_for()
    page.keyboard.press("1" if "good" in page.get_by_role("region", name="Answer 1").inner_text() else "2")
    page.wait_for_url("**/reviews/by-pairs?said=*")
    page.get_by_role("button", name="Keep 2 rows").click()
    page.wait_for_url("**/datasets/dataset/by-pairs?at=*")
    with toured.client() as client:
        rows = list(client.datasets.all("by-pairs"))
    assert {(r["chosen"], r["rejected"]) for r in rows} == {("good rope", "bad rope"), ("good sail", "bad sail")}
    assert "release/new" in wide.go(f"/reviews/by-pairs/{ids[0]}").locator("main").inner_text()
    assert wide.complaints == []


def test_it_works_without_javascript_and_says_what_is_wrong_beside_what_was_written(plain: Opened, toured: Server) -> None:
    ids = queue(toured, "by-hand")
    page = plain.go("/reviews/by-hand")
    page.get_by_role("link", name="Review", exact=True).last.click()
    page.get_by_label("says").fill("zipfile")
    page.get_by_label("yes").check()
    page.get_by_label("weight").fill("heavy")
    page.get_by_role("button", name="Save").click()
    assert "'heavy' is no number" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("says").input_value() == "zipfile" and page.get_by_label("weight").get_attribute("aria-invalid") == "true"
    page.get_by_label("weight").fill("0.5")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(f"**/{ids[1]}")
    with toured.client() as client:
        assert client.reviews.show(ids[0]).mine.fields == {"says": "zipfile", "split": "test", "sure": True, "weight": 0.5}


def test_a_queue_is_made_and_fed_from_traces_in_the_pages(wide: Opened, toured: Server) -> None:
    with toured.client() as client:
        trace = client.run("release/answer:production", "What escapes characters for a shell?").trace
    page = wide.go("/reviews")
    page.get_by_text("Make a queue").click()
    page.get_by_label("Dataset that the rows go to").fill("from-pages")
    page.get_by_label("People for each item").fill("2")
    page.get_by_label("Guidelines").fill("Name the function.")
    page.get_by_role("button", name="Make it").click()
    page.wait_for_url("**/reviews/from-pages")
    assert "The queue is empty" in page.locator("main").inner_text() and "2 people each" in page.locator("main").inner_text()
    page = wide.go(f"/traces/{trace}")
    page.get_by_text("send it to review").click()
    page.get_by_label("Make rows of the dataset").fill("from-pages")
    page.get_by_label("with these fields").fill('{"symbols": ["shlex.quote"]}')
    page.get_by_role("button", name="Send to review").click()
    page.wait_for_url("**/reviews/from-pages")
    page.get_by_role("link", name="What escapes characters for a shell?").click()
    assert "Name the function." in page.locator("main").inner_text()
    assert page.get_by_label("symbols").input_value() == "shlex.quote"
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/reviews/from-pages?said=*")
    assert "1 of 2, yours too" in page.locator("main").inner_text()
    assert "from-pages" not in wide.go("/").locator("main").inner_text()
    assert wide.complaints == []


@pytest.mark.parametrize("what", ["pair", "decided", "wrong", "queue"])
def test_it_fits_and_can_be_read(window: Opened, toured: Server, what: str) -> None:
    from tests.doors.web.test_pages import CONTRAST

    name, long = f"fits-{what}", "https://example.org/" + "x" * 200 + " and " + "words that go on " * 30
    pair = NewReview(input=long, outputs=(long, "short"), reason="y" * 120)
    with toured.client() as client:
        if not any(q.name == name for q in client.reviews.queues(limit=200).queues):  # the first of these windows
            client.reviews.add(name, items=[pair], guidelines=long)
        item = client.reviews.list(name).items[0].id
        if what == "decided":
            client.reviews.decide(item, choose="first")
    page = window.go(f"/reviews/{name}" if what == "queue" else f"/reviews/{name}/{item}")
    if what == "wrong":
        page.locator("summary", has_text="Skip it").click()
        page.get_by_label("Why").fill(" ")
        page.get_by_role("button", name="Skip", exact=True).click()
        page.get_by_role("alert").wait_for()
        window.complaints.clear()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate(CONTRAST) == []
    assert window.complaints == []
