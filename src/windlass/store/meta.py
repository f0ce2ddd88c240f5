"""The relational store: opening it, reading, writing. SQLite in WAL mode here; PostgreSQL by URL later.

A write is one `BEGIN IMMEDIATE` transaction with `synchronous=FULL`, so what is acknowledged is durable and writers of other
processes wait their turn instead of failing at commit.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, OperationalError

from windlass.core.errors import Invalid, Unavailable

BUSY_MS = 10_000
_AFTERWARDS = "windlass.afterwards"
MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0013"  # the newest revision among them; a test holds it


def open_meta(url: str) -> Engine:
    """Open the store, bring its tables to this version (a copy is kept beside an older SQLite file), refuse a newer one.

    Raises `Invalid` for a store of a newer version, `Unavailable` when it cannot be opened.
    """
    # no bound on connections: they are cheap, and a reader must not wait for writers that wait for each other
    engine = create_engine(url, connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False}, max_overflow=-1)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    with _plainly(url):
        _migrate(engine, url)
    return engine


def _prepare(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin is ours to spell
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_MS}", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    write_ahead(cursor)
    cursor.close()


def write_ahead(cursor: Any) -> None:
    """WAL mode. Who opens a new store together with others is told that it is locked, whatever the time-out: SQLite does not wait
    where two would wait for each other."""
    end = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as e:
            if "locked" not in str(e) or time.monotonic() > end:
                raise
            time.sleep(0.02)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """A connection that sees one state of the store."""
    with _plainly(str(engine.url)), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """A transaction that has the store for itself; durable when the block ends, undone when it raises."""
    with _plainly(str(engine.url)), engine.connect().execution_options(write=True) as connection:
        connection.info.pop(_AFTERWARDS, None)  # of a transaction that was undone
        with connection.begin():
            yield connection
        for done in connection.info.pop(_AFTERWARDS, ()):
            done()


def afterwards(connection: Connection, do: Callable[[], None]) -> None:
    """Have something done once the transaction of `write` is durable, and not when it is undone. It must not raise."""
    connection.info.setdefault(_AFTERWARDS, []).append(do)


@contextmanager
def _plainly(url: str) -> Iterator[None]:
    """What a database says of its disk, in a sentence."""
    try:
        yield
    except OperationalError as e:
        text = str(e.orig).lower()
        if "full" in text:
            raise Unavailable("the disk is full; nothing was changed", where=url, remedy="make room and try again") from e
        if "locked" in text or "busy" in text:
            raise Unavailable("the store is busy; nothing was changed", where=url, remedy="try again") from e
        if "readonly" in text or "unable to open" in text or "disk i/o" in text:
            raise Unavailable(f"the store cannot be used: {e.orig}", where=url, remedy="check the disk and the folder's permissions") from e
        raise
    except DBAPIError as e:
        if isinstance(e.orig, sqlite3.DatabaseError) and ("malformed" in str(e.orig) or "not a database" in str(e.orig)):
            raise Unavailable("the store's file is damaged", where=url, remedy="restore it from a backup") from e
        raise


def _migrate(engine: Engine, url: str) -> None:
    with engine.connect() as connection:
        current = _revision(connection)
    if current == HEAD:
        return
    _upgrade(engine, url, current)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _upgrade(engine: Engine, url: str, current: str | None) -> None:
    # Alembic is 12 MB, and a store that is of this version does not need it
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    if current and current not in {r.revision for r in ScriptDirectory.from_config(config).walk_revisions()}:
        raise Invalid(f"this store is of version {current}, newer than this Windlass ({HEAD})", where=url, remedy="upgrade Windlass")
    with _alone(engine):
        with engine.connect() as connection:
            current = _revision(connection)
        if current == HEAD:  # another process did it while this one waited
            return
        if current and engine.url.database:
            _back_up(engine, Path(f"{engine.url.database}.{current}.backup"))
        with write(engine) as connection:
            if _revision(connection) != HEAD:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """One process at a time upgrades a SQLite store: a copy that a second one made would be of the upgraded store."""
    if not engine.url.database or engine.dialect.name != "sqlite":
        yield
        return
    handle = os.open(f"{engine.url.database}.upgrading", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _back_up(engine: Engine, path: Path) -> None:
    """One consistent copy of a SQLite store, whole or not there; an older copy of the same name gives way."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    connection = engine.raw_connection()
    try:
        connection.execute("VACUUM INTO ?", (str(partial),))
    finally:
        connection.close()
    partial.replace(path)
