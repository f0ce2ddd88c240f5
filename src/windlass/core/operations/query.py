"""Parameters of a GET as a query string, and back. A text is itself; anything else is its JSON; what has its default is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from windlass.core.errors import Invalid

P = TypeVar("P", bound=msgspec.Struct)


def encode(params: msgspec.Struct) -> dict[str, str]:
    """The query of these parameters."""
    found: dict[str, str] = {}
    for field in msgspec.structs.fields(type(params)):
        value = getattr(params, field.name)
        if value is None or value == field.default:
            continue
        found[field.name] = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return found


def decode(kind: type[P], query: Mapping[str, str]) -> P:
    """The parameters of a query. Raises `Invalid` naming the one that is wrong or unknown."""
    fields = {f.name: f for f in msgspec.structs.fields(kind)}
    found: dict[str, Any] = {}
    for name, text in query.items():
        if name not in fields:
            raise Invalid(f"{name!r} is not a parameter", where=name, remedy="parameters: " + ", ".join(fields))
        found[name] = _value(fields[name].type, text, name)
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as e:
        raise Invalid(f"the parameters are wrong: {e}") from e


def _value(kind: Any, text: str, name: str) -> Any:
    """Text where the type takes text as it is, else JSON."""
    try:
        return msgspec.convert(text, kind)
    except msgspec.ValidationError:
        pass
    try:
        return msgspec.convert(msgspec.json.decode(text), kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as e:
        raise Invalid(f"parameter {name!r} is wrong: {text[:80]!r}: {e}", where=name) from e
