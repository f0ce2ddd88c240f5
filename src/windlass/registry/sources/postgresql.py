"""PostgreSQL and what speaks as it does (AlloyDB): a query or a table, read whole in one transaction that can only read.

The transaction is REPEATABLE READ READ ONLY, so every row is of one state, and the statement is described before it runs, by the
protocol that takes one statement only: text that ends the transaction and goes on writing is refused as a whole. PostgreSQL cannot
be read again at an older state; what its snapshot was is recorded for people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from windlass.core.errors import Invalid, Unavailable, WindlassError
from windlass.core.operations.pins import PinAdd
from windlass.core.pin import Column, Engine, Snapshot, Spec
from windlass.registry.sources.names import Credentials, Names
from windlass.registry.sources.source import Gone, Incoming, wants_rows

if TYPE_CHECKING:
    import psycopg

FETCHED = 5_000  # rows taken at a time
# text comes as UTF-8 whatever the database keeps it in; a server that vanished without a word is noticed within a minute
CONNECTED: dict[str, Any] = {
    "connect_timeout": 10, "application_name": "windlass pin", "client_encoding": "utf8",
    "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
}  # fmt: skip
ALLOWED = ("host", "port", "sslmode", "sslrootcert", "connect_timeout", "target_session_attrs")
GONE = ("42P01", "42703", "3F000", "3D000")  # no such table, column, schema, database
# connection lost, rolled back for another, out of resources, lock not to be had, stopped by an operator or a timeout, system error
BROKE_OFF = ("08", "40", "53", "55", "57", "58", "XX")
# what is said where no server was reached
AWAY = (
    "connection refused", "timeout expired", "timed out", "no such file", "no route to host", "unreachable", "resolve host",
    "translate host",
)  # fmt: skip
STATE = """SELECT pg_current_snapshot()::text,
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text,
    (extract(epoch FROM now()) * 1000000)::bigint, current_user::text, current_setting('server_version')"""
TYPES = """SELECT format_type(t.oid, t.mod), a.attnotnull FROM unnest(%s::oid[], %s::int[], %s::oid[], %s::int[])
    WITH ORDINALITY AS t (oid, mod, relation, number, place)
    LEFT JOIN pg_attribute a ON a.attrelid = t.relation AND a.attnum = t.number AND t.number > 0 ORDER BY t.place"""


class PostgreSql:
    """`Source` of PostgreSQL."""

    engine: ClassVar[Engine] = "postgresql"
    repeatable: ClassVar[bool] = False

    def __init__(self, names: Names) -> None:
        self._names = names

    def parse(self, address: str, asked: PinAdd, name: str) -> Spec:
        wants_rows(asked)
        parts = urlsplit(address)
        given = dict(parse_qsl(parts.query))
        if wrong := sorted(given.keys() - set(ALLOWED)):
            what = (
                "a secret does not belong in an address" if "pass" in wrong[0].lower() else f"{wrong[0]!r} is no option of a pin's source"
            )
            raise Invalid(what, where="--from", remedy="options: " + ", ".join(ALLOWED))
        user = f"{parts.username}@" if parts.username else ""
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
        options = "&".join(f"{k}={quote(v, safe='/')}" for k, v in sorted(given.items()))
        endpoint = f"postgresql://{user}{host}{port}{parts.path}" + (f"?{options}" if options else "")
        query = asked.query.strip().rstrip(";").rstrip() or f"SELECT * FROM {_quoted(asked.table.strip())}"
        return Spec("postgresql", endpoint, asked.key, query, asked.table.strip(), asked.parameters, name)

    @contextmanager
    def read(self, spec: Spec, at: Snapshot | None) -> Iterator[Incoming]:
        driver = _driver()
        credentials = self._names.credentials(spec)
        connection = self._connect(driver, spec, credentials)
        read = _Reading(driver, connection, spec, credentials)
        try:
            yield read.begin()
        except driver.Error as e:
            raise read.told(e) from e
        finally:
            connection.close()

    def _connect(self, driver: Any, spec: Spec, credentials: Credentials) -> psycopg.Connection[Any]:
        parts = urlsplit(spec.endpoint)
        given: dict[str, Any] = CONNECTED | dict(parse_qsl(parts.query))
        user = credentials.user or unquote(parts.username or "")
        for name, value in (("host", parts.hostname), ("port", parts.port), ("dbname", unquote(parts.path.strip("/"))), ("user", user)):
            given |= {name: value} if value else {}
        # what is not said here libpq takes from PGUSER, PGPASSWORD, ~/.pgpass and the like, which are the server's own
        try:
            connection: psycopg.Connection[Any] = driver.connect(
                **given, **({"password": credentials.secret} if credentials.secret else {})
            )
        except driver.Error as e:
            raise _refused(e, spec, user, self._names.environ, credentials) from None
        except UnicodeError:
            raise Invalid("the address cannot be read", where=shown(spec)) from None
        connection.isolation_level = driver.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        return connection


class _Reading:
    """One transaction."""

    def __init__(self, driver: Any, connection: psycopg.Connection[Any], spec: Spec, credentials: Credentials) -> None:
        self._driver = driver
        self._connection = connection
        self._spec = spec
        self._credentials = credentials
        self._count = 0

    def begin(self) -> Incoming:
        from windlass.registry.sources.postgresql_values import SETTINGS, prepare

        for setting in SETTINGS:
            self._connection.execute(cast(Any, setting))
        snapshot, lsn, micros, user, version = cast(tuple[Any, ...], self._connection.execute(STATE).fetchone())
        tables = self._described()
        prepare(self._connection)
        token = {"snapshot": snapshot, "lsn": lsn, "version": version}
        incoming = Incoming(iter(()), Snapshot(int(micros) * 1000, token), user)
        incoming.tables = tables
        incoming.rows = self._rows(incoming)
        return incoming

    def _described(self) -> tuple[str, ...]:
        """The tables that the statement reads. It is not run, and must be one statement that only reads."""
        # `binary` makes psycopg use the protocol that refuses a second statement
        explained = self._connection.execute(cast(Any, f"EXPLAIN (FORMAT JSON, VERBOSE) {self._spec.query}"), self._parameters, binary=True)
        found = cast(tuple[Any, ...], explained.fetchone())[0]
        plan = found[0]["Plan"] if isinstance(found, list) else {}
        nodes, tables = [plan], set()
        for node in nodes:
            nodes += node.get("Plans", ())
            if node.get("Node Type") == "ModifyTable":
                raise Invalid("a pin reads, and this statement writes", where=shown(self._spec), remedy="write a SELECT")
            if "Relation Name" in node:
                tables.add(f"{node['Schema']}.{node['Relation Name']}" if "Schema" in node else node["Relation Name"])
        return tuple(sorted(tables))

    @property
    def _parameters(self) -> dict[str, Any] | None:
        return self._spec.parameters or None  # without any, a % in the query is a %

    def _rows(self, incoming: Incoming) -> Iterator[dict[str, Any]]:
        try:
            with self._connection.cursor(name="pin") as cursor:
                cursor.execute(cast(Any, self._spec.query), self._parameters)
                some = cursor.fetchmany(FETCHED)
                incoming.columns = self._columns(cursor)
                names = [c.name for c in incoming.columns]
                if twice := sorted({n for n in names if names.count(n) > 1}):
                    raise Invalid(f"two columns are called {twice[0]!r}", where=shown(self._spec), remedy="give one another name: … AS …")
                while some:
                    for row in some:
                        yield dict(zip(names, row, strict=True))
                    self._count += len(some)
                    some = cursor.fetchmany(FETCHED)
        except self._driver.Error as e:
            raise self.told(e) from e

    def _columns(self, cursor: Any) -> tuple[Column, ...]:
        result, described = cursor.pgresult, cursor.description or ()
        places = range(len(described))
        of = [list(map(part, places)) for part in (result.ftype, result.fmod, result.ftable, result.ftablecol)]
        types = self._connection.execute(TYPES, of).fetchall()
        return tuple(
            Column(column.name, name, None if required is None else not required)
            for column, (name, required) in zip(described, types, strict=True)
        )

    def told(self, e: Exception) -> WindlassError:
        """What went wrong, as ours."""
        said = self._credentials.redact(_sentence(e))
        state, where = getattr(e, "sqlstate", None) or "", shown(self._spec)
        if state in GONE:
            return Gone(said, where=where)
        if self._connection.broken or self._connection.closed or state.startswith(BROKE_OFF):
            after = f" after {self._count:,} rows" if self._count else ""
            return Unavailable(f"the database broke off{after}: {said}", where=where, remedy="nothing was kept; try again")
        if not state and "placeholder" in said:
            return Invalid(said, where=where, remedy="write %% for a % where there are parameters")
        if state == "25006":
            return Invalid(f"a pin reads, and this statement writes: {said}", where=where, remedy="write a SELECT")
        if state == "42501":
            return Unavailable(said, where=where, remedy="let this user read the table, or name another in sources.toml")
        return Invalid(said, where=where, remedy="try the query in psql")


def shown(spec: Spec) -> str:
    """The address as people read it."""
    return spec.endpoint.partition("?")[0]


def _refused(e: Exception, spec: Spec, user: str, environ: Mapping[str, str], credentials: Credentials) -> WindlassError:
    """Why nobody answered, or nobody let us in, with host, user and database; psycopg names each address it tried in a line of its own."""
    parts, said = urlsplit(spec.endpoint), credentials.redact(_sentence(e))
    user = user or environ.get("PGUSER", "")
    if any(away in str(e).lower() for away in AWAY) and "FATAL:" not in str(e):
        at = f"{parts.hostname}:{parts.port or environ.get('PGPORT', 5432)}" if parts.hostname else "the local socket"
        return Unavailable(f"nobody answers at {at}: {said}", where=shown(spec), remedy="is the database up, and this its host and port?")
    host, database = parts.hostname or "the local socket", unquote(parts.path.strip("/")) or "the default database"
    what = f"{host} did not let {user or 'the user of the server'} into {database}: {said}"
    if getattr(e, "sqlstate", None) in GONE or f'database "{database}" does not exist' in said:
        return Gone(what, where=shown(spec))
    remedy = "set PGPASSWORD or ~/.pgpass for the server, or name the source in sources.toml"
    return Unavailable(what, where=shown(spec), remedy=remedy if "password" in said or "authentication" in said else "is the database up?")


def _sentence(e: Exception) -> str:
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    fatal = next((line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line), None)
    return fatal or (lines[0] if lines else type(e).__name__)


def _quoted(table: str) -> str:
    """A table's name as an identifier: `shop.orders` → `"shop"."orders"`; one that is quoted already stays as it is."""
    if '"' in table:
        return table
    return ".".join(f'"{part}"' for part in table.split("."))


def _driver() -> Any:
    try:
        import psycopg
    except ImportError as e:
        raise Unavailable("reading PostgreSQL needs psycopg, which is not installed", remedy='pip install "windlass[postgres]"') from e
    return psycopg
