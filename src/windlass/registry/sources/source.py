"""What a source is: it says what is asked of it without any secret, and reads that, whole, from one state of the data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.pins import PinAdd
from windlass.core.pin import Column, Engine, Snapshot, Spec


class Gone(NotFound):
    """What was to be read is not there: no table, no column, no file, or a snapshot the source has forgotten."""


class Incoming:
    """Rows on their way in, with what is known of them. `columns` and `problems` are whole once `rows` has ended."""

    def __init__(self, rows: Iterator[dict[str, Any]], snapshot: Snapshot, principal: str) -> None:
        self.rows = rows
        self.snapshot = snapshot
        self.principal = principal
        self.columns: tuple[Column, ...] = ()
        self.tables: tuple[str, ...] = ()
        self.problems: list[str] = []


class Source(Protocol):
    """One kind of source. `read` gives rows of JSON values; `at` is a snapshot to read at, None for the state there is now.

    Raises `Gone`, `Invalid` for what cannot be asked, `Unavailable` for a source that does not answer or that does not let us in. No
    message says a secret.
    """

    engine: ClassVar[Engine]
    repeatable: ClassVar[bool]

    def parse(self, address: str, asked: PinAdd, name: str) -> Spec: ...
    def read(self, spec: Spec, at: Snapshot | None) -> AbstractContextManager[Incoming]: ...


def refuse_password(address: str) -> None:
    """A secret in an address would be in the pin, its page, every log. Raises `Invalid`, which does not repeat the address."""
    if "://" not in address:
        return
    try:
        parts = urlsplit(address)
        secret = parts.password is not None or "@" in parts.fragment
        _ = parts.port
    except ValueError:
        raise Invalid(
            "this is no address", where="--from", remedy="write postgresql://host/db, bigquery://project, https://… or a folder"
        ) from None
    # a / or # in a password ends what is read as the host, and the rest of it stands in the path
    if secret or ("@" in parts.path and parts.scheme not in ("http", "https", "file")):
        raise Invalid(
            "the address holds a password, which would be kept and shown with the pin", where="--from",
            remedy="leave it out: set PGPASSWORD or ~/.pgpass for the server, or name the source in sources.toml with env = \"VARIABLE\"",
        )  # fmt: skip


def wants_rows(asked: PinAdd) -> None:
    """Raises `Invalid` unless exactly one of a query and a table is named."""
    if bool(asked.query.strip()) == bool(asked.table.strip()):
        raise Invalid("name a query or a table, and not both", where=asked.name, remedy='--query "select …", or --table schema.table')


def wants_no_query(asked: PinAdd) -> None:
    """Raises `Invalid` for a query to something that answers none."""
    if asked.query or asked.table or asked.parameters:
        raise Invalid("a URL or a folder answers no query", where=asked.name, remedy="leave out --query, --table and --set")
