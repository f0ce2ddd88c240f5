"""Secrets of tools: values in the server's environment under `WINDLASS_SECRET_<NAME>`, given to the body of a tool that declares the name,
and taken out of whatever leaves it.

What is hidden is the value itself wherever it stands. A tool that hides it from us (turned around, in another alphabet) can give it
away: whoever writes a tool's code is trusted with the secrets it declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windlass.core.errors import Unavailable, WindlassError

PREFIX = "WINDLASS_SECRET_"
SHORTEST = 4  # characters of a value that can be told from ordinary text


class Secrets:
    """The values that tools may ask for."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._values = {name.removeprefix(PREFIX): value for name, value in environ.items() if name.startswith(PREFIX)}

    def of(self, names: tuple[str, ...], who: str) -> dict[str, str]:
        """The values by name. Raises `Unavailable` naming one that is not set, or is too short to be kept secret."""
        for name in names:
            if len(self._values.get(name, "")) < SHORTEST:
                what = "is not set" if not self._values.get(name) else f"is shorter than {SHORTEST} characters"
                raise Unavailable(f"{who} needs the secret {name}, which {what}", remedy=f"set {PREFIX}{name} in the server's environment")
        return {name: self._values[name] for name in names}


def hidden(value: Any, secrets: Mapping[str, str]) -> Any:
    """A JSON value in which the name of a secret stands in place of its value, keys included."""
    if not secrets:
        return value
    if isinstance(value, str):
        for name, secret in sorted(secrets.items(), key=lambda s: -len(s[1])):
            value = value.replace(secret, f"[secret {name}]")
        return value
    if isinstance(value, dict):
        return {hidden(k, secrets): hidden(v, secrets) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [hidden(v, secrets) for v in value]
    return value


def hide_in(error: WindlassError, secrets: Mapping[str, str]) -> None:
    """Take secrets out of all that an error says."""
    error.message = hidden(error.message, secrets)
    error.args = (error.message,)
    error.where, error.remedy = hidden(error.where, secrets), hidden(error.remedy, secrets)
    error.details = hidden(error.details, secrets)
