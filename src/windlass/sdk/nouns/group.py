"""What the groups of methods share: whom they call, and about which project."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

import msgspec

from windlass.core.operations import Operation

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R")
POLL_SECONDS = 0.2


class Caller(Protocol):
    """What does operations: the client."""

    project: str

    def call(self, operation: Operation[P, R], params: P) -> R: ...

    def put_blob(self, digest: str, data: bytes) -> None: ...

    def get_blob(self, digest: str) -> Iterator[bytes]: ...


class Group:
    def __init__(self, client: Caller) -> None:
        self._client = client

    @property
    def _project(self) -> str:
        return self._client.project
