"""The relational store in a SQLite file: WAL mode, `synchronous=FULL`, and `BEGIN IMMEDIATE` for whoever writes."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from windlass.core.errors import StoreAway, Unavailable, WindlassError

BUSY_MS = 10_000


def connect(url: str) -> Engine:
    # no bound on connections: they are cheap, and a reader must not wait for writers that wait for each other
    engine = create_engine(url, connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False}, max_overflow=-1)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
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


def plain(e: DBAPIError, where: str) -> WindlassError | None:
    """What SQLite says of its file, in a sentence; None for what is not of the file."""
    text = str(e.orig).lower()
    if isinstance(e, OperationalError):
        if "full" in text:
            return Unavailable("the disk is full; nothing was changed", where=where, remedy="make room and try again")
        if "locked" in text or "busy" in text:
            return StoreAway("the store is busy; nothing was changed", where=where, remedy="try again")
        if "readonly" in text or "unable to open" in text or "disk i/o" in text:
            return Unavailable(f"the store cannot be used: {e.orig}", where=where, remedy="check the disk and the folder's permissions")
    elif "malformed" in text or "not a database" in text:
        return Unavailable("the store's file is damaged", where=where, remedy="restore it from a backup")
    return None


@contextmanager
def upgrading(engine: Engine) -> Iterator[None]:
    """One process at a time upgrades a store: a copy that a second one made would be of the upgraded store."""
    if not engine.url.database:
        yield
        return
    handle = os.open(f"{engine.url.database}.upgrading", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def back_up(engine: Engine, revision: str) -> None:
    """One consistent copy of the store beside it, whole or not there; an older copy of the same name gives way."""
    if not engine.url.database:
        return
    path = Path(f"{engine.url.database}.{revision}.backup")
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    connection = engine.raw_connection()
    try:
        connection.execute("VACUUM INTO ?", (str(partial),))
    finally:
        connection.close()
    partial.replace(path)


def settle(connection: Connection) -> None:
    """What an upgrade leaves to the engine: nothing."""


def compact(engine: Engine) -> list[str]:
    """Write the file anew, without the free pages in which deleted rows still stand, and empty the log."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        raw = connection.connection.cursor()
        raw.execute("VACUUM")
        end = time.monotonic() + BUSY_MS / 1000
        while raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] and time.monotonic() < end:
            time.sleep(0.1)  # somebody reads what was before
        raw.close()
    path = Path(engine.url.database or "")
    return sorted(p.name for p in path.parent.glob(f"{path.name}.*") if p.name.endswith((".backup", ".moved"))) if path.name else []
