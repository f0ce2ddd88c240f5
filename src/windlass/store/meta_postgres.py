"""The relational store in PostgreSQL, 14 or newer, with the meaning that SQLite gives to our transactions.

A write takes one advisory lock that lasts as long as the transaction, so it has the store for itself and sees what every writer
before it left; a read is REPEATABLE READ READ ONLY, one state, and waits for nobody. Text is ordered by its bytes. A password stands
in no setting: it comes from `WINDLASS_DATABASE_PASSWORD` or from `~/.pgpass`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError

from windlass.core.errors import Invalid, StoreAway, Unavailable, WindlassError
from windlass.store.tables import metadata

OLDEST = 14
PASSWORD = "WINDLASS_DATABASE_PASSWORD"
LOCK = int.from_bytes(b"windlass")  # of whoever writes; of this database, since advisory locks are
WAIT = "10s"  # as long as SQLite waits
REMEDY = "write postgresql://user@host:5432/database"
OPTIONS = ("host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "target_session_attrs", "gssencmode")
READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# What is acknowledged is durable, also where a role is set up otherwise. One message: the lock costs no round trip of its own.
WRITE = (
    f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '{WAIT}'; SELECT pg_advisory_xact_lock({LOCK}),"
    " set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " ELSE current_setting('synchronous_commit') END, true)"
)
# a server that vanished without a word is noticed within half a minute, and a client that did gives up its lock as soon
ALIVE: dict[str, Any] = {
    "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "application_name": "windlass",
    "client_encoding": "utf8", "options": "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}  # fmt: skip


def address(url: str) -> URL:
    """The setting `database` as an address. Raises `Invalid`, which does not repeat it: a secret may have been written there."""
    try:
        found = make_url(url)
        port = found.port
    except (ArgumentError, ValueError):
        raise Invalid("the setting is no address of a database", where="database", remedy=REMEDY) from None
    if found.drivername not in ("postgresql", "postgresql+psycopg"):
        raise Invalid("the setting is no address of a PostgreSQL database", where="database", remedy=REMEDY)
    if found.password is not None or any("pass" in name for name in found.query):
        raise Invalid("a secret does not belong in a setting", where="database", remedy=f"put the password in {PASSWORD} or in ~/.pgpass")
    if wrong := sorted(found.query.keys() - set(OPTIONS)):
        raise Invalid(f"{wrong[0]!r} is no option of the database", where="database", remedy="options: " + ", ".join(OPTIONS))
    if not found.database or port == 0:
        raise Invalid("the setting names no database", where="database", remedy=REMEDY)
    return found.set(drivername="postgresql+psycopg")


def connect(url: str) -> Engine:
    """Raises `Invalid` for an address that is none and where the driver is not installed."""
    engine = unopened(url, max_overflow=-1)  # no bound, as for SQLite: a reader must not wait for writers that wait for each other
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def unopened(url: str, environ: Mapping[str, str] = os.environ, **pool: Any) -> Engine:
    """The database with SQLAlchemy's own transactions: for DBOS. Raises as `connect`."""
    found = address(url)
    secret = {"password": environ[PASSWORD]} if environ.get(PASSWORD) else {}
    given = {name: value for name, value in ALIVE.items() if name not in found.query}
    try:
        # an idle connection that a restart cut is noticed before it is used
        return create_engine(found, connect_args={**given, **secret}, pool_pre_ping=True, **pool)
    except ModuleNotFoundError as e:
        raise Invalid("the driver of PostgreSQL is not installed", where="database", remedy='pip install "windlass[postgres]"') from e


def _prepare(connection: Any, _: Any) -> None:
    connection.autocommit = True  # SQLAlchemy's begin is ours to spell


def _begin(connection: Connection) -> None:
    sql = WRITE if connection.get_execution_options().get("write") else READ
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def plain(e: DBAPIError, where: str) -> WindlassError | None:
    """What PostgreSQL says of itself, in a sentence; None for what is a defect of ours."""
    state = getattr(e.orig, "sqlstate", None) or ""
    if state in ("53100", "53200", "53400") or state == "58030":
        return Unavailable(f"PostgreSQL has no room: {_first(e)}", where=where, remedy="make room on its machine and try again")
    if state == "55P03":
        return StoreAway("the store is busy; nothing was changed", where=where, remedy="try again")
    if state == "53300" or _refused(e, "too many", "connection slots"):
        return StoreAway("PostgreSQL takes no more connections; nothing was changed", where=where, remedy="raise its max_connections")
    if state in ("25006", "42501"):
        return Unavailable(
            f"this database cannot be written: {_first(e)}",
            where=where,
            remedy="name the primary server, and a role that owns the database",
        )
    if state == "54000":
        return Invalid("a key or a name is longer than PostgreSQL's indexes take (2,700 bytes)", where=where, remedy="shorten it")
    if state.startswith("28") or state == "3D000" or _refused(e, "password", "authentication", "does not exist", "pg_hba", "permission"):
        return Unavailable(f"PostgreSQL does not let us in: {_first(e)}", where=where, remedy=f"check the setting database and {PASSWORD}")
    if state == "22003" or (isinstance(e, DataError) and "NUL" in str(e.orig)):
        return Invalid("a number is larger, or a name holds a character, than PostgreSQL takes", where=where, remedy="check what was asked")
    if e.connection_invalidated or state.startswith(("08", "57P")) or (not state and isinstance(e, OperationalError)):
        return StoreAway(f"PostgreSQL does not answer: {_first(e)}", where=where, remedy="it is asked again by itself; try again")
    return None


def _refused(e: DBAPIError, *words: str) -> bool:
    """Whether a server refused who wants to connect for one of these reasons: it says so without a code."""
    return not getattr(e.orig, "sqlstate", None) and any(word in str(e.orig) for word in words)


def _first(e: DBAPIError) -> str:
    """The first line of an error, which psycopg lets no password into."""
    return (str(e.orig).strip().splitlines() or [type(e.orig).__name__])[0]


@contextmanager
def upgrading(engine: Engine) -> Iterator[None]:
    """Whoever writes is alone already. Raises `Invalid` for a server that we do not know."""
    with engine.connect() as c:
        number, encoding = c.execute(text("SELECT current_setting('server_version_num')::int, current_setting('server_encoding')")).one()
    if number < OLDEST * 10_000:
        raise Invalid(f"this is PostgreSQL {number // 10_000}; Windlass needs {OLDEST} or newer", where="database", remedy="upgrade it")
    if encoding != "UTF8":
        remedy = "CREATE DATABASE windlass ENCODING 'UTF8' TEMPLATE template0"
        raise Invalid(f"the database keeps text as {encoding}; Windlass needs UTF8", where="database", remedy=remedy)
    yield


def back_up(engine: Engine, revision: str) -> None:
    """An upgrade is one transaction; copies are made by whoever looks after the server (`pg_dump`)."""


def settle(connection: Connection) -> None:
    """Order text by its bytes, as SQLite and our cursors do, whatever the database's own order is."""
    found = connection.execute(
        text(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
            " AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C' ORDER BY table_name, column_name"
        )
    ).all()
    columns: dict[str, list[str]] = {}
    for table, column in found:
        if table in metadata.tables:
            columns.setdefault(table, []).append(f'ALTER COLUMN "{column}" TYPE TEXT COLLATE "C"')
    for table, changes in columns.items():
        connection.execute(text(f'ALTER TABLE "{table}" {", ".join(changes)}'))


def compact(engine: Engine) -> list[str]:
    """Let the server take back the room of deleted rows now, and write over it; copies of the server's are its keeper's."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        raw = connection.connection.cursor()
        raw.execute("VACUUM")
        raw.close()
    return []
