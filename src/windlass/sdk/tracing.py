"""Tracing an application of one's own: `init` sends what OpenTelemetry records to Windlass, `trace` makes a step of one's own code.

    import windlass
    windlass.init("http://127.0.0.1:4747", key="…")     # its OpenTelemetry, OpenAI, LangChain … calls are traced

    @windlass.trace
    def look_up(question): ...

The application is never slowed and never fails because of it: spans wait in a bounded queue, a thread sends them, and what cannot be
sent when the process ends is written to a spool that the next `init` sends.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar, overload

from windlass.core import span as names
from windlass.sdk.loading import when_imported
from windlass.sdk.propagating import carry
from windlass.sdk.servers import Server, find_server
from windlass.sdk.telling import Pieces, binder, failed, given, note

F = TypeVar("F", bound=Callable[..., Any])
# libraries, and how the names of what instruments them begin; of several the longest counts
INSTRUMENTED = {
    "openai": "openai", "agents": "openai_agents", "anthropic": "anthropic", "langchain_core": "langchain", "google.genai": "google_genai",
    "vertexai": "vertexai", "botocore": "bedrock", "mistralai": "mistralai", "cohere": "cohere", "litellm": "litellm", "mcp": "mcp",
    "pydantic_ai": "pydantic_ai", "crewai": "crewai", "llama_index.core": "llama_index", "haystack": "haystack",
}  # fmt: skip

_lock = threading.Lock()
_sending: dict[str, Any] = {}
_servers: list[Server] = []


def init(url: str | None = None, key: str | None = None, *, service: str | None = None, instrument: bool = True) -> None:
    """Send this process's spans to a server. Calling it again for the same server does nothing.

    Args:
        url: the server; found as `Client` finds it where not given.
        key: a key that may send traces (`windlass keys create app`); it also says which project they belong to.
        service: the application's name; `OTEL_SERVICE_NAME` or the script's name where not given.
        instrument: switch on the OpenTelemetry instrumentations of model libraries that are installed.

    Raises `Unavailable` when there is no `url` and no server here; a server that is away is no error.
    """
    from opentelemetry import trace as api
    from opentelemetry.sdk.trace import TracerProvider

    from windlass.sdk.sending import Sender

    server = find_server(url, key)
    with _lock:
        if server.url in _sending:
            return
        provider = api.get_tracer_provider()
        if not isinstance(provider, TracerProvider):
            provider = TracerProvider(resource=_resource(service))
            api.set_tracer_provider(provider)
        _sending[server.url] = Sender(server.url, server.key)
        _servers.append(server)
        provider.add_span_processor(_sending[server.url])
    carry(server.url)
    if instrument:
        for library in INSTRUMENTED:
            when_imported(library, functools.partial(_instrument, library))


def _resource(service: str | None) -> Any:
    """As `Resource.create` makes it, which reads the metadata of all that is installed for its detectors: only where some are asked for."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.version import __version__

    if os.environ.get("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "otel") != "otel":
        made = Resource.create()
    else:
        sdk = {"telemetry.sdk.language": "python", "telemetry.sdk.name": "opentelemetry", "telemetry.sdk.version": __version__}
        made = Resource(sdk).merge(OTELResourceDetector().detect())
    name = service or made.attributes.get("service.name") or "unknown_service"
    if str(name).startswith("unknown_service"):
        name = Path(sys.argv[0] or "python").stem or "python"
    return made.merge(Resource({"service.name": name}))


def flush(seconds: float = 10.0) -> bool:
    """Wait until what was recorded so far is sent; whether it was."""
    return all(sender.force_flush(int(seconds * 1000)) for sender in list(_sending.values()))


def sent_to() -> Server | None:
    """The server that this process sends its spans to, the last where there are several."""
    return _servers[-1] if _servers else None


def _instrument(library: str) -> None:
    """Switch on what is installed for a library. An instrumentation that fails is none of the application's affair."""
    from importlib.metadata import entry_points

    for entry in entry_points(group="opentelemetry_instrumentor"):
        if max((name for name in INSTRUMENTED.values() if entry.name.startswith(name)), key=len, default="") != INSTRUMENTED[library]:
            continue
        with contextlib.suppress(Exception):
            instrumentor = entry.load()()
            if not instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.instrument()


class Traced:
    """A step: a context manager that gives a `Step`, and a decorator."""

    def __init__(self, name: str | None, kind: str, capture: bool) -> None:
        self._name = name
        self._kind = kind
        self._capture = capture
        self._open: list[Current] = []

    def __enter__(self) -> Step:
        current = Current(self._name or "step", self._kind)
        self._open.append(current)
        return Step(current.__enter__())

    def __exit__(self, *error: Any) -> None:
        self._open.pop().__exit__(*error)

    def __call__(self, function: F) -> F:
        wrapped: F = _wrap(function, self._name or _name_of(function), self._kind, self._capture)
        return wrapped


class Step:
    """An open step."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def input(self, value: Any) -> None:
        note(self._span, names.INPUT, value)

    def output(self, value: Any) -> None:
        note(self._span, names.OUTPUT, value)

    def set(self, name: str, value: Any) -> None:
        """An attribute by its OpenTelemetry name."""
        self._span.set_attribute(name, value)


@overload
def trace(name: F, /) -> F: ...
@overload
def trace(name: str | None = None, *, kind: names.SpanKind = "span", capture: bool = True) -> Traced: ...
def trace(name: Any = None, *, kind: names.SpanKind = "span", capture: bool = True) -> Any:
    """A step of one's own code: `@w.trace`, `@w.trace("name", kind="tool")`, or `with w.trace("name") as step:`.

    Sync, async and generator functions alike. Arguments and result are recorded unless `capture` is False. Without `init` it does nothing.
    """
    if callable(name):
        return _wrap(name, _name_of(name), kind, capture)
    return Traced(name, kind, capture)


def _name_of(function: Any) -> str:
    """Of an object that is called, and of a `functools.partial`, its class's."""
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


class Current:
    """A span that is current for as long as the block lasts, as `start_as_current_span` makes it, in two thirds of its time."""

    __slots__ = ("_kind", "_name", "_span", "_token")

    def __init__(self, name: str, kind: str) -> None:
        self._name = name
        self._kind = kind

    def __enter__(self) -> Any:
        self._span = _tracer().start_span(self._name, attributes={names.KIND: self._kind})
        self._token = _api.context.attach(_api.trace.set_span_in_context(self._span))
        return self._span

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        _api.context.detach(self._token)
        if isinstance(error, Exception) and self._span.is_recording():
            failed(self._span, error)
        self._span.end()


class _Api:
    """OpenTelemetry's, which is loaded by the first span."""

    @functools.cached_property
    def trace(self) -> Any:
        from opentelemetry import trace

        return trace

    @functools.cached_property
    def context(self) -> Any:
        from opentelemetry import context

        return context


_api = _Api()
_made: tuple[Any, Any] = (None, None)  # the provider, and the tracer it made


def _tracer() -> Any:
    """The present provider's. Made once: to make one takes as long as half a span."""
    global _made
    provider, tracer = _made
    if provider is not (now := _api.trace.get_tracer_provider()):
        tracer = now.get_tracer("windlass")
        _made = now, tracer
    return tracer


def _wrap(function: Any, name: str, kind: str, capture: bool) -> Any:
    """The function with a span around each call."""
    if inspect.isasyncgenfunction(function):
        return _wrap_async_generator(function, name, kind, capture)
    if inspect.isgeneratorfunction(function):
        return _wrap_generator(function, name, kind, capture)
    bound = binder(function)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def waiting(*args: Any, **kwargs: Any) -> Any:
            with Current(name, kind) as span:
                given(span, bound, args, kwargs, capture)
                result = await function(*args, **kwargs)
                note(span, names.OUTPUT, result, capture)
                return result

        return waiting

    @functools.wraps(function)
    def calling(*args: Any, **kwargs: Any) -> Any:
        with Current(name, kind) as span:
            given(span, bound, args, kwargs, capture)
            result = function(*args, **kwargs)
            note(span, names.OUTPUT, result, capture)
            return result

    return calling


def _wrap_generator(function: Any, name: str, kind: str, capture: bool) -> Any:
    """The span lasts as long as the generator, and is current only while the generator's own code runs. What is sent and thrown into it
    reaches it, as by `yield from`: `contextlib.contextmanager` throws."""
    bound = binder(function)

    @functools.wraps(function)
    def generating(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with _lasting(name, kind) as (span, current):
            given(span, bound, args, kwargs, capture)
            pieces = Pieces()
            inner = function(*args, **kwargs)
            go_on: Callable[[], Any] = functools.partial(next, inner)
            try:
                while True:
                    with current():
                        try:
                            piece = go_on()
                        except StopIteration as end:
                            return end.value
                    pieces.add(piece)
                    try:
                        sent = yield piece
                    except GeneratorExit:
                        raise
                    except BaseException as e:
                        go_on = functools.partial(inner.throw, e)
                    else:
                        go_on = functools.partial(inner.send, sent)
            finally:
                inner.close()
                note(span, names.OUTPUT, pieces, capture)

    return generating


def _wrap_async_generator(function: Any, name: str, kind: str, capture: bool) -> Any:
    bound = binder(function)

    @functools.wraps(function)
    async def generating(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with _lasting(name, kind) as (span, current):
            given(span, bound, args, kwargs, capture)
            pieces = Pieces()
            inner = function(*args, **kwargs)
            go_on: Callable[[], Any] = functools.partial(anext, inner)
            try:
                while True:
                    with current():
                        try:
                            piece = await go_on()
                        except StopAsyncIteration:
                            return
                    pieces.add(piece)
                    try:
                        sent = yield piece
                    except GeneratorExit:
                        raise
                    except BaseException as e:
                        go_on = functools.partial(inner.athrow, e)
                    else:
                        go_on = functools.partial(inner.asend, sent)
            finally:
                await inner.aclose()
                note(span, names.OUTPUT, pieces, capture)

    return generating


@contextlib.contextmanager
def _lasting(name: str, kind: str) -> Iterator[tuple[Any, Callable[[], Any]]]:
    span = _tracer().start_span(name, attributes={names.KIND: kind})
    try:
        yield span, functools.partial(_running, span)
    finally:
        span.end()


@contextlib.contextmanager
def _running(span: Any) -> Iterator[None]:
    """A span is current for a while, and goes on."""
    token = _api.context.attach(_api.trace.set_span_in_context(span))
    try:
        yield
    except Exception as e:
        if span.is_recording():
            failed(span, e)
        raise
    finally:
        _api.context.detach(token)
