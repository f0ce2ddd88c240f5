"""BigQuery: a query or a table as it was at one moment, which BigQuery knows again for up to seven days.

Each table of the statement is read `FOR SYSTEM_TIME AS OF` that moment. Where that clause must stand is found by reading the statement
word by word, and held against the tables that BigQuery itself says it reads: where one was not met (a view, a wildcard, a table of
the INFORMATION_SCHEMA), the statement is read as it is written and counts as not repeatable.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from windlass.core.errors import Invalid, Unavailable, WindlassError
from windlass.core.operations.pins import PinAdd
from windlass.core.pin import HOUR_NS, Column, Engine, Snapshot, Spec
from windlass.registry.sources.as_of import as_of
from windlass.registry.sources.names import Credentials, Names
from windlass.registry.sources.source import Gone, Incoming, wants_rows
from windlass.registry.sources.values import plain

WINDOW_HOURS = 7 * 24  # unless a data set says less
FETCHED = 10_000  # rows of a page
LISTED = 50  # tables that BigQuery names of one statement; of more it does not name all
SECONDS = 60.0  # for one request, and for asking it again while nobody answers
TYPES = {str: "STRING", bool: "BOOL", int: "INT64", float: "FLOAT64"}


class BigQuery:
    """`Source` of BigQuery."""

    engine: ClassVar[Engine] = "bigquery"
    repeatable: ClassVar[bool] = True

    def __init__(self, names: Names) -> None:
        self._names = names

    def parse(self, address: str, asked: PinAdd, name: str) -> Spec:
        wants_rows(asked)
        parts = urlsplit(address)
        given = dict(parse_qsl(parts.query))
        if not parts.netloc or parts.path.strip("/") or given.keys() - {"location"}:
            raise Invalid("this names no project", where="--from", remedy="write bigquery://project, or bigquery://project?location=EU")
        table = asked.table.strip()
        query = asked.query.strip().rstrip(";").rstrip() or f"SELECT * FROM `{table.strip('`')}`"
        if re.search(r"(?i)\bfor\s+system_time\b", query):
            raise Invalid(
                "the query says itself of which moment it reads", where=asked.name, remedy="leave out FOR SYSTEM_TIME: it is added"
            )
        location = f"?location={given['location']}" if "location" in given else ""
        return Spec("bigquery", f"bigquery://{parts.netloc}{location}", asked.key, query, table, asked.parameters, name)

    @contextmanager
    def read(self, spec: Spec, at: Snapshot | None) -> Iterator[Incoming]:
        google, errors = _driver()
        credentials = self._names.credentials(spec)
        try:
            client = self._client(google, spec, credentials)
        except (errors.GoogleAuth, OSError, ValueError) as e:
            raise _unknown(e, spec, credentials) from None
        try:
            yield _Reading(google, errors, client, spec, credentials).begin(at)
        except errors.Known as e:
            raise told(e, spec, credentials) from None
        finally:
            client.close()

    def _client(self, google: Any, spec: Spec, credentials: Credentials) -> Any:
        parts = urlsplit(spec.endpoint)
        given: dict[str, Any] = {"project": parts.netloc, "location": dict(parse_qsl(parts.query)).get("location")}
        if emulator := self._names.environ.get("BIGQUERY_EMULATOR_HOST"):  # as Google's own libraries call it
            from google.auth.credentials import AnonymousCredentials

            address = emulator if "://" in emulator else f"http://{emulator}"
            return google.Client(**given, credentials=AnonymousCredentials(), client_options={"api_endpoint": address})  # type: ignore[no-untyped-call]
        if credentials.secret:
            return google.Client.from_service_account_json(credentials.secret, **given)
        return google.Client(**given)


class _Reading:
    def __init__(self, google: Any, errors: Any, client: Any, spec: Spec, credentials: Credentials) -> None:
        self._google = google
        self._errors = errors
        self._client = client
        self._spec = spec
        self._credentials = credentials

    def begin(self, at: Snapshot | None) -> Incoming:
        now = next(iter(self._query("SELECT CURRENT_TIMESTAMP() AS now").result())).now
        dry = self._dry(self._spec.query)
        kind = dry.statement_type or "SELECT"
        if kind != "SELECT":
            raise Invalid(f"a pin reads, and this statement is {kind}", where=self._spec.endpoint, remedy="write a SELECT")
        tables = tuple(sorted(f"{t.project}.{t.dataset_id}.{t.table_id}" for t in dry.referenced_tables))
        moment = _moment(at.at_ns) if at else now
        stamped = as_of(self._spec.query, tables, moment, self._client.project) if len(tables) < LISTED else None
        if stamped and not at and not self._taken(stamped):
            stamped = None
        moment = moment if stamped else now
        deadline = _ns(moment) + self._window(tables) * HOUR_NS if stamped else None
        token = {"system_time": moment.isoformat().replace("+00:00", "Z")} if stamped else {}
        incoming = Incoming(iter(()), Snapshot(_ns(moment), token, stamped is not None, deadline), self._principal())
        incoming.tables = tables
        incoming.rows = self._rows(incoming, stamped or self._spec.query)
        return incoming

    def _taken(self, query: str) -> bool:
        """Whether BigQuery takes the statement: not every table has a past (one that lies outside of BigQuery, say)."""
        try:
            self._dry(query)
        except self._errors.Refused:
            return False
        return True

    def _dry(self, query: str) -> Any:
        return self._query(query, self._config(dry_run=True, use_query_cache=False))

    def _query(self, query: str, config: Any = None) -> Any:
        # with `job_retry` the library begins anew for ten minutes, whatever `retry` says
        return self._client.query(query, job_config=config, retry=self._retry, timeout=SECONDS, job_retry=None)

    @property
    def _retry(self) -> Any:
        return self._google.DEFAULT_RETRY.with_timeout(SECONDS)

    def _config(self, **more: Any) -> Any:
        values = []
        for name, value in self._spec.parameters.items():
            if type(value) not in TYPES:
                raise Invalid(f"parameter {name} is neither text, a number nor true or false", where=self._spec.endpoint)
            values.append(self._google.ScalarQueryParameter(name, TYPES[type(value)], value))
        return self._google.QueryJobConfig(query_parameters=values, **more)

    def _window(self, tables: tuple[str, ...]) -> int:
        """Hours that all these tables know their past."""
        hours = [WINDOW_HOURS]
        for name in sorted({t.rpartition(".")[0] for t in tables}):
            try:
                told = self._client.get_dataset(name, retry=self._retry, timeout=SECONDS).max_time_travel_hours
            except self._errors.Api:  # to read a table is not to read what is said of its data set
                continue
            hours += [int(told)] if told else []
        return min(hours)

    def _principal(self) -> str:
        return str(getattr(self._client._credentials, "service_account_email", "") or self._credentials.user)

    def _rows(self, incoming: Incoming, query: str) -> Iterator[dict[str, Any]]:
        try:
            found = self._query(query, self._config()).result(page_size=FETCHED, retry=self._retry)
            incoming.columns = tuple(Column(f.name, _type(f), f.mode != "REQUIRED") for f in found.schema)
            names = [f.name for f in found.schema]
            for row in found:
                yield dict(zip(names, map(plain, row.values()), strict=True))
        except self._errors.Known as e:
            raise told(e, self._spec, self._credentials) from None


def _type(field: Any) -> str:
    name = str(field.field_type)
    if field.fields:
        name += "<" + ", ".join(f"{f.name} {_type(f)}" for f in field.fields) + ">"
    return f"ARRAY<{name}>" if field.mode == "REPEATED" else name


def _ns(moment: dt.datetime) -> int:
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * 10**9 + moment.microsecond * 1000


def _moment(ns: int) -> dt.datetime:
    seconds, rest = divmod(ns, 10**9)
    return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(microsecond=rest // 1000)


def told(e: Exception, spec: Spec, credentials: Credentials) -> WindlassError:
    """What went wrong, as ours."""
    code = getattr(e, "code", None)
    said = credentials.redact(str(getattr(e, "message", "") or e)).splitlines()[0]
    # the library puts the address it asked before the sentence, and the sentence again after it
    said = said.rpartition("prettyPrint=false: ")[2].partition("; reason: ")[0]
    low = said.lower()
    if code == 404 or "time travel" in low or ("snapshot" in low and "before" in low) or "unrecognized name" in low or "not found" in low:
        return Gone(said, where=spec.endpoint)
    if code in (401, 403) and "quota" not in low and "rate limit" not in low:
        return Unavailable(said, where=spec.endpoint, remedy="set GOOGLE_APPLICATION_CREDENTIALS for the server, or let its account read")
    if code == 400:
        return Invalid(said, where=spec.endpoint, remedy="try the query in BigQuery's own console")
    return Unavailable(said, where=spec.endpoint, remedy="nothing was kept; try again")


def _unknown(e: Exception, spec: Spec, credentials: Credentials) -> WindlassError:
    said = credentials.redact(str(e).splitlines()[0] if str(e) else type(e).__name__)
    return Unavailable(
        f"nobody to ask as: {said}", where=spec.endpoint,
        remedy='set GOOGLE_APPLICATION_CREDENTIALS for the server, or name the source in sources.toml with env = "VARIABLE"',
    )  # fmt: skip


class _Errors(NamedTuple):
    """The families of errors, as `except` takes them."""

    Api: tuple[type[Exception], ...]
    GoogleAuth: type[Exception]
    Refused: type[Exception]

    @property
    def Known(self) -> tuple[type[Exception], ...]:
        return (*self.Api, self.GoogleAuth)


def _driver() -> tuple[Any, Any]:
    try:
        import requests
        from google.api_core.exceptions import BadRequest, GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import bigquery
    except ImportError as e:
        remedy = 'pip install "windlass[bigquery]"'
        raise Unavailable("reading BigQuery needs google-cloud-bigquery, which is not installed", remedy=remedy) from e
    return bigquery, _Errors((GoogleAPIError, requests.RequestException), GoogleAuthError, BadRequest)
