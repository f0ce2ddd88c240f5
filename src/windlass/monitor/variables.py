"""Secrets by the name of the variable that holds them. The name is kept and shown; the value never is."""

from __future__ import annotations

import re
from collections.abc import Mapping

from windlass.core.errors import Invalid, Unavailable

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}\Z")


def check_variable(name: str) -> str:
    """Raises `Invalid` for what is no name of a variable, without repeating it: it may be the secret itself."""
    if not VARIABLE.match(name):
        raise Invalid(
            "a webhook is signed, and `secret` must be the name of a variable of the server's environment", where="secret",
            remedy="put the secret into the environment, and write its variable's name here, such as HOOK_SECRET, in capitals",
        )  # fmt: skip
    return name


def value_of(name: str, environ: Mapping[str, str]) -> str:
    """Raises `Unavailable` naming the variable that is not set."""
    if not (value := environ.get(name)):
        raise Unavailable(f"{name} is not set", remedy=f"set {name} in the server's environment and restart it")
    return value
