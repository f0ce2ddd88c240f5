"""Everything Windlass can be asked to do, as data: one `Operation` for the API, the client, the command line and the pages.

The API door routes each operation to its service method; `Client.call` sends it; a page runs it for its context. A test
walks `OPERATIONS` and fails on one that has no service method, no client method, no command and no page.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R", covariant=True)

Limit = Annotated[int, msgspec.Meta(ge=1, le=200)]  # entries of one page
Permission = Literal["read", "write", "run", "deploy", "admin", "call", "trace"]

OPERATIONS: dict[str, Operation[Any, Any]] = {}


class Operation(Generic[P, R]):
    """One thing that can be asked.

    `GET` sends its params as a query string, `POST` as a JSON body; the path is `/api/v1/` and the name with `.` as `/`.
    `streams` operations answer server-sent events whose last one is the result. `also` says when one needs more than `permission`.
    """

    def __init__(
        self, name: str, verb: Literal["GET", "POST"], params: type[P], result: type[R], permission: Permission, *, streams: bool = False,
        also: str = "",
    ) -> None:  # fmt: skip
        self.name = name
        self.verb = verb
        self.params = params
        self.result = result
        self.permission = permission
        self.streams = streams
        self.also = also
        assert name not in OPERATIONS
        OPERATIONS[name] = self

    @property
    def path(self) -> str:
        return "/api/v1/" + self.name.replace(".", "/")


class Empty(msgspec.Struct, frozen=True):
    """No params."""


class Page(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A slice of a list: at most 200 entries; `next` is the keyset cursor of the following slice, None at the end."""

    next: str | None = None
