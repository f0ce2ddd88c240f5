"""Secrets of tools: values in the server's environment under `WINDLASS_SECRET_<NAME>`, given to the body of a tool that declares the name,
and taken out of whatever leaves it.

What is hidden is the value wherever it stands: as it is, split by blanks, turned around, in base64 at any place, in hex, escaped as URLs,
JSON and Python do. A tool that means to hide it from us (encrypted, in pieces, encoded twice) can give it away: whoever writes a tool's
code is trusted with the secrets it declares.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from windlass.core.errors import Unavailable, WindlassError

PREFIX = "WINDLASS_SECRET_"
RESERVED = "WINDLASS_SECRET_KEY"  # seals keys in the store (govern/keyring.py): no tool's
SHORTEST = 4  # characters of a value that can be told from ordinary text
SLASHES = r"\\{1,4}"  # before what is escaped; it may have been escaped again
BESIDE = "[A-Za-z0-9+/_-]"  # a character of base64

Forms = tuple[tuple[str, re.Pattern[str]], ...]


class Secrets:
    """The values that tools may ask for."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._values = {name.removeprefix(PREFIX): value for name, value in environ.items() if name.startswith(PREFIX) and name != RESERVED}

    def of(self, names: tuple[str, ...], who: str) -> dict[str, str]:
        """The values by name. Raises `Unavailable` naming one that is not set, or is too short to be kept secret."""
        for name in names:
            if len(self._values.get(name, "")) < SHORTEST:
                what = "is not set" if not self._values.get(name) else f"is shorter than {SHORTEST} characters"
                raise Unavailable(f"{who} needs the secret {name}, which {what}", remedy=f"set {PREFIX}{name} in the server's environment")
        return {name: self._values[name] for name in names}


def hidden(value: Any, secrets: Mapping[str, str]) -> Any:
    """A JSON value in which the name of a secret stands in place of its value in any of its forms, keys and numbers included."""
    return _hidden(value, _forms(tuple(secrets.items()))) if secrets else value


def _hidden(value: Any, forms: Forms) -> Any:
    if isinstance(value, str):
        for said, pattern in forms:
            value = pattern.sub(said, value)
        return value
    if isinstance(value, dict):
        return {_hidden(k, forms): _hidden(v, forms) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hidden(v, forms) for v in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if (text := _hidden(shown := repr(value), forms)) == shown else text
    return value


@lru_cache(maxsize=256)
def _forms(secrets: tuple[tuple[str, str], ...]) -> Forms:
    """What stands for each secret, and how it may be written; the longest first, as one may hold another."""
    longest = sorted(secrets, key=lambda s: -len(s[1]))
    return tuple((f"[secret {name}]", re.compile(way)) for name, secret in longest for way in _written(secret))


def _written(secret: str) -> Iterator[str]:
    """Patterns of all forms of a text. From where one begins it takes about as many steps as the secret is long: no part of one can match
    in two ways, and what may repeat is told from what follows by its first character."""
    if len("".join(secret.split())) < SHORTEST:
        yield re.escape(secret)  # the blanks are what makes it a secret
        return
    for text in (secret, secret[::-1]):
        yield "".join(_letters(text))
    for data in dict.fromkeys((secret.encode(), secret.encode()[::-1], secret[::-1].encode())):
        yield r"[\s:]*".join(f"(?i:{byte:02x})" if byte > 0x99 or byte & 15 > 9 else f"{byte:02x}" for byte in data)
        yield from (_base64(data, before) for before in range(3))


def _letters(text: str) -> Iterator[str]:
    """Each character as it is or escaped, with blanks between them. For blanks in the text any stand, and they as they are escaped."""
    for run in re.finditer(r"(\s*)(\S)", text.strip()):
        if run[1]:
            blanks = [r"\s", r"\+", SLASHES + "[ntr]", *(way for blank in dict.fromkeys(run[1]) for way in _escapes(blank))]
            yield f"(?:{'|'.join(blanks)})*"
        elif run.start():
            yield r"\s*"
        yield f"(?:{'|'.join([re.escape(run[2]), *_escapes(run[2])])})"


def _escapes(letter: str) -> Iterator[str]:
    """One character as URLs, JSON and Python escape it."""
    yield "".join(f"%(?i:{byte:02x})" for byte in letter.encode("utf-8", "surrogatepass"))
    pairs = letter.encode("utf-16-be", "surrogatepass").hex()
    yield "".join(SLASHES + f"u(?i:{pairs[n : n + 4]})" for n in range(0, len(pairs), 4))
    if ord(letter) < 256:
        yield SLASHES + f"x(?i:{ord(letter):02x})"
    if letter in "\"'\\/":
        yield SLASHES + re.escape(letter)


def _base64(data: bytes, before: int) -> str:
    """The part of base64 that these bytes alone decide, where `before` bytes come first, with what its neighbours may tell of them."""
    text = base64.b64encode(bytes(before) + data + bytes(3)).decode()
    first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
    inner = r"\s*".join({"+": "[+-]", "/": "[/_]"}.get(c, c) for c in text[first:last])
    return (BESIDE + "?" if before else "") + inner + rf"(?:\s*{BESIDE})?={{0,2}}"


def hide_in(error: WindlassError, secrets: Mapping[str, str]) -> None:
    """Take secrets out of all that an error says."""
    error.message = hidden(error.message, secrets)
    error.args = (error.message,)
    error.where, error.remedy = hidden(error.where, secrets), hidden(error.remedy, secrets)
    error.details = hidden(error.details, secrets)
