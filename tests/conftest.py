"""In which order files of tests are handed to workers: the long ones first, so that no worker waits for another's last file. And the
engines of the stores, each started once and only where a test asks for it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.registry.sources.postgresql_server import PASSWORD, PostgreSqlServer, binaries
from windlass.store.meta_postgres import PASSWORD as PASSWORD_VARIABLE

if TYPE_CHECKING:
    from tests.s3_server import S3Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSqlServer]:
    folder = binaries()
    if folder is None:
        pytest.skip("there is no PostgreSQL server here: sh scripts/postgresql.sh installs one")
    server = PostgreSqlServer(folder)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def database_setting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The setting `database` for a store of this test's own: empty for SQLite, or an address. See `tests/stores.py`."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield ""
        return
    server: PostgreSqlServer = request.getfixturevalue("postgresql")
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    name = server.empty_store()
    monkeypatch.setenv("WINDLASS_DATABASE", server.store_url(name))  # for what reads the settings
    yield server.store_url(name)
    server.drop(name)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    from tests.s3_server import S3Server  # moto takes seconds to import

    server = S3Server()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The setting `blobs` for a new bucket, whose credentials are in the environment."""
    from tests.s3_server import ENVIRONMENT

    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_server.bucket('b' + secrets.token_hex(8))}/some/prefix?endpoint={s3_server.endpoint}"
