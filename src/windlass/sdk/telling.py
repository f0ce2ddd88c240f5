"""What a step says of itself: its input and output as texts, and the error it ended with. None of it ever fails, whatever it is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from windlass.core import span as names

SHOWN = 32_000  # characters of an input or output that a span keeps
Bind = Callable[[Any, Any], Mapping[str, Any] | None]


def failed(span: Any, error: Exception) -> None:
    """The span ended with an error, which its callers get."""
    from opentelemetry.trace import Status, StatusCode

    try:
        span.record_exception(error)
        said = f"{type(error).__name__}: {error}"
    except Exception:  # its `__str__` fails
        said = type(error).__name__
    span.set_status(Status(StatusCode.ERROR, _sendable(said)))


def binder(function: Any) -> Bind:
    """What binds a call's arguments to their names; None where they do not fit, which the call itself says."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some that are written in C nobody can say it
        return lambda args, kwargs: {**{str(n): v for n, v in enumerate(args)}, **kwargs}
    plain = tuple(n for n, p in signature.parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD)
    simple = len(plain) == len(signature.parameters)

    def bind(args: Any, kwargs: Any) -> Mapping[str, Any] | None:
        if simple and not kwargs and len(args) <= len(plain):
            return dict(zip(plain, args, strict=False))
        try:
            return signature.bind(*args, **kwargs).arguments
        except TypeError:
            return None

    return bind


def given(span: Any, bind: Bind, args: Any, kwargs: Any, capture: bool) -> None:
    if capture and span.is_recording() and (bound := bind(args, kwargs)) is not None:
        note(span, names.INPUT, {n: v for n, v in bound.items() if n != "self" and n != "cls"})


def note(span: Any, name: str, value: Any, capture: bool = True) -> None:
    """An input or output as a text. What cannot be told, for whatever reason, is not the application's affair."""
    if not capture or not span.is_recording():
        return
    try:
        text = _text(value.told() if isinstance(value, Pieces) else value)
    except Exception as e:  # it has itself in it, or is a `__repr__` that fails
        text = f"({type(value).__name__}, which cannot be told: {type(e).__name__})"
    span.set_attribute(name, text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        try:
            value = msgspec.json.encode(value, enc_hook=_repr, order="sorted").decode()
        except (TypeError, ValueError):  # keys that are no texts, members that cannot be ordered, half a character
            value = repr(value)
    return _sendable(str(value))


def _sendable(text: str) -> str:
    """Without half characters, as names of files may have: a span with one could not be sent."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _repr(value: Any) -> str:
    return _sendable(repr(value))


class Pieces:
    """What a generator gave, as far as a span keeps it: one that goes on for days must not hold all of it."""

    def __init__(self) -> None:
        self._first: list[Any] = []
        self._room = SHOWN
        self._count = 0

    def add(self, piece: Any) -> None:
        self._count += 1
        if self._room > 0:
            self._first.append(piece)
            self._room -= len(piece) if isinstance(piece, str) else 8

    def told(self) -> Any:
        texts = bool(self._first) and all(isinstance(p, str) for p in self._first)
        told: Any = "".join(self._first) if texts else self._first
        if self._count == len(self._first):
            return told
        rest = f"… ({self._count} pieces)"
        return told[: SHOWN - len(rest)] + rest if texts else [*told, rest]
