"""In which order files of tests are handed to workers: the long ones first, so that no worker waits for another's last file. And the
engines of the stores, each started once and only where a test asks for it."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.registry.sources.postgresql_server import PASSWORD, PostgreSqlServer, binaries
from windlass.store.meta_postgres import PASSWORD as PASSWORD_VARIABLE
from windlass.store.spans import SpanStore

if TYPE_CHECKING:
    from tests.s3_server import S3Server

# As for the parts of a server: there is a worker for each core, and pools of threads that wait for one another spend what all have.
# NumPy reads it when it is first imported.
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

# Workers load the same tests, and hundreds of processes the same modules: what one compiled is kept for the others, whatever the
# environment says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# how long an example takes is the machine's affair
hypothesis.settings.register_profile("windlass", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("windlass")


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


@pytest.fixture(scope="session")
def chdb_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the ClickHouse engine that runs in this process: one for all, as it wants it. It knows clusters of itself, as
    `clickhouse_cluster.py` says."""
    pytest.importorskip("chdb", reason="there is no chDB here: make .stamps/clickhouse installs it")
    from tests.clickhouse_cluster import CONFIGURED

    folder = tmp_path_factory.mktemp("chdb")
    folder.with_suffix(".xml").write_text(CONFIGURED)
    held = chdb_client(folder)
    yield folder
    held.close()


def chdb_client(folder: Path, **more: Any) -> Any:
    import clickhouse_connect

    options = {"config-file": str(folder.with_suffix(".xml"))}
    return clickhouse_connect.get_client(interface="chdb", path=str(folder), chdb_options=options, **more)


def clickhouse_spans(folder: Path, database: str) -> SpanStore:
    from windlass.store.spans_clickhouse import ClickHouseSpans

    made = chdb_client(folder)
    made.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    made.close()
    return ClickHouseSpans(lambda: chdb_client(folder, database=database), database)


@pytest.fixture(params=["duckdb", "clickhouse"])
def spans(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], SpanStore]:
    """Opens a store of this test's own; after it was closed, the same again."""
    from windlass.store.spans_duckdb import DuckSpans

    if request.param == "duckdb":
        return lambda: DuckSpans(tmp_path / "spans")
    folder, database = request.getfixturevalue("chdb_folder"), f"t{secrets.token_hex(6)}"
    return lambda: clickhouse_spans(folder, database)
