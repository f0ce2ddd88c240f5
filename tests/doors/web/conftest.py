from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.doors.server import Server
from tests.tune import tickets
from tests.tune.application import QUICK
from tests.tune.conftest import tiny as tiny

from windlass.core.operations.tuning import Tune, TuneRequest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    return os.environ.get("WINDLASS_CHROMIUM") or next((p for n in NAMES if (p := shutil.which(n))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Only as long as its module: while Playwright is there, no other test of this process can run an event loop."""
    path = chromium()
    assert path, "browser tests need Chromium: `sh scripts/chromium.sh` installs it, or name it in WINDLASS_CHROMIUM"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.fixture(scope="session")
def cookies() -> dict[str, Any]:
    """Of servers, by address: a link is good once, and several modules may ask the same server."""
    return {}


@pytest.fixture(scope="module")
def session(browser: Any, toured: Server, cookies: dict[str, Any]) -> Any:
    """The cookies of somebody who followed the one-time link."""
    if toured.address not in cookies:
        context = browser.new_context()
        page = context.new_page()
        page.goto(toured.told["link"])
        assert page.url == toured.address + "/"
        cookies[toured.address] = context.storage_state()
        context.close()
    return cookies[toured.address]


class Opened:
    """A page that keeps what its console said."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.complaints.append(str(e)))

    def go(self, path: str) -> Any:
        response = self.page.goto(self.address + path)
        assert response.status == 200, f"{path}: {response.status}"
        return self.page


@pytest.fixture(params=[("light", 1440), ("dark", 390)], ids=lambda p: f"{p[0]}-{p[1]}")
def window(request: pytest.FixtureRequest, browser: Any, toured: Server, session: Any) -> Iterator[Opened]:
    scheme, width = request.param
    context = browser.new_context(storage_state=session, color_scheme=scheme, viewport={"width": width, "height": 900})
    yield Opened(context.new_page(), toured.address)
    context.close()


@pytest.fixture
def wide(browser: Any, toured: Server, session: Any) -> Iterator[Opened]:
    context = browser.new_context(storage_state=session, viewport={"width": 1280, "height": 900})
    yield Opened(context.new_page(), toured.address)
    context.close()


@pytest.fixture(scope="session")
def tuned(toured: Server, tiny: Path) -> Tune:
    """A tuning that is done, on the server of the tour. Needs PyTorch."""
    train, _ = tickets.split()
    with toured.client() as client:
        client.weights.add(tiny, "tiny", "Apache-2.0")
        client.datasets.edit("dataset/tickets:main", tickets.sft_rows(train))
        found = client.tunes.start(TuneRequest("sft", "desk", "tiny", "tickets", parameters=QUICK))
        end = time.monotonic() + 120
        while (found := client.tunes.show(found.id)).status not in ("done", "failed"):
            assert time.monotonic() < end, found
            time.sleep(0.1)
    assert found.status == "done", found.error
    return found
