"""A model call of an application, as a step of the application's trace: requests to the server say which step they belong to.

The clients of model providers (OpenAI's, Anthropic's, and above them LangChain's and those of agents' frameworks) send by httpx2 or httpx.
Their transports add W3C's `traceparent` to requests to the server, and to no others: who asks another server tells it nothing.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from windlass.sdk.loading import when_imported

LIBRARIES = ("httpx2", "httpx")
HEADER = "traceparent"

_lock = threading.Lock()
_servers: set[tuple[str, int | None]] = set()
_changed: set[str] = set()


def carry(address: str) -> None:
    """From now on requests of this process to `address` carry the current span."""
    with _lock:
        _servers.add(_origin(address))
        for name in LIBRARIES:
            if name not in _changed:
                _changed.add(name)
                when_imported(name, lambda name=name: _wrap(importlib.import_module(name)))  # type: ignore[misc]


def _wrap(library: Any) -> None:
    plain: Callable[[Any, Any], Any] = library.HTTPTransport.handle_request
    waiting: Callable[[Any, Any], Awaitable[Any]] = library.AsyncHTTPTransport.handle_async_request

    def handle_request(self: Any, request: Any) -> Any:
        _mark(request)
        return plain(self, request)

    async def handle_async_request(self: Any, request: Any) -> Any:
        _mark(request)
        return await waiting(self, request)

    library.HTTPTransport.handle_request = handle_request
    library.AsyncHTTPTransport.handle_async_request = handle_async_request


def _mark(request: Any) -> None:
    from opentelemetry import trace

    if HEADER in request.headers or _origin(str(request.url)) not in _servers:
        return
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        request.headers[HEADER] = f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def _origin(address: str) -> tuple[str, int | None]:
    parts = urlsplit(address)
    return parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
