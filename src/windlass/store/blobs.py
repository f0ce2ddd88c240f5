"""Blobs: bytes under their digest. The port; `blobs_folder.py` is the embedded engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol


class BlobStore(Protocol):
    """Immutable bytes. `put` is durable when it returns and harmless when repeated; `get` checks what it reads. `put_file` keeps
    a file of the same file system whose bytes the caller has hashed, by moving it. `pieces` is `get` for blobs of any size: its
    last piece comes only when the whole is what it should be.

    Raises `NotFound` for a blob that is not there, `Unavailable` for one that is damaged or a disk that is full.
    """

    def put(self, data: bytes) -> str: ...
    def put_file(self, path: Path, digest: str) -> None: ...
    def get(self, digest: str) -> bytes: ...
    def pieces(self, digest: str) -> Iterator[bytes]: ...
    def has(self, digest: str) -> bool: ...
    def missing(self, digests: Iterable[str]) -> list[str]: ...
    def all(self) -> Iterator[str]: ...
