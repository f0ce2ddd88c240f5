"""The JSON Schema of a granted tool's arguments: the part of the language that can be trusted to say what it seems to say.

- An object lists its properties; any other is forbidden, unless `additionalProperties` says otherwise.
- A `pattern` must match the whole text, where JSON Schema would search in it; and what is said of texts, numbers or lists holds for
  nothing else, where JSON Schema would let a list through a pattern.
- A word that would not be checked (a misspelt one, `format`) is refused, since it would let everything through.
- References are refused: nothing is fetched and nothing recurses. Patterns are matched in linear time.
"""

from __future__ import annotations

import difflib
import json
from functools import lru_cache
from typing import Any

from windlass.core.digest import canonical
from windlass.core.errors import Invalid, TooLarge, WindlassError

LARGEST, DEEPEST = 32_000, 16  # bytes of a schema; schemas within schemas
LARGEST_CALL = 256_000  # bytes of one call's arguments
SAID = frozenset({"title", "description", "examples", "default", "$comment"})  # for people
CHECKED = frozenset({
    "type", "enum", "const", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "required", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
})  # fmt: skip
ABOUT = {  # what each kind of value is said by
    "string": {"pattern", "minLength", "maxLength"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "array": {"items", "minItems", "maxItems", "uniqueItems"},
    "object": {"properties", "additionalProperties", "required", "minProperties", "maxProperties"},
}
NESTED = frozenset({"properties", "additionalProperties", "items", "anyOf", "allOf", "oneOf"})
KNOWN = sorted(SAID | CHECKED | NESTED)


def closed(schema: dict[str, Any], where: str) -> dict[str, Any]:
    """The schema with whatever it does not list forbidden. Raises `Invalid`, `TooLarge` naming the place."""
    if not isinstance(schema, dict):
        raise Invalid("the arguments of a granted tool are a JSON Schema, an object", where=where)
    try:
        size = len(canonical(schema))
    except (WindlassError, RecursionError, ValueError, TypeError) as e:
        raise Invalid("this is no JSON Schema that can be kept: it is nested too deep, or holds what JSON cannot", where=where) from e
    if size > LARGEST:
        raise TooLarge(f"a schema of {size:,} bytes; at most {LARGEST:,} are read", where=where, remedy="list fewer values")
    _validator(canonical(schema), where)  # what is no JSON Schema is told as such
    made: dict[str, Any] = _close(schema, where, 0)
    if made.get("type", "object") != "object":
        raise Invalid("arguments are an object", where=f"{where}.type", remedy='write {"type": "object", "properties": {…}}')
    made["type"] = "object"
    made.setdefault("properties", {})
    made.setdefault("additionalProperties", False)
    if missing := [name for name in made.get("required", ()) if name not in made["properties"]]:
        raise Invalid(f"{missing[0]!r} is required and not listed", where=f"{where}.required", remedy="list it among the properties")
    _validator(canonical(made), where)
    return made


def misfit(schema: dict[str, Any], arguments: dict[str, Any]) -> str | None:
    """What keeps arguments from a schema that `closed` made, in words that do not repeat them; None when they fit."""
    if len(canonical(arguments)) > LARGEST_CALL:
        return f"they are larger than {LARGEST_CALL:,} bytes"
    for error in _validator(canonical(schema), "arguments").iter_errors(arguments):
        field = ".".join(str(p) for p in error.instance_path)
        return f"{field}: {error.message}"[:500] if field else str(error.message)[:500]
    return None


def misfit_own(parameters: dict[str, Any], arguments: dict[str, Any]) -> str | None:
    """What keeps arguments from a tool's own definition. Its schema may be any; what it does not list is forbidden all the same."""
    if len(canonical(arguments)) > LARGEST_CALL:
        return f"they are larger than {LARGEST_CALL:,} bytes"
    listed = parameters.get("properties", {})
    if unknown := sorted(set(arguments) - set(listed if isinstance(listed, dict) else ())):
        return f"{unknown[0]!r} is not among {', '.join(listed) or 'none'}"
    for error in _validator(canonical(parameters), "parameters").iter_errors(arguments):
        return str(error.message)[:500]
    return None


@lru_cache(maxsize=4096)
def _validator(schema: bytes, where: str) -> Any:
    import jsonschema_rs  # 3 MB, only where something is checked

    try:
        return jsonschema_rs.validator_for(
            json.loads(schema), pattern_options=jsonschema_rs.RegexOptions(), offline=True, mask="what is given"
        )
    except (ValueError, jsonschema_rs.ValidationError) as e:
        raise Invalid(f"this is not a JSON Schema that can be checked: {str(e)[:300]}", where=where) from e


def _close(schema: Any, where: str, depth: int) -> Any:
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict):
        raise Invalid("a schema is an object, true or false", where=where)
    if depth >= DEEPEST:
        raise TooLarge(f"schemas are nested deeper than {DEEPEST}", where=where)
    for word in schema:
        if word not in SAID and word not in CHECKED and word not in NESTED:
            near = difflib.get_close_matches(word, KNOWN, 1)
            raise Invalid(
                f"{word!r} would not be checked", where=f"{where}.{word}",
                remedy=f"did you mean {near[0]!r}?" if near else "use " + ", ".join(sorted(CHECKED | NESTED)),
            )  # fmt: skip
    made = {word: _part(word, value, f"{where}.{word}", depth) for word, value in schema.items()}
    if "properties" in made or "object" in _types(made):
        made.setdefault("additionalProperties", False)
    if "type" not in made and (kinds := {kind for kind, words in ABOUT.items() if words & made.keys()}):
        if len(kinds) > 1:
            raise Invalid(f"this speaks of {' and '.join(sorted(kinds))} at once", where=where, remedy='say which by "type"')
        made["type"] = kinds.pop()
    return made


def _types(schema: dict[str, Any]) -> list[Any]:
    kind = schema.get("type", ())
    return [kind] if isinstance(kind, str) else list(kind)


def _part(word: str, value: Any, where: str, depth: int) -> Any:
    """What stands under one word."""
    if word in ("additionalProperties", "items"):
        return _close(value, where, depth + 1)
    if word == "properties":
        if not isinstance(value, dict):
            raise Invalid("properties are an object", where=where)
        return {name: _close(each, f"{where}.{name}", depth + 1) for name, each in value.items()}
    if word in NESTED:
        if not isinstance(value, list):
            raise Invalid(f"{word} is a list", where=where)
        return [_close(each, f"{where}.{number}", depth + 1) for number, each in enumerate(value)]
    return _whole(value, where) if word == "pattern" else value


def _whole(pattern: Any, where: str) -> str:
    """The pattern of a whole text. By itself it must be one: `a)|(b` would escape from what is put around it."""
    if not isinstance(pattern, str):
        raise Invalid("a pattern is text", where=where)
    _validator(canonical({"pattern": pattern}), where)
    return f"^(?:{pattern})$"
