"""The page of models: a filter that is not understood is told."""

import re

import pytest
from tests.doors.server import Server

from windlass.core.operations.discover import CatalogQuery
from windlass.doors.web.render import _linked as linked


@pytest.mark.parametrize("filter", ["price=cheap", "price=nan", "price=-1", "context=200k", "context=1e999"])
def test_a_filter_that_is_no_number_is_not_passed_over(server: Server, filter: str) -> None:
    found = server.owner().get(f"/models?{filter}")
    assert found.status_code == 400 and "write a number" in found.text


def test_a_context_may_be_written_with_commas(server: Server) -> None:
    assert "models fit" in server.owner().get("/models?context=200,000").text


def test_where_facts_are_from_can_be_followed_and_nothing_else_becomes_a_link() -> None:
    assert linked("https://x.org/a?b=1&c=2 (2026-07-01).") == (
        "<a href='https://x.org/a?b=1&amp;c=2' rel='noopener noreferrer'>https://x.org/a?b=1&amp;c=2</a> (2026-07-01)."
    )
    assert linked("the price table") == "the price table"
    assert "<script" not in linked("<script>https://x.org/'><script>") and "href='javascript" not in linked("javascript:https://x.org")


def test_the_page_of_a_model_links_its_sources(server: Server) -> None:
    found = server.client().search_models(CatalogQuery(search="anthropic/claude-sonnet-4-5")).items[0]
    (source,) = re.findall(r"https://[^\s;,]+", found.facts.places.source)[:1]
    assert f"<a href='{source}'" in server.owner().get(f"/models/{found.id}").text.replace("&amp;", "&")
