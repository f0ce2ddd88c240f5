"""Calling a user's function with JSON: find it, convert its arguments, check its result, tell its errors in one sentence.

Annotations decide: an argument becomes what its annotation says, a result must be an instance of what the function says
it returns. Knows nothing of processes; `child` runs what is prepared here.
"""

from __future__ import annotations

import importlib
import inspect
import json
import traceback
import typing
from collections import abc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from windlass.core.errors import Invalid, RunFailed, WindlassError
from windlass.sdk.output import loaded
from windlass.sdk.remote import plain

SHOWN_FRAMES = 6  # of a user's traceback


class Row(dict[str, Any]):
    """A dataset row: its fields are attributes too, and a field the row lacks says which it has."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this row has no field {name!r}; it has {', '.join(sorted(self))}") from None


def find_entry(entry: str, root: Path) -> Callable[..., Any]:
    """The plain function behind `module:qualname`. Raises `RunFailed` naming the file that cannot be imported."""
    module_name, _, qualname = entry.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as e:
        raise RunFailed(
            f"{module_name} imports {e.name!r}, which is not installed here",
            where=where_of(e, root),
            remedy=f"install what provides {e.name!r} beside the server, or remove the import",
        ) from e
    except AttributeError as e:
        if (where := where_of(e, root)) is not None:
            raise _import_failed(module_name, e, where) from e
        raise RunFailed(f"{module_name} has no {qualname!r}", where=entry) from e
    except Exception as e:
        raise _import_failed(module_name, e, where_of(e, root)) from e
    function = getattr(found, "function", found)
    if not callable(function):
        raise RunFailed(f"{entry} is not a function", where=entry)
    return typing.cast("Callable[..., Any]", function)


def _import_failed(module: str, error: Exception, where: str | None) -> RunFailed:
    if isinstance(error, SyntaxError):
        where = f"{Path(error.filename or module).name}:{error.lineno}"
    return RunFailed(f"{module} cannot be imported: {_said(error)}", where=where, exception=type(error).__name__)


class Call:
    """A function ready to be called with JSON arguments.

    Annotations are resolved once; one that names what is not there is an error that says so.
    """

    def __init__(self, function: Callable[..., Any], entry: str) -> None:
        self.function = function
        self.entry = entry
        self.signature = inspect.signature(function)
        try:
            self.hints = typing.get_type_hints(function, include_extras=True)
        except NameError as e:
            raise RunFailed(f"an annotation of {entry} names {e.name!r}, which is not defined", where=entry) from e

    def bind(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the annotations want them. Raises `Invalid` naming the argument."""
        parameters = self.signature.parameters
        if unknown := sorted(set(arguments) - set(parameters)):
            raise Invalid(f"{self.entry} takes no {unknown[0]!r}", remedy="it takes " + (", ".join(parameters) or "nothing"))
        for name, parameter in parameters.items():
            if name not in arguments and parameter.default is parameter.empty:
                raise Invalid(f"{self.entry} needs {name!r}", remedy="it takes " + ", ".join(parameters))
        return {name: self._convert(name, value) for name, value in arguments.items()}

    def _convert(self, name: str, value: Any) -> Any:
        hint = self.hints.get(name, Any)
        if hint is Any:
            return Row(value) if isinstance(value, dict) else value
        try:
            return msgspec.convert(value, hint, dec_hook=loaded)
        except (msgspec.ValidationError, TypeError, ValueError) as e:
            raise Invalid(f"argument {name!r} of {self.entry} does not fit its annotation: {e}") from e

    def check(self, result: Any) -> Any:
        """The result as JSON. Raises `RunFailed` when it is not what the function says it returns, or not JSON."""
        try:
            value = plain(result)
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as e:
            raise RunFailed(f"{self.entry} returned what is not a JSON value: {e}", where=self._place()) from e
        hint = self.hints.get("return", Any)
        if hint is Any or _streams(hint):
            return value
        try:
            msgspec.convert(value, hint, dec_hook=loaded)
        except (msgspec.ValidationError, TypeError, ValueError) as e:
            said = getattr(hint, "__name__", str(hint))
            raise RunFailed(
                f"{self.entry} returned {_shape(result)}, but says it returns {said}: {e}",
                where=self._place(),
                remedy="return what the annotation says, or correct the annotation",
            ) from e
        return value

    def _place(self) -> str:
        code = inspect.unwrap(self.function).__code__
        return f"{Path(code.co_filename).name}:{code.co_firstlineno}"


def _streams(hint: Any) -> bool:
    """Whether a function with this return annotation is a generator: its values are not its result."""
    return (typing.get_origin(hint) or hint) in (
        abc.Iterator,
        abc.Iterable,
        abc.Generator,
        abc.AsyncIterator,
        abc.AsyncIterable,
        abc.AsyncGenerator,
    )


def _shape(value: Any) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def frames_of(error: BaseException, root: Path) -> list[str]:
    """The user's part of a traceback, outermost first, as `file:line in function`."""
    inside = f"{root}/"
    found: Sequence[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    return [f"{f.filename.removeprefix(inside)}:{f.lineno} in {f.name}" for f in found if f.filename.startswith(inside)]


def where_of(error: BaseException, root: Path) -> str | None:
    """The innermost of the user's lines, as `file:line`."""
    frames = frames_of(error, root)
    return frames[-1].split(" in ")[0] if frames else None


def told(error: BaseException, entry: str, root: Path) -> WindlassError:
    """What the user's code raised, as one error with the line it comes from."""
    if isinstance(error, WindlassError):
        error.where = error.where or where_of(error, root)
        return error
    if isinstance(error, MemoryError):
        return RunFailed(f"{entry} ran out of memory", where=where_of(error, root), remedy="raise `runner_memory`, or use less")
    if isinstance(error, SystemExit):
        return RunFailed(f"{entry} called sys.exit({error.code!r})", where=where_of(error, root), remedy="return or raise instead")
    frames = frames_of(error, root)[-SHOWN_FRAMES:]
    return RunFailed(
        f"{entry} raised {_said(error)}", where=where_of(error, root), exception=type(error).__name__, traceback="\n".join(frames)
    )


def _said(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text[:1000]}" if text else type(error).__name__
