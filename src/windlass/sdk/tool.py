"""Tools: functions an agent may call. What a model sees of one (name, description, parameters) is part of its identity."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from windlass.core.artifacts import EFFECTS, Effects
from windlass.core.errors import Invalid
from windlass.core.host import Host, bound_host, current_host
from windlass.sdk.chain import Function
from windlass.sdk.output import from_json

P = ParamSpec("P")
R = TypeVar("R")
STEERING = r"(PATH|HOME|TMPDIR|LANG|TZ)$|(PYTHON|LD_|DYLD_|WINDLASS_|LC_|OMP_)"  # variables that steer a process


class Hosted:
    """What is called through the host that is bound."""

    def _hosted(self, kind: str, name: str, arguments: dict[str, Any]) -> Any:
        return current_host(repr(self)).call(kind, name, arguments)


class Tool(Function[P, R]):
    """A function with declared effects. Make one with `tool`."""

    kind = "tool"

    def __init__(self, function: Callable[P, R], name: str | None, effects: Effects, secrets: tuple[str, ...] = ()) -> None:
        super().__init__(function, (name or function.__name__))
        self.effects = effects
        self.secrets = secrets

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Where a host is bound it calls the tool, with its secrets, in a process of its own; where none is, this is the plain function.
        So it is in the tool's own body. Raises `Forbidden` for a tool that is stopped, `RunFailed` for what its body raised."""
        host = bound_host()
        if host is None or host.entry == self.entry:
            return self.function(*args, **kwargs)
        given = inspect.signature(self.function).bind(*args, **kwargs).arguments
        if inspect.iscoroutinefunction(self.function):
            return self._later(host, given)  # type: ignore[return-value]
        return self._value(host.call(self.kind, self.name, given))

    async def _later(self, host: Host, given: dict[str, Any]) -> R:
        return self._value(await host.acall(self.kind, self.name, given))

    def _value(self, value: Any) -> R:
        found: R = from_json(value, self._returns, self.name)
        return found

    @functools.cached_property
    def _returns(self) -> Any:
        return typing.get_type_hints(self.function, include_extras=True).get("return", Any)


def tool(
    *bare: Callable[..., Any], effects: Effects | None = None, name: str | None = None, secrets: Iterable[str] = ()
) -> Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a tool: `@w.tool(effects="read")`. The docstring is what a model reads. `effects`: `none` (computes), `read` (looks at
    the world), `write` (changes it: an agent needs a grant to call it). `secrets` are names; on a server each is in the environment of
    the body as the value of the server's `WINDLASS_SECRET_<NAME>`. Raises `Invalid` when it does not say its effects, or names a
    secret that could not be one."""
    if bare or effects is None:
        raise Invalid("a tool must say what it does to the world", remedy='write @w.tool(effects="none"), "read" or "write"')
    if effects not in EFFECTS:
        raise Invalid(f"effects is {effects!r}", remedy='write effects="none", "read" or "write"')
    chosen: Effects = effects
    named = secret_names(secrets)

    def decorate(function: Callable[P, R]) -> Tool[P, R]:
        return Tool(function, name, chosen, named)

    return decorate


def secret_names(given: Iterable[str]) -> tuple[str, ...]:
    """Names of secrets, sorted, each once. Those by which a process is steered could do more than be read."""
    if isinstance(given, str):
        raise Invalid(f"secrets is {given!r}", remedy=f'write secrets=("{given}",)')
    named = tuple(sorted(set(given)))
    for name in named:
        if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,99}", name) or re.match(STEERING, name):
            raise Invalid(f"{name!r} cannot be the name of a secret", remedy="use capitals, digits and '_', such as MAIL_KEY")
    return named
