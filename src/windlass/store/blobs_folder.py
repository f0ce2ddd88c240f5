"""Blobs in a folder: `blobs/ab/cdef…`. A blob appears whole or not at all: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from windlass.core.digest import TAG, digest_bytes, is_digest
from windlass.core.errors import Invalid, NotFound, Unavailable

PIECE_BYTES = 2**20


class FolderBlobs:
    """`BlobStore` on a file system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise Invalid(f"{digest!r} is not a whole digest")
        text = digest.removeprefix(TAG)
        return self._folder / text[:2] / text[2:]

    def put(self, data: bytes) -> str:
        digest = digest_bytes(data)

        def write(partial: Path) -> None:
            with partial.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

        self._keep(digest, write)
        return digest

    def put_file(self, path: Path, digest: str) -> None:
        def move(partial: Path) -> None:
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.replace(partial)

        self._keep(digest, move)

    def _keep(self, digest: str, make: Callable[[Path], None]) -> None:
        """Let a blob appear whole. `make` makes the file it is given the name of, synced."""
        path = self._path(digest)
        partial = path.with_name(f".{secrets.token_hex(8)}")
        try:
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                make(partial)
                partial.replace(path)
            # also where it was there: whoever put it may not have come this far yet
            sync_folder(path.parent)
            sync_folder(self._folder)
        except OSError as e:
            partial.unlink(missing_ok=True)
            full = e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            message = "the disk is full; the blob was not kept" if full else f"the blob could not be kept: {e.strerror}"
            raise Unavailable(message, where=str(self._folder), remedy="make room and try again" if full else None) from e

    def get(self, digest: str) -> bytes:
        return b"".join(self.pieces(digest))

    def pieces(self, digest: str) -> Iterator[bytes]:
        path = self._path(digest)
        hashed, held = hashlib.sha256(), b""
        try:
            with path.open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    if held:
                        yield held
                    hashed.update(piece)
                    held = piece
        except FileNotFoundError:
            raise NotFound(f"blob {digest} is not here", remedy="push the workspace again") from None
        except OSError as e:
            raise Unavailable(f"blob {digest} cannot be read: {e.strerror}", where=str(path)) from e
        if TAG + hashed.hexdigest() != digest:
            raise Unavailable(
                f"blob {digest} is damaged", where=str(path), remedy="restore the file from a backup, or delete it and push again"
            )
        yield held

    def local(self, digest: str) -> Path:
        if not self.has(digest):
            raise NotFound(f"blob {digest} is not here", remedy="restore the file from a backup")
        return self._path(digest)

    def has(self, digest: str) -> bool:
        return self._path(digest).exists()

    def missing(self, digests: Iterable[str]) -> list[str]:
        return [d for d in dict.fromkeys(digests) if not self.has(d)]

    def drop(self, digest: str) -> None:
        """Forget a blob, for who has it elsewhere."""
        self._path(digest).unlink(missing_ok=True)

    def all(self) -> Iterator[str]:
        for shelf in sorted(self._folder.iterdir()):
            for path in sorted(shelf.iterdir()) if shelf.is_dir() else ():
                if is_digest(digest := f"{TAG}{shelf.name}{path.name}"):
                    yield digest


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
