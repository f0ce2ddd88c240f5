"""The relational store: opening it, reading, writing. A SQLite file (`meta_sqlite.py`) or PostgreSQL (`meta_postgres.py`), by URL.

A write is a transaction that has the store for itself: writers of other processes wait their turn instead of failing at commit, and
read what the one before them left. What is acknowledged is durable. A read sees one state and waits for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from windlass.core.errors import Invalid, StoreAway
from windlass.store import meta_postgres, meta_sqlite
from windlass.store.home import Home
from windlass.store.tables import metadata

_AFTERWARDS = "windlass.afterwards"
MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0021"  # the newest revision among them; a test holds it


def open_meta(url: str) -> Engine:
    """Open the store, bring its tables to this version (a copy is kept beside an older SQLite file), refuse a newer one.

    Raises `Invalid` for a store of a newer version and an address that is none, `Unavailable` when it cannot be opened.
    """
    engine = meta_sqlite.connect(url) if url.startswith("sqlite:") else meta_postgres.connect(url)
    with _plainly(engine):
        _migrate(engine)
    return engine


def store_url(home: Home, setting: str) -> str:
    """Where the store of a data folder is, by the setting `database`. Raises `Invalid` where the folder has one of its own that was
    not moved: an empty store beside it would look like a loss."""
    if not setting:
        return home.database_url
    if (own := home.path / "windlass.db").exists():
        raise Invalid(
            "this data folder has a store of its own, which the setting database would leave behind",
            where=str(own),
            remedy="windlass move takes it along; or take the setting away, or the file",
        )
    return setting


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """A connection that sees one state of the store."""
    with _plainly(engine), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """A transaction that has the store for itself; durable when the block ends, undone when it raises. Raises `Unavailable` that says
    so where the connection broke while it was made durable: then nobody knows."""
    with _plainly(engine), engine.connect().execution_options(write=True) as connection:
        connection.info.pop(_AFTERWARDS, None)  # of a transaction that was undone
        with connection.begin() as transaction:
            yield connection
            try:
                transaction.commit()
            except DBAPIError as e:
                if not e.connection_invalidated:
                    raise
                raise StoreAway(
                    "the store went away while a change was made durable; it may or may not be there",
                    where=str(engine.url),
                    remedy="look whether it is, before you try again",
                ) from e
        for done in connection.info.pop(_AFTERWARDS, ()):
            done()


def afterwards(connection: Connection, do: Callable[[], None]) -> None:
    """Have something done once the transaction of `write` is durable, and not when it is undone. It must not raise."""
    connection.info.setdefault(_AFTERWARDS, []).append(do)


def compact(engine: Engine) -> list[str]:
    """Have what was deleted gone from the store's files too. Returns names of older copies of the store that lie beside it, which are
    not touched. Raises `Unavailable` when the disk is full: a file is written anew."""
    with _plainly(engine):
        found: list[str] = _engine(engine).compact(engine)
    return found


def _engine(engine: Engine) -> ModuleType:
    return meta_sqlite if engine.dialect.name == "sqlite" else meta_postgres


@contextmanager
def _plainly(engine: Engine) -> Iterator[None]:
    """What a database says of itself, in a sentence."""
    try:
        yield
    except DBAPIError as e:
        if (said := _engine(engine).plain(e, str(engine.url))) is not None:
            raise said from e
        raise


def _migrate(engine: Engine) -> None:
    with engine.connect() as connection:
        current = _revision(connection)
    if current == HEAD or (current is None and _make(engine)):
        return
    _upgrade(engine, current)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _upgrade(engine: Engine, current: str | None) -> None:
    # Alembic is 12 MB, and a store that is of this version does not need it
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config, kind = Config(), _engine(engine)
    config.set_main_option("script_location", str(MIGRATIONS))
    if current and current not in {r.revision for r in ScriptDirectory.from_config(config).walk_revisions()}:
        raise Invalid(
            f"this store is of version {current}, newer than this Windlass ({HEAD})", where=str(engine.url), remedy="upgrade Windlass"
        )
    with kind.upgrading(engine):
        with engine.connect() as connection:
            current = _revision(connection)
        if current == HEAD:  # another process did it while this one waited
            return
        if current:
            kind.back_up(engine, current)
        with write(engine) as connection:
            if _revision(connection) != HEAD:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                kind.settle(connection)


def _make(engine: Engine) -> bool:
    """Make the tables of a store that has none, as they are now: a test holds that all upgrades come to the same. False where somebody
    was faster."""
    with _engine(engine).upgrading(engine), write(engine) as connection:
        if _revision(connection) is not None:
            return False
        metadata.create_all(connection)
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
        _engine(engine).settle(connection)
    return True
