"""Tools: functions an agent may call. What a model sees of one (name, description, parameters) is part of its identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar, get_args

from windlass.core.errors import Invalid
from windlass.sdk.chain import Function

P = ParamSpec("P")
R = TypeVar("R")
Effects = Literal["none", "read", "write"]


class Tool(Function[P, R]):
    """A function with declared effects. Make one with `tool`."""

    kind = "tool"

    def __init__(self, function: Callable[P, R], name: str | None, effects: Effects) -> None:
        super().__init__(function, (name or function.__name__))
        self.effects = effects


def tool(*bare: Callable[..., Any], effects: Effects | None = None, name: str | None = None) -> Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a tool: `@w.tool(effects="read")`. The docstring is what a model reads. `effects`: `none` (computes), `read` (looks at
    the world), `write` (changes it). Raises `Invalid` when it does not say which."""
    if bare or effects is None:
        raise Invalid("a tool must say what it does to the world", remedy='write @w.tool(effects="none"), "read" or "write"')
    if effects not in get_args(Effects):
        raise Invalid(f"effects is {effects!r}", remedy='write effects="none", "read" or "write"')
    chosen: Effects = effects

    def decorate(function: Callable[P, R]) -> Tool[P, R]:
        return Tool(function, name, chosen)

    return decorate
