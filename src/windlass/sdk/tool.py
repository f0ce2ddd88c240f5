"""Tools: functions an agent may call. What a model sees of one (name, description, parameters) is part of its identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar

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


def tool(*, effects: Effects, name: str | None = None) -> Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a tool: `@w.tool(effects="read")`. The docstring is what a model reads. `effects`: `none` (computes), `read` (looks at
    the world), `write` (changes it)."""

    def decorate(function: Callable[P, R]) -> Tool[P, R]:
        return Tool(function, name, effects)

    return decorate
