"""A file behind a URL: JSONL, CSV or Parquet, fetched whole and read from the copy.

The server asks from where it stands, so whoever may add a pin can make it ask: only owners may. Only http and https are spoken, on each
step of a redirect; addresses that clouds keep for their machines' credentials (link-local) are never asked; and a public address
cannot send us on to a private one.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, urljoin, urlsplit, urlunsplit

import msgspec

from windlass.core.errors import Forbidden, Invalid, TooLarge, Unavailable, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations.pins import PinAdd
from windlass.core.pin import Column, Engine, Snapshot, Spec
from windlass.govern.outward import Address, addresses_of, is_private, meant_by, parsed, refuse_machines
from windlass.registry.sources.names import Names
from windlass.registry.sources.source import Gone, Incoming, wants_no_query
from windlass.registry.sources.values import Seen, plain

if TYPE_CHECKING:
    import httpx2  # 2.5 MB, loaded when somebody reads a page

MOST = 4_000_000_000  # bytes of one file
MOST_FIELD = 16_000_000  # characters of one field of CSV; Python's own limit is 131,072
HOPS = 5
TIMEOUT_S, CONNECT_S = 60.0, 10.0
SECRETS = re.compile(r"(?i)(^|[-_.])(token|key|apikey|sig|signature|secret|password|passwd|auth|credential|code)s?$")
KINDS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet", "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl", "application/x-jsonlines": "jsonl", "text/csv": "csv", "application/vnd.apache.parquet": "parquet",
}  # fmt: skip


class Url:
    """`Source` of files behind URLs. `folder` is where they lie while they are read."""

    engine: ClassVar[Engine] = "url"
    repeatable: ClassVar[bool] = False

    def __init__(self, names: Names, folder: Path) -> None:
        self._names = names
        self._folder = folder

    def parse(self, address: str, asked: PinAdd, name: str) -> Spec:
        wants_no_query(asked)
        parts = urlsplit(address)
        if not parts.hostname:
            raise Invalid("this URL names no host", where="--from")
        if parts.username is not None or (secret := next((k for k, _ in parse_qsl(parts.query) if SECRETS.search(k)), None)):
            what = "a user" if parts.username is not None else f"{secret}=…, which looks like a secret,"
            raise Invalid(
                f"the URL holds {what} that would be kept and shown with the pin", where="--from",
                remedy='name the source in sources.toml with env = "VARIABLE"; what that holds is sent as a bearer token',
            )  # fmt: skip
        return Spec("url", urlunsplit(parts._replace(fragment="")), asked.key, source=name)

    @contextmanager
    def read(self, spec: Spec, at: Snapshot | None) -> Iterator[Incoming]:
        import httpx2

        credentials = self._names.credentials(spec)
        headers = {"authorization": f"Bearer {credentials.secret}"} if credentials.secret else {}
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._folder) as file, _client() as client:
            try:
                with _answer(client, spec.endpoint, headers) as answer:
                    kind = _kind(spec.endpoint, answer.headers.get("content-type", ""))
                    token = _token(answer) | {"sha256": _fetch(answer, file, spec.endpoint)}
            except (httpx2.HTTPError, httpx2.InvalidURL) as e:
                said = credentials.redact(str(e)) or type(e).__name__
                raise Unavailable(f"it could not be read: {said}", where=spec.endpoint, remedy="nothing was kept; try again") from None
            file.seek(0)
            incoming = Incoming(iter(()), Snapshot(now_ns(), token), credentials.user)
            incoming.rows = _ROWS[kind](file, incoming)
            yield incoming


def _client() -> httpx2.Client:
    import httpx2

    return httpx2.Client(timeout=httpx2.Timeout(TIMEOUT_S, connect=CONNECT_S), follow_redirects=False, trust_env=False)


@contextmanager
def _answer(client: httpx2.Client, url: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
    """The answer at the end of all redirects. A secret is shown to the host it is for and to no other."""
    origin, private, shown = urlsplit(url)[:2], None, url
    for _ in range(HOPS + 1):
        try:
            here = urlsplit(url)
            port = here.port or {"http": 80, "https": 443}.get(here.scheme)
        except ValueError:
            raise Unavailable("it leads to what is no address", where=shown) from None
        if port is None or not here.hostname:
            raise Forbidden(
                f"it leads to {here.scheme or 'nothing'}://, which no pin reads", where=shown, remedy="only http and https are read"
            )
        for found in addresses_of(here.hostname, port, shown):
            _check_address(found, shown, private)
        with client.stream("GET", url, headers=headers if here[:2] == origin else {}) as answer:
            # by name it may have led elsewhere just now than when it was looked up
            peer = answer.extensions["network_stream"].get_extra_info("server_addr")
            address = parsed(str(peer[0])) if peer else None
            if address is not None:
                _check_address(address, shown, private)
                private = is_private(address) if private is None else private
            if answer.status_code in (301, 302, 303, 307, 308) and "location" in answer.headers:
                url = _joined(url, answer.headers["location"], shown)
                shown = urlunsplit(urlsplit(url)._replace(query="", fragment=""))  # stores sign what they redirect to, in the query
                continue
            if answer.status_code >= 300:
                raise _refused(answer.status_code, shown)
            yield answer
            return
    raise Unavailable(f"it leads on more than {HOPS} times", where=shown)


def _joined(url: str, location: str, shown: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise Unavailable("it leads to what is no address", where=shown) from None


def _check_address(address: Address, url: str, private: bool | None) -> None:
    """`private` says whether the first address was; None while there is none."""
    refuse_machines(address, url, who="pin", remedy="pin a file on an ordinary server")
    if private is False and is_private(address):
        raise Forbidden(
            f"a public address leads to {meant_by(address)}, which is private", where=url,
            remedy="pin the private address itself, if it is meant",
        )  # fmt: skip


def _refused(status: int, url: str) -> WindlassError:
    if status in (404, 410):
        return Gone(f"it is not there (status {status})", where=url)
    if status in (401, 403):
        remedy = 'name the source in sources.toml with env = "VARIABLE", which holds a bearer token'
        return Unavailable(f"it does not let us read (status {status})", where=url, remedy=remedy)
    return Unavailable(f"the server answered status {status}", where=url, remedy="nothing was kept; try again")


def _token(answer: httpx2.Response) -> dict[str, str]:
    return {name: answer.headers[name] for name in ("etag", "last-modified") if name in answer.headers}


def _fetch(answer: httpx2.Response, file: IO[bytes], url: str) -> str:
    """Copy the body. Returns its SHA-256. A body that ends before the length it was announced with raises in httpx2."""
    digest, size = hashlib.sha256(), 0
    for piece in answer.iter_bytes():
        size += len(piece)
        if size > MOST:
            raise TooLarge(f"it is longer than {MOST:,} bytes", where=url, remedy="pin parts of it")
        digest.update(piece)
        file.write(piece)
    return digest.hexdigest()


def _kind(url: str, content_type: str) -> str:
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    if found := KINDS.get(suffix) or KINDS.get(content_type.partition(";")[0].strip().lower()):
        return found
    raise Invalid("it is neither JSONL, CSV nor Parquet", where=url, remedy="end the path with .jsonl, .csv or .parquet, or send the type")


def _jsonl(file: IO[bytes], incoming: Incoming) -> Iterator[dict[str, Any]]:
    """A broken line is named and left out, as in a push."""
    seen = Seen()
    for number, line in enumerate(file, 1):
        line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            incoming.problems.append(f"line {number} is not JSON: {e}")
            continue
        if not isinstance(row, dict):
            incoming.problems.append(f"line {number} is no object")
            continue
        seen.row(row := plain(row))
        yield row
    incoming.columns = seen.columns()


def _csv(file: IO[bytes], incoming: Incoming) -> Iterator[dict[str, Any]]:
    """Every value is text; a row of another length than the head is named and left out."""
    lines = (line.decode("utf-8-sig" if n == 0 else "utf-8") for n, line in enumerate(file))
    table = csv.reader(lines, strict=True)
    try:
        head = next(table, [])
        incoming.columns = tuple(Column(name, "text", False) for name in head)
        if len(set(head)) < len(head):
            raise Invalid("two columns have the same name", where="line 1", remedy="give each a name of its own")
        for row in table:
            if len(row) == len(head):
                yield dict(zip(head, row, strict=True))
            elif row:
                incoming.problems.append(f"line {table.line_num} has {len(row)} fields, not {len(head)}")
    except (csv.Error, UnicodeDecodeError) as e:
        line = table.line_num + isinstance(e, UnicodeDecodeError)
        raise Invalid(f"it is not CSV in UTF-8: {e}", where=f"line {line}", remedy="save it as UTF-8, with commas") from e


def _parquet(file: IO[bytes], incoming: Incoming) -> Iterator[dict[str, Any]]:
    import duckdb  # 30 MB, for processes that touch rows only

    spill = tempfile.TemporaryDirectory(prefix="windlass-")
    db = duckdb.connect(config={"memory_limit": "512MB", "threads": 1, "temp_directory": spill.name})
    name = f"/dev/fd/{file.fileno()}"  # DuckDB reads files by name, and this one has none
    try:
        described = db.execute("DESCRIBE SELECT * FROM read_parquet(?)", [name]).fetchall()
        incoming.columns = tuple(Column(column, kind.lower()) for column, kind, *_ in described)
        found = db.execute(f"SELECT {', '.join(map(_exact, incoming.columns))} FROM read_parquet(?)", [name])
        names = [c.name for c in incoming.columns]
        while some := found.fetchmany(2_000):
            for values in some:
                yield dict(zip(names, map(plain, values), strict=True))
    except duckdb.Error as e:
        raise Invalid(f"it is not Parquet: {str(e).splitlines()[0]}".replace(name, "the file")) from e
    finally:
        db.close()
        spill.cleanup()


def _exact(column: Column) -> str:
    """A column as it is selected: nanoseconds, of which Python's times know nothing, as text."""
    quoted = '"' + column.name.replace('"', '""') + '"'
    return f"replace({quoted}::VARCHAR, ' ', 'T')" if column.type == "timestamp_ns" else quoted


csv.field_size_limit(MOST_FIELD)
_ROWS: dict[str, Callable[[IO[bytes], Incoming], Iterator[dict[str, Any]]]] = {"jsonl": _jsonl, "csv": _csv, "parquet": _parquet}
