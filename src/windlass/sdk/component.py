"""The prompted model component, and the agent: what one writes in `app.py` and calls like a function.

A call goes to the host that is bound (`core.host`); none bound is a clear error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import msgspec

from windlass.core.errors import Invalid
from windlass.core.host import current_host
from windlass.sdk.definitions import Definition, expect
from windlass.sdk.index import IndexTool
from windlass.sdk.output import from_json
from windlass.sdk.tool import Hosted, Tool

T = TypeVar("T")


class Called(Definition, Generic[T]):
    """What is called with a prompt's inputs by name, and answers text or its `output` type."""

    def __init__(
        self, name: str, *, prompt: str, model: str, output: type[T] | None, parameters: dict[str, Any] | None, description: str
    ) -> None:
        super().__init__(name)
        expect(prompt, str, "prompt", "the path of a prompt file", self.where)
        expect(model, str, "model", "baseline, or provider/model-id", self.where)
        expect(parameters or {}, dict, "parameters", "a dict of sampling settings", self.where)
        self.prompt = prompt
        self.model = model
        self.output = output
        self.parameters = dict(parameters or {})
        self.description = description

    def __call__(self, **inputs: Any) -> T:
        """Ask once. Raises `ModelFailed`, `RunFailed`; `Unavailable` where no host is bound."""
        value = current_host(repr(self)).call(self.kind, self.name, inputs)
        answer: T = from_json(value, self.output, self.name)
        return answer

    async def acall(self, **inputs: Any) -> T:
        """Ask once, in a coroutine; cancelling it cancels the model call."""
        value = await current_host(repr(self)).acall(self.kind, self.name, inputs)
        answer: T = from_json(value, self.output, self.name)
        return answer

    def stream(self, **inputs: Any) -> Iterator[str]:
        """The answer's text as it comes."""
        return current_host(repr(self)).stream(self.kind, self.name, inputs)

    def astream(self, **inputs: Any) -> AsyncIterator[str]:
        """The answer's text as it comes, in a coroutine."""
        return current_host(repr(self)).astream(self.kind, self.name, inputs)


class Component(Called[T]):
    """A prompt with a model. Make one with `component`."""

    kind = "component"


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one run of an agent may spend: questions to its model, calls of tools, seconds, tokens (None: no bound)."""

    steps: int = 8
    tool_calls: int = 24
    seconds: float = 120.0
    tokens: int | None = None


class Agent(Called[T]):
    """A component that chooses its steps among tools. Make one with `agent`."""

    kind = "agent"

    def __init__(self, name: str, tools: Sequence[Any], limits: Limits, **rest: Any) -> None:
        super().__init__(name, **rest)
        expect(tools, (list, tuple), "tools", "a list of tools", self.where)
        expect(limits, Limits, "limits", "w.Limits(steps=…, tool_calls=…, seconds=…, tokens=…)", self.where)
        for tool in tools:
            if not isinstance(tool, (Tool, IndexTool, Hosted)):
                raise Invalid(f"{tool!r} is not a tool", where=self.where, remedy="decorate it with @w.tool, or use index.as_tool()")
        self.tools = tuple(tools)
        self.limits = limits


@overload
def component(
    name: str, *, prompt: str, model: str, output: type[T], parameters: dict[str, Any] | None = None, description: str = ""
) -> Component[T]: ...
@overload
def component(
    name: str, *, prompt: str, model: str, output: None = None, parameters: dict[str, Any] | None = None, description: str = ""
) -> Component[str]: ...
def component(
    name: str, *, prompt: str, model: str, output: Any = None, parameters: dict[str, Any] | None = None, description: str = ""
) -> Component[Any]:
    """A component: a prompt file with a model.

    Args:
        name: its name in the registry.
        prompt: path of the prompt file, from the workspace's root.
        model: `baseline`, or `provider/model-id`.
        output: the type it answers with; without one it answers text (or by the prompt's own schema).
        parameters: sampling settings by their common names (temperature, top_p, max_tokens, stop, seed).
        description: for people; no model sees it.
    """
    return Component(name, prompt=prompt, model=model, output=output, parameters=parameters, description=description)


@overload
def agent(
    name: str,
    *,
    prompt: str,
    model: str,
    tools: Sequence[Any],
    output: type[T],
    limits: Limits = ...,
    parameters: dict[str, Any] | None = None,
    description: str = "",
) -> Agent[T]: ...
@overload
def agent(
    name: str,
    *,
    prompt: str,
    model: str,
    tools: Sequence[Any],
    output: None = None,
    limits: Limits = ...,
    parameters: dict[str, Any] | None = None,
    description: str = "",
) -> Agent[str]: ...
def agent(
    name: str,
    *,
    prompt: str,
    model: str,
    tools: Sequence[Any],
    output: Any = None,
    limits: Limits = Limits(),
    parameters: dict[str, Any] | None = None,
    description: str = "",
) -> Agent[Any]:
    """An agent: a prompt with a model, the tools it may use and what it may spend. See `component` for the rest."""
    return Agent(name, tools, limits, prompt=prompt, model=model, output=output, parameters=parameters, description=description)
