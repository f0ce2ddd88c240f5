"""The page Approvals keeps itself up to date, and moves nothing under the hand of whoever decides."""

from __future__ import annotations

import re

import pytest
from tests.doors.server import Server, until
from tests.doors.web.conftest import Opened

from windlass.agentops.broker import Asked, Attempt, Broker
from windlass.core.actor import OWNER
from windlass.store.home import Home
from windlass.store.meta import open_meta

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_what_waits_comes_and_goes_by_itself(wide: Opened, toured: Server) -> None:
    broker = Broker(open_meta(Home(toured.home).database_url))
    with toured.client() as client:
        tool = client.artifacts.list(kind="tool").items[0].name
        version = client.versions.show(f"tool/{tool}").version
        takes = next(iter(version.body["parameters"]["properties"]))
        schema = {"properties": {takes: {"const": "this"}}}
        grant = client.grants.make("elsewhere", "A task.", [{"tool": f"tool/{tool}", "arguments": schema, "on_miss": "ask"}]).grant.id

        def asks(text: str) -> str:
            asked = Attempt(
                actor=OWNER, project="default", agent="elsewhere", tool=str(version.ref), name=f"tool/{tool}", arguments={takes: text},
                parameters=version.body["parameters"], effects="write", grant=grant,
            )  # fmt: skip
            found = broker.admit(asked)
            assert isinstance(found, Asked)
            return found.approval

        for waiting in client.approvals.list().items:  # of other tests
            client.approvals.decide(waiting.id, False)
        page = wide.go("/approvals")
        assert page.locator("[data-id]").count() == 0
        first = asks("one")
        page.locator("[data-id]").wait_for(timeout=20_000)  # a page that shows none shows the first by itself
        page.get_by_label(re.compile("^Why, for the agent")).fill("half a sent")
        second = asks("two")
        status = page.get_by_role("status")
        status.filter(has_text="1 more call waits.").wait_for(timeout=20_000)
        assert page.locator("[data-id]").count() == 1
        assert page.get_by_label(re.compile("^Why, for the agent")).input_value() == "half a sent"
        until(lambda: page.title().startswith("(2) "))
        client.approvals.decide(first, False, "somebody else was first")
        page.get_by_text("It waits no longer.").wait_for(timeout=20_000)
        assert page.locator("form button[value=allow]").count() == 0  # what is over cannot be answered
        status.get_by_role("link", name="Show them").click()
        assert page.locator("[data-id]").get_attribute("data-id") == second
        page.keyboard.press("j")
        page.keyboard.press("a")
        until(lambda: client.approvals.list(state="all").items[0].state == "approved")
        page.get_by_text("Nothing waits.").wait_for()
    assert wide.complaints == []
