"""What authoring objects call when they are called: the host bound to the current context.

`reply(question=…)` inside a chain needs somebody to render, ask a model and record it. That somebody is a `Host`, bound
by a door, the runner or the pytest plugin in a context variable; threads and tasks started with the context inherit it.
None bound is a clear error. A host speaks of artifacts by kind and name; which versions those are is its affair.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from windlass.core.errors import Unavailable


class Host(Protocol):
    """Executes components, searches, tools and agents for code that runs under it.

    `kind` is `component`, `index`, `tool` or `agent`; `arguments` and results are JSON values. For an index the
    arguments are `{query, k, where?}` and the result a list of passages `{key, text, score, symbol?, …}`. Errors arrive
    as `WindlassError`s. Cancelling `acall`, or closing an iterator early, cancels the work. `entry` is the function, `module:qualname`,
    that it runs; empty where it runs none.
    """

    entry: str

    def call(self, kind: str, name: str, arguments: dict[str, Any]) -> Any: ...
    async def acall(self, kind: str, name: str, arguments: dict[str, Any]) -> Any: ...
    def stream(self, kind: str, name: str, arguments: dict[str, Any]) -> Iterator[str]: ...
    def astream(self, kind: str, name: str, arguments: dict[str, Any]) -> AsyncIterator[str]: ...


_bound: ContextVar[Host | None] = ContextVar("windlass_host", default=None)
_everywhere: list[Host] = []  # the last one counts


def bound_host() -> Host | None:
    """The bound host; None where there is none."""
    return _bound.get() or (_everywhere[-1] if _everywhere else None)


def current_host(what: str) -> Host:
    """The bound host. Raises `Unavailable` with the way out when there is none; `what` names the caller."""
    host = bound_host()
    if host is None:
        raise Unavailable(
            f"{what} needs a model or an index, and none is bound here",
            remedy="run it with `windlass run`, or in a test with the `windlass` fixture; plain functions need nothing",
        )
    return host


@contextmanager
def bind(host: Host, *, everywhere: bool = False) -> Iterator[None]:
    """Bind a host for the current context; `everywhere`: also for threads that were started without one, as pools do."""
    token = _bound.set(host)
    _everywhere.extend([host] if everywhere else [])
    try:
        yield
    finally:
        _bound.reset(token)
        if everywhere:
            _everywhere.remove(host)
