"""Pages of datasets where there is much: many versions, many clashes, large cells, rows of a branch."""

from __future__ import annotations

import re

import httpx2
import pytest
from tests.doors.server import Server


@pytest.fixture(scope="module")
def pages(server: Server) -> httpx2.Client:
    return server.owner()


def test_a_branch_can_be_merged_however_many_versions_came_since(server: Server, pages: httpx2.Client) -> None:
    with server.client() as client:
        client.datasets.edit("many", [{"key": "a", "n": -1}])
        client.datasets.edit("many:old", [{"key": "b", "n": -1}])
        for n in range(51):
            client.datasets.edit("many", [{"key": "a", "n": n}])
    assert '<option value="dataset/many:old">old</option>' in pages.get("/datasets/dataset/many/merge").text
    first = pages.get("/datasets/dataset/many").text
    older = re.search(r'href="([^"]*older=[^"]*)"', first)
    assert older
    assert ">old</span>" not in first
    assert ">old</span>" in pages.get(older[1].replace("&amp;", "&")).text


def test_a_row_of_a_branch_opens_as_it_is_there(server: Server, pages: httpx2.Client) -> None:
    with server.client() as client:
        client.datasets.edit("branched", [{"key": "a", "said": "on main"}])
        client.datasets.edit("branched:more", [{"key": "a", "said": "on the branch"}])
    row = re.search(r'href="([^"]*/rows/a[^"]*)"', pages.get("/datasets/dataset/branched?branch=more").text)
    assert row
    assert "on the branch" in pages.get(row[1]).text


def test_more_clashes_than_a_page_shows_are_decided_all_the_same(server: Server, pages: httpx2.Client) -> None:
    rows = [{"key": f"k{i:03}", "label": "a"} for i in range(210)]
    with server.client() as client:
        client.datasets.edit("clashing", rows)
        client.datasets.edit("clashing:more", [{**r, "label": "theirs"} for r in rows])
        client.datasets.edit("clashing", [{**r, "label": "ours"} for r in rows])
        form = {"ours": "dataset/clashing:main", "theirs": "dataset/clashing:more", "row:k000": "ours"}
        undecided = pages.post("/datasets/dataset/clashing/merge", data=form, follow_redirects=True)
        assert "Nothing was changed: rows clash that were not decided." in undecided.text
        assert "All others; 10 are not shown" in undecided.text
        pages.post("/datasets/dataset/clashing/merge", data={**form, "prefer": "theirs"})
        assert [r["label"] for r in client.datasets.all("clashing")] == ["ours", *["theirs"] * 209]


def test_a_field_that_one_side_dropped_is_no_null(server: Server, pages: httpx2.Client) -> None:
    with server.client() as client:
        client.datasets.edit("dropped", [{"key": "a", "label": "x"}])
        client.datasets.edit("dropped:more", [{"key": "a"}])
        client.datasets.edit("dropped", [{"key": "a", "label": None}])
    found = pages.get("/datasets/dataset/dropped/merge?ours=dataset/dropped:main&theirs=dataset/dropped:more").text
    assert re.search(r"<b>ours</b>\s*<code>label: null</code>", found)
    assert re.search(r"<b>theirs</b>\s*<code>label</code> is not there", found)


def test_a_cell_of_megabytes_does_not_make_a_page_of_megabytes(server: Server, pages: httpx2.Client) -> None:
    large = {"key": "a", "text": "x" * 1_000_000, "parts": {"of": "y" * 1_000_000}}
    with server.client() as client:
        client.datasets.edit("large", [large])
        client.datasets.edit("large", [{**large, "text": "z" * 1_000_000}])
        first = client.versions.list("dataset/large").items[1].digest
    for path in ("", f"/diff?a=dataset/large@{first}&b=dataset/large:main"):
        assert len(pages.get(f"/datasets/dataset/large{path}").content) < 30_000
    assert "z" * 1_000_000 in pages.get("/datasets/dataset/large/rows/a").text  # a row is shown whole


def test_a_line_separator_in_a_row_ends_no_line(server: Server, pages: httpx2.Client) -> None:
    pages.post("/datasets/dataset/lines/edit", data={"rows": '{"key": "a", "text": "one\u2028two"}\r\n{"key": "b"}', "branch": "main"})
    with server.client() as client:
        assert [r.get("text") for r in client.datasets.all("lines")] == ["one\u2028two", None]
