"""Blobs: bytes under their digest. The port, and which engine a data folder has: `blobs_folder.py`, or `blobs_s3.py` by one setting."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from windlass.core.errors import Invalid
from windlass.store.blobs_folder import FolderBlobs
from windlass.store.blobs_s3 import S3Blobs
from windlass.store.home import Home

MARK = ".of"  # beside the blobs


class BlobStore(Protocol):
    """Immutable bytes. `put` is durable when it returns and harmless when repeated; `get` checks what it reads. `put_file` keeps
    a file of the same file system whose bytes the caller has hashed, by moving it. `pieces` is `get` for blobs of any size: its
    last piece comes only when the whole is what it should be; it reads the store itself, never a copy beside it. `local` is a file with
    the bytes, to read only and unchecked, for engines that read files. `drop` is for erasures alone; what is not there is dropped already.

    Raises `NotFound` for a blob that is not there, `Unavailable` for one that is damaged or a disk that is full.
    """

    def put(self, data: bytes) -> str: ...
    def put_file(self, path: Path, digest: str) -> None: ...
    def get(self, digest: str) -> bytes: ...
    def pieces(self, digest: str) -> Iterator[bytes]: ...
    def has(self, digest: str) -> bool: ...
    def missing(self, digests: Iterable[str]) -> list[str]: ...
    def local(self, digest: str) -> Path: ...
    def drop(self, digest: str) -> None: ...
    def all(self) -> Iterator[str]: ...


def open_blobs(home: Home, setting: str) -> BlobStore:
    """The blobs of a data folder, by the setting `blobs`. The file `blobs/.of` says of which bucket the folder is the cache.

    Raises `Invalid` for an address that is none, and where the folder holds what is nowhere else, or the cache of another bucket.
    """
    folder = home.path / "blobs"
    own, of = FolderBlobs(folder), _of(folder)
    if of == setting:
        return S3Blobs(setting, own, home.path / "run") if setting else own
    if of:
        raise _of_another(folder, of)
    found = S3Blobs(setting, own, home.path / "run")
    if next(own.all(), None) is not None and _of(folder) != setting:  # else another process of ours began with it meanwhile
        raise Invalid(
            "this data folder has blobs of its own, which the setting blobs would leave behind",
            where=str(folder),
            remedy="windlass move takes them along; or take the setting away",
        )
    _mark(folder, setting)
    return found


def _of(folder: Path) -> str:
    """Of which bucket a folder is the cache; empty where it is none."""
    mark = folder / MARK
    return mark.read_text("utf-8").strip() if mark.exists() else ""


def _of_another(folder: Path, of: str) -> Invalid:
    message = f"blobs/ is a cache of {of.partition('?')[0]}, which the setting blobs does not name"
    return Invalid(message, where=str(folder / MARK), remedy="name it, or move the folder blobs away")


def _mark(folder: Path, setting: str) -> None:
    partial = folder / f"{MARK}.{secrets.token_hex(8)}"
    partial.write_text(setting + "\n", "utf-8")
    partial.replace(folder / MARK)


def move_blobs(home: Home, setting: str) -> int:
    """Send every blob of the folder to the bucket, each checked on its way; the folder is its cache from then on. Returns how many.
    Cut off anywhere it can be done again. Raises as `BlobStore.put`."""
    folder = home.path / "blobs"
    own, moved = FolderBlobs(folder), 0
    if (of := _of(folder)) == setting:
        return 0
    if of:
        raise _of_another(folder, of)
    found = S3Blobs(setting, own, home.path / "run")
    every = list(own.all())
    there = set(every) - set(found.missing(every))
    for digest in every:
        if digest not in there:
            for _ in own.pieces(digest):  # reads all of it, and so checks it
                pass
            found.send(own.local(digest), digest)
            moved += 1
    _mark(folder, setting)
    return moved
