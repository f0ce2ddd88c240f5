"""A workspace's files on disk as they were when a release was minted: `home/run/snapshots/<digest>/`, one folder per snapshot.

A folder is shared by all runners of its snapshot. It is checked against the digests before each use, and what was
damaged, lost or added is put right. Knows files and digests, not what they mean.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import threading
from pathlib import Path, PurePosixPath
from typing import Protocol

import msgspec

from windlass.core.digest import TAG, digest_bytes, is_digest
from windlass.core.errors import Invalid, Unavailable

_files = msgspec.json.Decoder(dict[str, str])


class Blobs(Protocol):
    """The part of the blob store that is needed here."""

    def get(self, digest: str) -> bytes: ...


class Snapshots:
    """Lays out snapshots below `root`."""

    def __init__(self, root: Path, blobs: Blobs) -> None:
        self._root = root
        self._blobs = blobs
        self._lock = threading.Lock()

    def ensure(self, digest: str) -> Path:
        """The folder of this snapshot, whole and unaltered. Raises `Invalid` for a manifest that leaves its folder,
        `Unavailable` when it cannot be written."""
        if not is_digest(digest):
            raise Invalid(f"{digest!r} is not the digest of a snapshot")
        files = self._manifest(digest)
        folder = self._root / digest.removeprefix(TAG)
        with self._lock:
            try:
                self._lay_out(folder, files)
            except OSError as e:
                raise Unavailable(f"the snapshot cannot be written: {e.strerror}", where=str(folder)) from e
        return folder

    def _manifest(self, digest: str) -> dict[str, str]:
        try:
            files = _files.decode(self._blobs.get(digest))
        except msgspec.DecodeError as e:
            raise Invalid(f"the snapshot's manifest is malformed: {e}", where=digest) from e
        for path in files:
            pure = PurePosixPath(path)
            if pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path or str(pure) != path or path == ".":
                raise Invalid(f"the snapshot names a file outside its folder: {path!r}", where=digest)
        return files

    def _lay_out(self, folder: Path, files: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._remove_strangers(folder, files)
        for path, digest in files.items():
            target = folder / path
            if _digest_of(target) != digest:
                self._write(target, self._blobs.get(digest), digest)

    def _remove_strangers(self, folder: Path, files: dict[str, str]) -> None:
        parents = {str(p) for path in files for p in PurePosixPath(path).parents}
        for found in sorted(folder.rglob("*"), reverse=True):
            path = found.relative_to(folder).as_posix()
            if path in files and found.is_file() and not found.is_symlink():
                continue
            if path in parents and found.is_dir() and not found.is_symlink():
                continue
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found, ignore_errors=True)
            else:
                found.unlink(missing_ok=True)

    def _write(self, target: Path, data: bytes, digest: str) -> None:
        if digest_bytes(data) != digest:
            raise Unavailable("a file of the snapshot is damaged in the blob store", where=digest, remedy="windlass verify")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = self._root / f".partial-{secrets.token_hex(8)}"  # outside the folder, where another process tidies
        partial.write_bytes(data)
        partial.chmod(0o444)
        partial.replace(target)


def _digest_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return TAG + hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
