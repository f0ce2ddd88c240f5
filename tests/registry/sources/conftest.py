"""Real servers to read from, each started once and only where a test asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.registry.sources.bigquery_server import BigQueryServer, bqemulator
from tests.registry.sources.httpd import Httpd
from tests.registry.sources.postgresql_server import OWNER, PASSWORD, READER, READERS, PostgreSqlServer

from windlass.core.operations.pins import PinAdd
from windlass.core.pin import Snapshot, Spec
from windlass.registry.sources import Incoming, Sources


class Reader:
    """`Sources` of one data folder, and a shorter way to ask them."""

    def __init__(self, home: Path, environ: dict[str, str] | None = None, folders: str = "") -> None:
        home.mkdir(exist_ok=True)
        self.home = home
        self.environ = environ if environ is not None else {}
        self.sources = Sources(home, self.environ, folders)

    def named(self, text: str) -> None:
        (self.home / "sources.toml").write_text(text, "utf-8")

    def spec(self, source: str, query: str = "", **more: Any) -> Spec:
        return self.sources.parse(PinAdd("a-pin", source, query, **more))

    def rows(self, source: str, query: str = "", **more: Any) -> list[dict[str, Any]]:
        return self.read(self.spec(source, query, **more))[0]

    def read(self, spec: Spec, at: Snapshot | None = None) -> tuple[list[dict[str, Any]], Incoming]:
        """Every row, and what is known of them."""
        with self.sources.read(spec, at) as incoming:
            return list(incoming.rows), incoming


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "home")


@pytest.fixture
def database(postgresql: PostgreSqlServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of this test's own."""
    name = "test_" + str(abs(hash(request.node.nodeid)))
    with postgresql.admin() as c:
        c.execute(f"CREATE DATABASE {name}")
    yield name
    with postgresql.admin() as c:
        c.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def shop(postgresql: PostgreSqlServer, database: str, reader: Reader) -> Reader:
    """`shop` is the database as its owner reads it, `guest` as one who was let in and granted nothing."""
    reader.environ |= {"OWNERS": PASSWORD, "READERS": READERS}
    url = postgresql.url(database)
    reader.named(f'''
[shop]
url = "{url}"
user = "{OWNER}"
env = "OWNERS"

[guest]
url = "{url}"
user = "{READER}"
env = "READERS"
''')
    return reader


@pytest.fixture
def sql(postgresql: PostgreSqlServer, database: str) -> Iterator[Callable[..., list[Any]]]:
    """Run a statement as the owner and have it committed."""
    with postgresql.admin(database) as c:

        def run(statement: str) -> list[Any]:
            cursor = c.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def httpd() -> Iterator[Httpd]:
    server = Httpd()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def bigquery_server() -> Iterator[BigQueryServer]:
    program = bqemulator()
    if program is None:
        pytest.skip("there is no bqemulator here: make .stamps/bqemulator installs it into .bench/bigquery")
    server = BigQueryServer(program)
    try:
        yield server
    finally:
        server.close()
