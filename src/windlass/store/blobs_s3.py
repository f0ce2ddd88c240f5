"""Blobs in S3, and in what speaks as it does (MinIO, Ceph, R2…): `s3://bucket/prefix`, an object `ab/cdef…` each.

An object is whole or not there, and the server checks what it is sent by its SHA-256. The folder `blobs/` is a cache of what was read
or written here: `get` and `local` may be answered from it, `pieces`, `has`, `missing` and `all` never are. Credentials come from the
environment (`AWS_ACCESS_KEY_ID`… or the machine's role); what a server says of a failure is not repeated, since it may repeat them.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from windlass.core.digest import TAG, digest_bytes, is_digest
from windlass.core.errors import Invalid, NotFound, Unavailable, WindlassError
from windlass.store.blobs_folder import FolderBlobs

if TYPE_CHECKING:
    from obstore.store import S3Store

PART_BYTES = 8 << 20  # what is longer is sent in parts
PIECE_BYTES = 1 << 20
AT_ONCE = 16  # questions whether something is there
PATIENCE = 60.0  # seconds for one request, and for all its repetitions
RETRIES = 5
REMEDY = "write s3://bucket/prefix, or s3://bucket/prefix?endpoint=http://host:9000"
OPTIONS = ("endpoint", "region")
_STATUS = re.compile(r"status code: \d{3}")
_TRIED = re.compile(r"status code: \d{3}|after \d+ retries")  # what was tried again already, or need not be

T = TypeVar("T")


class S3Blobs:
    """`BlobStore` in a bucket. Safe to use from many threads.

    Args:
        setting: `s3://bucket/prefix`, with `endpoint` and `region` as options.
        cache: a folder's blobs, which may be deleted while nobody runs.
        patience: seconds after which a request that is repeated is given up.

    Raises `Invalid` for an address that is none and where obstore is not installed. Nothing is asked of the server yet.
    """

    def __init__(self, setting: str, cache: FolderBlobs, folder: Path, patience: float = PATIENCE) -> None:
        bucket, prefix, options = _parsed(setting)
        try:
            from obstore.store import S3Store
        except ModuleNotFoundError as e:
            raise Invalid("what speaks to S3 is not installed", where="blobs", remedy='pip install "windlass[s3]"') from e
        self._where = f"s3://{bucket}/{prefix}"
        self._cache = cache
        self._folder = folder
        client: Any = {
            "timeout": timedelta(seconds=patience), "connect_timeout": timedelta(seconds=min(5.0, patience)),
            "read_timeout": timedelta(seconds=patience / 2), "allow_http": options.get("endpoint", "").startswith("http:"),
        }  # fmt: skip
        retries: Any = {
            "max_retries": RETRIES, "retry_timeout": timedelta(seconds=patience),
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
        }  # fmt: skip
        given: Any = {"prefix": prefix or None, "checksum_algorithm": "SHA256", **options}
        self._store: S3Store = S3Store(bucket, client_options=client, retry_config=retries, **given)

    def put(self, data: bytes) -> str:
        digest = digest_bytes(data)
        self._send(data, len(data), digest)
        return digest

    def put_file(self, path: Path, digest: str) -> None:
        self.send(path, digest)
        self._cache.put_file(path, digest)  # whoever kept a file reads it next

    def send(self, path: Path, digest: str) -> None:
        """`put_file` of a file that stays where it is."""
        self._send(path, path.stat().st_size, digest)

    def _send(self, what: bytes | Path, size: int, digest: str) -> None:
        import obstore

        key = _key(digest)
        self._ask(lambda: obstore.put(self._store, key, what, use_multipart=size > PART_BYTES, chunk_size=PART_BYTES), digest)
        if size > PART_BYTES and (kept := self._ask(lambda: obstore.head(self._store, key), digest)["size"]) != size:
            raise Unavailable(f"blob {digest} has {kept:,} of {size:,} bytes after it was sent", where=self._where, remedy="try again")

    def get(self, digest: str) -> bytes:
        if self._cache.has(digest):
            try:
                return self._cache.get(digest)
            except Unavailable:  # a copy that is damaged is no loss
                self._cache.drop(digest)
        data = b"".join(self.pieces(digest))
        with contextlib.suppress(Unavailable):  # no room for a copy
            self._cache.put(data)
        return data

    def pieces(self, digest: str) -> Iterator[bytes]:
        hashed, held = hashlib.sha256(), b""
        for piece in self._read(digest):
            if held:
                yield held
            hashed.update(piece)
            held = piece
        if TAG + hashed.hexdigest() != digest:
            raise Unavailable(f"blob {digest} is damaged", where=self._where, remedy="restore the object, or delete it and push again")
        yield held

    def _read(self, digest: str) -> Iterator[bytes]:
        """The bytes as they come. A connection that breaks is taken up where it broke off, so long as something comes in between."""
        import obstore

        key, at, size, idle = _key(digest), 0, -1, 0
        while at != size:
            try:
                found = self._ask(lambda at=at: obstore.get(self._store, key, options={"range": {"offset": at}} if at else None), digest)  # type: ignore[misc]
                size = int(found.meta["size"])
                for piece in found.stream(min_chunk_size=PIECE_BYTES):
                    at, idle = at + len(piece), 0
                    yield bytes(piece)
                if at < size:  # it ended early, and did not say so
                    idle += 1
            except WindlassError:
                raise
            except Exception as e:
                idle += 1
                if idle > RETRIES:
                    raise self._plain(e, digest) from None
            if idle > RETRIES:
                raise Unavailable(f"blob {digest} breaks off after {at:,} of {size:,} bytes", where=self._where, remedy="try again")

    def local(self, digest: str) -> Path:
        if not self._cache.has(digest):
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                path = Path(file.name)
                try:
                    for piece in self.pieces(digest):
                        file.write(piece)
                    file.flush()
                    self._cache.put_file(path, digest)
                except OSError as e:
                    raise Unavailable(f"blob {digest} has no room here: {e.strerror}", where=str(self._folder), remedy="make room") from e
                finally:
                    path.unlink(missing_ok=True)
        return self._cache.local(digest)

    def has(self, digest: str) -> bool:
        import obstore

        try:
            self._ask(lambda: obstore.head(self._store, _key(digest)), digest)
        except NotFound:
            return False
        return True

    def missing(self, digests: Iterable[str]) -> list[str]:
        wanted = list(dict.fromkeys(digests))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [digest for digest, there in zip(wanted, pool.map(self.has, wanted), strict=True) if not there]

    def drop(self, digest: str) -> None:
        import obstore

        with contextlib.suppress(NotFound):
            self._ask(lambda: obstore.delete(self._store, _key(digest)), digest)
        self._cache.drop(digest)

    def all(self) -> Iterator[str]:
        import obstore

        found: list[str] = []
        last, idle = "", 0
        while True:
            try:
                for page in obstore.list(self._store, offset=last or None):
                    found += [digest for each in page if is_digest(digest := TAG + each["path"].replace("/", ""))]
                    last, idle = page[-1]["path"], 0
                break
            except Exception as e:
                idle += 1
                if idle > RETRIES or _TRIED.search(str(e)):
                    raise self._plain(e, "the list of blobs") from None
        yield from sorted(found)

    def _ask(self, what: Callable[[], T], digest: str) -> T:
        try:
            return what()
        except WindlassError:
            raise
        except Exception as e:
            raise self._plain(e, digest) from None  # its text may hold what was sent

    def _plain(self, e: Exception, digest: str) -> WindlassError:
        kind, text = type(e).__name__, str(e)
        status = (_STATUS.search(text) or [""])[0][-3:]
        if (isinstance(e, FileNotFoundError) or status == "404") and "NoSuchBucket" in text:
            return Unavailable("there is no such bucket", where=self._where, remedy="make it, or check the setting blobs")
        if isinstance(e, FileNotFoundError):
            return NotFound(f"blob {digest} is not here", where=self._where, remedy="push the workspace again")
        if kind in ("PermissionDeniedError", "UnauthenticatedError") or status in ("401", "403") or "credentials" in text:
            return Unavailable("S3 does not let us in", where=self._where, remedy="check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        how = f"it says {status}" if status else "the connection broke, or it took too long"
        return Unavailable(f"S3 does not answer for {digest}, also when asked again: {how}", where=self._where, remedy="try again")


def _key(digest: str) -> str:
    if not is_digest(digest):
        raise Invalid(f"{digest!r} is not a whole digest")
    text = digest.removeprefix(TAG)
    return f"{text[:2]}/{text[2:]}"


def _parsed(setting: str) -> tuple[str, str, dict[str, str]]:
    """Bucket, prefix and options. Raises `Invalid`, which does not repeat the setting: a secret may have been written there."""
    parts = urlsplit(setting)
    if parts.scheme != "s3" or not parts.netloc or parts.fragment:
        raise Invalid("the setting is no address of a bucket", where="blobs", remedy=REMEDY)
    options = dict(parse_qsl(parts.query))
    endpoint = urlsplit(options.get("endpoint", ""))
    if "@" in parts.netloc or "@" in endpoint.netloc or any("key" in name or "secret" in name or "token" in name for name in options):
        raise Invalid(
            "a secret does not belong in a setting", where="blobs", remedy="put it in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if wrong := sorted(options.keys() - set(OPTIONS)):
        raise Invalid(f"{wrong[0]!r} is no option of the blobs", where="blobs", remedy="options: " + ", ".join(OPTIONS))
    if "endpoint" in options and endpoint.scheme not in ("http", "https"):
        raise Invalid("the endpoint is no address", where="blobs", remedy=REMEDY)
    return parts.netloc, parts.path.strip("/"), options
