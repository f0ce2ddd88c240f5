"""Chains, tools and evaluators are decorated functions that stay plain: callable and testable with no server."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from windlass.core.errors import Invalid
from windlass.sdk.definitions import Definition

P = ParamSpec("P")
R = TypeVar("R")


class Function(Definition, Generic[P, R]):
    """A decorated function. `function` is the plain one; calling the object calls it."""

    def __init__(self, function: Callable[P, R], name: str | None) -> None:
        if not inspect.isfunction(function):
            raise Invalid(f"{function!r} is not a function", remedy=f"{self.kind}s are made of functions written with def")
        super().__init__(name or function.__name__)
        self.function: Callable[P, R] = function
        functools.update_wrapper(self, function)
        self.where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
        self.module = function.__module__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    @property
    def entry(self) -> str:
        """Where a runner finds it: `module:qualname`."""
        return f"{self.function.__module__}:{self.function.__qualname__}"

    @property
    def description(self) -> str:
        return inspect.getdoc(self.function) or ""


class Chain(Function[P, R]):
    """Components, retrieval, tools and code as one artifact. Make one with `chain`."""

    kind = "chain"

    @property
    def shape(self) -> str:
        """`sync`, `async`, `generator` or `async-generator`."""
        if inspect.isasyncgenfunction(self.function):
            return "async-generator"
        if inspect.iscoroutinefunction(self.function):
            return "async"
        return "generator" if inspect.isgeneratorfunction(self.function) else "sync"


@overload
def chain(function: Callable[P, R], /) -> Chain[P, R]: ...
@overload
def chain(*, name: str | None = None) -> Callable[[Callable[P, R]], Chain[P, R]]: ...
def chain(function: Any = None, /, *, name: str | None = None) -> Any:
    """Make a chain of a function: `@w.chain`, or `@w.chain(name="…")`. Sync, async and generator functions alike."""
    return Chain(function, name) if function is not None else lambda f: Chain(f, name)


GIVEN = ("output", "row", "input", "text", "passages", "calls", "trace")  # what an evaluator may take


class Evaluator(Function[P, R]):
    """A judgement of an output as a number in `range`. Make one with `evaluator`."""

    kind = "evaluator"

    def __init__(self, function: Callable[P, R], name: str | None, bounds: tuple[float, float]) -> None:
        super().__init__(function, name)
        if odd := [n for n in self.needs if n not in GIVEN]:
            raise Invalid(
                f"{function.__name__} takes {odd[0]!r}, which no evaluator is given",
                where=self.where, remedy=f"take some of {', '.join(GIVEN)} by name",
            )  # fmt: skip
        self.range = (float(bounds[0]), float(bounds[1]))

    @property
    def needs(self) -> tuple[str, ...]:
        """The arguments it asks for, of `GIVEN`."""
        return tuple(inspect.signature(self.function).parameters)


@overload
def evaluator(function: Callable[P, R], /) -> Evaluator[P, R]: ...
@overload
def evaluator(*, name: str | None = None, range: tuple[float, float] = (0.0, 1.0)) -> Callable[[Callable[P, R]], Evaluator[P, R]]: ...
def evaluator(function: Any = None, /, *, name: str | None = None, range: tuple[float, float] = (0.0, 1.0)) -> Any:
    """Make an evaluator of a function that takes some of `output`, `row`, `input`, `text`, `passages`, `calls` by name and returns a
    number. `calls` are the run's calls of tools, `{name, arguments, caller, executed, outcome}`, in the order they were made."""
    return Evaluator(function, name, range) if function is not None else lambda f: Evaluator(f, name, range)
