"""Parameters of a GET as a query string, and back: a text is itself; anything else is its JSON; what has its default is left out.
Parameters of any operation from values that somebody gave."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

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


def taken(kind: type[P], given: Mapping[str, Any]) -> P:
    """The parameters that these values are. Raises `Invalid` naming the field that is wrong, with what it takes where that is a choice."""
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as e:
        wrong = complaint(e)
        name = (re.match(r"\w*", wrong.where or "") or [""])[0]
        choices = [c for f in msgspec.structs.fields(kind) if f.name == name for c in _choices(f.type)]
        if choices:
            raise Invalid(f"{given[name]!r} is none of its values", where=name, remedy="take one of " + ", ".join(choices)) from None
        raise wrong from None


def complaint(error: msgspec.ValidationError) -> Invalid:
    """msgspec's words as ours, with the place."""
    message, _, place = str(error).replace("`", "'").partition(" - at ")
    return Invalid(message[:1].lower() + message[1:], where=place.strip("'$.") or None)


def _choices(kind: Any) -> list[str]:
    """The texts that a field takes, where they are few."""
    if get_origin(kind) is Literal:
        return [c for c in get_args(kind) if isinstance(c, str)]
    return [c for one in get_args(kind) if get_origin(one) is Literal for c in _choices(one)]


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
