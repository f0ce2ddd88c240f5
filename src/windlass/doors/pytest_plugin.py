"""The pytest plugin: the fixture `windlass`, a real installation in a temporary folder with the tests' workspace pushed into it.

    def test_it_says_when(windlass):
        assert "nine" in windlass.run("chain/shop", "When do you open?").text
        assert "nine" in app.shop("When do you open?")

Loaded by entry point in every pytest run, so it imports nothing of weight until a test asks for the fixture.
"""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from windlass.sdk.client import Client


class ClientHost:
    """`core.host.Host` by a client: what is called in a test is run as the version that was pushed."""

    entry = ""

    def __init__(self, client: Client) -> None:
        self._client = client

    def call(self, kind: str, name: str, arguments: dict[str, Any]) -> Any:
        return self._client.run(f"{kind}/{name}", arguments).output

    async def acall(self, kind: str, name: str, arguments: dict[str, Any]) -> Any:
        return await asyncio.to_thread(self.call, kind, name, arguments)

    def stream(self, kind: str, name: str, arguments: dict[str, Any]) -> Iterator[str]:
        for piece in self._client.run_stream(f"{kind}/{name}", arguments):
            if piece.text:
                yield piece.text

    async def astream(self, kind: str, name: str, arguments: dict[str, Any]) -> AsyncIterator[str]:
        pieces = self.stream(kind, name, arguments)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece


class Installations:
    """One for each workspace that asks, opened when it asks and pushed once."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._clients: dict[Path | None, Client] = {}
        self.ends = contextlib.ExitStack()

    def client(self, workspace: Path | None) -> Client:
        """Raises `WindlassError` when the workspace cannot be pushed, `ImportError` without the server's libraries."""
        if workspace not in self._clients:
            from windlass.doors.local import open_local

            client = self.ends.enter_context(open_local(self._folders.mktemp("windlass") / "home"))
            if workspace is not None:
                for sentence in client.push(workspace)[1]:
                    warnings.warn(sentence, stacklevel=1)
            self._clients[workspace] = client
        return self._clients[workspace]


@pytest.fixture(scope="session")
def windlass_installations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installations]:
    """What the fixture `windlass` opened, closed when the tests end."""
    installations = Installations(tmp_path_factory)
    with installations.ends:
        yield installations


@pytest.fixture
def windlass(windlass_installations: Installations, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of a temporary installation that has the workspace around the test's file; components, chains, indexes and agents
    can be called too."""
    from windlass.core.errors import WindlassError
    from windlass.core.host import bind

    workspace = next((p for p in request.path.parents if (p / "windlass.toml").is_file()), None)
    try:
        client = windlass_installations.client(workspace)
    except ImportError as e:
        pytest.fail(
            f"the fixture windlass needs the server's libraries, {e.name} is missing: pip install 'windlass[server]'", pytrace=False
        )
    except WindlassError as e:
        pytest.fail(f"the workspace cannot be pushed: {e}", pytrace=False)
    with bind(ClientHost(client)):
        yield client
