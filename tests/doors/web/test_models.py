"""The page of models: a filter that is not understood is told."""

import pytest
from tests.doors.server import Server


@pytest.mark.parametrize("filter", ["price=cheap", "price=nan", "price=-1", "context=200k", "context=1e999"])
def test_a_filter_that_is_no_number_is_not_passed_over(server: Server, filter: str) -> None:
    found = server.owner().get(f"/models?{filter}")
    assert found.status_code == 400 and "write a number" in found.text


def test_a_context_may_be_written_with_commas(server: Server) -> None:
    assert "models fit" in server.owner().get("/models?context=200,000").text
